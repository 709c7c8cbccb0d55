"""What pyro-vrnn brings along: licences of the core, known faults, and the tools that keep watch being switched on."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def licences(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import licences

    return licences


def test_the_core_is_permissive(licences: ModuleType) -> None:
    assert licences.not_permissive() == []
    names = licences.closure(licences.requirements()["core"])
    assert {"torch", "pyro-ppl", "numpy", "cffi", "markupsafe"} <= names  # also what dependencies bring
    assert not {"chess", "optuna", "wandb", "tensorboard", "pytest"} & names
    assert all(licences.licence(name) != licences.UNSTATED for name in names)


def test_the_page_is_current_for_the_core(licences: ModuleType) -> None:
    """For every dependency, and all that they bring on the system that the page was made on."""
    page = (ROOT / "docs" / "licences.md").read_text("utf-8")
    core = page.partition("## The core")[2].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| ([\w.-]+) \| (.+) \|$", core, re.MULTILINE))
    direct = {re.split(r"[><=\[]", text)[0].lower().replace("_", "-") for text in licences.requirements()["core"]}
    assert len(direct) > 10
    for name in direct:
        assert rows[name] == licences.licence(name), f"{name}: make licences"
    headings = set(re.findall(r"^## Extra `(\w+)`", page, re.MULTILINE))
    assert headings == licences.requirements().keys() - {"core"}
    assert "| chess | GPL-3.0-or-later |" in page
    assert licences.TEXT in page


@pytest.mark.parametrize(
    ("stated", "permissive"),
    [
        ("MIT", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("GPL-3.0-or-later OR MIT", True),
        ("GPL-3.0-or-later", False),
        ("MIT AND GPL-2.0-only", False),
        ("(MIT OR Apache-2.0) AND AGPL-3.0-only", False),
        ("LicenseRef-Proprietary", False),
        ("not stated", False),
    ],
)
def test_what_permissive_means(licences: ModuleType, stated: str, permissive: bool) -> None:
    assert licences.is_permissive(stated) is permissive


def audit(folder: Path, script: str | None, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """benchmarks/audit.py, where pip-audit is this script, or is not there."""
    monkeypatch.setenv("PATH", str(folder))
    python = folder / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    if script is not None:
        (folder / "pip-audit").write_text(f"#!{sys.executable}\nimport sys\n{script}\n")
        (folder / "pip-audit").chmod(0o755)
    command = [str(python), str(ROOT / "benchmarks" / "audit.py"), str(ROOT / "constraints.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout


FAULTY = """print('{"dependencies": [{"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]},'
 '{"name": "b", "version": "3", "vulns": []}], "fixes": []}')
sys.exit(1)"""
UNKNOWN = """print('{"dependencies": [{"name": "a", "skip_reason": "not found there"}], "fixes": []}')"""


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        (None, 0, "skipped: pip-audit is not installed"),
        ("sys.exit('ERROR: no route to host')", 0, "skipped: pip-audit has no answer: ERROR: no route to host"),
        (FAULTY, 1, "a 1: X-1, mended in 2\n2 packages looked up, 1 with known faults"),
        (FAULTY.replace('{"id": "X-1", "fix_versions": ["2"]}', ""), 0, "2 packages looked up, 0 with known faults"),
        (UNKNOWN, 0, "skipped: none of 1 packages could be looked up: not found there"),
    ],
    ids=["absent", "no network", "faulty", "clean", "no advisories"],
)
def test_an_audit_tells_faults_and_skips_with_a_reason(
    script: str | None, code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, told = audit(tmp_path, script, monkeypatch)
    assert (found, said in told) == (code, True), told


def test_lint_checks_docstrings_and_security() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]
    assert tool["interrogate"]["fail-under"] == 100
    assert "S" in tool["ruff"]["lint"]["select"]
    assert not [rule for rule in tool["ruff"]["lint"]["ignore"] if rule.startswith("S") and rule != "S101"]
    assert "interrogate" in (ROOT / "Makefile").read_text("utf-8").partition("\nlint:")[2].partition("\n\n")[0]


def test_every_waived_security_rule_has_a_reason() -> None:
    for path in (ROOT / "pyro_vrnn").rglob("*.py"):
        lines = path.read_text("utf-8").splitlines()
        for number, line in enumerate(lines):
            if re.search(r"noqa: S\d", line):
                reason = line.partition("noqa: ")[2]
                assert "(" in reason or "#" in lines[number - 1], f"{path}:{number + 1}: {line.strip()}"
