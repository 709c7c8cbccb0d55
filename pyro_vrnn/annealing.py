"""Schedules as pure functions of the number of updates done so far."""

from __future__ import annotations

import math
from typing import Literal

Decay = Literal["constant", "linear", "exponential", "cosine"]


def linear(step: int, start: float, end: float, steps: int) -> float:
    """From `start` at step 0 to `end` at `steps` and after; `steps = 0` is `end` at once."""
    if step >= steps:
        return end
    return start + (end - start) * step / steps


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
