"""The writer of data files: all of it or nothing, the same bytes twice."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from datafiles import QUICK, write
from hypothesis import given
from hypothesis import strategies as st

from pyro_vrnn.data import writer
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import SPLITS, Array
from pyro_vrnn.system.errors import ConfigError, DataError, ResourceError

LENGTHS = st.lists(st.integers(1, 40), max_size=5)


ONE = [np.zeros((1, 2), "f4")]


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


@pytest.mark.fault(12)
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


def test_missing_values_are_marked_and_have_no_part_in_the_moments(tmp_path: Path) -> None:
    """NaN goes in and comes out; what is stored is 0 and a mark; the batch says what was observed."""
    generator = np.random.default_rng(0)
    rows = [generator.normal(5, 2, (n, 3)).astype("f4") for n in (40, 30, 20)]
    for x in rows:
        x[generator.random(x.shape) < 0.2] = np.nan
    whole = generator.normal(size=(9, 3)).astype("f4")  # a split in which nothing happens to be missing
    info = write(tmp_path / "a.h5", {"train": rows, "valid": [whole]}, missing=True)
    assert info.missing
    with h5py.File(info.path) as file:
        stored, seen = file["train/x"][()], file["train/observed"][()]
    np.testing.assert_array_equal(seen, ~np.isnan(np.concatenate(rows)))
    assert (stored[seen == 0] == 0).all()
    np.testing.assert_allclose(info.mean, np.nanmean(np.concatenate(rows).astype("f8"), 0), rtol=1e-9)
    np.testing.assert_allclose(info.std, np.nanstd(np.concatenate(rows).astype("f8"), 0), rtol=1e-9)
    for found, x in zip(read_split(info.path, "train"), rows, strict=True):
        np.testing.assert_array_equal(found, x)
    for found, x in zip(read_split(info.path, "train", [2, 0]), [rows[2], rows[0]], strict=True):
        np.testing.assert_array_equal(found, x)
    data = SequenceDataset(info.path, "train")
    batch = collate(data, [0, 2])
    assert batch.x is not None
    assert batch.observed is not None
    assert batch.observed[:40, 0].tolist() == (~np.isnan(rows[0])).tolist()
    assert batch.observed[:20, 1].tolist() == (~np.isnan(rows[2])).tolist()
    assert not batch.observed[20:, 1].any()
    assert (batch.x[~batch.observed] == 0).all()
    np.testing.assert_allclose(batch.x[:20, 1].numpy(), np.nan_to_num(data[2]), rtol=1e-6)
    assert write(tmp_path / "b.h5", {"train": [whole]}).missing is False


@pytest.mark.fault(52)
def test_missing_values_where_they_cannot_be(tmp_path: Path) -> None:
    x = np.ones((4, 2), "f4")
    x[1, 1] = np.nan
    with pytest.raises(DataError, match="nan"):
        write(tmp_path / "a.h5", {"train": [x]})
    with pytest.raises(DataError, match="of dtype uint8"):
        write(tmp_path / "a.h5", {"train": [np.ones((4, 2), np.uint8)]}, missing=True, support="binary")
    x[:, 1] = np.nan
    with pytest.raises(DataError, match="column 1 has no value"):
        write(tmp_path / "a.h5", {"train": [x]}, missing=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.fault(61)
def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    """Files of the same name as large as the data; not those of processes that live, or of other names."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f"a.h5.tmp{ended.pid}-0123abcd", f"a.h5.tmp{os.getpid()}-0123abcd", f"b.h5.tmp{ended.pid}-0123abcd",
                 f"a.h5.tmp{ended.pid}-notes"):  # fmt: skip
        (tmp_path / name).touch()
    write(tmp_path / "a.h5")
    left = {f"a.h5.tmp{os.getpid()}-0123abcd", f"b.h5.tmp{ended.pid}-0123abcd", f"a.h5.tmp{ended.pid}-notes"}
    assert {path.name for path in tmp_path.iterdir()} == left | {"a.h5"}
