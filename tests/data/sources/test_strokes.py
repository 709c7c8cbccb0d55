"""Pen drawings from arrays, MNIST stroke files and JSON: real, small and hostile."""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from penfiles import DRAWING, STEPS, as_arrays, digits, everything, moved, prepared, sequences

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import common, iamondb, strokes
from pyro_vrnn.data.sources.drawings import joined
from pyro_vrnn.system.errors import ConfigError, DataError


def test_pen_digits(tmp_path: Path, shared: Path) -> None:
    """7,494 and 3,498 drawings of 304,216 and 138,578 points; writers 26 to 30 are validation."""
    file = shared / "data" / "strokes_pendigits" / "pendigits_orig.npz"
    info = strokes.prepare(tmp_path / "x.h5", source=str(file), clip=1e6)
    counts = info.splits
    assert (info.kind, info.support, info.x_dim, info.steps_per_second) == ("strokes", "real", 3, None)
    assert counts["train"].sequences + counts["valid"].sequences == 7494
    assert counts["train"].steps + counts["valid"].steps == 304_216 - 7494
    assert (counts["test"].sequences, counts["test"].steps) == (3498, 138_578 - 3498)
    writers = np.load(file)["train_writer"]
    ids = list(sequences(info)["valid"])
    assert {int(writers[int(name.removeprefix("train-"))]) for name in ids} == {26, 27, 28, 29, 30}
    assert len(ids) == (writers > 25).sum()
    assert (info.extra["clipped_values"], info.extra["skipped_count"]) == (0, 0)
    np.testing.assert_allclose(info.std[:2], [8.93, 10.80], rtol=0.05)  # README: of all training writers
    first = np.load(file)["train"][:3].astype(float)
    train = sequences(info)["train"]["train-0"]
    np.testing.assert_array_equal(train[:2, :2], np.diff(first[:, :2], axis=0))


def test_omniglot(tmp_path: Path, shared: Path) -> None:
    """2,720 drawings of 375,709 points by drawers 1-16, 17-18, 19-20; one is of two dots only."""
    file = shared / "data" / "strokes_omniglot" / "omniglot_small1.npz"
    info = strokes.prepare(tmp_path / "x.h5", source=str(file))
    assert [info.splits[s].sequences for s in SPLITS] == [2176 - 1, 272, 272]
    dots = int(np.load(file)["length"][1701])
    assert sum(info.splits[s].steps for s in SPLITS) == 375_709 - 2720 - (dots - 1)
    assert info.extra["skipped"] == [{"id": "drawing-1701", "reason": "the pen is 1 at every point"}]
    drawer = np.load(file)["drawer"]
    for split, hands in zip(SPLITS, (range(1, 17), (17, 18), (19, 20)), strict=True):
        ids = sequences(info)[split]
        assert {int(drawer[int(name.removeprefix("drawing-"))]) for name in ids} == set(hands)
    assert 0 < info.extra["clipped_values"] < 0.01 * 375_709


# ------------------------------------------------------------------------------------------- layouts


def test_steps_of_every_layout(tmp_path: Path) -> None:
    """The same drawing, y upwards, in each; the first point gives no step."""
    assert everything(prepared(tmp_path, json.dumps([DRAWING]).encode())) == {"drawing-0": STEPS}
    assert everything(prepared(tmp_path, digits(1, 1))) == {"train-0": STEPS, "test-0": STEPS}
    points = joined(DRAWING)
    file = io.BytesIO()
    np.savez(file, points=points[:, :2].astype("f4"), pen_up=points[:, 2].astype("u1"), length=np.array([5]))
    assert everything(prepared(tmp_path, file.getvalue())) == {"drawing-0": STEPS}
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "trainimg-7-inputdata.txt").write_bytes(
        b"9 10 0 0\n1 -2 0 0\n2 -1 1 0\n0 -2 0 0\n4 4 1 1\n"  # y downwards
    )
    (tmp_path / "mnist" / "trainimg-7-points.txt").write_bytes(b"1,2\n")
    info = strokes.prepare(tmp_path / "x.h5", source=str(tmp_path / "mnist"), overwrite=True)
    assert everything(info) == {"trainimg-7": STEPS}
    assert info.source == "the folder mnist"


