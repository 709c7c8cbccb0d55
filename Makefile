# `make test` needs nothing but make and Python 3.11 or newer: it makes .venv first, once.
# PYTHON is the Python to make it with: make venv PYTHON=/usr/bin/python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# pip builds the package itself in an environment of its own: these pin that one too (before and from pip 25.3).
export PIP_CONSTRAINT := constraints.txt
export PIP_BUILD_CONSTRAINT := constraints.txt
# More threads than cores make small models twenty times slower.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help venv demo docs notebooks lint test check report-check wheel-check sbom audit licences \
	reliability faults fuzz soak power-cut endurance regress clean

help:
	@echo 'make demo   a VRNN learns Bach and writes music: minutes'
	@echo 'make docs   the pages as a site, docs/_build/index.html'
	@echo 'make notebooks  runs the four notebooks: docs/notebooks/*.ipynb, ten minutes'
	@echo 'make test   the tests'
	@echo 'make lint   format, lint, types, the layers of imports, docstrings'
	@echo 'make check  what CI checks: lint and test'
	@echo 'make report-check  pages of small runs, looked at in headless Chromium; screenshots in runs/report-check'
	@echo 'make audit  known faults of the packages in constraints.txt (skips with a reason without pip-audit or a network)'
	@echo 'make licences  writes docs/licences.md anew, from the packages that are installed'
	@echo 'make reliability  makes docs/reliability.md anew; make faults runs the tests of all its faults first'
	@echo 'make fuzz N=1000 SEED=0  so many damaged files for every reader; its numbers go to docs/reliability.md, as do those of:'
	@echo 'make soak, make power-cut, make endurance, make regress  kill -9, power cuts, many updates, known bounds and speeds'
	@echo 'make wheel-check  builds what is uploaded, and tries the wheel in an empty environment (downloads all it needs)'
	@echo 'make sbom   what the wheel brings along, as CycloneDX: dist/sbom.cdx.json (downloads all it needs)'
	@echo 'make venv   the environment of all these, in $(VENV)'
	@echo 'make clean  removes it, and what tools left behind; data and runs stay'

venv: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("error: pyro-vrnn needs Python 3.11 or newer; $(PYTHON) is %d.%d\nhint: make venv PYTHON=/path/to/python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-compile --disable-pip-version-check -c constraints.txt -e '.[chess,chorales,map,netcdf,arviz,estimators,tensorboard,wandb,optuna,docs,dev]'
	@touch $(READY)

demo: venv
	$(BIN)/pyro-vrnn prepare chorales
	$(BIN)/pyro-vrnn train chorales-vrnn --out runs/demo --overwrite
	$(BIN)/pyro-vrnn evaluate runs/demo --objective iwae --particles 100
	$(BIN)/pyro-vrnn sample runs/demo --num 4
	@echo
	@echo 'Listen to runs/demo/samples/*.mid, look at runs/demo/samples/samples-0.png and runs/demo/figures/.'
	@echo 'Next:  $(BIN)/pyro-vrnn inspect runs/demo                        what the latent variables carry'
	@echo '       $(BIN)/pyro-vrnn sample runs/demo --prime-index 0         continue a chorale'
	@echo '       $(BIN)/pyro-vrnn train --objective iwae --particles 5     another bound, one flag'

docs: venv
	$(BIN)/python -m sphinx -W --keep-going -b html -d docs/_build/.doctrees docs docs/_build
	@echo 'Open docs/_build/index.html'

notebooks: venv
	$(BIN)/python docs/site/run_notebooks.py docs/notebooks/*.py

lint: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache >.lint-imports.log 2>&1 || { cat .lint-imports.log; exit 1; }
	@$(BIN)/interrogate -q pyro_vrnn examples || { $(BIN)/interrogate -vv pyro_vrnn examples | grep -E '^Coverage|MISSED'; exit 1; }

test: venv
	$(BIN)/python -m pytest -n 2

check: lint test

report-check: venv
	$(BIN)/python benchmarks/report_check.py --out runs/report-check

audit:
	@$(firstword $(wildcard $(BIN)/python) $(PYTHON)) benchmarks/audit.py constraints.txt

reliability: venv
	$(BIN)/python benchmarks/reliability.py

faults: venv
	$(BIN)/python benchmarks/reliability.py --run

N ?= 1000
SEED ?= 0
fuzz: venv
	$(BIN)/python tests/fuzz --count $(N) --seed $(SEED) --record

soak: venv
	$(BIN)/python benchmarks/soak.py

power-cut: venv
	$(BIN)/python benchmarks/power_cut.py

endurance: venv
	$(BIN)/python benchmarks/endurance.py

regress: venv
	$(BIN)/python benchmarks/regress.py

licences: venv
	$(BIN)/python benchmarks/licences.py docs/licences.md

# The wheel as a stranger gets it: nothing of this checkout but the pins.
wheel-check: venv
	rm -rf dist build/wheel-check
	$(BIN)/python -m build --outdir dist
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv build/wheel-check/env
	build/wheel-check/env/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt "$$(ls $(CURDIR)/dist/*.whl)[chorales]"
	cd build/wheel-check && env/bin/pyro-vrnn sample bach
	cd build/wheel-check && env/bin/pyro-vrnn prepare chorales --resolution eighth --out data/chorales_eighth.h5
	cd build/wheel-check && env/bin/pyro-vrnn train --init-from bach --max-steps 10
	cd build/wheel-check && env/bin/pyro-vrnn evaluate bach

# Of what a user installs: the wheel and the core. The tool has an environment of its own, for it brings thirty packages.
sbom: venv
	rm -rf build/sbom
	$(BIN)/python -m build --wheel --outdir build/sbom
	$(PYTHON) -m venv build/sbom/env
	build/sbom/env/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt build/sbom/*.whl
	$(PYTHON) -m venv build/sbom/tool
	build/sbom/tool/bin/python -m pip install -q --disable-pip-version-check cyclonedx-bom==7.5.0
	mkdir -p dist
	build/sbom/tool/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
		--of JSON -o dist/sbom.cdx.json build/sbom/env/bin/python

clean:
	rm -rf $(VENV) docs/_build docs/api build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './data/*' -not -path './runs/*' -prune -exec rm -rf {} +
