"""Raw files to data files: the standard sets, hostile and damaged sources, and Bach."""

from __future__ import annotations

import builtins
import io
import itertools
import json
import os
import pickle
import struct
import sys
import urllib.error
import zipfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.description import describe
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import SPLITS, Array
from pyro_vrnn.data.sources import SOURCES, matfile, pianoroll, plain_pickle, rolls, source
from pyro_vrnn.data.sources.chorales import Note, chorale_rolls, read_notes, sample, split_of
from pyro_vrnn.system.errors import ConfigError, DataError

SETS = {  # file in shared/data/pianoroll: our name, and baselines from its README
    "jsb_chorales": ("jsb", 11.06, 10.47),
    "nottingham": ("nottingham", 10.25, 5.16),
    "muse_data": ("muse", 11.51, 8.56),
    "piano_midi": ("piano", 11.05, 8.26),
}
NOTES: dict[str, list[list[tuple[int, ...]]]] = {
    "train": [[(60, 64, 67), (), (21, 108)], [(60,)]],
    "valid": [[(61,), (61,)]],
    "test": [[(62, 62), (50, 40)]],
}


def as_rolls(notes: Any) -> dict[str, list[Array]]:
    """Note lists as rolls, the slow way."""
    splits: dict[str, list[Array]] = {}
    for split, sequences in notes.items():
        splits[split] = []
        for sequence in sequences:
            roll = np.zeros((len(sequence), 88), np.uint8)
            for t, step in enumerate(sequence):
                roll[t, [note - 21 for note in step]] = 1
            splits[split].append(roll)
    return splits