def test_mnist_files(tmp_path: Path) -> None:
    """Numbers in order, a twentieth of the training files for validation, the others' reasons."""
    folder = tmp_path / "sequences"
    folder.mkdir()
    for i in range(40):
        (folder / f"trainimg-{i}-inputdata.txt").write_bytes(b"9 10 0 0\n0 %d 0 0\n0 0 1 0\n1 -9 0 0\n0 0 1 1\n" % i)
    for i in range(5):
        (folder / f"testimg-{i}-inputdata.txt").write_bytes(b"9 10 0 0\n0 1 0 0\n0 0 1 1\n")
    bad = {
        "trainimg-90": (b"", "0 points; 2 to 100000 can be used"),
        "trainimg-91": (b"9 10 0 0\n", "1 points; 2 to 100000 can be used"),
        "trainimg-92": (b"9 10 0 0\n0 1 0\n", "line 2 has 3 columns, not dx dy eos eod"),
        "trainimg-93": (b"9 10 0 0\n0 nan 1 1\n", "point 0 or 1 is not finite, or too far away"),
        "trainimg-94": (b"9 10 0 0\n0 1 0 0\n", "the pen is 0 at every point"),
        "trainimg-95": (b"9 10 0 0\n0 1 2 0\n", "a pen of 2, not 0 or 1"),
        "trainimg-96": (b"9 10 0 0\na b c d\n", "could not convert string to float"),
        "trainimg-97": (b"9 10 0 0\n\xff 1 1 1\n", "can't decode byte 0xff"),
        "trainimg-98": (b"0 1 0 0\n" * 150_000, "150000 points; 2 to 100000"),
        "trainimg-99": (b"0 1 0 0\n" * 300_000, "2400000 bytes; at most"),
    }
    for name, (data, _) in bad.items():
        (folder / f"{name}-inputdata.txt").write_bytes(data)
    os.mkfifo(folder / "testimg-9-inputdata.txt")  # opening it would hang
    told: list[tuple[int, int]] = []
    info = strokes.prepare(tmp_path / "x.h5", source=str(folder), progress=lambda *n: told.append(n))
    assert [info.splits[s].sequences for s in SPLITS] == [38, 2, 5]
    assert info.extra["carved"] == "5% of train"
    assert told[-1] == (56, 56)
    assert all("/" not in name and name.startswith("trainimg") for name in sequences(info)["valid"])
    skipped = {skip.get("file", skip.get("id", "")): skip["reason"] for skip in info.extra["skipped"]}
    assert info.extra["skipped_count"] == len(skipped) == 11
    for name, (_, reason) in bad.items():
        assert reason in skipped.get(name, "") + skipped.get(f"{name}-inputdata.txt", "")
    assert skipped["testimg-9-inputdata.txt"] == "not a plain file"
    with pytest.raises(DataError, match=r"testimg-9-inputdata\.txt: not a plain file"):
        strokes.prepare(tmp_path / "y.h5", source=str(folder), strict=True)
    assert not (tmp_path / "y.h5").exists()


def test_writers_and_seeds(tmp_path: Path) -> None:
    """By writer where they are known, else by the seed; never from the test drawings."""
    info = prepared(tmp_path, digits())
    assert list(sequences(info)["valid"]) == ["train-5", "train-11"]
    assert list(sequences(info)["test"]) == ["test-0", "test-1", "test-2"]
    by_seed = [list(sequences(prepared(tmp_path, digits(train_writer=None), seed=s))["valid"]) for s in (1, 1, 2, 3)]
    assert by_seed[0] == by_seed[1]
    assert len({tuple(ids) for ids in by_seed}) > 1
    assert all(len(ids) == 1 for ids in by_seed)
    assert "carved" not in info.extra
    info = prepared(tmp_path, digits(100, train_writer=None))
    assert [info.splits[s].sequences for s in SPLITS] == [95, 5, 3]
    assert info.extra["carved"] == "5% of train"
    valid = as_arrays([DRAWING], "valid")
    info = prepared(tmp_path, digits(train_writer=None, **valid))
    assert (list(sequences(info)["valid"]), info.extra.get("carved")) == (["valid-0"], None)


