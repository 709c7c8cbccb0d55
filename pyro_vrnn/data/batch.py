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
    observed: Tensor | None = None
    """Which entries of x were observed; all of them if absent. x is 0 where they were not. [T, B, X] bool."""
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
    def input(self) -> Tensor:
        """What the transition reads in the place of x, or x. [T, B, X]."""
        found = self.x if self.seen is None else self.seen
        assert found is not None, "a guide needs x"
        return found

    @property
    def read(self) -> Tensor:
        """What the features of the transition are made of: `input`, marked. [T, B, X] or [T, B, 2 X]."""
        return marked(self.input, self.observed)

    @property
    def shown(self) -> Tensor:
        """What the features of the guide are made of: x itself, marked. [T, B, X] or [T, B, 2 X]."""
        assert self.x is not None, "a guide needs x"
        return marked(self.x, self.observed)

    def shortened(self, steps: int) -> Batch:
        """End the sequences that are longer after so many steps; what is counted is counted anew."""
        given = None if self.given is None else self.given.clamp(max=steps)
        return replace(self, lengths=self.lengths.clamp(max=steps), given=given, steps=steps, scored_steps=UNKNOWN)

    @classmethod
    def of(cls, x: Tensor, lengths: Tensor | None = None, *, given: Tensor | None = None) -> Batch:
        """A batch of values [T, B, X] in which NaN marks what was not observed; of T steps each by default."""
        if lengths is None:
            lengths = torch.full((x.shape[1],), len(x), device=x.device)
        missing = x.isnan()
        if not bool(missing.any()):
            return cls(lengths, x, given=given)
        return cls(lengths, x.masked_fill(missing, 0.0), given=given, observed=~missing)

    def rows(self, rows: slice) -> Batch:
        """Some of the sequences, as many steps as the longest of them has."""
        lengths = self.lengths[rows]
        steps = int(lengths.max())
        x, observed = (None if part is None else part[:steps, rows] for part in (self.x, self.observed))
        return Batch(lengths, x, given=None if self.given is None else self.given[rows], observed=observed)

    def to(self, device: torch.device) -> Batch:
        """Copy the batch to another device, without waiting for it."""
        assert self.seen is None
        assert self.memory is None
        lengths = self.lengths.to(device, non_blocking=True)
        x, given, observed = (
            None if part is None else part.to(device, non_blocking=True) for part in (self.x, self.given, self.observed)
        )
        return replace(self, lengths=lengths, x=x, given=given, observed=observed)

    def pinned(self) -> Batch:
        """Copy the batch to page-locked memory, which a GPU copies from while the CPU continues."""
        parts = (self.x, self.given, self.observed)
        x, given, observed = (None if part is None else part.pin_memory() for part in parts)
        return replace(self, lengths=self.lengths.pin_memory(), x=x, given=given, observed=observed)


def marked(x: Tensor, observed: Tensor | None) -> Tensor:
    """x, and beside it a 1 for each entry that was observed, if not all were. [..., X] -> [..., X] or [..., 2 X]."""
    return x if observed is None else torch.cat([x, observed.to(x.dtype).expand_as(x)], dim=-1)


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
    observed = batch.observed
    if observed is not None:
        observed = torch.nn.functional.pad(observed, (0, 0, 0, more, 0, steps - len(observed)))
    return Batch(lengths, x, given=given, observed=observed, steps=steps, scored_steps=batch.scored_steps)
