"""A run knows its data by what it holds: moved or made again it is the same, and anything else is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from datafiles import write
from fits import fit, losses, weights
from small import make_rolls, write_audio, write_small

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.config import resolve
from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.runs import content as content_module
from pyro_vrnn.runs.comparison import compare
from pyro_vrnn.runs.content import Content, content_of
from pyro_vrnn.runs.folder import read_content
from pyro_vrnn.runs.train import check
from pyro_vrnn.system.errors import CheckpointError, DataError
from pyro_vrnn.training.observer import Observer


class Hears(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def said(self, message: str) -> None:
        self.heard.append(message)


def call(argv: list[str]) -> int:
    return cli._run(argv)


def rolls(path: Path, **changes: Any) -> Path:
    """The small piano-rolls, with something said or written otherwise."""
    splits = {s: make_rolls(n, i) for i, (s, n) in enumerate([("train", 24), ("valid", 6), ("test", 7)])}
    splits |= changes.pop("splits", {})
    given: dict[str, Any] = {
        "ids": {s: [f"{s}-{i}" for i in range(len(v))] for s, v in splits.items()},
        "kind": "pianoroll",
        "support": "binary",
        "steps_per_second": 2.0,
        "source": "made by a test",
        "licence": "none",
        "extra": {"lowest_pitch": 40},
        "overwrite": True,
    }
    write_sequences(path, splits, **{**given, **changes})
    return path


def test_what_counts_and_what_does_not(tmp_path: Path) -> None:
    first = content_of(rolls(tmp_path / "a.h5"))
    told = {
        "source": "elsewhere",
        "licence": "CC0",
        "options": {"seed": 3},
        "extra": {"lowest_pitch": 40, "skipped": []},
    }
    assert content_of(rolls(tmp_path / "b.h5", **told)) == first
    assert Content.from_dict(json.loads(json.dumps(first.as_dict()))) == first
    for broken in (None, {}, {"facts": 3}, first.as_dict() | {"content": "0"}):
        assert Content.from_dict(broken) is None
    flipped = make_rolls(6, 1)
    flipped[2][1, 3] ^= 1
    ids = {s: [f"{s}-{i}" for i in range(n)] for s, n in [("train", 24), ("valid", 6), ("test", 7)]}
    cut = make_rolls(7, 2)
    cut = [np.concatenate(cut[:2])[:5], np.concatenate(cut[:2])[5:], *cut[2:]]
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"splits": {"valid": flipped}}, ["values of valid differ"]),
        ({"splits": {"test": cut}}, ["lengths of test differ"]),
        ({"ids": ids | {"valid": list("abcdef")}}, ["ids of valid differ"]),
        ({"steps_per_second": 4.0}, ["steps_per_second: 2.0 there, 4.0 here"]),
        ({"extra": {"lowest_pitch": 41}}, ["lowest_pitch: 40 there, 41 here"]),
        ({"extra": {"lowest_pitch": 40, "pitches": [*range(40, 51)]}}, ["pitches differs"]),
    ]
    for changes, differences in cases:
        assert first.differences(content_of(rolls(tmp_path / "c.h5", **changes))) == differences
    steps = sum(map(len, make_rolls(24, 0)))
    fewer = content_of(rolls(tmp_path / "c.h5", splits={"train": make_rolls(24, 0)[:20]}))
    few = sum(map(len, make_rolls(24, 0)[:20]))
    assert first.differences(fewer) == [f"train: 24 sequences of {steps} steps there, 20 of {few} here"]


def test_missing_values_count(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(9, 2)).astype("f4")
    holed, zeroed = x.copy(), x.copy()
    holed[3, 1], zeroed[3, 1] = np.nan, 0
    parts = {"train": [x], "valid": [x]}
    write(tmp_path / "a.h5", parts | {"test": [holed]}, missing=True)
    write(tmp_path / "b.h5", parts | {"test": [zeroed]}, missing=True)
    assert content_of(tmp_path / "a.h5").differences(content_of(tmp_path / "b.h5")) == ["values of test differ"]


@pytest.mark.parametrize("steps", [1, 40_000, 65_536, 150_001])
def test_the_checksums_of_the_file_are_those_of_the_values(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same values in chunks of another size, or without checksums, are the same content."""
    random = np.random.default_rng(steps)
    for dtype, kind in (("i2", "audio"), ("f4", "vectors")):
        x = (1000 * random.normal(size=(steps, 3))).astype(dtype)
        path, other = tmp_path / f"{dtype}.h5", tmp_path / f"{dtype}-again.h5"
        write(path, {"train": [x], "valid": [x[:1]], "test": []}, kind=kind)
        with monkeypatch.context() as patch:
            patch.setattr(content_module, "_summed", None)  # none is summed here
            found = content_of(path)
        with h5py.File(path) as old, h5py.File(other, "w", libver=("v110", "v110")) as new:
            for name, value in old.attrs.items():
                new.attrs.create(name, value, dtype=old.attrs.get_id(name).dtype)
            for split in SPLITS:
                for name, data in old[split].items():
                    chunks = (min(777, max(1, len(data))), *data.shape[1:])
                    grows = (None, *data.shape[1:])
                    new.create_dataset(f"{split}/{name}", data=data, chunks=chunks, maxshape=grows, fletcher32=True)
        assert content_of(other) == found