@pytest.mark.parametrize(
    ("hands", "valid", "test", "expected"),
    [
        ([1, 1], 6, None, ["train", "train"]),
        ([4, 9], 6, None, ["train", "valid"]),
        ([4, 9], 10, 10, ["train", "test"]),
        ([3, 2, 1, 3], 10, 10, ["test", "valid", "train", "test"]),
        (list(range(20)), 10, 10, ["train"] * 16 + ["valid"] * 2 + ["test"] * 2),
    ],
)
def test_by_hand(hands: list[int], valid: int, test: int | None, expected: list[str]) -> None:
    assert strokes.by_hand(np.array(hands), valid, test) == expected


def test_clipping_knows_the_training_split_alone(tmp_path: Path) -> None:
    """A far point in test changes nothing in train; in both it is cut at 10 deviations and counted."""
    drawings = [moved(i) for i in range(30)]
    far = [[[0, 0], [9000, 1], [9001, 2]]]
    plain = prepared(tmp_path, digits(30, 3))
    info = prepared(tmp_path, digits(30, 3, **as_arrays([far], "test")))
    np.testing.assert_array_equal(info.mean, plain.mean)
    np.testing.assert_array_equal(info.std, plain.std)
    assert (plain.extra["clipped_values"], info.extra["clipped_values"]) == (0, 1)
    expected = info.mean[0] + 10 * info.std[0]
    assert sequences(info)["test"]["test-0"][0, 0] == pytest.approx(expected, rel=1e-6)
    info = prepared(tmp_path, digits(30, 3, **as_arrays([[*drawings[0], *far], *drawings[1:]], "train")), clip=3)
    assert info.extra["clipped_values"] >= 1
    assert info.options["clip"] == 3
    assert max(np.abs(x).max() for x in sequences(info)["train"].values()) < 9000
    for bad in (0.5, float("nan")):
        with pytest.raises(ConfigError, match="clip"):
            prepared(tmp_path, digits(), clip=bad)


def test_a_line_straight_down_can_be_prepared(tmp_path: Path) -> None:
    """dx is always 0: no scale to clip by."""
    drawing = [[[0, 0], [0, 1], [0, 3]], [[0, 4], [0, 9]]]
    info = prepared(tmp_path, json.dumps([drawing] * 9 + [DRAWING]).encode(), seed=2)
    assert info.extra["clipped_values"] == 0


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    data = json.dumps([moved(i) for i in range(30)]).encode()
    first, other = (prepared(tmp_path, data, seed=s).path.read_bytes() for s in (1, 2))
    assert prepared(tmp_path, data, seed=1).path.read_bytes() == first
    assert other != first


# ------------------------------------------------------------------------------------------- bad input


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("drawing", "reason"),
    [
        ([], "0 points"),
        ([[]], "0 points"),
        ([[[1, 2]]], "1 points"),
        ([[[1, 2]], [[3, 4]]], "the pen is 1 at every point"),
        ([[[1, 2], [3, float("nan")]]], "point 0 or 1 is not finite"),
        ([[[1, 2], [3, 1e300]]], "not finite, or too far away"),
        ([[[1, 2], [3, 10**400]]], "not a list of strokes of [x, y]"),
        ([[[1, 2], [3]]], "not a list of strokes of [x, y]"),
        ([[[1, 2, 3], [3, 4, 5]]], "a stroke of shape [2, 3]"),
        ([[1, 2]], "a stroke of shape [2]"),
        ([[[1, "a"], [2, 3]]], "not a list of strokes of [x, y]"),
        ([[[1, None], [2, 3]]], "not finite"),
        ([[{"x": 1}]], "not a list of strokes of [x, y]"),
        (7, "not a list of strokes of [x, y]"),
        (None, "not a list of strokes of [x, y]"),
    ],
)
def test_drawings_that_are_not(tmp_path: Path, drawing: Any, reason: str) -> None:
    data = json.dumps([DRAWING] * 5 + [drawing]).encode()
    info = prepared(tmp_path, data)
    assert sum(info.splits[s].sequences for s in SPLITS) == 5
    [skip] = info.extra["skipped"]
    assert skip["id"] == "drawing-5"
    assert reason in skip["reason"]
    with pytest.raises(DataError, match="drawing-5"):
        prepared(tmp_path, data, strict=True)


