"""The data set of one split, and the batches that it gives; schema.py opens the file, batching.py chooses sequences."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.encoding import Encoding, encoding_of
from pyro_vrnn.data.reader import (
    Ids,
    ObservedRows,
    RandomRows,
    random_rows,
    read_ids,
    read_offsets,
    read_rows,
    read_split,
)
from pyro_vrnn.data.schema import AGAIN, SPLITS, open_data, unscored
from pyro_vrnn.data.supports import check_support
from pyro_vrnn.system.errors import ConfigError, DataError, choose

IN_MEMORY_BYTES = 64 * 2**20


class SequenceDataset:
    """One split of a data file, encoded (encoding.py) as float32 arrays [T_i, X].

    The file is opened in each process that reads it (an HDF5 handle does not survive a fork or a pickle). A
    split of up to 64 MiB is read once and kept; of a bigger one no more than a sequence is in memory.

    Args:
        path: a data file.
        split: train, valid or test.
        window: cut each sequence into pieces of at most this many steps (nothing is dropped; a sequence's
            last piece may be short). Ids then end in `#k`, the piece's number. For training.
        encoding: how values are read; the file's own by default, a trained model's to score other data.
        dither: add uniform noise of one 16-bit step to audio, the same whenever the same steps are read.
        hop: steps from one piece's start to the next one's; the window by default, 1 for a piece at every step.

    Raises:
        ConfigError: an unknown split, a window below 1.
        DataError: see `read_info`; and on reading, damaged values or values outside the support.
    """

    def __init__(
        self,
        path: str | Path,
        split: str,
        window: int | None = None,
        hop: int | None = None,
        encoding: Encoding | None = None,
        *,
        dither: bool = False,
    ) -> None:
        if split not in SPLITS:
            raise choose("split", split, SPLITS)
        if window is not None and window < 1:
            raise ConfigError(f"window {window}: a piece has at least 1 step", "leave it out for whole sequences")
        hop = hop or window or 1
        if window is not None and not 1 <= hop <= window:
            raise ConfigError(f"hop {hop}: must be from 1 to the window, {window}")
        self.split, self.dither, self.cut = split, dither, window is not None
        file, self.info = open_data(path)
        self.encoding = encoding_of(self.info) if encoding is None else encoding
        self.x_dim = self.encoding.x_dim(self.info.x_dim)
        if window == 1 and unscored(self.info):
            raise ConfigError("window 1: the first step of a sequence is only read here", "a window of 2 or more")
        with file:
            offsets = read_offsets(file, split, self.info)
            self.ids = read_ids(file, split, self.info)
            self.dtype: np.dtype[Any] = file[split]["x"].dtype
            """As it is stored."""
        self.starts: NDArray[np.int64] = offsets[:-1]  # [N]
        self.lengths: NDArray[np.int64] = np.diff(offsets)  # [N]
        self.given: NDArray[np.int64] = np.full_like(self.lengths, unscored(self.info))
        """Of each sequence, how many of its first steps are only read. [N]"""
        if window is not None:
            pieces = 1 + np.maximum(0, -(-(self.lengths - window) // hop))
            k = np.arange(int(pieces.sum())) - np.repeat(np.cumsum(pieces) - pieces, pieces)
            self.ids = Ids(self.ids.names, np.repeat(np.arange(len(pieces)), pieces), k)
            self.lengths = np.minimum(window, np.repeat(self.lengths, pieces) - k * hop)
            self.starts = np.repeat(self.starts, pieces) + k * hop
            self.given = np.clip(np.repeat(self.given, pieces) - k * hop, 0, self.lengths)
        self._opened: tuple[int, RandomRows | ObservedRows | NDArray[Any]] | None = None

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> NDArray[np.float32]:
        """Sequence i, [T_i, X]; NaN where a value is missing."""
        return self.piece(i, 0, int(self.lengths[i]))

    @property
    def raw(self) -> bool:
        """Whether `collate` can leave standardising to the device: whole numbers as they are stored, such as audio."""
        return self.dtype.kind == "i" and bool(self.encoding.scale) and not self.dither

    def piece(self, i: int, begin: int, steps: int) -> NDArray[np.float32]:
        """At most so many steps of sequence i, from step `begin` (of 0, 1, …) on. [T, X]."""
        return self.encoding.encode(self.stored(i, begin, steps))

    def stored(self, i: int, begin: int, steps: int, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Read a piece as it is stored, before it is encoded, into `out` if given. [T, columns]."""
        if not -len(self) <= i < len(self):
            raise IndexError(f"sequence {i} of {len(self)}")
        x, first = self._rows(), int(self.starts[i])
        start, stop = first + begin, first + min(begin + steps, int(self.lengths[i]))
        if isinstance(x, np.ndarray):
            values = x[start:stop]
            if not self.info.missing:
                check_support(values, self.info.support, f"{self.info.path}: {self._name(i)}", self.info.path)
        else:
            values = x.read(start, stop, partial(self._name, i), None if self.dither else out)
        if self.encoding.symbols and int(values.max()) >= self.encoding.symbols:
            worst = int(values.max())
            message = f"{self.info.path}: {self._name(i)}: symbol {worst}, there are {self.encoding.symbols}"
            raise DataError(message, AGAIN, self.info.path)
        if self.dither:
            # One number a sample, counted from the split's first: a sample's noise is the same in any window.
            counted = np.random.PCG64(SPLITS.index(self.split)).advance(start * values.shape[1])
            values = values + (np.random.Generator(counted).random(values.shape) - 0.5).astype(np.float32)
        if out is None or values is out:
            return values
        out[...] = values
        return out

    def _name(self, i: int) -> str:
        """In messages."""
        return f"{self.split} sequence {self.ids[i]}"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def find(self, sequence: str) -> int:
        """The index of the sequence with this id, or else with this number.

        Raises:
            ConfigError: neither; the hint names some that there are.
        """
        if sequence in self.ids:
            return self.ids.index(sequence)
        if sequence.isascii() and sequence.isdigit() and int(sequence) < len(self):
            return int(sequence)
        near = [i for i in self.ids if i.startswith(sequence)][:3] or difflib.get_close_matches(sequence, self.ids)
        near = near or list(self.ids[:3])
        hint = f"a number from 0 to {len(self) - 1}, or an id such as {', '.join(near)}"
        raise ConfigError(f"no sequence {sequence!r} in the {self.split} split", hint, self.info.path)

    def _rows(self) -> RandomRows | ObservedRows | NDArray[Any]:
        """All steps of the split, [steps, X]: an array, or the open file's rows, kept by process."""
        if self._opened is None or self._opened[0] != os.getpid():
            file, _ = open_data(self.info.path)
            group = file[self.split]
            if group["x"].nbytes <= IN_MEMORY_BYTES:
                with file:
                    self._opened = (os.getpid(), read_rows(group, 0, len(group["x"]), "all", self.info))
            else:
                self._opened = (os.getpid(), random_rows(group, self.info))
        return self._opened[1]


