"""Piano-rolls from files of every layout."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rollfiles import LAYOUTS, NOTES, as_mat, as_npz, as_rolls, changed, prepared, refused, same

from pyro_vrnn.data.sources import matfile, pianoroll
from pyro_vrnn.system.errors import DataError


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rolls(tmp_path: Path, layout: str) -> None:
    assert same(prepared(tmp_path, LAYOUTS[layout]()), as_rolls(NOTES))


def test_a_pickle_of_python_2(tmp_path: Path) -> None:
    """Its strings are byte strings, its numbers end in L."""
    data = b"(dp0\nS'train'\np1\n(lp2\n(lp3\n(I60\nI64\ntp4\naasS'valid'\np5\n(lp6\nsS'test'\np7\n"
    data += b"(lp8\n(lp9\n(L61L\ntp10\naas."
    got = prepared(tmp_path, data)
    assert same(got, as_rolls({"train": [[(60, 64)]], "valid": [], "test": [[(61,)]]}))


def test_lists_for_tuples_and_back(tmp_path: Path) -> None:
    data = pickle.dumps({s: tuple([list(step) for step in seq] for seq in v) for s, v in NOTES.items()})
    assert same(prepared(tmp_path, data), as_rolls(NOTES))


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({"train": NOTES["train"], "test": [], "valid": None}, "'valid' is missing"),
        ({"train": NOTES["train"], "test": [], "validation": []}, "'valid' is missing"),
        ({"train": NOTES["train"]}, "'test' is missing"),
        (changed("train", {"a": 1}), "'train' is missing or not a list"),
        (changed("test", [[]]), "test sequence 0 is not a list of 1 step or more"),
        (changed("test", [[(60,)], "ab"]), "test sequence 1 is not a list"),
        (changed("valid", [[(60,), 61]]), "valid sequence 0, step 1 is not a list"),
        (changed("valid", [[(60,), (20,)]]), "valid sequence 0, step 1 has the note 20, not from 21 to 108"),
        (changed("valid", [[(109,)]]), "has the note 109"),
        (changed("valid", [[(60.0,)]]), "has a float where a note should be"),
        (changed("valid", [[(True,)]]), "has a bool"),
        (changed("valid", [[(None,)]]), "has a NoneType"),
        (changed("valid", [[([],)]]), "has a list"),
        (changed("valid", [[tuple([60] * 200)]]), "at most 88 notes"),
    ],
)
def test_note_lists_that_are_not(tmp_path: Path, notes: Any, words: str) -> None:
    assert words in refused(tmp_path, json.dumps(notes).encode())
    message = refused(tmp_path, pickle.dumps(notes))
    assert words in message or "has the instruction" in message  # True, None and floats are not plain


def test_a_set_that_is_a_list_or_empty(tmp_path: Path) -> None:
    assert "is a list, not a dict" in refused(tmp_path, pickle.dumps(NOTES["train"]))
    (tmp_path / "source.bin").write_bytes(json.dumps(changed("train", [])).encode())
    with pytest.raises(DataError, match="no training sequence"):
        pianoroll.prepare(tmp_path / "out.h5", tmp_path / "source.bin")
    assert os.listdir(tmp_path) == ["source.bin"]


BAD_NPZ = {
    "no length array": ({"valid_len": None}, "no array 'valid_len'"),
    "no array": ({"test": None}, "no array 'test'"),
    "lengths do not add up": ({"train_len": np.array([1, 2])}, "its lengths add up to 3"),
    "a zero length": ({"train_len": np.array([0, 3, 1])}, "its lengths add up to 4"),
    "a negative length": ({"train_len": np.array([-1, 5])}, "its lengths add up to 4"),
    "an overflowing length": ({"train_len": np.array([2**63 - 1, 2**63 - 1, 6])}, "its lengths add up to"),
    "float lengths": ({"train_len": np.array([3.0, 1.0])}, "train_len is not a list of whole numbers"),
    "a matrix of lengths": ({"train_len": np.array([[3, 1]])}, "train_len is not a list of whole numbers"),
    "87 columns": ({"test": np.zeros((2, 87), "u1")}, "test sequence 0 is uint8 [2, 87]"),
    "one dimension": ({"test": np.zeros(2, "u1")}, "test has shape [2]"),
    "a velocity": ({"test": np.full((2, 88), 64, "u1")}, "test sequence 0, step 0: 64 is not 0 or 1"),
    "NaN": ({"test": np.full((2, 88), np.nan)}, "test sequence 0, step 0: nan is not 0 or 1"),
    "text": ({"test": np.full((2, 88), "a")}, "test sequence 0 is <U1"),
    "objects": ({"test": np.full((2, 88), None)}, "Object arrays cannot be loaded"),
}


@pytest.mark.parametrize("fault", BAD_NPZ)
def test_npz_that_are_not(tmp_path: Path, fault: str) -> None:
    changes, words = BAD_NPZ[fault]
    assert words in refused(tmp_path, as_npz(as_rolls(NOTES), **changes))


def test_mat_that_are_not(tmp_path: Path) -> None:
    splits = as_rolls(NOTES)
    cell = np.empty((1, 1), object)
    cell[0, 0] = np.full((2, 88), np.nan)
    assert "no cell array 'testdata'" in refused(tmp_path, as_mat(splits, testdata=None))
    assert "no cell array 'testdata'" in refused(tmp_path, as_mat(splits, testdata=np.zeros((2, 88))))
    assert "test sequence 0, step 0: nan is not 0 or 1" in refused(tmp_path, as_mat(splits, testdata=cell))
    cell[0, 0] = np.array([["a"]])
    assert "a cell holds class 4, not numbers" in refused(tmp_path, as_mat(splits, testdata=cell))
    cell[0, 0] = np.full((2, 88), 1j)
    assert "complex numbers" in refused(tmp_path, as_mat(splits, testdata=cell))
    cell[0, 0] = np.zeros((0, 0))
    assert "test sequence 0 is float64 [0, 0]" in refused(tmp_path, as_mat(splits, testdata=cell))
    inner = cell.copy()
    cell[0, 0] = inner
    assert "a cell holds class 1, not numbers" in refused(tmp_path, as_mat(splits, testdata=cell))


@pytest.mark.parametrize("dtype", ["f8", "f4", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
@pytest.mark.parametrize("compress", [True, False])
def test_mat_files_as_scipy_reads_them(tmp_path: Path, dtype: str, compress: bool) -> None:
    """Every type of number, names and sizes short and long, and variables that are passed over."""
    from scipy.io import loadmat, savemat

    cells = np.empty((2, 3), object)
    for i, size in enumerate([(1, 1), (2, 3), (5, 1), (1, 9), (4, 4), (0, 3)]):
        cells.flat[i] = np.arange(np.prod(size)).reshape(size).astype(dtype)
    others = {"x": np.eye(3), "text": "abc", "record": {"a": 1.0}, "a_long_name_for_a_variable": cells}
    path = tmp_path / "x.mat"
    savemat(path, {"c": cells, **others}, do_compression=compress)
    got = matfile.read_cells(path.read_bytes(), 10**6)
    want = loadmat(path)
    assert set(got) == {"c", "a_long_name_for_a_variable"}
    for name, arrays in got.items():
        for ours, theirs in zip(arrays, want[name].ravel(order="F"), strict=True):
            assert ours.shape == theirs.shape
            np.testing.assert_array_equal(ours, theirs)


def test_a_mat_file_of_the_other_byte_order() -> None:
    def part(kind: int, content: bytes) -> bytes:
        return struct.pack(">II", kind, len(content)) + content + bytes(-len(content) % 8)

    def array(kind: int, size: tuple[int, int], name: bytes, *parts: bytes) -> bytes:
        flags, dims = part(6, struct.pack(">II", kind, 0)), part(5, struct.pack(">ii", *size))
        return part(14, flags + dims + part(1, name) + b"".join(parts))

    numbers = array(6, (2, 3), b"", part(9, np.arange(6, dtype=">f8").tobytes()))
    small = array(6, (1, 2), b"", struct.pack(">I", 2 << 16 | 2) + b"\x07\x08\0\0")  # two uint8 in the tag
    data = bytes(124) + b"\x01\x00MI" + array(1, (1, 2), b"c", numbers, small)
    first, second = matfile.read_cells(data, 100)["c"]
    np.testing.assert_array_equal(first, [[0, 2, 4], [1, 3, 5]])
    np.testing.assert_array_equal(second, [[7, 8]])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"some notes\n" * 50, "none of the layouts"),
        (b"{", "JSON that cannot be read"),
        (b'{"train": NaN', "JSON that cannot be read"),
        (b'{"a":' * 100_000, "JSON that cannot be read"),
        (b'{"train": "\xff"}', "JSON that cannot be read"),
        (b"PK\x03\x04" + bytes(100), "an npz that cannot be read"),
        (b"MATLAB 5.0 MAT-file" + bytes(200), "a .mat that cannot be read"),
        (b"MATLAB 7.3 MAT-file", "an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"\x93NUMPY\x01\x00", "none of the layouts"),
        (b"\x80\x04.", "a pickle that is not read"),
        (b"\x80\x04]", "a pickle that is not read"),
    ],
)
def test_what_is_none_of_the_layouts(tmp_path: Path, data: bytes, words: str) -> None:
    assert words in refused(tmp_path, data)


def test_what_is_not_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")  # opening it would hang
    (tmp_path / "folder").mkdir()
    words_of = {"fifo": "not a regular file", "folder": "a folder", "gone": "No such file", "a\0b": "null byte"}
    for name, words in words_of.items():
        with pytest.raises(DataError, match=words) as error:
            pianoroll.prepare(tmp_path / "x.h5", tmp_path / name)
        assert error.value.exit_code == 3
        assert error.value.hint
    assert "jsb" in error.value.hint
    assert not (tmp_path / "x.h5").exists()
