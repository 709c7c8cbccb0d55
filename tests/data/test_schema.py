"""The data file: what is written is what is read, and everything else is refused with its name."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_vrnn.data import writer
from pyro_vrnn.data.reader import read_ids, read_split
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo, open_data, read_info
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError, ResourceError

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, splits: dict[str, list[Array]] | None = None, **changes: Any) -> DataInfo:
    """A small real-valued data file; any argument can be changed."""
    if splits is None:
        random = np.random.default_rng(0)
        lengths = {"train": [3, 5, 2], "valid": [4], "test": [1, 3]}
        splits = {s: [random.normal(size=(n, 2)).astype("f4") for n in ns] for s, ns in lengths.items()}
    arguments: dict[str, Any] = {
        "ids": {s: [f"{s}-{i}" for i in range(len(v))] for s, v in splits.items() if isinstance(v, list)},
        "kind": "vectors",
        "support": "real",
        "steps_per_second": 2.0,
        "source": "drawn by NumPy",
        "licence": "none",
        "options": {"seed": 0},
        "extra": {"names": ["a", "é"]},
    }
    return write_sequences(path, splits, **{**arguments, **changes})


def contents(path: Path) -> tuple[Any, ...]:
    """All that the reader makes of a file."""
    info = read_info(path)
    file, _ = open_data(path)
    with file:
        ids = [list(read_ids(file, split, info)) for split in SPLITS]
    arrays = [(a.dtype, a.shape, a.tobytes()) for split in SPLITS for a in read_split(path, split)]
    described = (info.kind, info.support, info.steps_per_second, info.source, info.licence, info.options)
    return described, info.extra, info.splits, info.mean.tobytes(), info.std.tobytes(), ids, arrays


# ------------------------------------------------------------------------------------------- writing


LENGTHS = st.lists(st.integers(1, 40), max_size=5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@QUICK
@given(train=LENGTHS.filter(bool), valid=LENGTHS, test=LENGTHS, width=st.integers(1, 5), seed=st.integers(0))
def test_written_is_read(
    tmp_path: Path, dtype: str, train: list[int], valid: list[int], test: list[int], width: int, seed: int
) -> None:
    """Any ragged set comes back bit by bit, with its counts and the moments of the training split."""
    random = np.random.default_rng(seed)

    def draw(steps: int) -> Array:  # any bits that are a number
        x = np.frombuffer(random.bytes(steps * width * np.dtype(dtype).itemsize), dtype)
        return np.where(np.isfinite(x), x, x.dtype.type(0)).reshape(steps, width)

    splits = {s: [draw(n) for n in ns] for s, ns in zip(SPLITS, (train, valid, test), strict=True)}
    info = write(tmp_path / "x.h5", splits, overwrite=True)
    for split, sequences in splits.items():
        read = list(read_split(info.path, split))
        assert [(a.dtype, a.tobytes(), a.shape) for a in read] == [(a.dtype, a.tobytes(), a.shape) for a in sequences]
        lengths = [len(a) for a in sequences]
        got = info.splits[split]
        assert (got.sequences, got.steps) == (len(lengths), sum(lengths))
        assert (got.shortest, got.longest) == (min(lengths, default=0), max(lengths, default=0))
    x = np.concatenate(splits["train"]).astype(np.float64)
    scale = np.abs(x).max() + 1e-30
    np.testing.assert_allclose(info.mean, x.mean(0), atol=1e-12 * scale)
    np.testing.assert_allclose(info.std, x.std(0), atol=1e-7 * scale)  # cancellation in the reference too


def test_moments_are_of_the_training_split_and_survive_a_large_mean(tmp_path: Path) -> None:
    """One pass in float64: a mean of 1e4 with a deviation of 0.1 (sums of squares would lose it)."""
    random = np.random.default_rng(1)
    train = [(1e4 + 0.1 * random.normal(size=(n, 1))).astype("f4") for n in (5000, 1, 3000)]
    info = write(tmp_path / "x.h5", {"train": train, "test": [np.full((9, 1), -1e6, "f4")]})
    x = np.concatenate(train).astype(np.float64)
    np.testing.assert_allclose(info.mean, x.mean(0), rtol=1e-14)
    np.testing.assert_allclose(info.std, x.std(0), rtol=1e-10)


def test_many_chunks_and_lazy_sequences(tmp_path: Path) -> None:
    """Sequences may come from an iterator, and may be shorter or longer than a chunk."""
    lengths = [1, 70_000, 3, 200, 30_000]
    info = write(
        tmp_path / "x.h5",
        {"train": (np.full((n, 2), i, "f4") for i, n in enumerate(lengths))},  # type: ignore[dict-item]
        ids={"train": list("abcde")},
    )
    read = list(read_split(info.path, "train"))
    assert [len(a) for a in read] == lengths
    assert all((a == i).all() for i, a in enumerate(read))
    with h5py.File(info.path) as file:
        assert file["train/x"].chunks[0] * 2 == writer.CHUNK_VALUES
        assert file["train/x"].fletcher32
        assert file["train/x"].compression is None


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    """Nothing of the clock or the place gets into the file."""
    write(tmp_path / "a.h5")
    os.utime(tmp_path / "a.h5", (1, 1))
    write(tmp_path / "folder" / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "folder" / "b.h5").read_bytes()


def test_float64_and_bool_are_narrowed(tmp_path: Path) -> None:
    wide = [np.array([[0.1]]), np.array([[0.2]], "f4")]
    assert next(read_split(write(tmp_path / "a.h5", {"train": wide}).path, "train")).dtype == np.float32
    bits = write(tmp_path / "b.h5", {"train": [np.array([[True]])]}, support="binary")
    assert next(read_split(bits.path, "train")).dtype == np.uint8


ONE = [np.zeros((1, 2), "f4")]


@pytest.mark.parametrize(
    ("splits", "changes", "words"),
    [
        ({"train": []}, {}, "no training sequence"),
        ({"test": ONE}, {}, "no training sequence"),
        ({"train": [np.zeros((0, 2), "f4")]}, {}, "'train-0' has no steps"),
        ({"train": [np.zeros(2, "f4")]}, {}, "shape"),
        ({"train": [np.zeros((2, 0), "f4")]}, {}, "shape"),
        ({"train": ONE, "valid": [np.zeros((1, 3), "f4")]}, {}, "'valid-0' has 3 values a step"),
        ({"train": ONE, "test": [np.zeros((1, 2), "i2")]}, {}, "'test-0' is of dtype int16"),
        ({"train": [np.zeros((1, 2), "c8")]}, {}, "complex64"),
        ({"train": [*ONE, np.array([[0, 0], [0, np.nan]], "f4")]}, {}, "'train-1', step 1: nan"),
        ({"train": ONE, "test": [np.array([[np.inf, 0]], "f4")]}, {}, "test sequence 'test-0', step 0: inf"),
        ({"train": [np.array([[1e300, 0.0]])]}, {}, "step 0: inf"),
        ({"train": [np.array([[0], [2]], "u1")]}, {"support": "binary"}, "step 1: 2 is not 0 or 1"),
        ({"train": [np.array([[0.5]], "f4")]}, {"support": "categorical"}, "0.5 is not a whole number"),
        ({"train": [np.array([[-1]], "i2")]}, {"support": "categorical"}, "-1 is not a whole number"),
        ({"train": ONE * 2}, {"ids": {"train": ["a", "a"]}}, "two sequences have the id 'a'"),
        ({"train": ONE * 2}, {"ids": {"train": ["a"]}}, "1 ids for 2"),
        ({"train": ONE}, {"ids": {"train": [""]}}, "id b''"),
        ({"train": ONE}, {"ids": {"train": ["a\0"]}}, "id b'a"),
        ({"train": ONE}, {"ids": {"train": ["a" * 2000]}}, "id b'aaa"),
    ],
)
def test_bad_data_is_refused_by_name_and_leaves_nothing(
    tmp_path: Path, splits: dict[str, list[Array]], changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError) as error:
        write(tmp_path / "x.h5", splits, **changes)
    assert words in error.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "midi"},
        {"support": "count"},
        {"splits": {"dev": ONE}},
        {"steps_per_second": 0.0},
        {"steps_per_second": float("nan")},
    ],
)
def test_bad_settings_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        write(tmp_path / "x.h5", **changes)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    path.write_text("mine")
    with pytest.raises(ConfigError, match="exists") as error:
        write(path)
    assert "--overwrite" in error.value.hint
    assert path.read_text() == "mine"
    with pytest.raises(DataError):  # a failure does not cost the old file either
        write(path, {"train": []}, overwrite=True)
    assert path.read_text() == "mine"
    assert write(path, overwrite=True).x_dim == 2
    assert os.listdir(tmp_path) == ["x.h5"]


@pytest.mark.parametrize("name", [".", "file/x.h5", "a\0b.h5", "n" * 300])
def test_a_place_where_nothing_can_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError):
        write(tmp_path / name)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("raised", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_a_failure_at_the_end_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, raised: BaseException
) -> None:
    def fail(*_: Any) -> None:
        assert len(list(tmp_path.iterdir())) == 1
        raise raised

    monkeypatch.setattr(writer.os, where, fail)
    with pytest.raises((ResourceError, KeyboardInterrupt)):
        write(tmp_path / "x.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_is_a_resource_error(tmp_path: Path) -> None:
    """A file size limit stands for a full disk. Met early or at the close, the process ends as it should."""
    script = f"""
        import resource, signal, sys
        import numpy as np
        from pyro_vrnn.system.errors import ResourceError
        from pyro_vrnn.data.writer import write_sequences
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]),) * 2)
        try:
            write_sequences({str(tmp_path / "x.h5")!r}, {{"train": [np.ones((int(sys.argv[1]), 9), "f4")]}},
                ids={{"train": ["a"]}}, kind="vectors", support="real", steps_per_second=None, source="", licence="")
        except ResourceError as error:
            print("refused", error.exit_code)
    """
    for steps, limit in (("3000", "100000"), ("90000", "100000"), ("3", "0"), ("3", "2000")):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), steps, limit], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout.strip()) == (0, "refused 6"), done.stderr
        assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------- refusing


def refused(path: Path) -> DataError:
    """The error that reading all of the file gives."""
    with pytest.raises(DataError) as error:
        contents(path)
    assert str(path) in error.value.message
    assert error.value.path == str(path)
    assert error.value.hint
    return error.value


def test_what_is_not_a_data_file(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "text").write_text("x" * 5000)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    os.mkfifo(tmp_path / "fifo")  # opening it would hang
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    words = {
        "missing": "No such file",
        "dangling": "No such file",
        "empty": "empty file",
        "text": "not an HDF5 file",
        "other.h5": "'format': missing",
        "fifo": "not a regular file",
        ".": "a folder",
        "a\0b": "null",
    }
    for name, expected in words.items():
        assert expected in refused(tmp_path / name).message
    assert "prepare" in refused(tmp_path / "missing").hint


Change = Callable[[h5py.File, Path], None]


def replace(file: h5py.File, name: str, **how: Any) -> None:
    """Another data set in the place of one, by default its own values, in chunks with fletcher32."""
    values = how.pop("data", file[name][()])
    del file[name]
    chunks = tuple(max(1, n) for n in np.shape(values))
    file.create_dataset(name, **{"data": values, "chunks": chunks, "fletcher32": True, **how})


def external_link(file: h5py.File, outside: Path) -> None:
    del file["train/x"]
    file["train/x"] = h5py.ExternalLink(str(outside), "/x")


def external_group(file: h5py.File, outside: Path) -> None:
    del file["test"]
    file["test"] = h5py.ExternalLink(str(outside), "/")


def stray_external_link(file: h5py.File, outside: Path) -> None:
    file["more"] = h5py.ExternalLink(str(outside), "/x")


def soft_link(file: h5py.File, outside: Path) -> None:
    file.move("train/x", "train/y")
    file["train/x"] = h5py.SoftLink("/train/y")


def link_loop(file: h5py.File, outside: Path) -> None:
    del file["valid"]
    file["valid"] = h5py.SoftLink("/valid")


def hard_link_loop(file: h5py.File, outside: Path) -> None:
    del file["train/x"]
    file["train/x"] = file["/"]


def external_storage(file: h5py.File, outside: Path) -> None:
    del file["train/x"]
    file.create_dataset("train/x", shape=(10, 2), dtype="f4", external=[(str(outside), 0, 80)])


def virtual_data_set(file: h5py.File, outside: Path) -> None:
    del file["train/x"]
    layout = h5py.VirtualLayout(shape=(10, 2), dtype="f4")
    layout[:] = h5py.VirtualSource(str(outside), "x", shape=(10, 2))
    file.create_virtual_dataset("train/x", layout)


def unlimited_virtual_data_set(file: h5py.File, outside: Path) -> None:
    """Its shape is that of its source, so that asking for it opens the source."""
    del file["train/x"]
    layout = h5py.VirtualLayout(shape=(10, 2), dtype="f4", maxshape=(None, 2))
    source = h5py.VirtualSource(str(outside), "x", shape=(10, 2), maxshape=(None, 2))
    layout[: h5py.h5s.UNLIMITED, :] = source[: h5py.h5s.UNLIMITED, :]
    file.create_virtual_dataset("train/x", layout)


class Watch:
    """Has a file been opened or read, by whoever it was? (An audit hook does not see what C opens.)"""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self.handle = libc.inotify_init1(os.O_NONBLOCK)
        in_access, in_open = 0x01, 0x20
        assert libc.inotify_add_watch(self.handle, os.fsencode(path), in_access | in_open) >= 0

    def seen(self) -> bool:
        try:
            return bool(os.read(self.handle, 4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        os.close(self.handle)


@pytest.mark.skipif(sys.platform != "linux", reason="inotify is Linux's")
@pytest.mark.parametrize(
    ("change", "name", "words"),
    [
        (external_link, "/train/x", "an external link"),
        (external_group, "/test", "an external link"),
        (stray_external_link, "/more", "an external link"),
        (external_storage, "/train/x", "external storage"),
        (virtual_data_set, "/train/x", "a virtual data set"),
        (unlimited_virtual_data_set, "/train/x", "a virtual data set"),
    ],
)
def test_nothing_outside_the_file_is_opened(tmp_path: Path, change: Change, name: str, words: str) -> None:
    outside = tmp_path / "outside.h5"
    with h5py.File(outside, "w") as file:
        file.create_dataset("x", data=np.ones((10, 2), "f4"), maxshape=(None, 2))
    path = write(tmp_path / "x.h5").path
    with h5py.File(path, "r+") as file:
        change(file, outside)
    watch = Watch(outside)
    try:
        assert f"{name}: {words}" in refused(path).message
        assert not watch.seen()
        with h5py.File(path) as file:  # and the watch does see a careless reader
            found = file[name]
            if isinstance(found, h5py.Dataset):
                found[...]
        assert watch.seen()
    finally:
        watch.close()


def other_format(file: h5py.File, outside: Path) -> None:
    file.attrs["format"] = np.bytes_("other-tool")


def other_schema(file: h5py.File, outside: Path) -> None:
    file.attrs["schema"] = 2


def variable_attribute(file: h5py.File, outside: Path) -> None:
    file.attrs["source"] = "h5py writes text with a variable length"


def bad_json(file: h5py.File, outside: Path) -> None:
    file.attrs["options"] = np.bytes_('{"a": NaN}')


def deep_json(file: h5py.File, outside: Path) -> None:
    file.attrs["extra"] = np.bytes_("[" * 60_000)


def wrong_mean(file: h5py.File, outside: Path) -> None:
    file.attrs["mean"] = np.zeros(3)


def negative_std(file: h5py.File, outside: Path) -> None:
    file.attrs["std"] = np.array([1.0, -1.0])


def unknown_support(file: h5py.File, outside: Path) -> None:
    file.attrs["support"] = np.bytes_("count")


def no_time(file: h5py.File, outside: Path) -> None:
    file.attrs["steps_per_second"] = np.float64("nan")


def missing_split(file: h5py.File, outside: Path) -> None:
    del file["valid"]


def missing_ids(file: h5py.File, outside: Path) -> None:
    del file["test/ids"]


def same_id_twice(file: h5py.File, outside: Path) -> None:
    replace(file, "train/ids", data=np.array([b"a", b"b", b"a"]))


def ids_not_text(file: h5py.File, outside: Path) -> None:
    replace(file, "train/ids", data=np.array([b"a", b"b", b"\xff"]))


def ids_of_variable_length(file: h5py.File, outside: Path) -> None:
    replace(file, "train/ids", dtype=h5py.string_dtype(), fletcher32=False)


def object_rows(file: h5py.File, outside: Path) -> None:
    del file["train/x"]
    file.create_dataset("train/x", shape=(10, 2), dtype=h5py.vlen_dtype("f4"))


def wrong_dtype(file: h5py.File, outside: Path) -> None:
    replace(file, "train/x", dtype="f8")


def wrong_width(file: h5py.File, outside: Path) -> None:
    replace(file, "test/x", data=np.zeros((4, 3), "f4"))


def wrong_rank(file: h5py.File, outside: Path) -> None:
    replace(file, "test/x", data=np.zeros(4, "f4"))


def falling_offsets(file: h5py.File, outside: Path) -> None:
    file["train/offsets"][...] = [0, 8, 3, 10]


def repeated_offset(file: h5py.File, outside: Path) -> None:
    file["train/offsets"][...] = [0, 3, 3, 10]


def offsets_beyond_the_end(file: h5py.File, outside: Path) -> None:
    file["train/offsets"][...] = [0, 3, 8, 11]


def offsets_before_the_end(file: h5py.File, outside: Path) -> None:
    file["train/offsets"][...] = [0, 3, 8, 9]


def negative_offset(file: h5py.File, outside: Path) -> None:
    file["train/offsets"][...] = [-1, 3, 8, 10]


def too_few_offsets(file: h5py.File, outside: Path) -> None:
    replace(file, "train/offsets", data=np.array([0, 10]))


def gzip(file: h5py.File, outside: Path) -> None:
    """A thousandfold: 10 million rows of zeros."""
    replace(file, "train/x", data=np.zeros((10_000_000, 1), "u1"), chunks=(10_000_000, 1), compression="gzip")


def no_checksum(file: h5py.File, outside: Path) -> None:
    replace(file, "train/x", fletcher32=False)


def contiguous(file: h5py.File, outside: Path) -> None:
    replace(file, "train/x", fletcher32=False, chunks=None)


def half_a_row_a_chunk(file: h5py.File, outside: Path) -> None:
    """Read right by HDF5, wrong by who takes a chunk for whole rows."""
    replace(file, "train/x", chunks=(2, 1))


def claims_two_terabytes(file: h5py.File, outside: Path) -> None:
    replace(file, "train/x", data=None, shape=(2**38, 2), dtype="f4", chunks=(100, 2))


def nan_in_the_rows(file: h5py.File, outside: Path) -> None:
    file["valid/x"][2, 1] = np.nan


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (soft_link, "/train/x: a soft link"),
        (link_loop, "/valid: a soft link"),
        (hard_link_loop, "/train/x: not a dataset"),
        (other_format, "'format': 'other-tool'"),
        (other_schema, "'schema': version 2"),
        (variable_attribute, "'source': dtype object"),
        (bad_json, "'options' cannot be read: NaN"),
        (deep_json, "'extra' cannot be read"),
        (wrong_mean, "'mean': not 2"),
        (negative_std, "'std': not 2"),
        (unknown_support, "'support': 'count'"),
        (no_time, "'steps_per_second': nan"),
        (missing_split, "/valid: missing"),
        (missing_ids, "/test/ids: missing"),
        (same_id_twice, "/train/ids cannot be read: the same id twice"),
        (ids_not_text, "/train/ids cannot be read"),
        (ids_of_variable_length, "/train/ids: an object or variable-length dtype"),
        (object_rows, "/train/x: an object or variable-length dtype"),
        (wrong_dtype, "/train/x: dtype float64"),
        (half_a_row_a_chunk, "which divide rows"),
        (wrong_width, "/test/x: another width"),
        (wrong_rank, "/test/x: shape [4]"),
        (falling_offsets, "/train/offsets: they do not rise"),
        (repeated_offset, "/train/offsets: they do not rise"),
        (offsets_beyond_the_end, "/train/offsets: they do not rise"),
        (offsets_before_the_end, "/train/offsets: they do not rise"),
        (negative_offset, "/train/offsets: they do not rise"),
        (too_few_offsets, "/train/offsets: 2 for 3 ids"),
        (gzip, "/train/x: not stored in chunks with fletcher32"),
        (no_checksum, "/train/x: not stored in chunks with fletcher32"),
        (contiguous, "/train/x: not stored in chunks with fletcher32"),
        (claims_two_terabytes, "/train/x: claims 2199023255552 bytes"),
        (nan_in_the_rows, "valid sequence 0, step 2: nan is not a finite number"),
    ],
)
def test_damage_is_refused_by_name(tmp_path: Path, change: Change, words: str) -> None:
    path = write(tmp_path / "x.h5").path
    with h5py.File(path, "r+") as file:
        change(file, tmp_path / "outside.h5")
    assert words in refused(path).message


def test_a_value_outside_the_support_is_refused_as_it_is_read(tmp_path: Path) -> None:
    bits = {"train": [np.ones((4, 2), "u1")], "test": [np.zeros((4, 2), "u1")]}
    path = write(tmp_path / "x.h5", bits, support="binary").path
    with h5py.File(path, "r+") as file:
        file["test/x"][3, 0] = 7
    assert read_info(path).splits["test"].steps == 4  # the values are not looked at yet
    assert "test sequence 0, step 3: 7 is not 0 or 1" in refused(path).message


def test_a_changed_value_fails_its_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"train": [np.full((50, 2), 1.25, "f4")]}).path
    data = path.read_bytes()
    at = data.index(np.full(4, 1.25, "f4").tobytes())
    path.write_bytes(data[:at] + np.full(1, 1.5, "f4").tobytes() + data[at + 4 :])
    assert "/train/x (train sequence 0) cannot be read" in refused(path).message


@QUICK
@given(data=st.data())
def test_any_damaged_byte_is_refused_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed or cut off: the reader says DataError or gives exactly what was written."""
    path = tmp_path / "x.h5"
    if not path.exists():
        write(path)
    whole, damaged = path.read_bytes(), tmp_path / "damaged.h5"
    changed = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)):
        changed[at] ^= data.draw(st.integers(1, 255))
    damaged.write_bytes(changed[: data.draw(st.integers(0, len(whole)) | st.just(len(whole)))])
    try:
        got = contents(damaged)
    except DataError:
        return
    assert got == contents(path)
