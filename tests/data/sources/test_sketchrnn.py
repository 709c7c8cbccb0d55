"""Sketch-rnn's files: by old and new Python, incomplete, damaged, hostile and huge."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from penfiles import (
    STEPS,
    Evil,
    as_moves,
    by_python_2,
    check_mutants,
    everything,
    mutants,
    npz_of,
    objects,
    prepared,
    sequences,
    sketches,
    watching,
)

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import common, sketchrnn
from pyro_vrnn.system.errors import DataError


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_splits_are_kept(tmp_path: Path, protocol: int) -> None:
    """y is turned up, the first point gives no step."""
    info = prepared(tmp_path, sketches(protocol), clip=1e6)
    assert [info.splits[s].sequences for s in SPLITS] == [12, 3, 3]
    assert everything(info)["train-0"] == everything(info)["valid-0"] == STEPS
    assert "carved" not in info.extra


def test_numpy_s_own(tmp_path: Path) -> None:
    """As numpy.savez writes them, int16 and floats."""
    for dtype in (np.int16, np.float32, np.float64):
        file = io.BytesIO()
        np.savez(file, **{part: objects([as_moves(i, dtype) for i in range(4)]) for part in SPLITS})
        assert everything(prepared(tmp_path, file.getvalue(), clip=1e6))["test-0"] == STEPS


def test_python_2(tmp_path: Path) -> None:
    """Its header may say `12L`."""
    parts = {part: by_python_2([as_moves(i) for i in range(3)]) for part in SPLITS}
    data = npz_of(parts, dict.fromkeys(SPLITS, 3), zipfile.ZIP_STORED)
    assert everything(prepared(tmp_path, data, clip=1e6))["train-0"] == STEPS
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for part, content in parts.items():
            header = b"{'descr': '|O', 'fortran_order': False, 'shape': (3L,), }".ljust(117) + b"\n"
            archive.writestr(f"{part}.npy", b"\x93NUMPY\x01\x00v\x00" + header + content)
    assert everything(prepared(tmp_path, file.getvalue(), clip=1e6))["train-0"] == STEPS


def test_validation_is_carved_where_it_is_missing(tmp_path: Path) -> None:
    def without(count: int, seed: int) -> Any:
        parts = {part: pickle.dumps(objects([as_moves(i) for i in range(count)])) for part in ("train", "test")}
        return prepared(tmp_path, npz_of(parts, dict.fromkeys(parts, count)), seed=seed)

    info = without(60, 0)
    assert [info.splits[s].sequences for s in SPLITS] == [57, 3, 60]
    assert info.extra["carved"] == "5% of train"
    first = [*sequences(info)["valid"]]
    assert all(name.startswith("train-") for name in first)
    assert [*sequences(without(60, 0))["valid"]] == first != [*sequences(without(60, 1))["valid"]]
    assert [without(2, 0).splits[s].sequences for s in SPLITS] == [1, 1, 2]
    info = without(1, 0)
    assert [info.splits[s].sequences for s in SPLITS] == [1, 0, 1]
    assert "carved" not in info.extra


def test_drawings_that_are_not(tmp_path: Path) -> None:
    bad = {
        "an array int16 [4], not [N, 3]": np.zeros(4, np.int16),
        "an array int16 [4, 5], not [N, 3]": np.zeros((4, 5), np.int16),
        "0 points": np.zeros((0, 3), np.int16),
        "a pen of 7, not 0 or 1": np.full((3, 3), 7, np.int16),
        "the pen is 0 at every point": np.zeros((3, 3), np.int16),
        "not finite": np.array([[0, 0, 0], [np.nan, 0, 0], [0, 0, 1]]),
        "too far away": np.full((3, 3), 1e308) * [1, 1, 0] + [0, 0, 1],
    }
    good = pickle.dumps(objects([as_moves(0)]))
    parts = {"train": pickle.dumps(objects([as_moves(0), *bad.values()])), "valid": good, "test": good}
    data = npz_of(parts, {"train": 8, "valid": 1, "test": 1})
    info = prepared(tmp_path, data)
    assert [info.splits[s].sequences for s in SPLITS] == [1, 1, 1]
    assert [skip["id"] for skip in info.extra["skipped"]] == [f"train-{i}" for i in range(1, 8)]
    for skip, reason in zip(info.extra["skipped"], bad, strict=True):
        assert reason in skip["reason"]
    with pytest.raises(DataError, match="train-1"):
        prepared(tmp_path, data, strict=True)


@pytest.mark.fault(62)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("part", SPLITS)
def test_a_hostile_pickle_is_not_run(tmp_path: Path, part: str, protocol: int) -> None:
    canary = tmp_path.parent / f"canary-{part}-{protocol}"
    parts = {name: pickle.dumps(objects([as_moves(0)] * 3)) for name in SPLITS}
    parts[part] = pickle.dumps(objects([as_moves(0), Evil(canary), as_moves(1)]), protocol)
    data = npz_of(parts, dict.fromkeys(SPLITS, 3))
    with watching() as seen, pytest.raises(DataError, match=r"it names (posix|nt)\.mkdir"):
        prepared(tmp_path, data)
    assert {Path(name).parent for _, name in seen} == {tmp_path}
    assert not canary.exists()
    np.load(io.BytesIO(data), allow_pickle=True)[part]  # and it does mean harm
    assert canary.exists()
    canary.rmdir()


def test_other_arrays_are_not_looked_at(tmp_path: Path) -> None:
    canary = tmp_path.parent / "canary-other"
    parts = {name: pickle.dumps(objects([as_moves(0)] * 3)) for name in SPLITS}
    data = npz_of(parts | {"more": pickle.dumps(Evil(canary))}, dict.fromkeys([*SPLITS, "more"], 3))
    assert prepared(tmp_path, data).splits["train"].sequences == 3
    assert not canary.exists()


def claim(shape: str, content: bytes, descr: str = "'|O'") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        archive.writestr("train.npy", b"\x93NUMPY\x01\x00v\x00" + header.encode() + content)
    return file.getvalue()


THREE = pickle.dumps(objects([as_moves(0)] * 3))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (claim("(1000000000000,)", THREE), "train is not 1000000000000 drawings"),
        (claim("(2,)", THREE), "train is not 2 drawings"),
        (claim("(3, 1)", THREE), r"train is an array object \[3, 1\], not a list of drawings"),
        (claim("(3,)", THREE, "[('a', 'O')]"), "not a list of drawings"),
        (claim("(3,)", THREE[:-9]), "damaged|array"),
        (claim("(3,)", b""), "damaged"),
        (claim("(5,)", pickle.dumps(as_moves(0))), "train is not 5 drawings"),
        (claim("(1,)", pickle.dumps(objects([objects([as_moves(0)])]))), "item 0 is no array of numbers"),
        (claim("(1,)", pickle.dumps(objects([5]))), "item 0 is no array of numbers"),
        (claim("(0,)", pickle.dumps(objects([]))), "no training sequence"),
    ],
    ids=range(10),
)
def test_files_that_do_not_add_up(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        prepared(tmp_path, data)


def test_parts_that_are_missing_or_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="array 'train' is missing"):
        prepared(tmp_path, npz_of({"test": THREE}, {"test": 3}))
    for valid, reason in ((np.zeros((2, 3)), r"valid has no drawings, but numbers \[2, 3\]"), (np.zeros(0), None)):
        file = io.BytesIO()
        np.savez(file, train=objects([as_moves(0)] * 3), valid=valid)
        if reason:
            with pytest.raises(DataError, match=reason):
                prepared(tmp_path, file.getvalue())
        else:
            assert prepared(tmp_path, file.getvalue()).splits["valid"].sequences == 1


def test_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is claimed is looked at first; an archive that says less than it holds gives no more than it said."""
    data = sketches()
    at = data.rindex(b"PK\x01\x02")
    lie = data[: at + 24] + struct.pack("<I", 200) + data[at + 28 :]
    with pytest.raises(DataError, match="an npz that cannot be read"):
        prepared(tmp_path, lie)
    shared = as_moves(0)
    many = claim("(9000,)", pickle.dumps(objects([shared] * 9000)))  # one array, said again and again
    monkeypatch.setattr(sketchrnn, "MOST_POINTS", 9000)
    with pytest.raises(DataError, match="9000 drawings of 45000 points in all"):
        prepared(tmp_path, many)
    monkeypatch.setattr(sketchrnn, "MOST_POINTS", 10**6)
    monkeypatch.setattr(sketchrnn, "MOST_DRAWINGS", 100)
    with pytest.raises(DataError, match="9000 drawings"):
        prepared(tmp_path, many)
    for module in (sketchrnn, common):
        monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"it unpacks to \d+ bytes; at most 1000 are read"):
        prepared(tmp_path, data)


def test_a_thousand_mutants(tmp_path: Path) -> None:
    """Of the archive as it is packed, and of the arrays in it."""
    stored = sketches(4, train=3, others=1, method=zipfile.ZIP_STORED)
    read, refused = check_mutants(tmp_path, "a.npz", mutants(stored, 4, 300))
    assert read + refused == 300
    train = {name: pickle.dumps(objects([as_moves(i) for i in range(3)])) for name in ("train", "test")}
    for i, content in enumerate((train["train"], by_python_2([as_moves(i) for i in range(3)]))):
        packed = (npz_of(train | {"train": bad}, {"train": 3, "test": 3}) for bad in mutants(content, i, 350))
        read, refused = check_mutants(tmp_path, "a.npz", packed)
        assert min(read, refused) > 10
