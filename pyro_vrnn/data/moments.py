"""Mean and standard deviation of columns in one pass over data that does not fit in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class Moments:
    """Mean and deviation of each column in float64, by the update of Chan, Golub and LeVeque for blocks.

    Args:
        pooled: all columns are one (samples of audio).
    """

    def __init__(self, *, pooled: bool) -> None:
        self.pooled = pooled
        self.count = 0
        self.mean: Array = np.zeros(1)
        self.square: Array = np.zeros(1)

    def add(self, values: Array) -> None:
        """Take more rows in, [T, X]."""
        block = values.astype(np.float64)
        block = block.reshape(-1, 1) if self.pooled else block
        n, mean = len(block), block.mean(0)
        shift, total = mean - self.mean, self.count + n
        self.square = self.square + ((block - mean) ** 2).sum(0) + shift**2 * (self.count * n / total)
        self.mean = self.mean + shift * (n / total)
        self.count = total

    @property
    def std(self) -> Array:
        """The standard deviation over N, not N - 1. [X]"""
        return np.sqrt(self.square / self.count)
