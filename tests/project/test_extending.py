"""docs/extending.md: every block of code runs, and the model that it brings is used by the commands from outside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from small import write_small

from pyro_vrnn import models
from pyro_vrnn.fast import loop_of
from pyro_vrnn.models import MODELS, model_class
from pyro_vrnn.models.loop import Loop
from pyro_vrnn.system.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)


def run_blocks(count: int) -> dict[str, Any]:
    """The names that the first blocks of the page leave behind."""
    names: dict[str, Any] = {}
    for block in BLOCKS[:count]:
        exec(compile(block, "docs/extending.md", "exec"), names)
    return names


def test_a_guide_of_ones_own_learns() -> None:
    names = run_blocks(1)
    assert sum(names["losses"][-20:]) < 0.9 * sum(names["losses"][:20])


def test_another_posterior_is_heard() -> None:
    names = run_blocks(2)
    net, batch = names["net"], names["batch"]
    assert type(loop_of(net)) is Loop
    losses = []
    for pair in (names["Stacked"](net), names["Markov"](net)):
        torch.manual_seed(0)
        with pyro.get_param_store().scope():
            losses.append(names["Trace_ELBO"](max_plate_nesting=1).loss(pair.model, pair.guide, batch))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_likelihood_and_an_objective_of_ones_own() -> None:
    names = run_blocks(len(BLOCKS))
    assert names["loss"].isfinite()
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in names["net"].parameters())
    likelihood, std = names["Laplace"](4, 3), torch.tensor([0.1, 1.0, 30.0])
    likelihood.fit_start(torch.arange(3.0), std)
    start = likelihood(torch.zeros(4)).base_dist
    assert torch.allclose(start.stddev, std, rtol=1e-4)
    assert torch.equal(start.mean, torch.arange(3.0))
    assert torch.allclose(likelihood.temper(likelihood(torch.zeros(4)), 4.0).base_dist.stddev, 2 * std, rtol=1e-4)


def test_a_model_from_outside_is_used_by_the_commands(tmp_path: Path) -> None:
    """A module and its entry point on the path are what an installed package is."""
    package = tmp_path / "site"
    info = package / "my_models-1.0.dist-info"
    info.mkdir(parents=True)
    (package / "my_models.py").write_text(BLOCKS[2], "utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1.0\n")
    points = re.search(r"```toml\n\[project\.entry-points\.\"(.*?)\"\]\n(.*?) = \"(.*?)\"\n```", PAGE)
    assert points is not None
    (info / "entry_points.txt").write_text(f"[{points[1]}]\n{points[2]} = {points[3]}\n")
    data, run = write_small(tmp_path / "d.h5"), tmp_path / "run"
    environment = os.environ | {"PYTHONPATH": f"{package}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}

    settings = ["--model", points[2], "--data", str(data), "--set", "model.latent_dim=3", "--set", "model.hidden_dim=8"]
    one_after_another = "import json, sys; from pyro_vrnn import cli; [cli._run(c) for c in json.loads(sys.argv[1])]"

    def call(*commands: list[str]) -> list[dict[str, Any]]:
        """In a process that has not seen the model before."""
        done = subprocess.run(
            [sys.executable, "-c", one_after_another, json.dumps([[*command, "--json"] for command in commands])],
            capture_output=True,
            text=True,
            env=environment,
            cwd=tmp_path,
            check=False,
        )
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(found) == len(commands), done.stderr
        assert not any("error" in one for one in found), found
        return found

    (trained,) = call(["train", *settings, "--max-steps", "6", "--out", str(run)])
    evaluated, sampled, resumed = call(
        ["evaluate", str(run), "--objective", "fivo", "--particles", "4"],
        ["sample", str(run), "--num", "2", "--steps", "5"],
        ["train", "--resume", str(run), "--max-steps", "8"],
    )
    assert (trained["steps"], resumed["steps"]) == (6, 8)
    assert evaluated["bound"] == "fivo"
    assert evaluated["nll_per_step"] < 20
    assert len(sampled["files"]) > 2


class Entry:
    """An entry point of an installed package."""

    def __init__(self, name: str, found: Any) -> None:
        self.name, self.value, self.found = name, f"somewhere:{name}", found

    def load(self) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.mark.fault(51)
def test_what_a_package_names_wrongly_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [Entry("broken", ImportError("no module")), Entry("number", 7), Entry("bare", models.SequenceModel)]
    monkeypatch.setattr(metadata, "entry_points", lambda group: entries)
    with pytest.raises(ConfigError, match="cannot be imported: ImportError: no module"):
        model_class("broken")
    with pytest.raises(ConfigError, match="is no SequenceModel"):
        model_class("number")
    with pytest.raises(ConfigError, match="its Config is no ModelConfig"):
        model_class("bare")
    with pytest.raises(ConfigError, match="choose from bare, broken, dmm,"):
        model_class("brokn")
    assert model_class("vrnn") is MODELS["vrnn"]  # a package cannot take the place of a shipped model
