from __future__ import annotations

import pytest

from pyro_vrnn.objectives.curve import limit


@pytest.mark.parametrize("power", [0.4, 0.7, 1.0])
@pytest.mark.parametrize("counts", [(10, 100, 1000), (4, 40, 500)])
def test_finds_the_limit_of_a_power(power: float, counts: tuple[int, ...]) -> None:
    points = [(k, 5.0 + 3.0 * k**-power) for k in (1, *counts)]
    assert limit(points) == pytest.approx(5.0, abs=1e-6)


def test_says_nothing_where_most_is_still_to_come() -> None:
    assert limit([(k, 5.0 + 3.0 * k**-0.2) for k in (10, 100, 1000)]) is None


@pytest.mark.parametrize("values", [(3.0, 2.0), (3.0, 2.0, 2.5), (3.0, 2.9, 2.0), (2.0, 3.0, 2.5)])
def test_says_nothing_of_too_few_points_or_of_others(values: tuple[float, ...]) -> None:
    assert limit([(10.0**n, value) for n, value in enumerate(values)]) is None
