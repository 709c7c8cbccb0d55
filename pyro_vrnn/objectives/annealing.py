"""Schedules as pure functions of the number of updates done so far."""

from __future__ import annotations

import math
from typing import Literal

Decay = Literal["constant", "linear", "exponential", "cosine"]
Ramp = Literal["constant", "linear", "cosine", "sigmoid", "cyclical"]


def linear(step: int, start: float, end: float, steps: int) -> float:
    """From `start` at step 0 to `end` at `steps` and after; `steps = 0` is `end` at once."""
    if step >= steps:
        return end
    return start + (end - start) * step / steps


def ramp(step: int, start: float, end: float, steps: int, kind: Ramp = "linear", cycles: int = 4) -> float:
    """From `start` at step 0 to `end` at `steps` and after, along a curve of this kind.

    "sigmoid" is Bowman et al. 2016's, ten units of the logistic's argument wide and scaled to begin and end exactly;
    "cyclical" is `cycles` times a straight rise and as long a rest at `end` (Fu et al. 2019, arXiv:1903.10145);
    "constant" is `end` at once.
    """
    if kind == "constant" or step >= steps:
        return end
    share = step / steps
    if kind == "cosine":
        share = 0.5 * (1 - math.cos(math.pi * share))
    elif kind == "sigmoid":
        low, at, high = (1 / (1 + math.exp(-x)) for x in (-5.0, 10 * share - 5, 5.0))
        share = (at - low) / (high - low)
    elif kind == "cyclical":
        share = min(1.0, 2 * (share * cycles % 1))
    return start + (end - start) * share


def decayed(step: int, start: float, end: float, kind: Decay, begin: int, steps: int) -> float:
    """`start` up to step `begin`, then to `end` over `steps` updates along a curve of this kind.

    "exponential" is a straight line in log space (as a fixed factor an update); "constant" stays at `start`.
    """
    if kind == "constant" or step <= begin:
        return start
    share = 1.0 if steps == 0 else min(1.0, (step - begin) / steps)
    if kind == "linear":
        return start + (end - start) * share
    if kind == "exponential":
        return float(start * (end / start) ** share)
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * share))
