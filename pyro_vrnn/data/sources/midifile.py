"""MIDI files read as piano-rolls; media/midi_writer.py writes them."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pyro_vrnn.data.notes import KEYS, LOWEST_NOTE
from pyro_vrnn.data.sources.miditracks import MIDI_HINT, read_tracks
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import read_plain_file

MIDI_BYTES = 1 << 19
"""The largest MIDI file that is read. Ten thousand notes are about 80 kB."""

MIDI_STEPS = 200_000
"""The longest piano-roll that is read from a file, steps: a few bytes of MIDI can claim years of silence. (Nearly three
hours at 20 a second.)"""

Roll = npt.NDArray[np.uint8]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Song:
    """The notes of a MIDI file on a grid of steps, and what they leave out."""

    roll: Roll
    """0s and 1s, [T, X]; of a file without notes but with a length, silence."""
    notes: int
    """Notes in the roll."""
    outside: int
    """Pitched notes that the columns do not have."""
    drums: int
    """Notes of the drums."""
    mended: tuple[str, ...]
    """What the file's headers had wrong."""
    quarters_per_minute: float
    """Its first tempo."""


def read_midi(path: str | Path, *, steps_per_second: float, lowest_pitch: int = LOWEST_NOTE, columns: int = 88) -> Roll:
    """Read a MIDI file as a piano-roll, [T, X]; the inverse of `write_midi`. The arguments are those of `read_song`.

    Notes outside the columns are left out, counted, and logged as a warning.

    Raises:
        DataError: as `read_song`, or all its notes are drums or outside the columns.
    """
    song = read_song(path, steps_per_second=steps_per_second, lowest_pitch=lowest_pitch, columns=columns)
    span = f"MIDI notes {lowest_pitch}..{lowest_pitch + columns - 1}"
    every = song.notes + song.outside + song.drums
    if every and not song.notes:
        raise DataError(f"{path}: all of its {every} notes are drums or outside {span}", MIDI_HINT, path)
    if song.outside:
        log.warning("%s: %d of %d notes outside %s left out", path, song.outside, song.notes + song.outside, span)
    return song.roll


def read_song(
    path: str | Path,
    *,
    steps_per_second: float | None = None,
    steps_per_beat: float | None = None,
    lowest_pitch: int = LOWEST_NOTE,
    columns: int = KEYS,
) -> Song:
    """Read a MIDI file as notes on a grid, either of time or of the score.

    The start and end of each note are rounded to the nearest step, and no note is shorter than one step. Tempo is
    obeyed in whatever track it stands. Drums, velocities and the sustain pedal are left out. The roll ends with the
    file's last note, text, lyric, or change of tempo, key or metre.

    Args:
        path: the file.
        steps_per_second: steps a second, or
        steps_per_beat: steps a quarter note, whatever the tempo.
        lowest_pitch: MIDI note number of column 0.
        columns: X.

    Raises:
        DataError: the file is missing, not a plain file, larger than `MIDI_BYTES`, not MIDI, of no length, longer than
            `MIDI_STEPS`, or without beats (SMPTE time) where steps are parts of a beat; also as `read_tracks`.
    """
    import pretty_midi

    rate = steps_per_second if steps_per_beat is None else steps_per_beat
    assert rate is not None
    tracks = read_tracks(read_plain_file(Path(path), MIDI_BYTES), path)
    if steps_per_beat is not None and tracks.smpte:
        raise DataError(f"{path}: its time is in seconds (SMPTE), not in beats", "use --rate, not --grid beats", path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            song = pretty_midi.PrettyMIDI(mido_object=tracks.tidy(in_beats=steps_per_beat is not None))
            end = float(song.get_end_time())
        except Exception as error:
            # The boundary to mido and pretty_midi, which on damaged bytes raise OSError, EOFError,
            # ValueError, KeyError, IndexError, TypeError, AttributeError, ZeroDivisionError and more.
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise DataError(f"{path}: not a readable MIDI file: {reason}", MIDI_HINT, path) from error
    for warning in caught:
        log.warning("%s: %s", path, warning.message)
    pitched = [note for voice in song.instruments if not voice.is_drum for note in voice.notes]
    inside = [note for note in pitched if 0 <= note.pitch - lowest_pitch < columns]
    if not 0 < end * rate <= MIDI_STEPS:
        unit = "s" if steps_per_beat is None else "beats"
        raise DataError(
            f"{path}: lasts {end:g} {unit}, {end * rate:g} steps; what is read is longer than 0 and at most "
            f"{MIDI_STEPS} steps",
            MIDI_HINT,
            path,
        )
    spans = [(note.pitch - lowest_pitch, round(note.start * rate), round(note.end * rate)) for note in inside]
    return Song(
        roll=_laid_out(spans, round(end * rate), columns),
        notes=len(inside),
        outside=len(pitched) - len(inside),
        drums=sum(len(voice.notes) for voice in song.instruments if voice.is_drum),
        mended=tuple(tracks.mended),
        quarters_per_minute=6e7 / tracks.tempo,
    )


def _laid_out(spans: list[tuple[int, int, int]], steps: int, columns: int) -> Roll:
    """A roll of notes (column, first step, step after the last), of so many steps or as many as they need."""
    notes = sorted((column, i, max(i + 1, j)) for column, i, j in spans)
    roll = np.zeros((max([1, steps, *(j for _, _, j in notes)]), columns), dtype=np.uint8)  # [T, X]
    reached = [0] * columns  # of 50,000 long notes on top of each other, each step is written once
    for column, i, j in notes:
        roll[max(i, reached[column]) : j, column] = 1
        reached[column] = max(j, reached[column])
    return roll
