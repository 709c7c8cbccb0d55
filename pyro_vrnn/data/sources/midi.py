"""Piano-rolls from a folder of MIDI files, with a fixed number of steps per second or per quarter note."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from pyro_vrnn.data.notes import KEYS, LOWEST_NOTE, held_notes
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import SHARES, Skips, find_files, shares_option
from pyro_vrnn.data.sources.finishing import Cut, deal, ids_of
from pyro_vrnn.data.sources.midifile import Song, read_song
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError, at_least, choose

GRIDS = ("time", "beats")


@reads
def prepare(
    request: Request,
    *,
    splits: Sequence[float] = SHARES,
    grid: str = "time",
    rate: float | None = None,
    per_beat: int | None = None,
    window: int | None = None,
    hop: int | None = None,
    split_by: str = "sequence",
    pieces: int | None = None,
) -> DataInfo:
    """Write songs to a data file, uint8 [T, X], a column for each note that occurs in the training songs.

    A note is on from its start to its end, rounded to steps, and at least one step long; how loud is not kept. Drums,
    the pedal, and the silence before the first and after the last note are left out. The songs are dealt out to the
    splits by the seed, at least one each as long as there are so many. `pitches` in the file has the MIDI note of each
    column; `notes_outside` counts notes that are not on a piano (21 to 108), `drum_notes` those of the drums,
    `notes_dropped` those of valid and test songs that no training song has, `mended` the files by what their headers
    had wrong. Songs that cannot be read, or have no notes to keep, are skipped and listed.

    VRAE (Fabius, van Amersfoort 2014) is `rate=20` with `window=50`, or `window=40, hop=20`, and `pieces=520`; `hop=1`
    gives a window at every step.

    Args:
        request: its source is a folder of .mid files, of any depth; its progress counts files.
        splits: percentages of the songs for train, valid and test.
        grid: "time", where a step is a part of a second, or "beats", where it is a part of a quarter note of the score
            whatever the tempo; samples are then played at the songs' median tempo.
        rate: steps per second on a grid of time; 20 by default.
        per_beat: steps per quarter note on a grid of beats; 4 by default.
        window: steps of a sequence; whole songs without it. What is left of a song's end is counted in
            `steps_left_out`; a song that is shorter than a window is skipped.
        hop: steps from one window to the next; the window by default.
        split_by: "sequence" deals out whole songs. With "time" the start of each song is for training and its end for
            test, so that the songs of all splits are the same; it needs a window.
        pieces: windows that are kept of each song, its first ones; all by default. What comes after them in a song is
            as if it were not there, and counted in `steps_left_out`.

    Raises:
        DataError: not a folder, no .mid file in it, or nothing is left to train on.
        ConfigError: the file exists, a rate not from 0 to 1000, more than 64 steps or fewer than 1 in a beat, a rate
            for beats or beats for a rate, a window, hop or pieces below 1, a hop, pieces or a split by time without a
            window, or splits that do not add up to 100.
    """
    how = Cut(window=window, hop=hop, split_by=split_by, splits=splits)
    if split_by == "time" and window is None:
        raise ConfigError("split_by='time' without a window", "give --window too")
    by_score = _is_by_score(grid, rate, per_beat)
    steps = (4 if per_beat is None else per_beat) if by_score else (20.0 if rate is None else rate)
    at_least("pieces", 1 if pieces is None else pieces, 1)
    if pieces is not None and window is None:
        raise ConfigError(f"pieces={pieces} without a window", "give --window too")
    skips = request.skips()
    songs, about = _read_songs(request, steps, by_score, window or 1, skips)
    after = 0
    if window is not None and pieces is not None:
        whole, last = songs, window + (pieces - 1) * (hop or window)
        songs = {name: song[:last] for name, song in whole.items()}
        after = sum(len(song) - len(songs[name]) for name, song in whole.items())
    dealt, left = deal({name: len(song) for name, song in songs.items()}, {}, how, request.seed, skips)
    # Of the songs that train has anything of: how far its part goes.
    ends = {name: len(songs[name]) if split_by == "sequence" else end for name, _, end in dealt["train"]}
    used = sum(_unpack(songs[name])[:end].sum(axis=0, dtype=np.int64) for name, end in ends.items())
    columns = np.flatnonzero(used)
    others = np.setdiff1d(np.arange(KEYS), columns)
    rest = (_unpack(song)[ends.get(name, 0) :, others] for name, song in songs.items())

    def rolls(split: str) -> Iterator[Array]:
        """The sequences of a split, unpacked one song at a time."""
        for name, parts in groupby(dealt[split], key=lambda piece: piece[0]):
            roll = _unpack(songs[name])[:, columns]
            for _, start, stop in parts:
                yield roll[start:stop]

    return write_sequences(
        request.path,
        {split: rolls(split) for split in SPLITS},
        ids=ids_of(dealt, how),
        kind="pianoroll",
        support="binary",
        steps_per_second=about.per_second(steps) if by_score else steps,
        source=f"the folder {request.source.name}, {len(songs)} songs",
        licence="unknown",
        options={
            "source": request.source.name,
            **({"grid": grid, "per_beat": steps} if by_score else {"rate": steps}),
            "window": window,
            "hop": hop,
            **({"pieces": pieces} if pieces is not None else {}),
            "seed": request.seed,
            **({} if split_by == "sequence" else {"split_by": split_by}),
            **shares_option(splits),
        },
        extra={
            "pitches": (columns + LOWEST_NOTE).tolist(),
            "lowest_pitch": int(columns[0]) + LOWEST_NOTE,
            **about.extra(),
            **({"quarters_per_minute": about.tempo} if by_score else {}),
            "notes_dropped": sum(len(held_notes(song)) for song in rest),
            "steps_left_out": left.get("steps_left_out", 0) + after,
            **skips.extra(),
        },
        overwrite=request.overwrite,
    )


def _is_by_score(grid: str, rate: float | None, per_beat: int | None) -> bool:
    """Whether steps are parts of a beat; ConfigError where the arguments do not fit each other."""
    if grid not in GRIDS:
        raise choose("grid", grid, GRIDS)
    if grid == "time" and per_beat is not None:
        raise ConfigError(f"per_beat={per_beat} on a grid of time", "give --grid beats too")
    if grid == "beats" and rate is not None:
        raise ConfigError(f"rate={rate:g} on a grid of beats", "give --per-beat, or leave out --grid")
    if rate is not None and not 0 < rate <= 1000:
        raise ConfigError(f"rate={rate}: more than 0 steps per second and at most 1000", "20 is usual")
    if per_beat is not None and not 1 <= per_beat <= 64:
        raise ConfigError(f"per_beat={per_beat}: 1 to 64 steps in a quarter note", "4 is usual: sixteenth notes")
    return grid == "beats"


@dataclass
class _Counts:
    """What was met in all songs."""

    outside: int = 0
    drums: int = 0
    mended: Counter[str] = field(default_factory=Counter)
    tempi: list[float] = field(default_factory=list)

    def add(self, song: Song) -> None:
        """One more song."""
        self.outside += song.outside
        self.drums += song.drums
        self.mended.update(song.mended)
        self.tempi.append(song.quarters_per_minute)

    @property
    def tempo(self) -> float:
        """The median of the songs' first tempi, in quarter notes per minute, within what a data file may say."""
        return min(1000.0, max(1.0, median(self.tempi)))

    def per_second(self, per_beat: float) -> float:
        """Steps per second at that tempo."""
        return per_beat * self.tempo / 60

    def extra(self) -> dict[str, Any]:
        """For the data file."""
        return {"notes_outside": self.outside, "drum_notes": self.drums, "mended": dict(sorted(self.mended.items()))}


