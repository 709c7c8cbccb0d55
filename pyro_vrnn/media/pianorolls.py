"""Piano-rolls as MIDI files and pictures of notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.data.notes import held_notes
from pyro_vrnn.data.sources.midifile import read_midi, read_song
from pyro_vrnn.media import figures
from pyro_vrnn.media.medium import Array, Medium, Say, Shown, beside, silent
from pyro_vrnn.media.midi_writer import write_midi
from pyro_vrnn.media.pages import drawn
from pyro_vrnn.media.pictures import Caption
from pyro_vrnn.media.sounds import wav
from pyro_vrnn.system.errors import DataError

FASTEST = 240
"""Quarter notes per minute of a file: with more, a quarter note has more steps."""

HEARD_RATE = 16_000
"""Samples per second of notes that are made to sound."""
LOUDNESS = 26_000
"""The greatest 16-bit step of them."""


class PianoRolls(Medium):
    """See the module's docstring."""

    def write(
        self, form: DataFormat, stored: Array, stem: Path, caption: Caption
    ) -> tuple[Path, Path | None, dict[str, Any]]:
        """Write a MIDI file and a picture of its notes."""
        assert form.steps_per_second is not None
        roll, low = spread(form, stored)
        path, picture = beside(stem, ".mid"), beside(stem, ".png")
        quarter = form.steps_per_quarter
        while 60 * form.steps_per_second / quarter > FASTEST and quarter < 64:
            quarter *= 2
        facts = write_midi(
            roll,
            path,
            lowest_pitch=low,
            steps_per_second=form.steps_per_second,
            steps_per_quarter=quarter,
        )
        figures.pianoroll(
            roll,
            picture,
            lowest_pitch=low,
            steps_per_second=form.steps_per_second,
            title=caption.title,
            prime_steps=caption.given,
            hidden=caption.hidden,
        )
        return path, picture, {"midi": facts}

    def overview(self, form: DataFormat, sequences: list[Array], path: Path, titles: list[str], given: int) -> bool:
        """Draw the notes of several sequences."""
        rolls, lowest = zip(*(spread(form, stored) for stored in sequences), strict=True)
        figures.pianorolls(list(rolls), path, titles, lowest_pitch=lowest[0], prime_steps=given)
        return True

    def read(self, form: DataFormat, path: Path, say: Say = silent) -> Array:
        """Read a MIDI file at the rate and with the notes of the data."""
        assert form.steps_per_second is not None
        columns = _columns(form)
        low, high = int(columns.min()), int(columns.max())
        columns_there = high - low + 1
        if form.by_score:
            roll = read_song(path, steps_per_beat=form.steps_per_quarter, lowest_pitch=low, columns=columns_there).roll
        else:
            roll = read_midi(path, steps_per_second=form.steps_per_second, lowest_pitch=low, columns=columns_there)
        found = np.asarray(roll[:, columns - low])
        if not form.pitches:
            return found
        sounding = np.flatnonzero(found.any(axis=1))  # without silent ends, as `prepare midi` reads songs
        if not len(sounding):
            raise DataError(f"{path}: no note that the model knows", "its notes are those of its training songs", path)
        return found[sounding[0] : sounding[-1] + 1]

    def posterior(self, form: DataFormat, x: Array, kl: Array, mean: Array, path: Path, title: str) -> bool:
        """Draw the notes over the probabilities that the posterior gives them."""
        figures.posterior_figure(x, kl, mean, path, lowest_pitch=form.lowest_pitch, title=title)
        return True

    def show(self, form: DataFormat, stored: Array, title: str, seconds: float) -> Shown:
        """Show the notes, and let them be heard as sines."""
        import pretty_midi

        assert form.steps_per_second is not None
        roll, low = spread(form, np.nan_to_num(stored))
        held, rate = held_notes(roll), form.steps_per_second
        whole = len(roll) / rate
        voice = pretty_midi.Instrument(0)
        for column, first, stop in held.tolist():
            if first / rate < seconds:
                voice.notes.append(pretty_midi.Note(80, column + low, first / rate, min(stop / rate, seconds)))
        sound = b""
        if voice.notes:
            heard = voice.synthesize(fs=HEARD_RATE)[: int(seconds * HEARD_RATE)]  # sines, in [-1, 1]
            sound = wav(heard * LOUDNESS, HEARD_RATE)
        note = f"The first {seconds:.1f} of {whole:.1f} seconds are heard." if whole > seconds + 0.05 else ""
        note = note if sound else "No note is heard."
        picture = drawn.notes(title, held, len(roll), low, rate if sound else None)
        return Shown(svg=picture, scrolls=drawn.wide(len(roll)), wav=sound, note=note)


def spread(form: DataFormat, stored: Array) -> tuple[Array, int]:
    """A roll with a column for every note from its lowest to its highest, and the lowest note."""
    columns = _columns(form)
    low = int(columns.min())
    roll = np.zeros((len(stored), int(columns.max()) - low + 1), np.uint8)
    roll[:, columns - low] = stored
    return roll, low


def _columns(form: DataFormat) -> Array:
    return np.asarray(form.pitches) if form.pitches else form.lowest_pitch + np.arange(form.x_dim)
