"""Piano-rolls written as MIDI files; data/sources/midifile.py reads them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pyro_vrnn.data.notes import HIGHEST_NOTE, LOWEST_NOTE, held_notes
from pyro_vrnn.data.sources.miditracks import MIDI_TICKS
from pyro_vrnn.system.files import write_bytes


def write_midi(
    roll: npt.NDArray[np.generic],
    path: str | Path,
    *,
    lowest_pitch: int = LOWEST_NOTE,
    steps_per_second: float,
    steps_per_quarter: int = 1,
    program: int = 0,
    velocity: int = 80,
) -> dict[str, float]:
    """Write a piano-roll as a MIDI file whose notes are as `held_notes` says.

    The tempo makes each step 1/`steps_per_quarter` of a quarter note. MIDI keeps it in whole microseconds a
    quarter; every event is put on the tick nearest to its own time, so that this rounding never adds up. A
    text event "end" marks the end of the last step, so that a silent end is as long in the file as in the
    roll (players and mido count the one tick to the end of the track as well). The same arguments give the
    same bytes.

    Args:
        roll: 0s and 1s, [T, X], at least one step.
        path: the file to write; what was there is replaced.
        lowest_pitch: MIDI note number of column 0.
        steps_per_second: steps per second of the roll.
        steps_per_quarter: steps in a quarter note, for programs that show the file as a score.
        program: General MIDI program from 0; 0 is the piano.
        velocity: of every note, 1 to 127.

    Returns:
        What a reader of the file should know: `steps`, `notes`, `seconds`, `steps_per_second`,
        `steps_per_quarter`, `tempo` (quarter notes per minute), `ticks_per_quarter`, `program`, `velocity`,
        `lowest_pitch`.

    Raises:
        ValueError: the roll is not a piano-roll, has a note outside 21..108, or a number is out of range.
        ConfigError, ResourceError: the file cannot be written.
    """
    notes = held_notes(roll)
    steps = len(roll)
    outside = (notes[:, 0] + lowest_pitch < LOWEST_NOTE) | (notes[:, 0] + lowest_pitch > HIGHEST_NOTE)
    microseconds = round(1e6 * steps_per_quarter / steps_per_second) if steps_per_second > 0 else 0
    if steps < 1:
        raise ValueError("a piano-roll of no steps cannot be a MIDI file")
    if outside.any():
        raise ValueError(f"{outside.sum()} notes lie outside MIDI notes {LOWEST_NOTE}..{HIGHEST_NOTE}")
    if not 100 <= microseconds < 1 << 24 or not 1 <= steps_per_quarter <= 64:
        raise ValueError(
            f"{steps_per_second} steps per second with {steps_per_quarter} in a quarter note: "
            "1 to 64 may be in a quarter note, which may last 0.0001 to 16.7 seconds"
        )
    if not 0 <= program <= 127 or not 1 <= velocity <= 127:
        raise ValueError(f"program {program} must be in 0..127 and velocity {velocity} in 1..127")
    ticks = next((n for n in (480, 240, 120, 60, 24, 12) if n * (steps + 1) < MIDI_TICKS), 0)  # a step
    if not ticks:
        raise ValueError(f"{steps} steps are more than one MIDI file holds")

    import pretty_midi

    resolution = ticks * steps_per_quarter
    # pretty_midi truncates to whole microseconds, and 50000 may have become 49999.99999999999 by then
    song = pretty_midi.PrettyMIDI(resolution=resolution, initial_tempo=6e7 / (microseconds + 1e-6))
    voice = pretty_midi.Instrument(program)
    for column, first, stop in notes.tolist():
        start, end = first / steps_per_second, stop / steps_per_second
        voice.notes.append(pretty_midi.Note(velocity, column + lowest_pitch, start, end))
    song.instruments.append(voice)
    song.text_events.append(pretty_midi.Text("end", steps / steps_per_second))
    file = io.BytesIO()
    song.write(file)
    write_bytes(path, file.getvalue())
    return {
        "steps": steps,
        "notes": len(notes),
        "seconds": steps / steps_per_second,
        "steps_per_second": steps_per_second,
        "steps_per_quarter": steps_per_quarter,
        "tempo": 6e7 / microseconds,
        "ticks_per_quarter": resolution,
        "program": program,
        "velocity": velocity,
        "lowest_pitch": lowest_pitch,
    }
