"""How good forecasts are: CRPS, coverage of the 80% interval, MASE; and the two forecasts that need no model.

CRPS (Gneiting & Raftery 2007, JASA 102, eq. 21) is in the units of the data and is the absolute error of a forecast
without spread. MASE (Hyndman & Koehler 2006) divides absolute errors by those of `last value, one step ahead` on the
training split. Shapes: K samples, N steps, X columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LOW, HIGH = 0.1, 0.9
"""The quantiles that bound the 80% interval."""
NORMAL_HIGH = 1.2815515655446004
"""The standard normal's quantile at HIGH."""


def crps_of_samples(samples: Floats, x: Floats) -> Floats:
    """CRPS by the fair estimator, whose mean is that of the distribution however few the samples: lower is better.

    E|X - x| - E|X - X'| / 2, the second mean over pairs of different samples.

    Args:
        samples: [K, ...], K at least 2.
        x: what came, [...].
    """
    count = len(samples)
    ranks = 2 * np.arange(count) - (count - 1)  # each sample's times above others, less its times below
    pairs = np.tensordot(ranks, np.sort(samples, axis=0), axes=1)  # sum over pairs of |X - X'|
    found: Floats = np.abs(samples - x).mean(0) - pairs / (count * (count - 1))
    return found


def crps_of_normal(mean: Floats, deviation: Floats, x: Floats) -> Floats:
    """CRPS of a normal distribution, in closed form (Gneiting & Raftery 2007, sec. 4.2)."""
    scale = np.where(deviation > 0, deviation, 1.0)
    u = (x - mean) / scale
    below = 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(u / math.sqrt(2)))
    density = np.exp(-0.5 * u**2) / math.sqrt(2 * math.pi)
    found = scale * (u * (2 * below - 1) + 2 * density - 1 / math.sqrt(math.pi))
    return np.where(deviation == 0, np.abs(x - mean), found)


@dataclass(frozen=True)
class Lag:
    """How a column changes from one step to the one `steps` later, over the training split."""

    steps: int
    absolute: Floats
    """Mean |x_t - x_{t - steps}|. [X]"""
    deviation: Floats
    """Root of the mean square of it. [X]"""


def lag_of(sequences: Iterable[Floats], steps: int) -> Lag:
    """Measure it on sequences [T, X]; pairs with a missing value are left out, and NaN is of a column without pairs."""
    total: list[Floats] = []
    for x in sequences:
        change = x[steps:] - x[:-steps]
        total.append(np.stack([(~np.isnan(change)).sum(0), np.nansum(np.abs(change), 0), np.nansum(change**2, 0)]))
    pairs, absolute, square = np.sum(total, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return Lag(steps, absolute / pairs, np.sqrt(square / pairs))


def naive(context: Floats, steps: int, lag: Lag) -> tuple[Floats, Floats]:
    """Forecast with the value one season before, or two, …; with `lag.steps` 1 that is the last value.

    The deviation is the training split's at this lag, times the root of the number of seasons back (Hyndman &
    Athanasopoulos, Forecasting, sec. 5.5). A missing value is passed over for one a season earlier.

    Args:
        context: what is known, [T, X].
        steps: N.
        lag: of the season.

    Returns:
        Mean and deviation, [N, X] each; NaN where nothing is known.
    """
    mean = np.full((steps, context.shape[1]), np.nan)
    back = np.full_like(mean, np.nan)
    for h in range(steps):
        k = h // lag.steps + 1
        while (place := len(context) + h - k * lag.steps) >= 0 and np.isnan(mean[h]).any():
            found = np.isnan(mean[h]) & ~np.isnan(context[place])
            mean[h, found], back[h, found] = context[place, found], k
            k += 1
    return mean, lag.deviation * np.sqrt(back)


class Tally:
    """The scores of one way to forecast, gathered over sequences.

    Args:
        scale: MASE's, [X].
    """

    def __init__(self, scale: Floats) -> None:
        self.scale, zeros = scale, np.zeros(len(scale))
        self.count, self.crps, self.error, self.inside = zeros, zeros.copy(), zeros.copy(), zeros.copy()

    def add(self, crps: Floats, point: Floats, low: Floats, high: Floats, x: Floats, scored: NDArray[np.bool_]) -> None:
        """Take in one sequence: scores and forecasts [N, X], what came, and which entries count."""
        self.count = self.count + scored.sum(0)
        self.crps = self.crps + np.where(scored, crps, 0).sum(0)
        self.error = self.error + np.where(scored, np.abs(point - x), 0).sum(0)
        self.inside = self.inside + (scored & (low <= x) & (x <= high)).sum(0)

    def by_column(self) -> Iterator[dict[str, float | None]]:
        """Each column's scores, None where nothing was scored."""
        for count, crps, error, inside, scale in zip(
            self.count, self.crps, self.error, self.inside, self.scale, strict=True
        ):
            some, steady = count > 0, not scale > 0
            yield {
                "crps": crps / count if some else None,
                "scaled_crps": crps / count / scale if some and not steady else None,
                "coverage": inside / count if some else None,
                "mase": error / count / scale if some and not steady else None,
            }

    def summary(self) -> dict[str, float | None]:
        """The means over the columns; columns that never change in training have no MASE and are left out there."""
        columns = list(self.by_column())
        found: dict[str, float | None] = {}
        for name in columns[0]:
            known = [value for column in columns if (value := column[name]) is not None]
            found[name] = float(np.mean(known)) if known else None
        return found
