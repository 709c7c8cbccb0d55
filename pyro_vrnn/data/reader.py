"""The sequences of a data file: one after another, or any rows of them, with the checksum of every chunk looked at."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, overload

import h5py
import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.data.schema import CHECKSUM_BYTES, DataInfo, damaged, open_data, refusing
from pyro_vrnn.data.supports import check_support
from pyro_vrnn.system.files import read_at

Array = NDArray[Any]
MOST_SUMMED = 2**19
"""Bytes of a chunk that `fletcher32` sums: n^2 / 2 of the greatest word stay below 2^53."""


def read_split(path: str | Path, split: str, chosen: Sequence[int] | None = None) -> Iterator[Array]:
    """A split's sequences, or those chosen, [T_i, X] in the stored dtype, one at a time; NaN where a value is missing.

    Raises:
        DataError: see `storage.read_info`; and damaged values, or values outside the support.
    """
    file, info = open_data(path)
    with file:
        offsets = read_offsets(file, split, info)
        if chosen is None:
            for i in range(len(offsets) - 1):
                yield read_rows(file[split], offsets[i], offsets[i + 1], f"{split} sequence {i}", info)
            return
        rows = random_rows(file[split], info)
        for i in chosen:
            yield rows.read(int(offsets[i]), int(offsets[i + 1]), partial("{} sequence {}".format, split, i))


def read_offsets(file: h5py.File, split: str, info: DataInfo) -> Array:
    """Where the sequences of a split begin and the last one ends, [N + 1] int64."""
    with refusing(info.path, f"/{split}/offsets"):
        return np.asarray(file[split]["offsets"][()])


PREADV: Any = getattr(os, "preadv", None)
"""Not on every operating system."""


class Ids(Sequence[str]):
    """Names of sequences, or of pieces of them (`name#k`), made when they are asked for: there may be millions.

    Args:
        names: of the sequences, fixed-width bytes [N].
        owners: of each piece, its sequence, [P]; None for the sequences themselves.
        numbers: and which piece of it, [P].
    """

    def __init__(self, names: Array, owners: Array | None = None, numbers: Array | None = None) -> None:
        self.names, self.owners, self.numbers = names, owners, numbers

    def __len__(self) -> int:
        return len(self.names if self.owners is None else self.owners)

    @overload
    def __getitem__(self, i: int) -> str: ...
    @overload
    def __getitem__(self, i: slice) -> list[str]: ...
    def __getitem__(self, i: int | slice) -> str | list[str]:
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(len(self)))]
        if self.owners is None or self.numbers is None:
            return bytes(self.names[i]).decode()
        return f"{bytes(self.names[self.owners[i]]).decode()}#{self.numbers[i]}"


def read_ids(file: h5py.File, split: str, info: DataInfo) -> Ids:
    """The names of a split's sequences, unique."""
    with refusing(info.path, f"/{split}/ids"):
        names = np.asarray(file[split]["ids"][()])
        for name in names:
            name.decode()
        if len(np.unique(names)) != len(names):
            raise ValueError("the same id twice")
        return Ids(names)


def read_rows(group: h5py.Group, start: int, stop: int, name: str, info: DataInfo) -> Array:
    """Rows start to stop of a split's `x`, [stop - start, X] in the stored dtype, damage and support checked; NaN where
    a value is missing."""
    values = _read(group["x"], start, stop, name, info)
    return hidden(values, _read(group["observed"], start, stop, name, marks(info))) if info.missing else values


def _read(x: h5py.Dataset, start: int, stop: int, name: str, info: DataInfo) -> Array:
    with refusing(info.path, f"{x.name} ({name})"):
        values: Array = x[int(start) : int(stop)]
    check_support(values, info.support, f"{info.path}: {name}", info.path)
    return values


def marks(info: DataInfo) -> DataInfo:
    """What the `observed` of a file is like: bits."""
    return replace(info, support="binary")


def hidden(values: Array, observed: Array) -> Array:
    """The values, NaN where they are missing."""
    values[observed == 0] = np.nan
    return values