def collate(
    dataset: SequenceDataset, indices: Sequence[int], begin: int = 0, steps: int | None = None, *, raw: bool = False
) -> Batch:
    """These sequences side by side, or a piece of each: x [T, B, X] float32, zero-padded on the right; lengths [B].

    Of data with missing values the batch says which entries were observed.

    With `raw` x is as stored, for `standardised` to finish.
    """
    lengths = [int(dataset.lengths[i]) - begin for i in indices]
    if steps is not None:
        lengths = [min(n, steps) for n in lengths]
    held = np.zeros((len(lengths), max(lengths), dataset.info.x_dim), np.float32 if dataset.dither else dataset.dtype)
    for values, i, n in zip(held, indices, lengths, strict=True):
        dataset.stored(i, begin, n, values[:n])
    stored = held.transpose(1, 0, 2)
    x = np.ascontiguousarray(stored) if raw else dataset.encoding.encode(stored)
    if not raw:
        for b, n in enumerate(lengths):
            x[n:, b] = 0
    given = np.clip(dataset.given[list(indices)] - begin, 0, lengths)
    observed = None
    if dataset.info.missing:
        observed = torch.from_numpy(~np.isnan(x))
        np.nan_to_num(x, copy=False, nan=0.0)
        for b, n in enumerate(lengths):
            observed[n:, b] = False
    return Batch(
        torch.tensor(lengths),
        torch.from_numpy(x),
        given=torch.from_numpy(given) if given.any() else None,
        observed=observed,
    )


def moments(dataset: SequenceDataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of each column of the training split as models read it, [X] each; of symbols their rates."""
    if not dataset.encoding.symbols:
        return dataset.encoding.moments(dataset.info.mean, dataset.info.std)
    counts = np.ones(dataset.x_dim)  # one for each, so that none is impossible
    for stored in read_split(dataset.info.path, "train"):
        counts += np.bincount(stored[:, 0].astype(np.int64), minlength=dataset.x_dim)[: dataset.x_dim]
    rates = counts / counts.sum()
    return rates, np.sqrt(rates * (1 - rates))
