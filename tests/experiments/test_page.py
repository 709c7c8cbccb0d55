"""docs/experiments.md: its file is an experiment, and its commands are understood."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from small import write_small

from pyro_vrnn import cli
from pyro_vrnn.data.catalogue import NAMES

PAGE = (Path(__file__).parents[2] / "docs" / "experiments.md").read_text(encoding="utf-8")


def test_its_blocks_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    write_small(Path("data") / NAMES["jsb"], x_dim=88)
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    Path("page.toml").write_text(text)
    small = ["--set", "model.latent_dim=2", "--set", "model.network_dims=8", "--dry-run", "--device", "cpu"]
    assert cli._run(["experiment", "page.toml", *small, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    arms = {arm["arm"]: arm for arm in found["arms"]}
    assert list(arms) == ["elbo", "iwae", "wide-hidden_dim-128", "wide-hidden_dim-256", "elbo-then-iwae"]
    assert [arm["updates"] for arm in arms.values()] == [600, 300, 300, 300, 300]
    assert {arm["runs"] for arm in arms.values()} == {3}
    assert 0 < found["hours"] == pytest.approx(sum(arm["hours"] for arm in arms.values()))
    assert not Path("runs").exists()
    commands = [line[2:].partition("  #")[0] for line in PAGE.splitlines() if line.startswith("$ pyro-vrnn")]
    assert len(commands) == 3
    for line in commands:
        argv = shlex.split(line)[1:]
        more = ["--set", "model.hidden_dim=8", *small] if len(argv) > 1 else []
        assert cli._run([*argv, *more]) == 0, line
    said = capsys.readouterr()
    assert re.search("iwae-jsb +The IWAE experiment on the JSB chorales", said.out)
    assert "27 of 27 runs to train" in said.out
    assert "nothing was trained" in said.out
