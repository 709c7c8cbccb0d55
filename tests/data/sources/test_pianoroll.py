"""The standard sets of piano-rolls, at hand and downloaded."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import urllib.error
from pathlib import Path

import numpy as np
import pytest
from rollfiles import NOTES, SETS, as_mat, as_npz, as_rolls
from stored import sequences

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.description import describe
from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import SOURCES, pianoroll, rolls
from pyro_vrnn.system.errors import ConfigError, DataError


@pytest.mark.parametrize("file", SETS)
def test_standard_sets(tmp_path: Path, shared: Path, file: str) -> None:
    """Recognised by content; the counts and baselines of their README."""
    name, independent, last = SETS[file]
    info = pianoroll.prepare(tmp_path / "x.h5", shared / "data" / "pianoroll" / f"{file}.npz")
    about = describe(info.path)
    assert about["recognised"] == name
    assert pianoroll.KNOWN[name].title in info.source
    assert tuple(about["splits"][split]["steps"] for split in SPLITS) == pianoroll.KNOWN[name].steps
    assert round(about["floors"]["independent"], 2) == independent
    assert round(about["floors"]["last"], 2) == last
    assert (info.kind, info.support, info.x_dim, info.extra["lowest_pitch"]) == ("pianoroll", "binary", 88, 21)


def test_jsb_as_its_readme_counts_it(tmp_path: Path, shared: Path) -> None:
    file = shared / "data" / "pianoroll" / "jsb_chorales.npz"
    about = describe(pianoroll.prepare(tmp_path / "x.h5", file).path)
    assert [about["splits"][s]["sequences"] for s in SPLITS] == [229, 76, 77]
    assert max(about["splits"][s]["longest"] for s in SPLITS) == 160
    assert about["columns_used"] == 52
    assert round(about["splits"]["test"]["ones_per_step"], 1) == 3.9
    assert round(about["splits"]["test"]["repeated_steps"], 2) == 0.11
    data = SequenceDataset(tmp_path / "x.h5", "test")
    z = np.load(file)
    np.testing.assert_array_equal(data[data.find("test-1")], z["test"][data.lengths[0] : data.lengths[:2].sum()])


def test_a_set_with_other_content_is_not_taken_for_the_standard_one(tmp_path: Path, shared: Path) -> None:
    z = dict(np.load(shared / "data" / "pianoroll" / "jsb_chorales.npz"))
    z["test"][0, 0] ^= 1
    np.savez(tmp_path / "x.npz", **z)
    info = pianoroll.prepare(tmp_path / "x.h5", tmp_path / "x.npz")
    assert info.extra["recognised"] == "same counts as jsb, other content"
    assert (info.source, info.licence) == ("the file x.npz", "unknown")


def test_preparing_twice_gives_the_same_bytes(tmp_path: Path, shared: Path) -> None:
    file = shared / "data" / "pianoroll" / "jsb_chorales.npz"
    for out in ("a.h5", "b.h5"):
        pianoroll.prepare(tmp_path / out, file)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


@pytest.mark.parametrize("layout", ["npz", "mat", "json", "pickle"])
def test_a_set_without_validation(tmp_path: Path, layout: str) -> None:
    """A twentieth of train by the seed, told in the file; with a validation split nothing changes."""
    notes = {"train": [[(60 + i,)] * 3 for i in range(40)], "test": NOTES["test"]}
    write = {
        "npz": lambda: as_npz(as_rolls(notes)),
        "mat": lambda: as_mat(as_rolls(notes)),
        "json": lambda: json.dumps(notes).encode(),
        "pickle": lambda: pickle.dumps(notes),
    }
    (tmp_path / "x").write_bytes(write[layout]())
    info = pianoroll.prepare(tmp_path / "x.h5", tmp_path / "x", seed=1)
    found = {split: list(sequences(info)[split]) for split in SPLITS}
    assert [len(found[split]) for split in SPLITS] == [38, 2, 1]
    assert sorted(found["train"] + found["valid"]) == sorted(f"train-{k}" for k in range(40))
    assert (info.extra["carved"], info.options["seed"]) == ("5% of train", 1)
    roll = sequences(info)["valid"][found["valid"][0]]
    assert roll[0].nonzero()[0] == 60 + int(found["valid"][0].removeprefix("train-")) - 21
    other = pianoroll.prepare(tmp_path / "y.h5", tmp_path / "x", seed=2)
    assert list(sequences(other)["valid"]) != found["valid"]


def test_a_validation_split_stays(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(NOTES))
    info = pianoroll.prepare(tmp_path / "x.h5", tmp_path / "x.json", seed=7)
    assert ("carved" in info.extra, info.options) == (False, {"source": "x.json"})
    assert [list(sequences(info)[split]) for split in SPLITS] == [["train-0", "train-1"], ["valid-0"], ["test-0"]]


# ------------------------------------------------------------------------------------------- downloads


class Answer(io.BytesIO):
    length: int | None = None


def test_a_known_name_is_downloaded_and_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    """The pickle of the set, made from the file that its README says is equal to it."""
    splits = rolls.parse_rolls((shared / "data/pianoroll/jsb_chorales.npz").read_bytes(), "")
    notes = {s: [[tuple(np.flatnonzero(t) + 21) for t in roll] for roll in v] for s, v in splits.items()}
    plainly = {s: [[tuple(map(int, t)) for t in x] for x in v] for s, v in notes.items()}
    content = pickle.dumps(plainly, 2)
    asked = []

    def answer(url: str, timeout: float) -> Answer:
        asked.append((url, timeout))
        reply = Answer(content)
        reply.length = len(content)
        return reply

    monkeypatch.setattr(pianoroll, "urlopen", answer)
    seen: list[tuple[int, int]] = []
    info = pianoroll.prepare(tmp_path / "x.h5", "jsb", progress=lambda *n: seen.append(n))
    assert asked[0][0].startswith("https://github.com/pyro-ppl/datasets/")
    assert 0 < asked[0][1] < 100
    assert seen[-1] == (len(content), len(content))
    assert info.extra["recognised"] == "jsb"
    assert info.options == {"source": "jsb"}

    content = pickle.dumps(NOTES)
    with pytest.raises(DataError, match="not the JSB chorales set") as error:
        pianoroll.prepare(tmp_path / "y.h5", "jsb")
    assert "pyro-vrnn prepare pianoroll FILE" in error.value.hint
    content = b"<html>sign in first</html>"
    with pytest.raises(DataError, match="none of the layouts"):
        pianoroll.prepare(tmp_path / "y.h5", "jsb")
    monkeypatch.setattr(pianoroll, "MAX_NOTE_LIST_BYTES", 10)
    with pytest.raises(DataError, match="more than 10 bytes"):
        pianoroll.prepare(tmp_path / "y.h5", "jsb")
    monkeypatch.undo()
    monkeypatch.setattr(pianoroll, "urlopen", answer)
    monkeypatch.setattr(pianoroll, "PATIENCE", -1)
    with pytest.raises(DataError, match="not done after"):
        pianoroll.prepare(tmp_path / "y.h5", "jsb")
    assert os.listdir(tmp_path) == ["x.h5"]


@pytest.mark.parametrize(
    "failure", [urllib.error.URLError("no route"), TimeoutError("timed out"), ConnectionResetError("reset")]
)
def test_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(url: str, timeout: float) -> None:
        raise failure

    monkeypatch.setattr(pianoroll, "urlopen", fail)
    with pytest.raises(DataError, match="nottingham cannot be downloaded") as error:
        pianoroll.prepare(tmp_path / "x.h5", "nottingham")
    assert "nottingham.pickle" in error.value.hint
    assert "FILE" in error.value.hint


def test_an_existing_file_is_refused_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.h5").touch()
    monkeypatch.setattr(pianoroll, "urlopen", None)
    monkeypatch.setitem(sys.modules, "music21", None)
    for make in (lambda path: pianoroll.prepare(path, "jsb"), SOURCES["chorales"]):
        with pytest.raises(ConfigError, match="exists already"):
            make(tmp_path / "x.h5")


def test_a_file_comes_before_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pianoroll, "urlopen", None)
    Path("jsb").write_bytes(json.dumps(NOTES).encode())
    assert pianoroll.prepare(tmp_path / "x.h5", "jsb").splits["train"].sequences == 2