def test_the_first_hundred_skips_are_listed(tmp_path: Path) -> None:
    info = prepared(tmp_path, json.dumps([DRAWING] * 5 + [[]] * 150).encode(), seed=4)
    assert (len(info.extra["skipped"]), info.extra["skipped_count"]) == (100, 150)
    with pytest.raises(DataError, match="no training sequence; 20 skipped") as error:
        prepared(tmp_path, json.dumps([[]] * 20).encode())
    assert "0 points" in error.value.hint


BAD_ARRAYS = {
    "no train": ({"train": None}, "array 'train' is missing"),
    "no lengths": ({"train_len": None}, "array 'train_len' is missing"),
    "lengths that do not add up": ({"train_len": np.array([1, 2])}, "array 'train_len' is wrong"),
    "a negative length": ({"train_len": np.array([-1, 61])}, "array 'train_len' is wrong"),
    "an overflowing length": ({"train_len": np.array([2**63 - 1, 2**63 - 1, 62])}, "array 'train_len' is wrong"),
    "float lengths": ({"train_len": np.array([60.0])}, "not a list of whole numbers"),
    "two columns": ({"train": np.zeros((60, 2))}, "train has 2 columns"),
    "text": ({"train": np.full((60, 3), "a")}, "array 'train' is <U1"),
    "objects": ({"train": np.full((60, 3), None)}, r"train is an array object \[60, 3\], not a list of drawings"),
    "writers of others": ({"train_writer": np.arange(3)}, "train_writer is not a whole number for each drawing"),
}


@pytest.mark.fault(39)
@pytest.mark.parametrize("fault", BAD_ARRAYS)
def test_arrays_that_are_not(tmp_path: Path, fault: str) -> None:
    changes, words = BAD_ARRAYS[fault]
    with pytest.raises(DataError, match=words) as error:
        prepared(tmp_path, digits(**changes))
    assert "source.bin" in error.value.message
    assert "\n" not in error.value.message
    assert os.listdir(tmp_path) == ["source.bin"]


@pytest.mark.fault(26)
def test_npz_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that are claimed are looked at first, and a claim that is too small is all that is unpacked."""
    data = digits()
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:  # 8 TB in a header of 100 bytes
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 3)})  # type: ignore[arg-type]
        archive.writestr("train.npy", header.getvalue())
    with pytest.raises(DataError, match="an npz that cannot be read"):
        prepared(tmp_path, file.getvalue())
    at = data.rindex(b"PK\x01\x02")
    lie = data[: at + 24] + struct.pack("<I", 50) + data[at + 28 :]
    with pytest.raises(DataError, match="an npz that cannot be read"):
        prepared(tmp_path, lie)
    monkeypatch.setattr(common, "MAX_BYTES", 1000)
    with pytest.raises(DataError, match=r"it unpacks to \d+ bytes; at most 1000 are read"):
        prepared(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "none of the layouts"),
        (b"some words\n", "none of the layouts"),
        (b'{"train": []}', "none of the layouts"),
        (b"[1, 2", "JSON that cannot be read"),
        (b"[" * 100_000, "JSON that cannot be read"),
        (b'["\xff"]', "JSON that cannot be read"),
        (b"[]", "no training sequence"),
        (b"PK\x03\x04" + bytes(99), "an npz that cannot be read"),
    ],
)
def test_what_is_none_of_the_layouts(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words):
        prepared(tmp_path, data)


def test_sources_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("fifo", "empty", "loop", "gone", "a\0b"):
        for module in (strokes, iamondb):
            with pytest.raises(DataError) as error:
                module.prepare(tmp_path / "x.h5", source=str(tmp_path / name))
            assert error.value.hint
    (tmp_path / "x.h5").touch()
    for module in (strokes, iamondb):
        with pytest.raises(ConfigError, match="exists already"):
            module.prepare(tmp_path / "x.h5", source=str(tmp_path / "gone"))
