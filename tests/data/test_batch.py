"""Batch: what is counted once, what is carried along, and its few shapes."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from small import LENGTHS, X, make_batch

from pyro_vrnn.data.batch import Batch, bucket, padded, standardised


def test_steps_are_counted_once_and_carried_along() -> None:
    given = torch.tensor([1, 0, 2, 0, 1])
    batch = Batch(torch.tensor(LENGTHS), make_batch().x, given=given)
    assert (batch.size, batch.steps, batch.scored_steps) == (5, 7, sum(LENGTHS) - 4)
    assert batch.alive.sum() == sum(LENGTHS)
    assert batch.scored.sum() == batch.scored_steps
    wider = padded(batch, 6, 9)
    assert (wider.size, wider.steps, wider.scored_steps) == (6, 9, batch.scored_steps)
    for other in (wider, wider.to(torch.device("cpu")), replace(wider, seen=wider.x)):
        assert (other.steps, other.scored_steps) == (9, batch.scored_steps)
        assert other.alive.shape == (9, 6)


def test_another_length_is_counted_anew() -> None:
    batch = make_batch()
    assert batch.alive[6].any()
    cut = replace(batch, lengths=batch.lengths.clamp(max=3), steps=3)
    assert cut.alive.shape == (3, 5)


def test_it_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        make_batch().steps = 3  # type: ignore[misc]


def test_what_is_standardised_keeps_its_padding() -> None:
    batch = make_batch()
    center, scale = torch.full((X,), 2.0), torch.full((X,), 4.0)
    found = standardised(batch, center, scale)
    assert found.x is not None
    assert batch.x is not None
    assert bool((found.x[~batch.alive] == 0).all())
    torch.testing.assert_close(found.x[batch.alive], (batch.x[batch.alive].float() - 2) / 4)


@pytest.mark.parametrize("steps", [1, 7, 8, 9, 100, 1000])
def test_buckets_are_few_and_near(steps: int) -> None:
    assert steps <= bucket(steps) <= steps * 9 / 8 + 1
    assert bucket(bucket(steps)) == bucket(steps)


def test_shortened_batches_are_counted_anew() -> None:
    batch = Batch(torch.tensor([6, 4, 2]), torch.zeros(6, 3, 1), given=torch.tensor([1, 1, 0]))
    assert (batch.steps, batch.scored_steps) == (6, 10)
    found = batch.shortened(3)
    assert (found.lengths.tolist(), found.steps, found.scored_steps) == ([3, 3, 2], 3, 6)
    assert found.alive.shape == (3, 3)
