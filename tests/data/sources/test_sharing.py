"""Names of recordings, and how they are dealt out to the splits."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from soundfiles import ALL, X, encoded, ids, indexed, noise, prepared, put, samples

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.system.errors import ConfigError


@pytest.mark.fault(36)
def test_odd_names(tmp_path: Path) -> None:
    names = [b"-rf.wav", b"a\nb.wav", b"[bold]x.wav", b"\xff\xfe.wav", b"x" * 251 + b".wav", "né ü.wav".encode()]
    (tmp_path / "s").mkdir()
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/s/" + name)).write_bytes(encoded(X))
    deep = tmp_path / "s" / ("d" * 250) / ("e" * 250) / ("f" * 250) / ("g" * 250)
    deep.mkdir(parents=True)
    (deep / ("x" * 251 + ".wav")).write_bytes(encoded(X))  # its stem is there twice: known by its path
    info = prepared(tmp_path, tmp_path / "s", seconds=0.05)
    got = {i.partition("#")[0] for i in ids(info)}
    assert {"-rf", "a\nb", "[bold]x", "\\udcff\\udcfe", "x" * 251 + ".wav", "né ü"} < got
    assert max(len(i.encode()) for i in ids(info)) <= 1024
    assert len(ids(info)) == 3 * 7
    json.dumps(info.extra).encode()


def test_ids_of_namesakes(tmp_path: Path) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(X), a_flac=encoded(X, "FLAC"), b__a_wav=encoded(X), c_wav=encoded(X))
    assert ids(prepared(tmp_path, folder)) == ["a.flac", "a.wav", "c", "b/a.wav"]
    other = put(tmp_path / "t", a_wav=encoded(X))
    assert ids(prepared(tmp_path, [other, folder / "a.wav"])) == ["a.wav", "a.wav~2"]


def speakers(folder: Path, count: int = 10, each: int = 3) -> Path:
    """Recordings of so many speakers, in a folder each."""
    return put(
        folder,
        **{
            f"s{s}__part__r{r}x{s}_wav": encoded(noise(400, seed=100 * s + r))
            for s in range(count)
            for r in range(each)
        },
    )


def test_splits_are_drawn_by_the_seed(tmp_path: Path) -> None:
    folder = speakers(tmp_path / "s")
    info = prepared(tmp_path, folder, splits=(80, 10, 10))
    first = {split: ids(info, split) for split in SPLITS}
    assert [len(first[split]) for split in SPLITS] == [24, 3, 3]
    content = info.path.read_bytes()
    folder.rename(tmp_path / "elsewhere")
    moved = (tmp_path / "elsewhere").rename(tmp_path / "deeper").rename(folder)
    assert prepared(tmp_path, moved, splits=(80, 10, 10)).path.read_bytes() == content
    info = prepared(tmp_path, folder, splits=(80, 10, 10), seed=1)
    drawn = {split: ids(info, split) for split in SPLITS}
    assert drawn != first
    assert sorted(itertools.chain(*drawn.values())) == sorted(itertools.chain(*first.values()))


@pytest.mark.parametrize("given_as", ["folder", "folders", "files"])
def test_splits_by_speaker(tmp_path: Path, given_as: str) -> None:
    folder = speakers(tmp_path / "s")
    source: Any = {"folder": folder, "folders": sorted(folder.iterdir()), "files": sorted(folder.rglob("*.wav"))}[
        given_as
    ]
    info = prepared(tmp_path, source, splits=(80, 10, 10), split_by="folder")
    who = {split: {i.partition("x")[2] for i in ids(info, split)} for split in SPLITS}
    assert [len(who[split]) for split in SPLITS] == [8, 1, 1]
    assert len(set().union(*who.values())) == 10


def test_too_little_for_a_validation_split(tmp_path: Path) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X), c_wav=b"not sound")
    for split_by, words in (("file", "2 recordings that can be used"), ("folder", "1 folders that can be used")):
        with pytest.raises(ConfigError, match=f"{words} are too few for training, valid and test") as error:
            prepared(tmp_path, folder, splits=(90, 5, 5), split_by=split_by)
        assert "--splits 100,0,0" in error.value.hint
    assert [len(ids(prepared(tmp_path, folder, splits=(50, 0, 50)), split)) for split in SPLITS] == [1, 0, 1]


@pytest.mark.parametrize("seconds", [0.1, None], ids=["windows", "whole"])
def test_splits_by_time(tmp_path: Path, seconds: float | None) -> None:
    """Of a recording the start is for training and the end for test."""
    long, short = noise(200 * 8 * 20 + 650, seed=1), noise(390, seed=2)
    long[:200], long[-1000:-800] = 32767, -32768
    folder = put(tmp_path / "s", a_wav=encoded(short), long_wav=encoded(long))
    options: dict[str, Any] = {"splits": (80, 10, 10), "split_by": "time", "seconds": seconds, "normalise": "range"}
    told: list[tuple[int, int]] = []
    info = prepared(tmp_path, folder, **options, progress=lambda done, of: told.append((done, of)))
    found = {split: dict(zip(ids(info, split), samples(info, split), strict=True)) for split in SPLITS}
    joined = np.concatenate([x for split in SPLITS for name, x in found[split].items() if name.startswith("long")])
    np.testing.assert_array_equal(joined, long[: len(long) // 200 * 200])
    if seconds:
        assert [len(found[split]) for split in SPLITS] == [1 + 17, 2, 2]
        assert [*found["valid"], *found["test"]] == ["long#17", "long#18", "long#19", "long#20"]
    else:
        assert [*found["train"], *found["valid"], *found["test"]] == ["a", "long#train", "long#valid", "long#test"]
        assert [len(x) for split in SPLITS for x in found[split].values()] == [200, 132 * 200 - 200, 16 * 200, 16 * 200]
    assert (info.extra["low"], info.extra["high"]) == (min(x.min() for x in found["train"].values()), 32767)
    assert info.extra["tail_samples"] == {"train": 190, "valid": 0, "test": 50}
    assert info.extra["full_scale_samples"] == 400
    assert info.extra["recordings"] == {"train": 2, "valid": 1, "test": 1}
    assert told[-1] == (4, 4)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {of for _, of in told} == {4}


def test_clipped_samples_are_counted_once_however_a_recording_is_cut(tmp_path: Path) -> None:
    loud = np.concatenate([np.full(5000, 0.1), np.full(30, 1.5), np.full(5000, -0.1)])
    folder = put(tmp_path / "s", a_wav=encoded(loud, subtype="FLOAT"))
    for split_by in ("file", "time"):
        splits = (80, 10, 10) if split_by == "time" else ALL
        options = {"gain": "none", "clip": True}
        info = prepared(tmp_path, folder, splits=splits, split_by=split_by, seconds=0.1, **options)
        assert info.extra["clipped_samples"] == 30


@pytest.mark.parametrize(("each", "count", "shares"), [(3, 30, (82, 4, 4)), (1, 40, (36, 2, 2)), (2, 10, (18, 1, 1))])
def test_shares_by_time_are_of_all_windows(tmp_path: Path, each: int, count: int, shares: tuple[int, ...]) -> None:
    """However short the recordings are; and no window is in two splits."""
    folder = put(tmp_path / "s", **{f"r{i:02}_wav": encoded(noise(each * 1600, seed=i)) for i in range(count)})
    info = prepared(tmp_path, folder, splits=(90, 5, 5), split_by="time", seconds=0.1)
    found = [ids(info, split) for split in SPLITS]
    assert tuple(map(len, found)) == shares
    assert sorted(itertools.chain(*found)) == [f"r{i:02}#{k}" for i in range(count) for k in range(each)]
    last = {name.partition("#")[0]: int(name.partition("#")[2]) for name in found[0]}
    for name in [*found[1], *found[2]]:
        recording, _, k = name.partition("#")
        assert int(k) > last.get(recording, -1)


def test_too_short_to_be_cut_by_time(tmp_path: Path) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(X[:1600]), b_wav=encoded(X[:1600]))
    with pytest.raises(ConfigError, match="2 windows of sound are too few for training, valid and test splits"):
        prepared(tmp_path, folder, splits=(90, 5, 5), split_by="time", seconds=0.1)
    assert not list(tmp_path.glob("*.h5"))
    info = prepared(tmp_path, folder, splits=(50, 0, 50), split_by="time", seconds=0.1)
    assert [ids(info, split) for split in SPLITS] == [["a#0"], [], ["b#0"]]


def test_what_is_cut_by_time_goes_on_after_an_interruption(tmp_path: Path) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(noise(20_000, 1)), b_wav=encoded(noise(30_000, 2)))
    options: dict[str, Any] = {"splits": (80, 10, 10), "split_by": "time", "seconds": 0.1}
    whole = prepared(tmp_path, folder, **options).path.read_bytes()
    (tmp_path / "out.h5").unlink()
    for stop in (1, 2, 3):

        def interrupt(done: int, of: int, stop: int = stop) -> None:
            if done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepared(tmp_path, folder, **options, progress=interrupt)
        assert not (tmp_path / "out.h5").exists()
    assert prepared(tmp_path, folder, **options).path.read_bytes() == whole


def test_splits_of_the_source_are_not_cut_by_time(tmp_path: Path) -> None:
    rows = [["train", 0, 8000, "a", ""], ["test", 0, 4000, "b", ""]]
    folder = indexed(tmp_path / "s", rows, train=8000, test=4000)
    kept = [prepared(tmp_path, folder, splits=(80, 10, 10), split_by=by, seconds=0.1) for by in ("file", "time")]
    assert [{split: ids(info, split) for split in SPLITS} for info in kept] == [
        {"train": [f"a#{k}" for k in range(5)], "valid": [], "test": ["b#0", "b#1", "b#2"]}
    ] * 2


def test_moments_and_range_are_those_of_the_training_split(tmp_path: Path) -> None:
    """Whatever the test recordings hold."""
    folder = speakers(tmp_path / "s")
    options: dict[str, Any] = {"splits": (80, 10, 10), "normalise": "range", "frame": 150}
    before = prepared(tmp_path, folder, **options)
    train = np.concatenate(samples(before)).astype(float)
    np.testing.assert_allclose([before.mean[0], before.std[0]], [train.mean(), train.std()])
    assert (before.extra["low"], before.extra["high"]) == (train.min(), train.max())
    assert before.extra["tail_samples"] == {"train": 2400, "valid": 300, "test": 300}
    for split in ("valid", "test"):
        for name in ids(before, split):
            next(folder.rglob(f"{name}.wav")).write_bytes(encoded(np.full(400, 32767, np.int16)))
    after = prepared(tmp_path, folder, **options)
    assert ids(after, "test") == ids(before, "test")
    np.testing.assert_array_equal(samples(after, "test")[0], 32767)
    np.testing.assert_array_equal([after.mean, after.std], [before.mean, before.std])
    assert (after.extra["low"], after.extra["high"]) == (before.extra["low"], before.extra["high"])
    assert "low" not in prepared(tmp_path, folder).extra
