"""Two models on the same sequences."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_vrnn.objectives.evaluation import BySequence, Evaluation
from pyro_vrnn.objectives.paired import paired
from pyro_vrnn.system.errors import DataError


def evaluation(nll: np.ndarray, steps: np.ndarray) -> Evaluation:
    total, per_step = int(steps.sum()), float(nll.sum() / steps.sum())
    return Evaluation(
        bound="elbo",
        particles=1,
        split="test",
        sequences=len(nll),
        steps=total,
        nll_per_step=per_step,
        nll_per_step_sequence_mean=0.0,
        nll_per_sequence=0.0,
        kl_per_step=0.0,
        stderr=None,
        by_sequence=BySequence(nll, steps),
    )


def test_what_is_hard_for_both_does_not_count() -> None:
    """The interval is that of the paired differences: here it is as wide as theory says, not that of the two alone."""
    random = np.random.default_rng(0)
    steps = random.integers(20, 60, 400)
    hard, gain = random.normal(size=400) * 5, random.normal(0.1, 0.2, size=400)
    first, second = evaluation(steps * (hard - gain), steps), evaluation(steps * hard, steps)
    found = paired(first, second)
    assert found.difference == pytest.approx(-float((gain * steps).sum() / steps.sum()))
    assert found.difference == pytest.approx(first.nll_per_step - second.nll_per_step)
    residuals = steps * (gain - -found.difference)
    expected = 2 * 1.96 * np.sqrt((residuals**2).sum()) / steps.sum()
    assert found.high - found.low == pytest.approx(expected, rel=0.05)
    assert found.sequences_better == int((gain > 0).sum())


def test_the_interval_covers_as_often_as_it_says() -> None:
    covered, random = 0, np.random.default_rng(1)
    for trial in range(60):
        steps = random.integers(5, 30, 80)
        nll = steps * (0.3 + random.normal(size=80))
        found = paired(evaluation(nll, steps), evaluation(np.zeros(80), steps), seed=trial)
        covered += found.low < 0.3 < found.high
    assert 52 <= covered <= 60


def test_other_sequences_are_refused() -> None:
    steps = np.array([3, 4])
    with pytest.raises(DataError, match="different sequences"):
        paired(evaluation(steps * 1.0, steps), evaluation(steps * 1.0, steps[::-1].copy()))


def test_a_single_sequence_has_a_difference_and_no_interval() -> None:
    steps = np.array([4])
    found = paired(evaluation(steps * 1.0, steps), evaluation(steps * 1.5, steps))
    assert (found.difference, found.sequences_better, found.sequences) == (-0.5, 1, 1)
    assert found.low is None
    assert found.high is None
