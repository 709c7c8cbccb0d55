"""Means, deviations and paired differences over seeds, with Student's interval."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

LEVEL = 0.95


@dataclass(frozen=True)
class Spread:
    """Values of one arm over its seeds; `deviation` is the sample's (n - 1), None for one seed."""

    mean: float
    deviation: float | None
    seeds: int


@dataclass(frozen=True)
class Paired:
    """An arm minus the reference, seed by seed, over the seeds that both have.

    `low` and `high` bound the mean difference at 95% (Student's t, n - 1 degrees of freedom; it takes the differences
    as normal); None for one seed. `wins` counts the seeds in which the arm has the lower value.
    """

    mean: float
    low: float | None
    high: float | None
    wins: int
    seeds: int


def spread(values: Mapping[int, float]) -> Spread | None:
    """Mean and deviation of the values by seed; None without any."""
    found = list(values.values())
    if not found:
        return None
    return Spread(statistics.fmean(found), statistics.stdev(found) if len(found) > 1 else None, len(found))


def paired(values: Mapping[int, float], reference: Mapping[int, float]) -> Paired | None:
    """The difference from the reference, paired by seed; None where no seed has both."""
    found = [values[seed] - reference[seed] for seed in values if seed in reference]
    if not found:
        return None
    mean, wins, n = statistics.fmean(found), sum(d < 0 for d in found), len(found)
    if n == 1:
        return Paired(mean, None, None, wins, n)
    half = t_quantile(0.5 + LEVEL / 2, n - 1) * statistics.stdev(found) / math.sqrt(n)
    return Paired(mean, mean - half, mean + half, wins, n)


def t_probability(t: float, degrees: int) -> float:
    """P(T <= t) of Student's distribution with whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    square = math.cos(angle) ** 2
    odd = degrees % 2
    term = total = math.cos(angle) if odd else 1.0
    for i in range(3 if odd else 2, degrees - 1, 2):
        term *= square * (i - 1) / i
        total += term
    inside = math.sin(angle) * total if degrees > 1 else 0.0
    between = 2 / math.pi * (angle + inside) if odd else inside  # P(-t < T < t), with the sign of t
    return 0.5 + between / 2


def t_quantile(probability: float, degrees: int) -> float:
    """The t >= 0 that a T of so many degrees of freedom is at most with this probability, from 0.5 to below 1."""
    low, high = 0.0, 1.0
    while t_probability(high, degrees) < probability:
        low, high = high, 2 * high
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, degrees) < probability else (low, middle)
    return (low + high) / 2
