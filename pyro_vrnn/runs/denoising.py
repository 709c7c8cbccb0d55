"""How much noise a model takes off a sequence, against a median filter: errors before and after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.data.encoding import Encoding
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.data.schema import DataInfo

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

    Of bits that is the majority. Of sound, whose steps are frames, it runs over samples. A missing value has no part in
    the medians around it, and is missing in the result.

    Args:
        x: [T, X]; NaN where a value is missing.
        width: odd.
        form: of the data.
    """
    series = x.reshape(-1, 1) if form.traits.sampled else x
    padded = np.pad(series, ((width // 2, width // 2), (0, 0)), mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)  # [T, X, width]
    seen = ~np.isnan(series)
    if seen.all():  # nanmedian takes many times as long
        return np.median(around, axis=-1).reshape(x.shape)
    found = np.full_like(series, np.nan)
    found[seen] = np.nanmedian(around[seen], axis=-1)
    return found.reshape(x.shape)


def variance(form: DataFormat, encoding: Encoding, info: DataInfo) -> float:
    """Variance of the training split in the units that models read, the mean over columns; 1 for bits and symbols.

    It is 1 for numbers that were standardised, but for columns that never change, and another for those that were
    divided by their range. The pen of strokes is no number, and is left out. Where nothing ever changes it is 1.

    Args:
        form: of the data that the model was trained on.
        encoding: how the model reads it.
        info: what the data file says of its training split.
    """
    if form.support != "real":
        return 1.0
    _, std = encoding.moments(info.mean, info.std)
    return float(np.mean(np.square(_numbers(form, std)))) or 1.0


def _numbers(form: DataFormat, x: Array) -> Array:
    """Without the pen, of which a square error would be another thing. [..., X] -> [..., columns]."""
    return x[..., :-1] if form.traits.pen else x


def measure(form: DataFormat, unit: float | None = 1.0) -> str:
    """What an error is, in words; `unit` as in `errors`."""
    words = {"binary": "share of bits that are wrong", "categorical": "share of symbols that are wrong"}
    of = " of the moves, without the pen" if form.traits.pen else ""
    own = "16-bit steps" if form.traits.sampled else "units of the data"
    one = f"in squared {own}" if unit is None else "1 is the variance of the training data"
    return words.get(form.support, f"mean square error{of}; {one}")


def square_error(form: DataFormat, clean: Array, found: Array, unit: float | None = 1.0) -> float | None:
    """The mean square error over the values that were observed; None where none was.

    Args:
        form: of the data that the model was trained on.
        clean, found: as models read them. [T, X] each.
        unit: as in `errors`.
    """
    apart = np.square(found.astype(np.float64) - clean)  # of bits: whether they differ
    if unit is None and form.scale:
        apart *= np.square(np.asarray(form.scale, np.float64))
    seen = _numbers(form, apart)[_numbers(form, ~np.isnan(clean))]
    return float(seen.mean() / (unit or 1.0)) if seen.size else None


def errors(form: DataFormat, clean: Array, spoilt: Array, back: Array, unit: float | None = 1.0) -> Errors | None:
    """The errors of one sequence, all of them over the values that were observed; those that are missing are left out.

    Args:
        form: of the data.
        clean, spoilt, back: without noise, as the model was given it, and as it came back; [T, X] each.
        unit: `variance` of the training split, which a square error of numbers is divided by; None if it is not known:
            then it is in the squared units of the data.

    Returns:
        None where nothing was observed.
    """
    if form.symbols:
        before, after = (float(np.mean(x.argmax(-1) != clean.argmax(-1))) for x in (spoilt, back))
        return Errors(before, after, {})
    found = [square_error(form, clean, x, unit) for x in (spoilt, back)]
    filters = {width: square_error(form, clean, median(spoilt, width, form), unit) for width in WIDTHS}
    if found[0] is None or found[1] is None:
        return None
    return Errors(found[0], found[1], {width: value for width, value in filters.items() if value is not None})


def summary(form: DataFormat, found: Sequence[Errors], unit: float | None = 1.0) -> dict[str, Any]:
    """Means over sequences: `error_before`, `error_after`, and `error_median` of the best `median_width` (or None).

    Args:
        form: of the data.
        found: what `errors` gave; if there is nothing, all are None.
        unit: what it was given.
    """
    filters = {
        width: float(np.mean([one.median[width] for one in found])) for width in (found[0].median if found else ())
    }
    best = min(filters, key=lambda width: filters[width]) if filters else None
    return {
        "error": measure(form, unit),
        "error_before": float(np.mean([one.before for one in found])) if found else None,
        "error_after": float(np.mean([one.after for one in found])) if found else None,
        "error_median": None if best is None else filters[best],
        "median_width": best,
        "median_by_width": {str(width): value for width, value in filters.items()},
    }


def words(facts: Mapping[str, Any]) -> str:
    """What `summary` says, in one line for people."""
    if facts["error_before"] is None:
        return "nothing observed: there is no error to tell"
    filtered, width = facts["error_median"], facts["median_width"]
    beside = "" if filtered is None else f", from a median filter over {width} steps {filtered:.4g}"
    before, after = facts["error_before"], facts["error_after"]
    return f"error with noise {before:.4g}, from the model {after:.4g}{beside} ({facts['error']})"