class RandomRows:
    """Rows of an `x` read in any order, past HDF5: it takes a whole chunk, with its checksum, for every window.

    The first time that one of its rows is asked for, all of a chunk is read and held to its checksum; after that only
    the rows are, where they lie. (Not mapped: a file that shrinks under a map ends the process.)
    """

    def __init__(self, x: h5py.Dataset, info: DataInfo) -> None:
        self.x, self.info, self.rows = x, info, x.chunks[0]
        self.name, self.dtype, self.width = x.name, x.dtype, x.shape[1]  # h5py asks HDF5 every time
        self.row_bytes = self.dtype.itemsize * self.width
        self.limited = not (info.support == "real" and self.dtype.kind in "iu")
        """Whether there are values that it must not have."""
        count = -(-len(x) // self.rows)
        self.places: NDArray[np.int64] = np.full(count, -1, np.int64)
        self.checked: NDArray[np.bool_] = np.zeros(count, bool)
        summed = self.rows * self.row_bytes <= MOST_SUMMED
        self.plain: NDArray[np.bool_] = np.zeros(count, bool)
        """Which chunks are their values and a checksum that can be summed here; HDF5 reads the others, every time."""

        def note(chunk: Any) -> None:
            k = chunk.chunk_offset[0] // self.rows
            self.places[k] = chunk.byte_offset
            self.plain[k] = summed and not chunk.filter_mask

        with refusing(info.path, x.name):
            x.id.chunk_iter(note)
            if (self.places < 0).any():
                raise ValueError("a chunk is missing")
            self.descriptor = os.open(info.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            weakref.finalize(self, os.close, self.descriptor)
            if not os.path.samestat(os.fstat(self.descriptor), os.fstat(x.file.id.get_vfd_handle())):
                raise ValueError("the file was replaced")

    def read(self, start: int, stop: int, name: Callable[[], str], out: Array | None = None) -> Array:
        """What `read_rows` reads, into `out` if given; `name` is asked for in errors."""
        values: Array = np.empty((stop - start, self.width), self.dtype) if out is None else out
        for k in range(start // self.rows, (stop - 1) // self.rows + 1):
            first = k * self.rows
            begin, end = max(start, first), min(stop, first + self.rows)
            part = values[begin - start : end - start]
            if self.checked[k]:
                self._fill(part, int(self.places[k]) + (begin - first) * self.row_bytes, name)
            else:
                part[...] = self._chunk(k, name)[begin - first : end - first]
        if self.limited:
            check_support(values, self.info.support, f"{self.info.path}: {name()}", self.info.path)
        return values

    def _chunk(self, k: int, name: Callable[[], str]) -> Array:
        """All rows of a chunk, held to its checksum: our own sum of it takes half of the time of HDF5's reading."""
        if self.plain[k]:
            held = np.empty(self.rows * self.row_bytes + CHECKSUM_BYTES, np.uint8)
            self._fill(held, int(self.places[k]), name)
            values = held[:-CHECKSUM_BYTES]
            if fletcher32(values) == int.from_bytes(held[-CHECKSUM_BYTES:].tobytes(), "little"):
                self.checked[k] = True
                return values.view(self.dtype).reshape(self.rows, self.width)
            self.plain[k] = False  # if HDF5 finds it right all the same, it is not where we look for it
        with refusing(self.info.path, self.name):  # which says what is wrong with it
            found: Array = self.x[k * self.rows : min((k + 1) * self.rows, len(self.x))]
        return found

    def _fill(self, values: Array, place: int, name: Callable[[], str]) -> None:
        """Fill an array with the file's bytes from a place on."""
        try:
            if read_into(self.descriptor, values, place) < values.nbytes:
                raise ValueError("the file has become shorter")
        except (OSError, ValueError) as error:
            raise damaged(self.info.path, f"{self.name} ({name()})", error) from error


class ObservedRows:
    """Rows of an `x` whose missing values become NaN.

    Args:
        x: its rows.
        observed: those of the marks.
    """

    def __init__(self, x: RandomRows, observed: RandomRows) -> None:
        self.x, self.observed = x, observed

    def read(self, start: int, stop: int, name: Callable[[], str], out: Array | None = None) -> Array:
        """What `read_rows` reads, into `out` if given; `name` is asked for in errors."""
        return hidden(self.x.read(start, stop, name, out), self.observed.read(start, stop, name))


def random_rows(group: h5py.Group, info: DataInfo) -> RandomRows | ObservedRows:
    """The rows of a split's `x`, in any order."""
    rows = RandomRows(group["x"], info)
    return ObservedRows(rows, RandomRows(group["observed"], marks(info))) if info.missing else rows


def fletcher32(data: NDArray[np.uint8]) -> int:
    """HDF5's checksum of at most `MOST_SUMMED` bytes.

    The sums of the 16-bit words w_1, …, w_n and of (n + 1 - i) w_i modulo 65535, where 65535 stands for 0 unless all
    are 0 (H5checksum.c). HDF5's words are big-endian: swapping a word's bytes is multiplying by 256, modulo 65535.
    """
    if len(data) % 2:
        data = np.append(data, np.uint8(0))
    words = data.view("<u2").astype(np.float64)  # whole numbers below 2^53: exact
    # einsum, not BLAS's dot, which wakes other threads for this little, to spin beside the training.
    sums = (int(words.sum()), int(np.einsum("i,i", words, _falling(len(words)))))
    low, high = ((256 * s - 1) % 65535 + 1 if s else 0 for s in sums)
    return high << 16 | low


@lru_cache(maxsize=4)
def _falling(n: int) -> NDArray[np.float64]:
    """n, …, 1."""
    return np.arange(n, 0, -1, dtype=np.float64)


def read_into(descriptor: int, values: Array, place: int) -> int:
    """Fill an array with an open file's bytes from a place on, and say how many there were."""
    rest = values.data.cast("B")
    while len(rest):  # a network's file system may give a part
        if PREADV is not None:
            count = PREADV(descriptor, [rest], place)
            if count == len(rest):
                return values.nbytes
        else:
            held = read_at(descriptor, len(rest), place)
            count = len(held)
            rest[:count] = held
        if not count:
            break
        rest, place = rest[count:], place + count
    return values.nbytes - len(rest)
