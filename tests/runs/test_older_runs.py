"""Runs and data files that commit e10dff2 wrote open, evaluate to the same number, and resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import pyro_vrnn as pv

OLD = Path(__file__).parents[1] / "fixtures" / "e10dff2"
EXPECTED = json.loads((OLD / "expected.json").read_text("utf-8"))
DATA = {"vrnn": "rolls", "srnn": "tones", "vrae": "rolls"}


@pytest.fixture(params=sorted(EXPECTED))
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a run whose data file is where its config.toml says."""
    run, data = tmp_path / request.param, tmp_path / f"{DATA[request.param]}.h5"
    shutil.copytree(OLD / request.param, run)
    shutil.copy(OLD / "data" / data.name, data)
    settings = (run / "config.toml").read_text("utf-8")
    (run / "config.toml").write_text(settings.replace(f"/work/fx/data/{data.name}", str(data)), "utf-8")
    return run


@pytest.mark.fault(27)
def test_it_opens_and_evaluates_to_the_same_number(old: Path) -> None:
    found = pv.load(old).evaluate("test", "iwae", 7, seed=3)
    assert found.nll_per_step == pytest.approx(EXPECTED[old.name]["iwae7"], rel=1e-6)


@pytest.mark.fault(27)
def test_it_resumes_as_if_it_had_gone_on_then(old: Path) -> None:
    pv.train(old / "config.toml", out=old, max_steps=8)
    rows = [json.loads(line) for line in (old / "metrics.jsonl").read_text("utf-8").splitlines()]
    assert [row["loss"] for row in rows if "loss" in row] == pytest.approx(EXPECTED[old.name]["losses"], rel=1e-5)
