"""Notes: the piano's range, and the held notes of a piano-roll."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

LOWEST_NOTE, HIGHEST_NOTE = 21, 108
"""The piano's range as MIDI note numbers, A0 to C8."""

KEYS = HIGHEST_NOTE - LOWEST_NOTE + 1
"""Keys of a piano, 88."""

DOWN, KEYS_OF_MUSIC = 5, 12
"""Transpositions go from 5 semitones down to 6 up: each of the twelve keys once."""


def held_notes(roll: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
    """The notes of a piano-roll: consecutive 1s of a column are one held note.

    (A roll does not tell a held note from one struck again at each step.)

    Args:
        roll: 0s and 1s, [T, X].

    Returns:
        One row a note, sorted by column and then by time: column, first step, step after the last, [N, 3].
    """
    if roll.ndim != 2:
        raise ValueError(f"a piano-roll is [steps, notes], not of shape {list(roll.shape)}")
    if not ((roll == 0) | (roll == 1)).all():  # np.isin takes 16 bytes a value
        raise ValueError("a piano-roll holds 0s and 1s only")
    edges = np.diff(roll.T.astype(np.int8), prepend=np.int8(0), append=np.int8(0))  # [X, T + 1]; of a plain 0, int64
    column, first = np.nonzero(edges == 1)
    return np.stack([column, first, np.nonzero(edges == -1)[1]], axis=1).astype(np.int64)


class Transposing:
    """Songs in other keys: each sequence is moved by so many semitones as are drawn anew for it in each epoch.

    All shifts from 5 down to 6 up are as likely; where a note would leave the columns the song moves as far as it can.
    A pure function of seed, epoch and sequence, so pieces of one sequence move alike, and a resumed training is the
    one that was never stopped. Pieces are what `data.carry` reads one after the other; with `data.window` and without
    `data.carry` each window of a song is a sequence of its own, and moves by itself.

    Args:
        song: gives sequence i, [T_i, X], of columns that are a semitone apart.
        seed: of the shifts.
    """

    def __init__(self, song: Callable[[int], npt.NDArray[Any]], seed: int) -> None:
        self.song, self.seed = song, seed
        self.spans: dict[int, tuple[int, int]] = {}
        """How far each sequence can go down and up."""

    def semitones(self, i: int, epoch: int) -> int:
        """How far sequence i goes up in an epoch."""
        if i not in self.spans:
            used = np.flatnonzero(np.any(roll := self.song(i), axis=0))
            self.spans[i] = (-int(used[0]), roll.shape[1] - 1 - int(used[-1])) if len(used) else (0, 0)
        least, most = self.spans[i]
        drawn = int(np.random.default_rng([self.seed, epoch, i]).integers(KEYS_OF_MUSIC)) - DOWN
        return min(max(drawn, least), most)

    def move(self, x: npt.NDArray[Any], indices: Sequence[int], epoch: int) -> None:
        """Move the sequences of a batch [T, B, X], or pieces of them, in place."""
        for b, i in enumerate(indices):
            x[:, b] = np.roll(x[:, b], self.semitones(i, epoch), axis=1)
