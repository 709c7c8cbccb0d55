"""experiment on the command line: one JSON object, a table, exit codes, errors."""

from __future__ import annotations

import json
from pathlib import Path

import grids
import pytest

from pyro_vrnn import cli

SHORT = grids.TEXT.replace("updates = 12", "updates = 2").replace("[0, 1]", "[0]")


def test_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = '\n[[arm]]\nname = "wild"\nsettings.training.learning_rate = 1e38\n'
    file, out = grids.write(tmp_path, SHORT + wild), str(tmp_path / "out")
    assert cli._run(["experiment", str(file), "--out", out, "--json", "--updates", "4"]) == 5
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert (found["schema"], found["finished"], found["failed"]) == (1, True, 1)
    assert all(Path(path).exists() for path in found["figures"])
    assert "1/4  elbo, seed 0: test iwae K=4 " in said.err
    assert "3/4  wild, seed 0: failed after update" in said.err
    assert cli._run(["experiment", out, "--quiet"]) == 5
    said = capsys.readouterr()
    assert said.err == ""
    assert (tmp_path / "out" / "table.md").read_text().splitlines() == said.out.splitlines()[:-3]
    assert said.out.splitlines()[-1].startswith("next: pyro-vrnn report ")
    assert cli._run(["experiment", out, "--dry-run"]) == 0
    assert "0 of 4 runs to train" in capsys.readouterr().out


def test_errors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["experiment", "iwae-jbs"]) == 2
    assert "hint: did you mean iwae-jsb?" in capsys.readouterr().err
    assert cli._run(["experiment", "iwae-jsb", "--seeds", "a"]) == 2
    assert "--seeds 'a': expected whole numbers such as 0,1,2" in capsys.readouterr().err
    file = grids.write(tmp_path, SHORT.replace("updates", "updaets"))
    assert cli._run(["experiment", str(file)]) == 2
    assert "experiment.updaets: no such key" in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["experiment", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["experiments"]
    assert {"iwae-jsb", "iwae-speech", "models-jsb-small"} <= set(found)
