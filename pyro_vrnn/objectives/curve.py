"""Where a bound would end with particles without number: a guess from its last three values, never a bound itself."""

from __future__ import annotations

from collections.abc import Sequence

STEEPEST = 2.0
FLATTEST = 0.02


def limit(points: Sequence[tuple[float, float]]) -> float | None:
    """The limit a of a + c K^(-power) through the last three points (K, NLL), K ascending.

    The gap of an importance-weighted bound goes as 1 / K once K is large against the variance of its weights (Domke &
    Sheldon 2018, arXiv:1808.09034, theorem 3), and as a smaller power before; so the power is fitted too.

    Returns:
        None for fewer than three points, if the last three do not fall ever more slowly, or if more than their last
        fall would still be to come: that is too far to guess.
    """
    if len(points) < 3:
        return None
    (k1, first), (k2, second), (k3, third) = points[-3:]
    drop, next_drop = first - second, second - third
    if not (drop > 0 and next_drop > 0):
        return None

    def shares(power: float) -> float:
        """How much less the second drop is than the first, for this power."""
        a, b, c = (float(k) ** -power for k in (k1, k2, k3))
        return (b - c) / (a - b)

    low, high, wanted = FLATTEST, STEEPEST, next_drop / drop
    if not shares(high) <= wanted <= shares(low):  # it falls with the power
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if shares(middle) > wanted else (low, middle)
    b, c = (float(k) ** -low for k in (k2, k3))
    to_come = next_drop * c / (b - c)
    return third - to_come if to_come <= next_drop else None
