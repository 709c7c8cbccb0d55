"""What two models without a network score on a data set: the baselines that a trained one has to beat. No torch here.

"independent" knows nothing of time, "last" the last value alone; both have what they need from the training split.

    binary        every column is a coin with its rate; a coin given only its own previous value
    real          every column is a Gaussian; a Gaussian around a line from its own previous value (of audio a column is
                  a sample, and the one before it may be in the step before). A pen is a coin
    categorical   the symbols' rates; their rates after the previous symbol

A rate is (ones + 1/2) / (steps + 1) of a coin, (times + 1) / (steps + symbols) of a symbol. Real values are in the
units that a model reads (encoding.py), so that a density is one over the same x, and no deviation is below LEAST_SCALE.
The first step of a sequence, which has no previous one, is scored by "independent", and no pair of steps crosses the
border of two sequences. What is added up comes from one sequence at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.encoding import Encoding, encoding_of
from pyro_vrnn.data.kinds import KINDS
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import AGAIN, Array, DataInfo, read_info, unscored
from pyro_vrnn.system.errors import DataError

MOST_SEQUENCES, MOST_VALUES = 10_000, 20_000_000
"""Of a split that are read of data other than binary; of more, as many sequences with even distances between them."""
LEAST_SCALE = 1e-4
"""Of a Gaussian, in the units of x: that of the likelihoods."""
PAIRS_HELD = 1_000_000


def baselines(path: str | Path, encoding: Encoding | None = None) -> dict[str, float]:
    """The scores "independent" and "last" on the test split, nats per step: all -log p over the number of scored steps.

    Where only some sequences of a big split were read, `train_sequences` and `test_sequences` say how many.

    Args:
        path: a data file.
        encoding: a trained model's, to score what it reads; the file's own by default.

    Raises:
        DataError: no test sequence, damaged values, or symbols that do not fit; else as `read_info`.
    """
    info = read_info(path)
    if not info.splits["test"].sequences:
        raise DataError(f"{path}: the test split is empty", "baselines are measured on it", path)
    if info.support == "binary":
        return coin_baselines(info, Coins.of(info, "train"), Coins.of(info, "test"))
    encoding = encoding_of(info) if encoding is None else encoding
    counts: Any = _Symbols if info.support == "categorical" else _Numbers
    train, test = counts(info, encoding), counts(info, encoding)
    for x in _some(info, "train"):
        train.add(x, 0)
    for x in _some(info, "test"):
        test.add(x, unscored(info))
    independent, last = test.nll(train)
    found = {"independent": independent / test.steps, "last": last / test.steps}
    read = {split: len(_chosen(info, split)) for split in ("train", "test")}
    if any(count < info.splits[split].sequences for split, count in read.items()):
        found |= {f"{split}_sequences": count for split, count in read.items()}
    return found


def _chosen(info: DataInfo, split: str) -> range | list[int]:
    """The sequences of a split that are read."""
    counts = info.splits[split]
    values = counts.steps * info.x_dim
    most = min(MOST_SEQUENCES, max(1, MOST_VALUES * counts.sequences // max(1, values)))
    if counts.sequences <= most:
        return range(counts.sequences)
    return [i * counts.sequences // most for i in range(most)]


def _some(info: DataInfo, split: str) -> Iterator[Array]:
    return read_split(info.path, split, _chosen(info, split))


def last_value_line(info: DataInfo) -> tuple[Array, Array, Array]:
    """The line from the value before of real columns in the training split: offset, slope, deviation around it. [X].

    In the units of x; of a big split, from some of its sequences.
    """
    found = _Numbers(info, encoding_of(info))
    for x in _some(info, "train"):
        found.add(x, 0)
    offset, slope, variance = found._line()
    return offset, slope, np.sqrt(variance)


class Coins:
    """How often each of X columns is 0 or 1, [2, X] each: in all steps, in first steps, and after a 0 or a 1."""

    def __init__(self, width: int) -> None:
        self.counts = np.zeros((4, 2, width), np.int64)
        self.repeated = 0
        """Steps equal to the one before."""

    @classmethod
    def of(cls, info: DataInfo, split: str) -> Coins:
        """Those of a split."""
        coins = cls(info.x_dim)
        for x in read_split(info.path, split):
            coins.add(x)
        return coins

    def add(self, stored: Array) -> None:
        """One sequence, [T, X]."""
        x = stored.astype(np.int64)
        before, now = x[:-1], x[1:]
        both = (before * now).sum(0)
        after_one, after_zero = before.sum(0), (1 - before).sum(0)
        ones_after_zero = now.sum(0) - both
        self.counts[0] += [len(x) - x.sum(0), x.sum(0)]
        self.counts[1] += [1 - x[0], x[0]]
        self.counts[2] += [after_zero - ones_after_zero, ones_after_zero]
        self.counts[3] += [after_one - both, both]
        self.repeated += int((before == now).all(1).sum())

    def after(self) -> tuple[Array, Array]:
        """The probability of a 1 after a 0, and after a 1. [X] each."""
        zero, one = ((counts[1] + 0.5) / (counts.sum(0) + 1) for counts in self.counts[2:])
        return zero, one

    def nll(self, train: Coins, *, firsts: bool) -> tuple[float, float]:
        """Nats of all its steps, with or without the first ones: independent, last."""
        rates = [(counts[1] + 0.5) / (counts.sum(0) + 1) for counts in train.counts]
        steps, first, after_zero, after_one = self.counts
        independent = _coins_nll(steps if firsts else steps - first, rates[0])
        last = _coins_nll(first, rates[0]) if firsts else 0.0
        return independent, last + _coins_nll(after_zero, rates[2]) + _coins_nll(after_one, rates[3])


def _coins_nll(counts: Array, rate: Array) -> float:
    """-log p of that many zeros and ones, nats."""
    return float(-(counts[1] * np.log(rate) + counts[0] * np.log1p(-rate)).sum())


def coin_baselines(info: DataInfo, train: Coins, test: Coins) -> dict[str, float]:
    """The baselines of binary data."""
    counts, first = info.splits["test"], unscored(info)
    steps = counts.steps - first * counts.sequences
    independent, last = test.nll(train, firsts=not first)
    return {"independent": independent / steps, "last": last / steps}


class _Numbers:
    """Sums over real sequences: of values, of first values, and of pairs of a value and the one before."""

    def __init__(self, info: DataInfo, encoding: Encoding) -> None:
        self.encoding, self.frame = encoding, info.frame_length
        self.pen = Coins(1) if KINDS[info.kind].pen else None
        width = 1 if self.frame > 1 else info.x_dim - (self.pen is not None)
        self.all, self.first = np.zeros((2, 3, width))
        self.before, self.now = np.zeros((2, 3, width))
        self.products = np.zeros(width)
        self.steps = 0

    def add(self, stored: Array, skip: int) -> None:
        """One sequence, of which the first `skip` steps are only read."""
        self.steps += len(stored) - skip
        x = self.encoding.encode(stored).astype(np.float64)
        if self.pen is not None:
            self.pen.add(x[:, -1:])
            x = x[:, :-1]
        if self.frame > 1:
            x, skip = x.reshape(-1, 1), skip * self.frame
        self.all += _sums(x[skip:])
        if not skip:
            self.first += _sums(x[:1])
        start = max(skip, 1)
        before, now = x[start - 1 : -1], x[start:]
        if np.isnan(x).any():  # a value after a missing one is scored like a first one
            self.first += _sums(np.where(np.isnan(before), now, np.nan))
            both = ~(np.isnan(before) | np.isnan(now))
            before, now = np.where(both, before, np.nan), np.where(both, now, np.nan)
        self.before += _sums(before)
        self.now += _sums(now)
        self.products += np.einsum("tx,tx->x", np.nan_to_num(before), np.nan_to_num(now))

    def nll(self, train: _Numbers) -> tuple[float, float]:
        """Nats of all its steps: independent, last."""
        mean, variance = _moments(train.all)
        independent = _gaussian_nll(self.all[0], _squares(self.all, mean), variance)
        offset, slope, around = train._line()
        squares = _squares(self.now, offset)
        squares += slope * (slope * self.before[2] + 2 * offset * self.before[1] - 2 * self.products)
        last = _gaussian_nll(self.first[0], _squares(self.first, mean), variance)
        last += _gaussian_nll(self.now[0], squares, around)
        if self.pen is None or train.pen is None:
            return independent, last
        pen = self.pen.nll(train.pen, firsts=bool(self.first[0].any()))
        return independent + pen[0], last + pen[1]

    def _line(self) -> tuple[Array, Array, Array]:
        """The line from the value before, and the variance around it: offset, slope, variance. [X] each."""
        few = self.now[0] < 2  # of fewer pairs there is none
        alone, around = _moments(self.all)
        pairs = np.maximum(self.now[0], 1)
        mean, variance = _moments(np.where(few, self.all, self.now))
        mean_before, variance_before = _moments(np.where(few, self.all, self.before))
        covariance = np.where(few, 0.0, self.products / pairs - mean * mean_before)
        slope = covariance / variance_before
        offset = np.where(few, alone, mean - slope * mean_before)
        return offset, slope, np.where(few, around, np.maximum(variance - slope * covariance, LEAST_SCALE**2))


def _moments(sums: Array) -> tuple[Array, Array]:
    """Mean and variance, [X] each."""
    mean = sums[1] / sums[0]
    return mean, np.maximum(sums[2] / sums[0] - mean**2, LEAST_SCALE**2)


def _sums(x: Array) -> Array:
    """Count the values of [T, X] that are not missing, and add them up, and their squares. [3, X]."""
    there = ~np.isnan(x)
    x = np.where(there, x, 0.0)
    return np.stack([there.sum(0).astype(np.float64), x.sum(0), np.einsum("tx,tx->x", x, x)])


def _squares(sums: Array, mean: Array) -> Array:
    """The sum of (x - mean)^2."""
    return np.asarray(sums[2] - 2 * mean * sums[1] + sums[0] * mean**2)


def _gaussian_nll(count: Array, squares: Array, variance: Array) -> float:
    return float(0.5 * (count * np.log(2 * np.pi * variance) + squares / variance).sum())


class _Symbols:
    """How often there is each symbol, each one first, and each after each."""

    def __init__(self, info: DataInfo, encoding: Encoding) -> None:
        self.info, self.number = info, encoding.symbols
        self.all, self.first, self.before = np.zeros((3, self.number), np.int64)
        self.pairs, self.times = np.zeros((2, 0), np.int64)
        self.held: list[Array] = []
        self.steps = 0

    def add(self, stored: Array, skip: int) -> None:
        """One sequence, of which the first `skip` steps are only read."""
        x = stored[:, 0].astype(np.int64)
        if x.max() >= self.number:
            raise DataError(f"{self.info.path}: symbol {x.max()}, there are {self.number}", AGAIN, self.info.path)
        self.steps += len(x) - skip
        self.all += np.bincount(x[skip:], minlength=self.number)
        if not skip:
            self.first[x[0]] += 1
        before, now = x[max(skip, 1) - 1 : -1], x[max(skip, 1) :]
        self.before += np.bincount(before, minlength=self.number)
        self.held.append(before * self.number + now)
        if sum(map(len, self.held)) > PAIRS_HELD:
            self.gather()

    def gather(self) -> None:
        """The pairs that were held, sorted and counted with the others."""
        each, where = np.unique(np.concatenate([self.pairs, *self.held]), return_inverse=True)
        times = np.concatenate([self.times, *(np.ones(len(held), np.int64) for held in self.held)])
        counted = np.zeros(len(each), np.int64)
        np.add.at(counted, where, times)
        self.pairs, self.times, self.held = each, counted, []

    def nll(self, train: _Symbols) -> tuple[float, float]:
        """Nats of all its steps: independent, last."""
        train.gather()
        self.gather()
        log_rates = np.log((train.all + 1) / (train.all.sum() + self.number))
        seen = np.zeros(len(self.pairs))
        if len(train.pairs):
            at = np.minimum(np.searchsorted(train.pairs, self.pairs), len(train.pairs) - 1)
            seen = np.where(train.pairs[at] == self.pairs, train.times[at], 0)
        after = train.before[self.pairs // self.number]
        last = -(self.times * np.log((seen + 1) / (after + self.number))).sum()
        return float(-(self.all * log_rates).sum()), float(last - (self.first * log_rates).sum())
