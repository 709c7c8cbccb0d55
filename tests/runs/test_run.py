"""A run in Python: what can be asked of it is what the commands ask."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small import write_audio, write_small

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.system.errors import CheckpointError, DataError

SETTINGS = {"model.hidden_dim": 8, "model.network_dims": "8", "model.latent_dim": 3}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    folder = tmp_path_factory.mktemp("run")
    data = write_small(folder / "rolls.h5")
    return pv.train(data=data, out=folder / "run", max_steps=3, settings=SETTINGS)


def test_it_says_what_it_is(run: pv.Run) -> None:
    assert repr(run) == f"<Run {run.folder} (vrnn, step-00000003)>"
    assert run.result is not None
    assert run.result.stopped == "max-steps"
    again = pv.load(run.folder)
    assert again.result is None
    assert again.evaluate().nll_per_step == run.evaluate().nll_per_step


def test_it_answers_as_the_commands_do(run: pv.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["evaluate", str(run.folder), "--objective", "iwae", "--particles", "4", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert run.evaluate("test", "iwae", 4).nll_per_step == told["nll_per_step"]
    assert cli._run(["inspect", str(run.folder), "--sequence", "1", "--json"]) == 0
    assert run.inspect(sequence="1")["bound"] == json.loads(capsys.readouterr().out)["bound"]


def test_it_writes_files(run: pv.Run, tmp_path: Path) -> None:
    for files in (
        run.sample(1, steps=4, out=tmp_path / "a"),
        run.reconstruct(hide=(1, 3), out=tmp_path / "b"),
        run.encode(out=tmp_path / "c"),
    ):
        assert files
        assert all(f.exists() for f in files)


def test_other_data_must_be_of_its_format(run: pv.Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="kind is 'audio', the model was trained on 'pianoroll'"):
        run.data(write_audio(tmp_path / "tones.h5"))


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        pv.load(tmp_path)