@pytest.mark.fault(60)
def test_moved_or_made_again_it_resumes_bit_for_bit(tmp_path: Path) -> None:
    fit(write_small(tmp_path / "whole.h5"), tmp_path / "whole", max_steps=6)
    data = write_small(tmp_path / "small.h5")
    fit(data, tmp_path / "a", max_steps=3)
    (tmp_path / "disk").mkdir()
    moved = data.rename(tmp_path / "disk" / "moved.h5")
    ears = Hears()
    fit(moved, tmp_path / "a", max_steps=4, observer=ears)
    assert [line for line in ears.heard if line.startswith("data:")] == [f"data: the same content, now at {moved}"]
    moved.unlink()
    again = write_small(tmp_path / "again.h5")
    run = fit(again, tmp_path / "a", max_steps=6)
    assert run.config.data.path == str(again)
    assert losses(tmp_path / "a") == losses(tmp_path / "whole")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "a")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_it_is_found_below_data_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_small(tmp_path / "small.h5")
    fit(data, tmp_path / "a", max_steps=2)
    data.unlink()
    with pytest.raises(DataError, match="no such data file") as error:
        fit(data, tmp_path / "a", max_steps=3)
    assert "data/small.h5" in error.value.hint
    write_small(tmp_path / "data" / "small.h5", seed=3)
    with pytest.raises(CheckpointError, match="not the data"):
        fit(data, tmp_path / "a", max_steps=3)
    write_small(tmp_path / "data" / "small.h5")
    ears = Hears()
    assert fit(data, tmp_path / "a", max_steps=3, observer=ears).result.steps == 3
    assert f"data: the same content, now at {tmp_path / 'data' / 'small.h5'}" in ears.heard


def test_a_run_of_data_by_its_name_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    write_small(Path("data/songs.h5"))
    named = Path("songs")  # as recipes name it: data/songs.h5
    fit(named, tmp_path / "a", max_steps=2)
    assert fit(named, tmp_path / "a", max_steps=3).result.steps == 3


