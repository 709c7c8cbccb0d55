"""How much noise a model takes off a sequence, against a median filter: errors before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.data.format import DataFormat

WIDTHS = (3, 5, 7, 9)
"""Of median filters; the best of them is what a model stands beside."""
Array = NDArray[Any]


@dataclass(frozen=True)
class Errors:
    """The errors of one sequence, or means over several, in units of `measure`."""

    before: float
    """Of what the model was given."""
    after: float
    """Of what it made of it."""
    median: dict[int, float]
    """Of a median filter on what the model was given, by its width; empty for symbols, which have no order."""


def median(x: Array, width: int, form: DataFormat) -> Array:
    """The median over `width` steps around each, column by column; beyond the ends their own values are repeated.

    Of bits that is the majority. Of sound, whose steps are frames, it runs over samples.

    Args:
        x: [T, X].
        width: odd.
        form: of the data.
    """
    series = x.reshape(-1, 1) if form.traits.sampled else x
    padded = np.pad(series, ((width // 2, width // 2), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, width, axis=0), axis=-1).reshape(x.shape)


def measure(form: DataFormat) -> str:
    """What an error is, in words."""
    words = {"binary": "share of bits that are wrong", "categorical": "share of symbols that are wrong"}
    return words.get(form.support, "mean square error; 1 is the variance of the training data")


def errors(form: DataFormat, clean: Array, spoilt: Array, back: Array) -> Errors:
    """The errors of one sequence; missing values are left out.

    Args:
        form: of the data.
        clean, spoilt, back: without noise, as the model was given it, and as it came back; [T, X] each.
    """

    def error(found: Array) -> float:
        if form.symbols:
            return float(np.mean(found.argmax(-1) != clean.argmax(-1)))
        return float(np.nanmean(np.square(found.astype(np.float64) - clean)))  # of bits: the share that differ

    filters = {} if form.symbols else {width: error(median(spoilt, width, form)) for width in WIDTHS}
    return Errors(error(spoilt), error(back), filters)


def summary(form: DataFormat, found: Sequence[Errors]) -> dict[str, Any]:
    """Means over sequences: `error_before`, `error_after`, and `error_median` of the best `median_width` (or None)."""
    filters = {width: float(np.mean([one.median[width] for one in found])) for width in found[0].median}
    best = min(filters, key=lambda width: filters[width]) if filters else None
    return {
        "error": measure(form),
        "error_before": float(np.mean([one.before for one in found])),
        "error_after": float(np.mean([one.after for one in found])),
        "error_median": None if best is None else filters[best],
        "median_width": best,
        "median_by_width": {str(width): value for width, value in filters.items()},
    }


def words(facts: Mapping[str, Any]) -> str:
    """What `summary` says, in one line for people."""
    filtered, width = facts["error_median"], facts["median_width"]
    beside = "" if filtered is None else f", from a median filter over {width} steps {filtered:.4g}"
    before, after = facts["error_before"], facts["error_after"]
    return f"error with noise {before:.4g}, from the model {after:.4g}{beside} ({facts['error']})"
