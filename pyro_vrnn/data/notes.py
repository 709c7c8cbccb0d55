"""Notes: the piano's range, and the held notes of a piano-roll."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LOWEST_NOTE, HIGHEST_NOTE = 21, 108
"""The piano's range as MIDI note numbers, A0 to C8."""

KEYS = HIGHEST_NOTE - LOWEST_NOTE + 1
"""Keys of a piano, 88."""


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