@pytest.mark.fault(60)
@pytest.mark.parametrize("where", ["small.h5", "other.h5"])
def test_other_content_is_refused_with_the_difference(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_small(tmp_path / "small.h5")
    fit(data, tmp_path / "a", max_steps=2)
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    other = write_small(tmp_path / where, train=20)
    with pytest.raises(CheckpointError, match=r"train: 24 sequences of \d+ steps there, 20 of \d+ here") as error:
        fit(other, tmp_path / "a", max_steps=3)
    assert "--init-from" in error.value.hint
    assert str(other) in error.value.message
    with pytest.raises(CheckpointError, match="20 of"):
        check(resolve(str(tmp_path / "a"), flags={"data.path": str(other)}), out=tmp_path / "a")
    argv = ["train", str(tmp_path / "a" / "config.toml"), "--data", str(other), "--out", str(tmp_path / "a")]
    assert call([*argv, "--dry-run"]) == call(argv) == 4
    assert "20 of" in capsys.readouterr().err
    left = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert {k: v for k, v in left.items() if k.name != "log.txt"} == {
        k: v for k, v in before.items() if k.name != "log.txt"
    }


def test_a_dry_run_says_where_the_data_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_small(tmp_path / "small.h5")
    fit(data, tmp_path / "a", max_steps=2)
    moved = data.rename(tmp_path / "moved.h5")
    argv = ["train", str(tmp_path / "a" / "config.toml"), "--out", str(tmp_path / "a"), "--dry-run"]
    assert call(argv) == 3
    assert call([*argv, "--data", str(moved)]) == 0
    assert f"data: the same content, now at {moved}\n" in capsys.readouterr().err
    assert pv.load(tmp_path / "a").config.data.path == str(data)


def test_evaluation_and_the_others_know_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data = write_small(tmp_path / "small.h5")
    run = str(fit(data, tmp_path / "a", max_steps=2).folder)
    (tmp_path / "data").mkdir()
    moved = data.rename(tmp_path / "data" / "small.h5")
    commands = [["evaluate", run], ["sample", run, "--num", "1", "--steps", "20", "--prime-index", "0"]]
    for command in [*commands, ["inspect", run]]:
        capsys.readouterr()
        assert call(command) == 0
        assert capsys.readouterr().err.count("data: the same content, now at data/small.h5\n") == 1
    elsewhere = moved.rename(tmp_path / "x.h5")
    assert call(["evaluate", run]) == 3
    assert "hint: put it there or at data/small.h5" in capsys.readouterr().err
    assert call(["evaluate", run, "--data", str(elsewhere)]) == 0
    assert f"data: the same content, now at {elsewhere}\n" in capsys.readouterr().err
    write_small(data, seed=5)
    for command in commands:
        assert call(command) == 3
        error = capsys.readouterr().err
        assert "not the data that" in error
        assert "values of" in error or "steps there" in error
    assert call(["evaluate", run, "--data", str(data)]) == 0  # other data of the same kind
    assert "the same content" not in capsys.readouterr().err


def test_a_run_from_before_is_as_it_was_and_learns_it(tmp_path: Path) -> None:
    data = write_audio(tmp_path / "tones.h5")
    settings = {"model.likelihood": "gaussian"}
    fit(data, tmp_path / "a", max_steps=2, settings=settings)
    made = json.loads((tmp_path / "a" / "environment.json").read_text())
    del made["data"]
    (tmp_path / "a" / "environment.json").write_text(json.dumps(made))
    moved = Path(shutil.copy(data, tmp_path / "moved.h5"))
    with pytest.raises(CheckpointError, match=r"data\.path"):
        fit(moved, tmp_path / "a", max_steps=3, settings=settings)
    assert read_content(tmp_path / "a") is None
    fit(data, tmp_path / "a", max_steps=3, settings=settings)
    assert read_content(tmp_path / "a") == content_of(data)
    assert fit(moved, tmp_path / "a", max_steps=4, settings=settings).result.steps == 4


def test_runs_on_the_same_content_are_compared_wherever_it_lies(tmp_path: Path) -> None:
    data, copy = write_small(tmp_path / "small.h5"), write_small(tmp_path / "copy.h5")
    for name, path in (("a", data), ("b", copy)):
        fit(path, tmp_path / name, epochs=1, seed=ord(name))
    write_small(data, seed=4)
    fit(data, tmp_path / "c", epochs=1)
    same = compare([tmp_path / "a", tmp_path / "b"], tmp_path)
    assert same["comparable"]
    assert [group["runs"] for group in same["groups"]] == [2]
    other = compare([tmp_path / "a", tmp_path / "c"], tmp_path)
    assert not other["comparable"]
    assert len({run["data"] for run in other["runs"]}) == 2
