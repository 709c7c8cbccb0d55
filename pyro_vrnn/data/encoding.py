"""Stored values to what models read, and back: standardised numbers, one-hot symbols, bits as they are.

What it takes comes from the training split alone, and goes into a run's config.toml: a run turns what it draws back
into samples, points and words without its data file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.data.kinds import KINDS
from pyro_vrnn.data.schema import AGAIN, DataInfo
from pyro_vrnn.system.errors import DataError

Array = NDArray[Any]
SCALE_FLOOR = 1e-6
"""Of a column that never changes, as a share of the others' median scale (or of 1)."""
MOST_SYMBOLS = 65_536


@dataclass(frozen=True)
class Encoding:
    """x = (stored - center) / scale for numbers; a one of `symbols` for categorical data.

    `stored` are the values of a data file; those of its source are `stored + offset`.

    `center` and `scale` have one value for each column, or one for all; empty for what is left as it is.
    """

    center: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    symbols: int = 0
    offset: tuple[float, ...] = ()
    """What was taken off each column before it was stored, where float32 would have lost its ups and downs."""

    def x_dim(self, columns: int) -> int:
        """X of a file with so many stored columns."""
        return self.symbols or columns

    def encode(self, stored: Array) -> NDArray[np.float32]:
        """[..., columns] -> [..., X] float32."""
        if self.symbols:
            out = np.zeros((*stored.shape[:-1], self.symbols), np.float32)
            np.put_along_axis(out, stored.astype(np.int64), 1.0, axis=-1)
            return out
        x = stored.astype(np.float32, order="C")
        if self.scale:
            center, scale = self.constants
            x -= center
            x /= scale
        return x

    def decode(self, x: Array) -> Array:
        """Back, in float64; symbols as their numbers. [..., X] -> [..., columns]."""
        if self.symbols:
            return np.asarray(x).argmax(-1)[..., None]
        center, scale = self._arrays(np.float64)
        values = np.asarray(x, np.float64)
        values = values * scale + center if self.scale else values
        return values + np.asarray(self.offset) if self.offset else values

    def of_values(self, values: Array) -> NDArray[np.float32]:
        """`encode` of values as they were in the source, before an offset was taken off: what `decode` gives back."""
        return self.encode(np.asarray(values, np.float64) - np.asarray(self.offset) if self.offset else values)

    def moments(self, mean: Array, std: Array) -> tuple[Array, Array]:
        """Mean and deviation of stored columns, in the units of x. [X] each."""
        center, scale = self._arrays(np.float64)
        return ((mean - center) / scale, std / scale) if self.scale else (mean, std)

    @cached_property
    def constants(self) -> tuple[Array, Array]:
        """`center` and `scale` in float32."""
        return self._arrays(np.float32)

    def _arrays(self, dtype: type[np.floating[Any]]) -> tuple[Array, Array]:
        return np.asarray(self.center, dtype), np.asarray(self.scale, dtype)


def encoding_of(info: DataInfo) -> Encoding:
    """How a data file's values are read.

    Real numbers are standardised by the training split's mean and deviation (audio by one for all samples), or with
    `normalise = "range"` divided by its range; a pen column stays 0 or 1.

    Raises:
        DataError: symbols without names, or more than 65,536; a range that is none.
    """
    if info.support == "binary":
        return Encoding()
    if info.support == "categorical":
        symbols = info.extra.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(s, str) and _is_text(s) for s in symbols):
            symbols = []
        if not 1 <= len(symbols) <= MOST_SYMBOLS or info.x_dim != 1:
            raise DataError(f"{info.path}: /extra: symbols is no list of 1 to {MOST_SYMBOLS} names", AGAIN, info.path)
        return Encoding(symbols=len(symbols))
    center, scale = info.mean.copy(), info.std.copy()
    if info.extra.get("normalise") == "range":
        low, high = (info.extra.get(k) for k in ("low", "high"))
        if not (isinstance(low, int | float) and isinstance(high, int | float) and low < high):
            raise DataError(f"{info.path}: /extra: low {low!r}, high {high!r} are no range", AGAIN, info.path)
        scale = np.full_like(scale, high - low)
    usual = float(np.median(scale[scale > 0])) if (scale > 0).any() else 1.0  # not the widest: it may be an outlier's
    still = scale <= SCALE_FLOOR * np.abs(center)  # or no more than rounding
    scale = np.where(still, np.maximum(scale, SCALE_FLOOR * max(usual, 1.0)), scale)
    if KINDS[info.kind].pen:
        center[-1], scale[-1] = 0.0, 1.0
    if info.frame_length > 1:
        center, scale = center[:1], scale[:1]
    return Encoding(tuple(float(v) for v in center), tuple(float(v) for v in scale), offset=_offset(info))


def _offset(info: DataInfo) -> tuple[float, ...]:
    """What was taken off each column; DataError if it is not a number for each."""
    found = info.extra.get("offset", [])
    good = isinstance(found, list) and all(type(v) in (int, float) and math.isfinite(v) for v in found)
    if not good or len(found) not in (0, info.x_dim):
        raise DataError(f"{info.path}: /extra: offset is not {info.x_dim} numbers", AGAIN, info.path)
    return tuple(float(v) for v in found)


def _is_text(symbol: str) -> bool:
    """Whether UTF-8 can say it."""
    return symbol.encode("utf-8", "replace").decode() == symbol
