"""Means, deviations and Student's interval against scipy's, and pairs by seed."""

from __future__ import annotations

import pytest

from pyro_vrnn.experiments.statistics import paired, spread, t_probability, t_quantile

stats = pytest.importorskip("scipy.stats")


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 7, 10, 29])
def test_student(degrees: int) -> None:
    for probability in (0.5, 0.6, 0.9, 0.975, 0.999):
        assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9, abs=1e-9)
    for t in (-3.0, 0.0, 1.5):
        assert t_probability(t, degrees) == pytest.approx(stats.t.cdf(t, degrees), abs=1e-12)


def test_pairs_are_by_seed() -> None:
    mine, theirs = {0: 1.0, 2: 2.0, 5: 3.5, 7: 1.0}, {5: 3.0, 0: 2.0, 2: 2.5}
    found = paired(mine, theirs)
    assert found is not None
    assert (found.seeds, found.wins) == (3, 2)
    expected = stats.ttest_rel([1.0, 2.0, 3.5], [2.0, 2.5, 3.0]).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(-1 / 3)
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_one_seed_has_no_spread() -> None:
    one, pair = spread({0: 4.0}), paired({0: 4.0}, {0: 5.0})
    assert one is not None
    assert pair is not None
    assert (one.mean, one.deviation) == (4.0, None)
    assert (pair.mean, pair.low, pair.high, pair.wins) == (-1.0, None, None, 1)
    assert spread({}) is None
    three = spread({0: 1.0, 1: 2.0, 2: 6.0})
    assert three is not None
    assert three.deviation == pytest.approx(7**0.5)  # of the sample: n - 1
