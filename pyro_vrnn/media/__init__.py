"""What a model samples, as files that a person can hear, play, look at or read; and such a file back to values.

| kind      | file                | picture                        |
|-----------|---------------------|--------------------------------|
| pianoroll | .mid                | the notes                      |
| audio     | .wav, mono          | waveform and spectrogram       |
| strokes   | .svg                | the drawing                    |
| symbols   | .txt                | none                           |
| vectors   | .csv                | the columns, or the image      |

Values here are as they are stored in a data file ("stored": samples, points, numbers of symbols), [T, columns].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.media.drawings import Drawings
from pyro_vrnn.media.medium import Array, Medium, Say, Shown, silent
from pyro_vrnn.media.pianorolls import PianoRolls
from pyro_vrnn.media.pictures import Caption
from pyro_vrnn.media.sounds import Sounds
from pyro_vrnn.media.tables import Tables
from pyro_vrnn.media.texts import Texts
from pyro_vrnn.system.errors import NumericsError

MEDIA: dict[str, Medium] = {
    "audio": Sounds(),
    "pianoroll": PianoRolls(),
    "strokes": Drawings(),
    "symbols": Texts(),
    "vectors": Tables(),
}
"""How each kind of data (data/kinds.py) is written and read."""


def write(
    form: DataFormat,
    stored: Array,
    stem: Path,
    *,
    title: str = "",
    given: int = 0,
    hidden: tuple[int, int] | None = None,
    holes: bool = False,
) -> tuple[Path, Path | None, dict[str, Any]]:
    """Write one sequence.

    Args:
        form: of the data that the model was trained on.
        stored: [T, columns].
        stem: the files' path without its ending.
        title: of the picture.
        given: how many first steps were given and not sampled; the picture marks them.
        hidden: from one step to another the model was given nothing; the picture marks it.
        holes: whether NaN, in what was given, marks what is missing.

    Returns:
        The media file, its picture if there is one, and facts about it for the JSON beside it.

    Raises:
        NumericsError: values that are not finite.
        ResourceError, ConfigError: it cannot be written.
    """
    if not (np.isfinite(stored) | (holes & np.isnan(stored))).all():
        raise NumericsError(
            f"{stem.name}: {int((~np.isfinite(stored)).sum())} drawn values are not finite",
            "the model has diverged: train with a smaller training.learning_rate, or draw at a lower --temperature",
        )
    return MEDIA[form.kind].write(form, stored, stem, Caption(title, given, hidden))


def overview(form: DataFormat, sequences: list[Array], path: Path, titles: list[str], given: int) -> Path | None:
    """One picture of several sequences, for the kinds that are looked at."""
    return path if MEDIA[form.kind].overview(form, sequences, path, titles, given) else None


def read(form: DataFormat, path: Path, say: Say = silent) -> Array:
    """A file of the kind that the model samples, as stored values [T, columns].

    Args:
        form: of the data that the model was trained on.
        path: the file.
        say: told what was done to it, such as that sound was brought to another sample rate.

    Raises:
        DataError: it is not of this kind or width.
    """
    return MEDIA[form.kind].read(form, path, say)


def posterior(form: DataFormat, x: Array, kl: Array, mean: Array, path: Path, title: str) -> Path | None:
    """A picture of a sequence, its KL by step and the posterior's mean of it, for the kinds that have one.

    Args:
        form: of the data.
        x: the sequence as the model reads it, [T, X].
        kl: KL of each step, nats. [T]
        mean: E[x_t | z], [T, X].
        path: the PNG to write.
        title: of the picture.
    """
    return path if MEDIA[form.kind].posterior(form, x, kl, mean, path, title) else None


def show(form: DataFormat, stored: Array, title: str, seconds: float) -> Shown:
    """A sequence as a page shows it, with so many seconds of sound at most; infinite values are told, not drawn."""
    wrong = int(np.isinf(stored).sum()) if form.missing else int((~np.isfinite(stored)).sum())
    if wrong:
        return Shown(note=f"{wrong} of its values are not finite: the model has diverged.")
    return MEDIA[form.kind].show(form, stored, title, seconds)
