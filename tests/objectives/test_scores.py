"""CRPS against its closed form, MASE by hand, the forecasts that need no model."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_vrnn.objectives.scores import Tally, crps_of_normal, crps_of_samples, lag_of, naive

NAN = np.nan


def test_crps_of_many_samples_is_the_closed_form() -> None:
    random = np.random.default_rng(0)
    mean, deviation, x = np.array([0.0, 3.0, -1.0]), np.array([1.0, 0.2, 5.0]), np.array([0.4, 2.0, -1.0])
    found = crps_of_samples(mean + deviation * random.normal(size=(100_000, 3)), x)
    np.testing.assert_allclose(found, crps_of_normal(mean, deviation, x), rtol=0.01)


def test_crps_of_few_samples_is_right_on_average() -> None:
    samples = np.random.default_rng(0).normal(size=(3, 200_000))
    found = crps_of_samples(samples, np.full(200_000, 0.5))
    want = float(crps_of_normal(np.array(0.0), np.array(1.0), np.array(0.5)))
    assert found.mean() == pytest.approx(want, abs=4 * found.std() / np.sqrt(200_000))


def test_crps_by_hand() -> None:
    assert crps_of_samples(np.array([1.0, 3.0]), np.array(2.0)) == pytest.approx(1 - 0.5 * 2)
    assert crps_of_normal(np.array(1.0), np.array(0.0), np.array(4.0)) == 3  # without spread: the absolute error
    assert crps_of_normal(np.array(0.0), np.array(1.0), np.array(0.0)) == pytest.approx(0.2336949772551)


def test_a_lags_changes_skip_what_is_missing() -> None:
    found = lag_of([np.array([[1.0, 5], [3, NAN], [2, 5]]), np.array([[0.0, NAN], [4, 1]])], 1)
    assert found.absolute[0] == pytest.approx((2 + 1 + 4) / 3)
    assert found.deviation[0] == pytest.approx(np.sqrt((4 + 1 + 16) / 3))
    assert np.isnan(found.absolute[1])
    assert lag_of([np.ones((2, 1))], 5).absolute.shape == (1,)  # shorter than a season


def test_naive_forecasts() -> None:
    known = np.array([[1.0, 10], [2, 20], [3, NAN], [4, NAN]])
    mean, deviation = naive(known, 3, lag_of([known], 1))
    assert mean.tolist() == [[4, 20]] * 3
    np.testing.assert_allclose(deviation[:, 0], np.sqrt([1, 2, 3]))
    np.testing.assert_allclose(deviation[:, 1], 10 * np.sqrt([3, 4, 5]))  # two steps more from the last that is known
    mean, deviation = naive(known, 3, lag_of([known[:, :1].repeat(2, 1)], 2))
    assert mean[:, 0].tolist() == [3, 4, 3]
    assert mean[:, 1].tolist() == [10, 20, 10]
    np.testing.assert_allclose(deviation[:, 0], 2 * np.sqrt([1, 1, 2]))
    assert np.isnan(naive(known[:1] * NAN, 2, lag_of([known], 1))[0]).all()


def test_mase_and_coverage_by_hand() -> None:
    tally = Tally(np.array([2.0, 0.0]))
    x, point = np.array([[1.0, 1], [5, 2]]), np.array([[2.0, 1], [2, 1]])
    scored = np.array([[True, True], [True, False]])
    tally.add(np.ones((2, 2)), point, point - 1, point + 1, x, scored)
    tally.add(np.full((1, 2), 3.0), point[:1], point[:1], point[:1], x[:1], np.array([[True, True]]))
    first, second = tally.by_column()
    assert first == {"crps": 5 / 3, "scaled_crps": 5 / 6, "coverage": 1 / 3, "mase": (1 + 3 + 1) / 3 / 2}
    assert second == {"crps": 2.0, "scaled_crps": None, "coverage": 1.0, "mase": None}  # it never changes in training
    assert tally.summary()["mase"] == first["mase"]
    assert Tally(np.ones(1)).summary() == {"crps": None, "scaled_crps": None, "coverage": None, "mase": None}
