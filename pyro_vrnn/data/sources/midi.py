"""Piano-rolls from a folder of MIDI files, at a fixed number of steps per second."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pyro_vrnn.data.midi import HIGHEST_NOTE, LOWEST_NOTE, MIDI_BYTES, held_notes, midi_events, read_midi
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import SHARES, Skips, check_shares, find_files, seeded_split, shares_option
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError, at_least
from pyro_vrnn.system.files import read_plain_file

KEYS = HIGHEST_NOTE - LOWEST_NOTE + 1
NOTE_ON, DRUMS = 9, 9  # status, channel


@reads
def prepare(
    request: Request,
    *,
    splits: Sequence[float] = SHARES,
    rate: float = 20.0,
    window: int | None = None,
    hop: int | None = None,
) -> DataInfo:
    """Write songs to a data file, uint8 [T, X], a column for each note that occurs in the training songs.

    A note is on from its start to its end, rounded to steps, and at least one step long; how loud is not kept. Drums,
    the pedal, and the silence before the first and after the last note are left out. The songs are dealt out to the
    splits by the seed, at least one each as long as there are so many. `pitches` in the file has the MIDI note of each
    column; `notes_outside` counts notes that are not on a piano (21 to 108), `notes_dropped` those of valid and test
    songs that no training song has. Songs that cannot be read, or have no notes to keep, are skipped and listed.

    VRAE (Fabius, van Amersfoort 2014) is `rate=20` with `window=50`, or `window=40, hop=20`; `hop=1` gives a window
    at every step.

    Args:
        request: its source is a folder of .mid files, of any depth; its progress counts files.
        splits: percentages of the songs for train, valid and test.
        rate: steps per second.
        window: steps of a sequence; whole songs without it. What is left of a song's end is counted in
            `steps_left_out`; a song that is shorter than a window is skipped.
        hop: steps from one window to the next; the window by default.

    Raises:
        DataError: not a folder, no .mid file in it, or nothing is left to train on.
        ConfigError: the file exists, a rate not from 0 to 1000, a window or hop below 1, a hop without a window,
            or splits that do not add up to 100.
    """
    check_shares(splits)
    if not 0 < rate <= 1000:
        raise ConfigError(f"rate={rate}: more than 0 steps per second and at most 1000", "20 is usual")
    at_least("window", 1 if window is None else window, 1)
    at_least("hop", 1 if hop is None else hop, 1)
    if hop is not None and window is None:
        raise ConfigError(f"hop={hop} without a window", "give --window too")
    skips = request.skips()
    songs, outside = _read_songs(request, rate, window or 1, skips)
    split_of = seeded_split(songs, request.seed, splits)
    names = {split: [name for name in songs if split_of[name] == split] for split in SPLITS}
    skips.check_left(names["train"])
    used = sum(_unpack(songs[name]).sum(axis=0, dtype=np.int64) for name in names["train"])
    columns = np.flatnonzero(used)
    others = np.setdiff1d(np.arange(KEYS), columns)
    rest = [songs[name] for split in SPLITS[1:] for name in names[split]]
    starts = {
        name: range(0, len(song) - window + 1, hop or window) if window else range(1) for name, song in songs.items()
    }

    def rolls(split: str) -> Iterator[Array]:
        """The sequences of a split, unpacked one song at a time."""
        for name in names[split]:
            roll = _unpack(songs[name])[:, columns]
            for start in starts[name]:
                yield roll[start : start + window] if window else roll

    return write_sequences(
        request.path,
        {split: rolls(split) for split in SPLITS},
        ids={
            split: [f"{name}#{k}" if window else name for name in names[split] for k in range(len(starts[name]))]
            for split in SPLITS
        },
        kind="pianoroll",
        support="binary",
        steps_per_second=rate,
        source=f"the folder {request.source.name}, {len(songs)} songs",
        licence="unknown",
        options={
            "source": request.source.name,
            "rate": rate,
            "window": window,
            "hop": hop,
            "seed": request.seed,
            **shares_option(splits),
        },
        extra={
            "pitches": (columns + LOWEST_NOTE).tolist(),
            "lowest_pitch": int(columns[0]) + LOWEST_NOTE,
            "notes_outside": outside,
            "notes_dropped": sum(len(held_notes(_unpack(song)[:, others])) for song in rest),
            "steps_left_out": sum(len(song) - starts[name][-1] - window for name, song in songs.items())
            if window
            else 0,
            **skips.extra(),
        },
        overwrite=request.overwrite,
    )


def _read_songs(request: Request, rate: float, shortest: int, skips: Skips) -> tuple[dict[str, Array], int]:
    """The songs of a folder by name, packed to bits, [T, 11] each; and how many notes are not on a piano.

    A name is the path in the folder without its ending, if no other file has the same.
    """
    files = find_files(request.source, [".mid", ".midi"])
    stems = Counter(name.rpartition(".")[0] for name in files)
    songs: dict[str, Array] = {}
    outside = 0
    for done, (path, file) in enumerate(files.items(), start=1):
        stem = path.rpartition(".")[0]
        try:
            roll, lost = read_song(file, rate)
            if len(roll) < shortest:
                raise DataError(f"{file}: {len(roll)} steps, a window has {shortest}")
        except DataError as error:
            skips.add(path, error.message.removeprefix(f"{file}: "), "file")
        else:
            songs[stem if stems[stem] == 1 else path] = np.packbits(roll, axis=1)
            outside += lost
        request.report(done, len(files))
    return songs, outside


def read_song(file: Path, rate: float) -> tuple[Array, int]:
    """The piano-roll of a MIDI file without silent ends, uint8 [T, 88], and how many notes are not on a piano.

    Raises:
        DataError: as `read_midi`; no notes, or drums only.
    """
    outside = _outside(file)
    roll = read_midi(file, steps_per_second=rate)
    sounding = np.flatnonzero(roll.any(axis=1))
    if not len(sounding):
        raise DataError(f"{file}: no notes", path=file)
    return roll[sounding[0] : sounding[-1] + 1], outside


def _outside(file: Path) -> int:
    """How many notes are not on a piano."""
    events = midi_events(read_plain_file(file, MIDI_BYTES), file)
    played = [(status & 15, *body) for status, body in events if status >> 4 == NOTE_ON and body[1:] != b"\0"]
    pitches = [pitch for channel, pitch, *_ in played if channel != DRUMS]
    if not pitches:
        raise DataError(f"{file}: no notes{' but drums' if played else ''}", path=file)
    return sum(not LOWEST_NOTE <= pitch <= HIGHEST_NOTE for pitch in pitches)


def _unpack(packed: Array) -> Array:
    """Bits [T, 11] as the roll, uint8 [T, 88]."""
    return np.unpackbits(packed, axis=1)