def _read_songs(
    request: Request, steps: float, by_score: bool, shortest: int, skips: Skips
) -> tuple[dict[str, Array], _Counts]:
    """The songs of a folder by name, packed to bits, [T, 11] each, and what was met in them.

    A name is the path in the folder without its ending, if no other file has the same.
    """
    files = find_files(request.source, [".mid", ".midi"], skips)
    stems = Counter(name.rpartition(".")[0] for name in files)
    songs: dict[str, Array] = {}
    about = _Counts()
    for done, (path, file) in enumerate(files.items(), start=1):
        stem = path.rpartition(".")[0]
        try:
            read = read_song(file, steps_per_beat=steps) if by_score else read_song(file, steps_per_second=steps)
            song = trimmed(read, file)
            if len(song.roll) < shortest:
                raise DataError(f"{file}: {len(song.roll)} steps, a window has {shortest}")
        except DataError as error:
            skips.add(path, error.message.removeprefix(f"{file}: "), "file")
        else:
            songs[stem if stems[stem] == 1 else path] = np.packbits(song.roll, axis=1)
            about.add(song)
        request.report(done, len(files))
    return songs, about


def trimmed(song: Song, file: Path) -> Song:
    """A song without silent ends; DataError if it has no notes, or drums only."""
    sounding = np.flatnonzero(song.roll.any(axis=1))
    if not len(sounding):
        only = " but drums" if song.drums and not song.outside else " on a piano" if song.outside else ""
        raise DataError(f"{file}: no notes{only}", path=file)
    return replace(song, roll=song.roll[sounding[0] : sounding[-1] + 1])


def _unpack(packed: Array) -> Array:
    """Bits [T, 11] as the roll, uint8 [T, 88]."""
    return np.unpackbits(packed, axis=1)
