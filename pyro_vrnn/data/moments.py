"""Mean and standard deviation of columns in one pass over data that does not fit in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.system.errors import DataError

Array = NDArray[Any]


class Moments:
    """Mean and deviation of each column in float64, by the update of Chan, Golub and LeVeque for blocks.

    Args:
        pooled: all columns are one (samples of audio).
    """

    def __init__(self, *, pooled: bool) -> None:
        self.pooled = pooled
        self.count: Any = 0
        """Values of each column; one number where all columns have as many."""
        self.mean: Array = np.zeros(1)
        self.square: Array = np.zeros(1)

    def add(self, values: Array, *, missing: bool = False) -> None:
        """Take more rows in, [T, X]; with `missing`, NaN is no value."""
        block = values.astype(np.float64)
        if missing:
            self._add_observed(block)
            return
        block = block.reshape(-1, 1) if self.pooled else block
        n, mean = len(block), block.mean(0)
        shift, total = mean - self.mean, self.count + n
        self.square = self.square + ((block - mean) ** 2).sum(0) + shift**2 * (self.count * n / total)
        self.mean = self.mean + shift * (n / total)
        self.count = total

    def _add_observed(self, block: Array) -> None:
        """Take in what is not NaN, column by column."""
        seen = ~np.isnan(block)
        n = seen.sum(0)
        mean = np.divide(np.where(seen, block, 0).sum(0), n, out=np.zeros(block.shape[1]), where=n > 0)
        shift, total = mean - self.mean, self.count + n
        share = np.divide(n, total, out=np.zeros(block.shape[1]), where=total > 0)
        self.square = self.square + (np.where(seen, block - mean, 0) ** 2).sum(0) + shift**2 * self.count * share
        self.mean = self.mean + shift * share
        self.count = total

    def check(self) -> None:
        """DataError if a column has no value at all."""
        never = np.flatnonzero(np.asarray(self.count) == 0)
        if len(never):
            raise DataError(f"column {never[0]} has no value in any training sequence", "leave it out with --drop")

    @property
    def std(self) -> Array:
        """The standard deviation over N, not N - 1. [X]"""
        return np.sqrt(self.square / self.count)
