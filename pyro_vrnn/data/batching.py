"""Which sequences, or which pieces of them, go together in a batch: pure functions of lengths and a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.system.errors import ConfigError

POOL_BATCHES = 8


def epoch_plan(
    lengths: Sequence[int] | NDArray[np.int64], batch_size: int, *, seed: int, epoch: int
) -> list[list[int]]:
    """Which sequences form the batches of an epoch: every one once, those of like length together.

    A pure function: shuffle, cut into pools of eight batches, sort each pool by length, cut it into batches
    (the last one of all may be short), shuffle the batches.

    Args:
        lengths: [N], steps.
        batch_size: B, at least 1.
        seed, epoch: not negative; another epoch is another order.
    """
    size = _batch_size(batch_size)
    lengths = np.asarray(lengths)
    random = np.random.default_rng([seed, epoch])
    order = random.permutation(len(lengths))
    batches: list[list[int]] = []
    for start in range(0, len(order), POOL_BATCHES * size):
        pool = order[start : start + POOL_BATCHES * size]
        pool = pool[np.argsort(-lengths[pool], kind="stable")]
        batches += [pool[i : i + size].tolist() for i in range(0, len(pool), size)]
    return [batches[i] for i in random.permutation(len(batches))]


@dataclass(frozen=True)
class Piece:
    """One update's part of some sequences."""

    indices: list[int]
    begin: int = 0
    """Its first step, of 0, 1, …"""
    steps: int | None = None
    """At most so many; None for all."""
    rows: tuple[int, ...] = ()
    """Which rows of the piece before continue here; none where begin = 0."""


def pieces(
    batches: list[list[int]],
    lengths: Sequence[int] | NDArray[np.int64],
    window: int | None,
    given: Sequence[int] | NDArray[np.int64] | None = None,
) -> list[Piece]:
    """Batches cut in time for truncated BPTT: each is followed by its own next piece, until all of it has ended.

    Args:
        batches: from `epoch_plan`.
        lengths: [N], steps.
        window: steps of a piece; None cuts nothing.
        given: [N], first steps that are only read: the first piece has them too, beside its own.
    """
    if window is None:
        return [Piece(batch) for batch in batches]
    found = []
    for batch in batches:
        before: list[int] = []
        more = 0 if given is None else max(int(given[i]) for i in batch)
        for end in range(window + more, max(int(lengths[i]) for i in batch) + window, window):
            begin = end - window if before else 0
            here = [i for i in batch if lengths[i] > begin]
            if here:
                found.append(Piece(here, begin, end - begin, tuple(before.index(i) for i in here) if before else ()))
            before = here
    return found


def in_order(lengths: Sequence[int] | NDArray[np.int64], batch_size: int) -> list[list[int]]:
    """Batches for evaluation, longest first: what does not fit in memory fails at once. lengths [N]."""
    size = _batch_size(batch_size)
    order = np.argsort(-np.asarray(lengths), kind="stable").tolist()
    return [order[i : i + size] for i in range(0, len(order), size)]


def _batch_size(size: int) -> int:
    if size < 1:
        raise ConfigError(f"batch size {size}: a batch has at least 1 sequence", "set --batch-size to 1 or more")
    return size
