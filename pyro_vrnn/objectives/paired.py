"""Two models on the same sequences: the difference of their bounds, and how sure it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from pyro_vrnn.objectives.evaluation import Evaluation
from pyro_vrnn.system.errors import DataError

RESAMPLES, AT_ONCE = 10_000, 100


@dataclass(frozen=True)
class Difference:
    """The NLL of one model less that of another, nats per step: below 0, the first is better."""

    difference: float
    """Sum of the differences over all steps, as `nll_per_step` is."""
    low: float | None
    """The 95% interval's lower end: the bootstrap over sequences, percentiles of 10,000 resamples (Efron 1979). It
    says what other sequences of the same kind would do, not other seeds of a training. None of a single sequence."""
    high: float | None
    """Its upper end."""
    sequences_better: int
    """Of how many sequences the first model's bound is better."""
    sequences: int

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


def paired(first: Evaluation, second: Evaluation, *, seed: int = 0) -> Difference:
    """Compare two evaluations of the same sequences, in pairs: what is hard for both does not count.

    Args:
        first: of one model.
        second: of the other model, by the same bound, on the same split.
        seed: of the resamples.

    Raises:
        DataError: they are of different sequences.
    """
    ours, theirs = first.by_sequence, second.by_sequence
    assert ours is not None
    assert theirs is not None
    if ours.steps.shape != theirs.steps.shape or (ours.steps != theirs.steps).any():
        raise DataError(
            f"{first.sequences} sequences of {first.steps} steps, and {second.sequences} of {second.steps}: "
            "the two runs are scored on different sequences",
            "name a file that both can score: --data FILE",
        )
    nll, steps = ours.nll - theirs.nll, ours.steps
    mean, better = float(nll.sum() / steps.sum()), int((nll < 0).sum())
    if len(nll) == 1:  # each resample would be the same
        return Difference(mean, None, None, better, 1)
    random, means = np.random.default_rng(seed), []
    for _ in range(RESAMPLES // AT_ONCE):
        chosen = random.integers(len(nll), size=(AT_ONCE, len(nll)))
        means.append(nll[chosen].sum(1) / steps[chosen].sum(1))
    low, high = np.percentile(np.concatenate(means), [2.5, 97.5])
    return Difference(mean, float(low), float(high), better, len(nll))