def as_npz(splits: dict[str, list[Array]], **changes: Any) -> bytes:
    arrays: dict[str, Any] = {}
    for split, sequences in splits.items():
        arrays[split] = np.concatenate(sequences)
        arrays[f"{split}_len"] = np.array([len(x) for x in sequences], np.int32)
    file = io.BytesIO()
    np.savez_compressed(file, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return file.getvalue()


def as_mat(splits: dict[str, list[Array]], compress: bool = True, **changes: Any) -> bytes:
    from scipy.io import savemat

    cells: dict[str, Any] = {}
    for split, sequences in splits.items():
        cells[f"{split}data"] = np.empty((1, len(sequences)), object)
        cells[f"{split}data"][0] = [x.astype(float) for x in sequences]
    file = io.BytesIO()
    savemat(file, {k: v for k, v in (cells | changes).items() if v is not None}, do_compression=compress)
    return file.getvalue()


def prepared(tmp_path: Path, data: bytes) -> dict[str, list[Array]]:
    """What becomes of a source with this content (its name says nothing)."""
    (tmp_path / "source.bin").write_bytes(data)
    info = pianoroll.prepare(tmp_path / "out.h5", tmp_path / "source.bin", overwrite=True)
    return {split: list(read_split(info.path, split)) for split in SPLITS}


def refused(tmp_path: Path, data: bytes) -> str:
    """The message for a source with this content, after checking that nothing is left behind."""
    path = tmp_path / "source.bin"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        pianoroll.prepare(tmp_path / "out.h5", path)
    assert os.listdir(tmp_path) == ["source.bin"]
    assert "\n" not in error.value.message
    assert str(path) in error.value.message
    return error.value.message


def same(a: dict[str, list[Array]], b: dict[str, list[Array]]) -> bool:
    return a.keys() == b.keys() and all(len(a[s]) == len(b[s]) and all(map(np.array_equal, a[s], b[s])) for s in a)


# ------------------------------------------------------------------------------------------- standard sets


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


# ------------------------------------------------------------------------------------------- layouts

LAYOUTS: dict[str, Callable[[], bytes]] = {
    **{f"pickle {p}": lambda p=p: pickle.dumps(NOTES, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)},
    "json": lambda: json.dumps(NOTES).encode(),
    "json with a byte order and spaces": lambda: b"\n  " + json.dumps(NOTES, indent=1).encode(),
    "npz": lambda: as_npz(as_rolls(NOTES)),
    "npz of bool": lambda: as_npz({s: [x.astype(bool) for x in v] for s, v in as_rolls(NOTES).items()}),
    "npz of float": lambda: as_npz({s: [x.astype("f8") for x in v] for s, v in as_rolls(NOTES).items()}),
    "mat": lambda: as_mat(as_rolls(NOTES)),
    "mat, not compressed": lambda: as_mat(as_rolls(NOTES), compress=False),
}


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


def changed(split: str, value: Any) -> dict[str, Any]:
    return {**NOTES, split: value}


@pytest.mark.parametrize(
    ("notes", "words"),
    [
        ({"train": NOTES["train"], "test": []}, "'valid' is missing"),
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


# ------------------------------------------------------------------------------------------- hostile


class Evil:
    """Unpickled with pickle.load, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (builtins.open, (str(self.path), "w"))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_not_run(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path.parent / f"canary-{protocol}"
    data = pickle.dumps(changed("train", [[Evil(canary)]]), protocol)
    message = refused(tmp_path, data)
    assert "pickle that is not read" in message
    assert "GLOBAL" in message
    assert not canary.exists()
    pickle.loads(data)["train"][0][0].close()  # and it does mean harm
    assert canary.exists()
    canary.unlink()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02}q\x00.garbage after it is not read",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02P1\n.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02\x82\x01.",
        b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b"a.",
        b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"].",
        b"\x80\x02\x8a\xff" + bytes(10) + b".",
        b"\x80\x02h\x05.",
        b"\x80\x02s.",
        b"\x80\xff].",
        b"\x80\x04\x96" + (2**40).to_bytes(8, "little") + b"a.",
        b"(dp0\nI" + b"9" * 10_000 + b"\nI1\ns.",
        b"\x80\x02}(]K\x01u.",  # a list as a key
    ],
)
def test_a_pickle_of_anything_else_is_refused(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data)


@pytest.mark.parametrize("data", [b"\x80\x02]r\xff\xff\xff\xff.", b"\x80\x02]p99999999999\n."])
def test_a_pickle_with_a_memo_of_billions_is_refused_before_it_is_made(tmp_path: Path, data: bytes) -> None:
    """Five bytes would take 64 GB."""
    assert "remembers a value under the number" in refused(tmp_path, data)


def test_a_small_pickle_of_a_huge_set_is_refused(tmp_path: Path) -> None:
    """One long sequence, a million times."""
    sequence = [()] * 100_000
    assert "more than 4000000" in refused(tmp_path, pickle.dumps(changed("train", [sequence] * 100_000)))


def test_a_deep_pickle_is_refused(tmp_path: Path) -> None:
    deep = b"]" * 200_000 + b"a" * 199_999
    data = b"\x80\x02}(U\x05train](](" + b"(" + deep + b"tee" + b"U\x05valid]U\x04test]u."
    assert "has a list where a note should be" in refused(tmp_path, data)


plain = st.recursive(
    st.integers(-(2**70), 2**70) | st.text(), lambda c: st.lists(c) | st.tuples(c) | st.dictionaries(st.text(), c)
)


@given(value=plain, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(deadline=None)
def test_plain_pickles_are_read_as_pickle_reads_them(value: Any, protocol: int) -> None:
    assert plain_pickle.load(pickle.dumps(value, protocol)) == value


DAMAGED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("layout", ["pickle 0", "pickle 2", "pickle 4", "json", "npz", "mat", "mat, not compressed"])
@DAMAGED
@given(data=st.data())
def test_damaged_sources_are_refused_or_read(layout: str, data: st.DataObject) -> None:
    """Changed, cut or added bytes: a DataError or rolls, never anything else."""
    content = bytearray(LAYOUTS[layout]())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    content = content[:end] + data.draw(st.binary(max_size=5))
    try:
        splits = rolls.parse_rolls(bytes(content), "x")
    except DataError:
        return
    assert set(splits) == set(SPLITS)
    for roll in itertools.chain(*splits.values()):
        assert (roll.dtype, roll.shape[1]) == (np.uint8, 88)
        assert roll.max(initial=0) <= 1


def test_archives_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is made small instead of the bomb big."""
    monkeypatch.setattr(rolls, "MAX_BYTES", 100_000)
    bomb = as_npz({s: [np.zeros((2000, 88), "u1")] for s in SPLITS})
    assert len(bomb) < 5000
    assert "packed or unpacked" in refused(tmp_path, bomb)
    bomb = as_mat({s: [np.zeros((2000, 88), "u1")] for s in SPLITS})
    assert len(bomb) < 10_000
    assert "unpacks to too much" in refused(tmp_path, bomb)
    monkeypatch.setattr(rolls, "MAX_BYTES", 10)
    with pytest.raises(DataError, match=r"[0-9] bytes") as error:
        pianoroll.prepare(tmp_path / "out.h5", tmp_path / "source.bin")
    assert error.value.exit_code == 3


def test_an_array_that_claims_more_than_the_archive_holds(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 88), }".ljust(117) + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train.npy", b"\x93NUMPY\x01\x00v\x00" + header)
        archive.writestr("train_len.npy", b"\x93NUMPY\x01\x00v\x00" + header)
    assert "an npz that cannot be read" in refused(tmp_path, file.getvalue())


def test_a_cell_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    data = bytearray(as_mat(as_rolls(NOTES), compress=False))
    at = data.index(b"traindata") - 16
    assert data[at : at + 8] == (1).to_bytes(4, "little") + (2).to_bytes(4, "little")  # 1 x 2 cells
    data[at + 4 : at + 8] = (2**31 - 1).to_bytes(4, "little")
    assert "should have 2147483647 cells and has 2" in refused(tmp_path, bytes(data))


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


# ------------------------------------------------------------------------------------------- the table


def test_sources_by_name() -> None:
    assert {"chorales", "pianoroll"} <= set(SOURCES)
    assert source("chorales") is SOURCES["chorales"]
    with pytest.raises(ConfigError, match="kind of source 'choral': choose from"):
        source("choral")


# ------------------------------------------------------------------------------------------- chorales

SCORE = """<score-partwise>
<part-list>
  <score-part id="P1"><part-name>Soprano</part-name></score-part>
  <score-part id="P2"><part-name>Bass</part-name></score-part>
  <score-part id="P3"><part-name>Horn 1</part-name></score-part>
</part-list>
<part id="P1">
  <measure><attributes><divisions>4</divisions></attributes>
    <note><grace/><pitch><step>C</step><octave>7</octave></pitch></note>
    <note><pitch><step>C</step><octave>5</octave></pitch><duration>4</duration></note>
  </measure>
  <measure>
    <note><pitch><step>F</step><alter>1</alter><octave>5</octave></pitch><duration>6</duration></note>
    <note><pitch><step>G</step><octave>5</octave></pitch><duration>2</duration><tie type="start"/></note>
    <backup><duration>8</duration></backup>
    <note><pitch><step>A</step><octave>4</octave></pitch><duration>2</duration></note>
    <note><chord/><pitch><step>C</step><octave>5</octave></pitch><duration>2</duration></note>
    <forward><duration>2</duration></forward>
    <note><pitch><step>B</step><alter>-1</alter><octave>4</octave></pitch><duration>1</duration></note>
  </measure>
  <measure><note><pitch><step>G</step><octave>5</octave></pitch><duration>4</duration></note></measure>
</part>
<part id="P2">
  <measure><attributes><divisions>1</divisions></attributes><note><rest/><duration>1</duration></note></measure>
  <measure><note><pitch><step>C</step><octave>3</octave></pitch><duration>2</duration></note></measure>
  <measure><attributes><divisions>2</divisions></attributes>
    <note><pitch><step>D</step><octave>3</octave></pitch><duration>1</duration></note>
  </measure>
</part>
<part id="P3">
  <measure><note><pitch><step>C</step><octave>4</octave></pitch><duration>9</duration></note></measure>
  <measure/><measure/>
</part>
</score-partwise>"""


def test_musicxml_is_read_as_it_is_written(tmp_path: Path) -> None:
    """A pickup, several voices, chords, ties, grace notes, divisions that change, and a horn, which is left out."""
    (tmp_path / "x.xml").write_text(SCORE)
    notes = [(float(n.onset), float(n.end), n.pitch) for n in read_notes(tmp_path / "x.xml")]
    assert notes == [
        (0, 1, 72),
        (1, 2.5, 78),
        (2.5, 3, 79),
        (1, 1.5, 69),
        (1, 1.5, 72),
        (2, 2.25, 70),
        (1, 3, 48),
        (3, 4, 79),
        (3, 3.5, 50),
    ]
    quarter = [np.flatnonzero(step) + 21 for step in sample(read_notes(tmp_path / "x.xml"), Fraction(1))]
    assert [step.tolist() for step in quarter] == [[72], [48, 69, 72, 78], [48, 70, 78], [50, 79]]


def test_a_step_is_an_instant() -> None:
    """onset <= t < end: what begins and ends between two instants is not there; an end is not in its note."""
    notes = [
        Note(Fraction(a), Fraction(b), 60 + i) for i, (a, b) in enumerate([(0, 1), (1, 3), (1.25, 1.75), (0.5, 2)])
    ]
    on = [(np.flatnonzero(step) + 21 - 60).tolist() for step in sample(notes, Fraction(1))]
    assert on == [[0], [1, 3], [1]]
    on = [(np.flatnonzero(step) + 21 - 60).tolist() for step in sample(notes, Fraction(1, 2))]
    assert on == [[0], [0, 3], [1, 3], [1, 2, 3], [1], [1]]
    with pytest.raises(DataError, match="MIDI note 12"):
        sample([Note(Fraction(0), Fraction(1), 12)], Fraction(1))


def test_chorales_by_music21_and_by_us() -> None:
    """The same notes as music21 finds: one in 4/4, two in 3/4, one with instruments, one with a version beside it."""
    pytest.importorskip("music21", reason="the chorales come with music21")
    assert compare_with_music21([1, 20, 144, 9, 327]) == 5


@pytest.mark.slow
def test_every_fourth_chorale_by_music21_and_by_us() -> None:
    """All of them take music21 half a minute (and agree)."""
    pytest.importorskip("music21", reason="the chorales come with music21")
    assert compare_with_music21(range(1, 372, 4)) == 89


def compare_with_music21(numbers: Any) -> int:
    """How many different scores were compared, note by note."""
    from music21 import converter

    from pyro_vrnn.data.sources.chorales import VOICES, _files

    files = _files()
    compared = {files[number - 1][1] for number in numbers}
    for path in compared:
        theirs = [
            Note(Fraction(e.offset), Fraction(e.offset) + Fraction(e.quarterLength), pitch.midi)
            for part in converter.parse(path, forceSource=True).parts
            if str(part.id).startswith(VOICES)
            for e in part.flatten().notes
            if not e.duration.isGrace
            for pitch in e.pitches
        ]
        assert sorted(read_notes(path)) == sorted(theirs), path
    return len(compared)


def test_the_first_chorale_as_printed() -> None:
    """Aus meines Herzens Grunde: the pickup chord and the bar after it, in quarters."""
    pytest.importorskip("music21", reason="the chorales come with music21")
    [(number, bwv, roll)] = chorale_rolls([1], "quarter")
    assert (number, bwv, roll.shape) == (1, "269", (63, 88))
    steps = [(np.flatnonzero(step) + 21).tolist() for step in roll[:4]]
    assert steps == [[43, 59, 62, 67], [55, 59, 62, 67], [52, 60, 64, 67], [54, 57, 62, 74]]
    [(_, _, fine)] = chorale_rolls([1], "sixteenth")
    np.testing.assert_array_equal(fine[::4], roll)


def test_versions_of_a_bwv_number_share_a_split() -> None:
    assert split_of("69.6") == split_of("69.6-a")
    assert split_of("248.9-1") == split_of("248.12-2") == split_of("248.5")
    assert split_of("62.6") == split_of("274")
    assert {split_of(str(n)) for n in range(250, 439)} == set(SPLITS)


@pytest.mark.slow
def test_the_whole_collection(tmp_path: Path) -> None:
    """Counts, and no test chorale in the training split, in whatever key."""
    pytest.importorskip("music21", reason="the chorales come with music21")
    told: list[tuple[int, int]] = []
    info = SOURCES["chorales"](tmp_path / "x.h5", progress=lambda *n: told.append(n))
    assert told == [(n, 371) for n in range(1, 372)]
    assert [info.splits[s].sequences for s in SPLITS] == [285, 44, 42]
    assert sum(info.splits[s].steps for s in SPLITS) == 20247
    about = describe(info.path)
    assert 3.8 < about["splits"]["train"]["ones_per_step"] < 3.9
    assert info.steps_per_second == pytest.approx(100 / 60)

    def shapes(split: str) -> set[bytes]:
        return {np.roll(x, -np.flatnonzero(x.any(0))[0], axis=1).tobytes() for x in read_split(info.path, split)}

    everything = [shapes(split) for split in SPLITS]
    assert not any(a & b for a, b in itertools.combinations(everything, 2))
    again = SOURCES["chorales"](tmp_path / "y.h5")
    assert again.path.read_bytes() == info.path.read_bytes()
    data = SequenceDataset(info.path, split_of("269"))
    assert data[data.find("R001 BWV 269")].shape == (63, 88)


def test_chorales_without_music21(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(ConfigError, match="not installed") as error:
        SOURCES["chorales"](tmp_path / "x.h5")
    assert error.value.hint == "pip install 'pyro-vrnn[chorales]'"
    assert list(tmp_path.iterdir()) == []


def test_chorales_at_an_unknown_resolution(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="resolution 'half': choose from eighth, quarter, sixteenth"):
        SOURCES["chorales"](tmp_path / "x.h5", resolution="half")
