"""MIDI files read as piano-rolls; media/midi.py writes them."""

from __future__ import annotations

import io
import logging
import struct
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import read_plain_file

LOWEST_NOTE, HIGHEST_NOTE = 21, 108
"""The piano's range as MIDI note numbers, A0 to C8."""

MIDI_BYTES = 1 << 19
"""The largest MIDI file that is read. Ten thousand notes are about 80 kB."""

MIDI_EVENTS = 50_000
"""The most events that are read, two a note: mido and pretty_midi take up to 15 microseconds and 500 bytes for each."""

MIDI_STEPS = 200_000
"""The longest piano-roll that is read from a file, steps: a few bytes of MIDI can claim years of silence. (Nearly three
hours at 20 a second.)"""

MIDI_TICKS = 2_500_000
"""The last tick that is read or written, for each of which pretty_midi takes 32 bytes. (An hour and a half at 480 a
quarter note, 60 quarter notes per minute.)"""

Roll = npt.NDArray[np.uint8]
log = logging.getLogger(__name__)


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


def read_midi(path: str | Path, *, steps_per_second: float, lowest_pitch: int = LOWEST_NOTE, columns: int = 88) -> Roll:
    """Read a MIDI file as a piano-roll; the inverse of `write_midi`.

    The start and end of each note are rounded to the nearest step, and no note is shorter than one step.
    Drums, velocities and the sustain pedal are left out; notes outside the columns are left out, counted, and
    logged as a warning. The roll ends with the file's last note, text, lyric, or change of tempo, key or
    metre.

    Args:
        path: the file.
        steps_per_second: steps per second of the roll.
        lowest_pitch: MIDI note number of column 0.
        columns: X.

    Returns:
        0s and 1s, [T, X]. A file without notes but with a length gives silence.

    Raises:
        DataError: the file is missing, not a plain file, larger than `MIDI_BYTES`, not MIDI, of no length,
            longer than `MIDI_STEPS`, or all its notes are drums or outside the columns; also as `midi_events`.
    """
    import pretty_midi

    data = read_plain_file(Path(path), MIDI_BYTES)
    deque(midi_events(data, path), maxlen=0)  # to its end: it refuses what would take too long
    file = io.BytesIO(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            song = pretty_midi.PrettyMIDI(file)
            end = float(song.get_end_time())
        except Exception as error:
            # The boundary to mido and pretty_midi, which on damaged bytes raise OSError, EOFError,
            # ValueError, KeyError, IndexError, TypeError, AttributeError, ZeroDivisionError and more.
            reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise DataError(
                f"{path}: not a readable MIDI file, near byte {file.tell()}: {reason}", _MIDI_HINT, path
            ) from error
    for warning in caught:
        log.warning("%s: %s", path, warning.message)

    every = [note for voice in song.instruments for note in voice.notes]
    pitched = [note for voice in song.instruments if not voice.is_drum for note in voice.notes]
    inside = [note for note in pitched if 0 <= note.pitch - lowest_pitch < columns]
    span = f"MIDI notes {lowest_pitch}..{lowest_pitch + columns - 1}"
    if every and not inside:
        raise DataError(f"{path}: all of its {len(every)} notes are drums or outside {span}", _MIDI_HINT, path)
    if len(inside) < len(pitched):
        log.warning("%s: %d of %d notes outside %s left out", path, len(pitched) - len(inside), len(pitched), span)
    if not 0 < end * steps_per_second <= MIDI_STEPS:
        raise DataError(
            f"{path}: lasts {end:g} s, {end * steps_per_second:g} steps at {steps_per_second:g} a second; "
            f"what is read is longer than 0 and at most {MIDI_STEPS} steps",
            _MIDI_HINT,
            path,
        )
    held = [(note.pitch - lowest_pitch, round(note.start * steps_per_second), note.end) for note in inside]
    spans = sorted((column, i, max(i + 1, round(stop * steps_per_second))) for column, i, stop in held)
    steps = max([1, round(end * steps_per_second), *(j for _, _, j in spans)])
    roll = np.zeros((steps, columns), dtype=np.uint8)  # [T, X]
    reached = [0] * columns  # of 50,000 long notes on top of each other, each step is written once
    for column, i, j in spans:
        roll[max(i, reached[column]) : j, column] = 1
        reached[column] = max(j, reached[column])
    return roll


def midi_events(data: bytes, path: str | Path) -> Iterator[tuple[int, bytes]]:
    """The events of a MIDI file by track, as mido reads them: the status byte, and what belongs to it.

    What the bytes mean is not looked at. It is quick and takes no memory, so that what would take mido and pretty_midi
    much of either is known before they begin.

    Raises:
        DataError: not MIDI, SMPTE time, cut short, more than `MIDI_EVENTS`, or a tick after `MIDI_TICKS`.
    """
    if data[:4] != b"MThd" or len(data) < 14:
        raise DataError(f"{path}: not a MIDI file: it does not begin with an MThd header", _MIDI_HINT, path)
    size, _, tracks, division = struct.unpack(">Ihhh", data[4:14])
    if division <= 0:
        raise DataError(f"{path}: its header has no ticks a quarter note (SMPTE time is not read)", _MIDI_HINT, path)
    at, events = 8 + size, 0
    try:
        for _ in range(tracks):
            name, size = struct.unpack_from(">4sI", data, at)
            if name != b"MTrk":
                raise ValueError("no track begins here")
            at += 8
            stop, tick, running = at + size, 0, 0
            while at != stop:
                delta, at = _variable(data, at)
                tick, events = tick + delta, events + 1
                if tick > MIDI_TICKS:
                    raise DataError(f"{path}: {tick} ticks long; at most {MIDI_TICKS} are read", "cut the song", path)
                if events > MIDI_EVENTS:
                    raise DataError(f"{path}: more than {MIDI_EVENTS} events", "cut the song", path)
                status, told = (data[at], 1) if data[at] >= 0x80 else (running, 0)
                if status != 0xFF:  # a meta event is not repeated by leaving its status out
                    running = status
                if status in (0xF0, 0xF7, 0xFF):
                    size, at = _variable(data, at + (2 if status == 0xFF else 1))
                else:
                    size, at = _DATA_BYTES[status], at + told
                yield status, data[at : at + size]
                at += size
    except (struct.error, IndexError, KeyError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        why = str(error) if type(error) is ValueError else "it is cut short, or no event begins here"
        raise DataError(
            f"{path}: not a readable MIDI file, near byte {min(at, len(data))}: {why}", _MIDI_HINT, path
        ) from error


_DATA_BYTES = {status: 1 if 0xC0 <= status < 0xE0 else 2 for status in range(0x80, 0xF0)} | {
    **{0xF1: 1, 0xF2: 2, 0xF3: 1, 0xF6: 0},
    **dict.fromkeys((0xF8, 0xFA, 0xFB, 0xFC, 0xFE), 0),
}


def _variable(data: bytes, at: int) -> tuple[int, int]:
    """A variable-length quantity, and where it ends. (mido reads longer ones too, in the square of their length.)"""
    value = 0
    for end in range(at, at + 4):
        value = value << 7 | data[end] & 127
        if data[end] < 128:
            return value, end + 1
    raise ValueError("a number of more than four bytes")


_MIDI_HINT = "give a standard MIDI file (.mid) of pitched notes"
