"""The data file: what is written is what is read, and everything else is refused with its name."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from datafiles import nan_in_the_rows, refused, write

# ------------------------------------------------------------------------------------------- writing


# ------------------------------------------------------------------------------------------- refusing


@pytest.mark.fault(40)
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


@pytest.mark.fault(40)
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


@pytest.mark.fault(40)
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
