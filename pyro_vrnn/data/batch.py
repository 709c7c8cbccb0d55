"""Batch: what crosses from data to models; and its few shapes for a GPU. No HDF5 here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

UNKNOWN = -1
"""Stands for a number of steps that is to be counted."""


@dataclass(frozen=True, eq=False)
class Batch:
    """What crosses from data to models. Without `x` it asks for sequences of these lengths to be drawn.

    B sequences, T = max(lengths) steps, X values a step. Time comes first.
    """

    lengths: Tensor  # [B] int64
    x: Tensor | None = None  # [T, B, X], zero-padded on the right (0 is in every support)
    seen: Tensor | None = None
    """What the transition reads in the place of x (noise, the model's own draws); x is scored, and the guide sees it.
    [T, B, X]"""
    memory: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None = None
    """Where model and guide stand before the first step, if these steps continue from others; each part [B, ·]."""
    given: Tensor | None = None
    """How many first steps of each sequence are only read, and have no score; none if absent. [B] int64."""
    steps: int = UNKNOWN
    """T, the longest length, or more where a batch was padded. It is counted once: to ask a GPU for it would wait."""
    scored_steps: int = UNKNOWN
    """How many steps of all sequences count: Σ (lengths - given). Counted once likewise: who gives `replace` other
    lengths gives UNKNOWN for both counts, or they stay those of before."""

    def __post_init__(self) -> None:
        if self.steps == UNKNOWN:
            object.__setattr__(self, "steps", int(self.lengths.max()))
        if self.scored_steps == UNKNOWN:
            unscored = 0 if self.given is None else int(self.given.sum())
            object.__setattr__(self, "scored_steps", int(self.lengths.sum()) - unscored)

    @property
    def size(self) -> int:
        """B, the number of sequences."""
        return len(self.lengths)

    @cached_property
    def alive(self) -> Tensor:
        """Which steps each sequence has, [T, B] bool."""
        return torch.arange(self.steps, device=self.lengths.device)[:, None] < self.lengths

    @cached_property
    def scored(self) -> Tensor:
        """Which steps of x count, [T, B] bool."""
        if self.given is None:
            return self.alive
        return self.alive & (torch.arange(self.steps, device=self.lengths.device)[:, None] >= self.given)

    @property
    def read(self) -> Tensor:
        """What the transition reads. [T, B, X]."""
        found = self.x if self.seen is None else self.seen
        assert found is not None, "a guide needs x"
        return found

    def shortened(self, steps: int) -> Batch:
        """End the sequences that are longer after so many steps; what is counted is counted anew."""
        given = None if self.given is None else self.given.clamp(max=steps)
        return replace(self, lengths=self.lengths.clamp(max=steps), given=given, steps=steps, scored_steps=UNKNOWN)

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to another device, without waiting for it."""
        assert self.seen is None
        assert self.memory is None
        lengths = self.lengths.to(device, non_blocking=True)
        x, given = (None if part is None else part.to(device, non_blocking=True) for part in (self.x, self.given))
        return replace(self, lengths=lengths, x=x, given=given)

    def pinned(self) -> Batch:
        """Copy the batch to page-locked memory, which a GPU copies from while the CPU continues."""
        x, given = (None if part is None else part.pin_memory() for part in (self.x, self.given))
        return replace(self, lengths=self.lengths.pin_memory(), x=x, given=given)


def standardised(batch: Batch, center: Tensor, scale: Tensor) -> Batch:
    """What `collate` gives, from what it gives `raw`: on the batch's own device, to which half as much was copied.

    Args:
        batch: as stored, zero-padded.
        center, scale: of the encoding, float32 on that device.
    """
    assert batch.x is not None
    x = torch.where(batch.alive[..., None], (batch.x.float() - center) / scale, 0.0)
    return replace(batch, x=x)


def bucket(steps: int) -> int:
    """The next of eight lengths an octave: shapes that come again, with at most an eighth of padding."""
    unit = 2 ** max(0, (steps - 1).bit_length() - 4)
    return -(-steps // unit) * unit


def padded(batch: Batch, size: int, steps: int | None = None) -> Batch:
    """The batch in one of few shapes: more sequences, of no steps, up to `size`, and more steps up to a bucket's.

    Or up to `steps`: what continues from the last step (`data.carry`) must not have gone through steps of nothing.

    What is added has no score and no gradient; a batch's first rows are its own.
    """
    assert batch.x is not None
    steps, more = steps or bucket(len(batch.x)), max(0, size - batch.size)
    x = torch.nn.functional.pad(batch.x, (0, 0, 0, more, 0, steps - len(batch.x)))
    lengths, given = (
        None if part is None else torch.nn.functional.pad(part, (0, more)) for part in (batch.lengths, batch.given)
    )
    assert lengths is not None
    return Batch(lengths, x, given=given, steps=steps, scored_steps=batch.scored_steps)
