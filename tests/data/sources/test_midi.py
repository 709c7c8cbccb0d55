"""Piano-rolls from MIDI files: the real folder, songs written by pretty_midi, and hostile files."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import sequences

from pyro_vrnn import media
from pyro_vrnn.data.format import format_of
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo, read_info
from pyro_vrnn.data.sources import midi
from pyro_vrnn.data.sources.midifile import read_midi
from pyro_vrnn.media.midi_writer import write_midi
from pyro_vrnn.system.errors import ConfigError, DataError

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)


def song(*notes: tuple[int, float, float], drums: bool = False, tempo: float = 120) -> bytes:
    """A file of (pitch, start, end) in seconds; with drums, a beat each half second too."""
    music = pretty_midi.PrettyMIDI(resolution=480, initial_tempo=tempo)
    voice = pretty_midi.Instrument(0)
    voice.notes += [pretty_midi.Note(80 - i % 40, pitch, a, b) for i, (pitch, a, b) in enumerate(notes)]
    music.instruments.append(voice)
    if drums:
        beat = pretty_midi.Instrument(0, is_drum=True)
        beat.notes += [pretty_midi.Note(90, 38, t / 2, t / 2 + 0.1) for t in range(20)]
        music.instruments.append(beat)
    file = io.BytesIO()
    music.write(file)
    return file.getvalue()


def folder_of(folder: Path, **songs: bytes) -> str:
    folder.mkdir(exist_ok=True)
    for name, data in songs.items():
        (folder / f"{name}.mid").write_bytes(data)
    return str(folder)


def full(info: DataInfo, roll: Array) -> Array:
    """A roll of a file on all 88 keys."""
    keys = np.zeros((len(roll), 88), np.uint8)
    keys[:, np.array(info.extra["pitches"]) - 21] = roll
    return keys


# ------------------------------------------------------------------------------------------- real songs


@pytest.fixture(scope="module")
def games(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> DataInfo:
    return midi.prepare(tmp_path_factory.mktemp("games") / "x.h5", source=str(shared / "data" / "openmsx_midi"))


def test_game_songs(games: DataInfo, shared: Path) -> None:
    """The rolls that came with the files, note by note: 31 songs, 75,282 steps at 20 a second."""
    stored = np.load(shared / "data" / "openmsx_midi" / "openmsx_20hz.npz")
    ends = np.cumsum(stored["length"])
    theirs = {str(n): stored["roll"][e - k : e] for n, e, k in zip(stored["name"], ends, stored["length"], strict=True)}
    ours = sequences(games)
    assert (games.kind, games.support, games.steps_per_second) == ("pianoroll", "binary", 20)
    assert [games.splits[s].sequences for s in SPLITS] == [25, 3, 3]
    assert sum(games.splits[s].steps for s in SPLITS) == 75_282
    assert {name for split in ours.values() for name in split} == set(theirs)
    pitches = games.extra["pitches"]
    used = np.flatnonzero(np.concatenate([theirs[name] for name in ours["train"]]).any(axis=0)) + 21
    assert pitches == used.tolist()
    assert (games.extra["lowest_pitch"], games.x_dim) == (pitches[0], len(pitches))
    dropped = 0
    for name, roll in (pair for split in ours.values() for pair in split.items()):
        want = theirs[name].copy()
        others = np.setdiff1d(np.arange(88), np.array(pitches) - 21)
        starts = np.diff(want[:, others].astype(int), axis=0, prepend=0) == 1
        dropped += int(starts.sum())
        want[:, others] = 0
        np.testing.assert_array_equal(full(games, roll), want)
    assert games.extra["notes_dropped"] == dropped > 0
    assert (games.extra["notes_outside"], games.extra["skipped_count"]) == (3, 0)


# ------------------------------------------------------------------------------------------- small songs


def test_a_folder_of_any_depth(tmp_path: Path) -> None:
    """Drums and silent ends go, velocities too; names are paths; columns are the notes of the training songs."""
    folder_of(tmp_path / "songs", first=song((60, 1, 2), (64, 1.5, 3), drums=True))
    folder_of(tmp_path / "songs" / "deep", second=song((60, 0, 0.5), (72, 0.25, 0.5)))
    (tmp_path / "songs" / "UPPER.MID").write_bytes(song((60, 0, 1)))
    (tmp_path / "songs" / "notes.txt").write_bytes(b"not music")
    told: list[tuple[int, int]] = []
    source = str(tmp_path / "songs")
    info = midi.prepare(tmp_path / "x.h5", source=source, rate=4, progress=lambda *n: told.append(n))
    assert told == [(1, 3), (2, 3), (3, 3)]
    found = {name: full(info, roll) for split in sequences(info).values() for name, roll in split.items()}
    assert set(found) == {"first", "deep/second", "UPPER"}
    assert info.steps_per_second == 4
    for name, notes in {"first": {60: (0, 4), 64: (2, 8)}, "deep/second": {60: (0, 2), 72: (1, 2)}}.items():
        want = np.zeros_like(found[name])
        for pitch, (start, stop) in notes.items():
            want[start:stop, pitch - 21] = pitch in info.extra["pitches"]
        np.testing.assert_array_equal(found[name], want)
    assert [info.splits[s].sequences for s in SPLITS] == [1, 1, 1]


def test_columns_go_back_to_pitches(tmp_path: Path) -> None:
    """A song prepared, drawn at its pitches, written as MIDI and read: the same roll."""
    source = folder_of(tmp_path / "songs", one=song((30, 0, 1), (60, 0.5, 2), (100, 1, 1.5)))
    info = midi.prepare(tmp_path / "x.h5", source=source)
    assert (info.extra["pitches"], info.extra["lowest_pitch"], info.x_dim) == ([30, 60, 100], 30, 3)
    roll = full(info, sequences(info)["train"]["one"])
    write_midi(roll, tmp_path / "out.mid", steps_per_second=20)
    np.testing.assert_array_equal(read_midi(tmp_path / "out.mid", steps_per_second=20), roll)


def test_the_test_songs_change_nothing_in_train(tmp_path: Path) -> None:
    """Columns and moments are of the training songs; a note they do not have is dropped and counted."""
    songs = {f"s{i}": song((60, 0, 1), (60 + i, 0, 0.5 + i)) for i in range(5)}
    info = midi.prepare(tmp_path / "x.h5", source=folder_of(tmp_path / "songs", **songs))
    [name] = sequences(info)["test"]
    songs[name] = song((60, 0, 1), (100, 0, 1), (100, 2, 3), (20, 0, 1), (109, 1, 2))
    other = midi.prepare(tmp_path / "y.h5", source=folder_of(tmp_path / "songs", **songs))
    assert list(sequences(other)["test"]) == [name]
    np.testing.assert_array_equal(info.mean, other.mean)
    np.testing.assert_array_equal(info.std, other.std)
    assert other.extra["pitches"] == info.extra["pitches"]
    assert 100 not in other.extra["pitches"]
    assert other.extra["notes_dropped"] == 2
    assert (info.extra["notes_outside"], other.extra["notes_outside"]) == (0, 2)


@pytest.mark.parametrize(
    ("window", "hop", "starts", "left"),
    [(50, 50, [0, 50, 100], 20), (50, None, [0, 50, 100], 20), (40, 20, range(0, 121, 20), 10), (165, 1, range(6), 0)],
)
def test_windows(tmp_path: Path, window: int, hop: int | None, starts: Any, left: int) -> None:
    """VRAE's: whole windows only, what is left of the end is counted; short songs are skipped."""
    notes = [(60 + i % 7, i / 10, i / 10 + 0.1) for i in range(85)]  # 8.5 s: 170 steps
    source = folder_of(tmp_path / "songs", long=song(*notes), short=song((60, 0, 1)))
    info = midi.prepare(tmp_path / "x.h5", source=source, window=window, hop=hop)
    roll = sequences(midi.prepare(tmp_path / "y.h5", source=folder_of(tmp_path / "one", long=song(*notes))))["train"][
        "long"
    ]
    assert len(roll) == 170
    found = sequences(info)["train"]
    assert list(found) == [f"long#{k}" for k in range(len(starts))]
    for start, x in zip(starts, found.values(), strict=True):
        np.testing.assert_array_equal(x, roll[start : start + window])
    assert info.extra["steps_left_out"] == left
    assert info.extra["skipped"] == [{"file": "short.mid", "reason": f"20 steps, a window has {window}"}]


def test_the_first_pieces_of_each_song(tmp_path: Path) -> None:
    """What comes after them is not there: not its steps, and not its notes."""
    long = song((60, 0, 2), (64, 2, 4), (90, 4, 6))
    folder = folder_of(tmp_path / "songs", a=long, b=song((60, 0, 1)), c=song((64, 0, 2)))
    options: dict[str, Any] = {"rate": 10, "window": 10, "splits": (100, 0, 0)}
    everything = midi.prepare(tmp_path / "all.h5", source=folder, **options)
    first = midi.prepare(tmp_path / "first.h5", source=folder, pieces=3, **options)
    whole, found = sequences(everything)["train"], sequences(first)["train"]
    assert list(found) == ["a#0", "a#1", "a#2", "b#0", "c#0", "c#1"]
    assert [i for i in whole if i not in found] == ["a#3", "a#4", "a#5"]
    assert (everything.extra["pitches"], first.extra["pitches"]) == ([60, 64, 90], [60, 64])
    assert (everything.extra["steps_left_out"], first.extra["steps_left_out"]) == (0, 30)
    overlapping = midi.prepare(tmp_path / "hop.h5", source=folder, hop=5, pieces=2, **options)
    assert [i for i in sequences(overlapping)["train"] if i[0] == "a"] == ["a#0", "a#1"]
    with pytest.raises(ConfigError, match="pieces=3 without a window"):
        midi.prepare(tmp_path / "no.h5", source=folder, pieces=3)


def test_songs_twice_and_by_another_seed(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "songs", **{f"s{i}": song((60, 0, 1), (60 + i, 0, 2)) for i in range(12)})
    infos = [midi.prepare(tmp_path / f"{i}.h5", source=source, seed=s) for i, s in enumerate((0, 0, 1))]
    assert infos[0].path.read_bytes() == infos[1].path.read_bytes()
    assert sequences(infos[0])["test"].keys() != sequences(infos[2])["test"].keys()
    assert [infos[0].splits[s].sequences for s in SPLITS] == [10, 1, 1]


def test_names_that_differ_in_their_ending(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "songs", a=song((60, 0, 1)))
    (tmp_path / "songs" / "a.midi").write_bytes(song((60, 0, 2)))
    (tmp_path / "songs" / "[bold]\n.mid").write_bytes(song((60, 0, 3)))
    info = midi.prepare(tmp_path / "x.h5", source=source)
    assert {name for split in sequences(info).values() for name in split} == {"a.mid", "a.midi", "[bold]\n"}


@pytest.mark.parametrize(
    "options", [{"rate": 0}, {"rate": float("nan")}, {"rate": 1e9}, {"window": 0}, {"window": 5, "hop": 0}, {"hop": 5}]
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, Any]) -> None:
    source = folder_of(tmp_path / "songs", a=song((60, 0, 1)))
    with pytest.raises(ConfigError, match=next(reversed(options))):
        midi.prepare(tmp_path / "x.h5", source=source, **options)


# ------------------------------------------------------------------------------------------- hostile


def varied(number: int) -> bytes:
    """A variable-length quantity."""
    digits = [number & 127]
    while number := number >> 7:
        digits.append(128 | number & 127)
    return bytes(reversed(digits))


def file_of(events: bytes, division: int = 480, length: int | None = None) -> bytes:
    head = b"MThd" + struct.pack(">IHHH", 6, 0, 1, division)
    return head + b"MTrk" + struct.pack(">I", len(events) if length is None else length) + events


ON, OFF, END = b"\x00\x90\x3c\x40", b"\x80\x3c\x00", b"\x00\xff\x2f\x00"
HOSTILE = {
    "empty": (b"", "does not begin with an MThd header"),
    "text": (b"hello, this is not music", "does not begin with an MThd header"),
    "no_division": (file_of(ON + b"\x60" + OFF + END, division=0), "no ticks a quarter note"),
    "smpte": (file_of(ON + b"\x60" + OFF + END, division=0xE428), "no ticks a quarter note"),
    "tempo_0": (file_of(b"\x00\xff\x51\x03\x00\x00\x00" + ON + b"\x60" + OFF + END), "a tempo of 0"),
    "track_of_2_gb": (file_of(ON, length=2**31), "near byte"),
    "no_end": (file_of(ON + b"\x60")[:-1], "near byte"),
    "data_byte": (file_of(b"\x00\x90\x3c\xff\x00" + END), "near byte"),
    "meta_of_256_mb": (file_of(b"\x00\xff\x01" + varied(2**28 - 1)), "near byte"),
    "2_28_ticks": (file_of(ON + varied(2**28 - 1) + OFF + END), "268435455 ticks long"),
    "10_million_ticks": (file_of(ON + varied(9_999_000) + OFF + END), "9999000 ticks long"),
    "years": (file_of(b"\x00\xff\x51\x03\xff\xff\xff" + ON + varied(2_000_000) + OFF + END, division=1), "lasts"),
    "hours": (file_of(ON + varied(99_000) + OFF + END, division=1), "990000 steps; what is read"),
    "note_without_end": (file_of(ON + END), "lasts 0 s"),
    "no_notes": (file_of(b"\x60\xff\x01\x01a" + END), "no notes"),
    "drums_only": (song(drums=True), "no notes but drums"),
    "outside_only": (song((5, 0, 1), (120, 0, 1)), "no notes on a piano"),
    "a_million_notes": (file_of((ON + b"\x60" + OFF) * 500_000 + END), "bytes; at most"),
    "many_notes": (file_of(ON + b"\x01\x3c\x00\x00\x3c\x40" * 87_000 + END), "more than 50000 events"),
    "many_programs": (file_of(b"\x00\xc0" + b"\x01\x00" * 260_000 + b"\x01" + END), "more than 50000 events"),
    "long_number": (file_of(b"\xff" * 500_000 + b"\x00" + ON), "near byte 22: a number of more than four bytes"),
}
LONG = file_of(b"\x00\x90" + b"\x3c\x40\x00" * 40_000 + b"\x3c\x40" + varied(9_900) + OFF + END, division=1)
"""40,000 notes of 99,000 steps each, on one key."""


@pytest.mark.fault(37, 38)
def test_hostile_files(tmp_path: Path) -> None:
    """Each is skipped with its reason, and the good song is there."""
    source = folder_of(tmp_path / "songs", good=song((60, 0, 1)), **{name: data for name, (data, _) in HOSTILE.items()})
    os.mkfifo(tmp_path / "songs" / "fifo.mid")  # opening it would hang
    (tmp_path / "songs" / "folder.mid").mkdir()
    (tmp_path / "songs" / "loop.mid").symlink_to(tmp_path / "songs" / "loop.mid")
    started = time.monotonic()
    info = midi.prepare(tmp_path / "x.h5", source=source)
    assert time.monotonic() - started < 20  # one second
    assert list(sequences(info)["train"]) == ["good"]
    skipped = {skip["file"]: skip["reason"] for skip in info.extra["skipped"]}
    assert info.extra["skipped_count"] == len(skipped) == len(HOSTILE) + 3
    for name, (_, reason) in HOSTILE.items():
        assert reason in skipped[f"{name}.mid"], name
        assert str(tmp_path) not in skipped[f"{name}.mid"]
    assert skipped["fifo.mid"] == skipped["folder.mid"] == "not a plain file"
    with pytest.raises(DataError, match=r"10_million_ticks\.mid"):
        midi.prepare(tmp_path / "y.h5", source=source, strict=True)
    (tmp_path / "songs" / "good.mid").unlink()
    with pytest.raises(DataError, match="no training sequence; 24 skipped"):
        midi.prepare(tmp_path / "y.h5", source=source)
    assert not (tmp_path / "y.h5").exists()


@pytest.mark.fault(37)
def test_memory_stays_below_100_mb(tmp_path: Path) -> None:
    """Of the hostile files together, and of the longest song that is kept; in a process of its own."""
    pytest.importorskip("resource", reason="measures with getrusage")
    longest = file_of(ON + varied(9_900) + OFF + b"\x00\x90\x3e\x40" + b"\x01\x80\x3e\x00" + END, division=1)
    source = folder_of(
        tmp_path / "songs", **{name: data for name, (data, _) in HOSTILE.items()}, a=longest, b=longest, c=LONG
    )
    code = f"""
import contextlib, pathlib, resource, sys
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.data.sources.midifile import read_midi
from pyro_vrnn.data.sources import midi
import mido, pretty_midi
def peak():
    if sys.platform == "linux":  # getrusage has what pytest, which started this process, took
        return int(next(s for s in open("/proc/self/status") if s.startswith("VmHWM")).split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
before = peak()
info = midi.prepare({str(tmp_path / "x.h5")!r}, source={source!r})
assert info.splits["train"].longest >= 99_000, info.splits
for song in pathlib.Path({source!r}).iterdir():
    with contextlib.suppress(DataError):
        read_midi(song, steps_per_second=20)  # as `sample --prime` does
print(peak() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) < 100


@pytest.mark.fault(37)
@pytest.mark.parametrize("case", [*HOSTILE, "long"])
def test_hostile_files_take_a_moment(tmp_path: Path, case: str) -> None:
    """Each less than a second of the processor, in `prepare` and in `sample --prime`; here five, for slow machines."""
    file = tmp_path / "a.mid"
    file.write_bytes(LONG if case == "long" else HOSTILE[case][0])
    for read in (lambda: midi.read_song(file, steps_per_second=20), lambda: read_midi(file, steps_per_second=20)):
        started = time.process_time()
        with suppress(DataError):
            read()
        assert time.process_time() - started < 5


@pytest.mark.fault(37)
def test_cut_at_every_byte(tmp_path: Path) -> None:
    data = song((60, 0, 1), (64, 0.5, 1))
    file = tmp_path / "a.mid"
    for length in range(len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(DataError):
            midi.trimmed(midi.read_song(file, steps_per_second=20), file)


@pytest.mark.fault(37)
@same_folder
@given(data=st.binary(max_size=200), where=st.integers(0, 100), whole=st.booleans())
def test_garbage(tmp_path: Path, data: bytes, where: int, whole: bool) -> None:
    """Any bytes, and a good file with some of its bytes replaced: a roll or a DataError, and nothing else."""
    good = song((60, 0, 1), (64, 0.5, 1))
    (tmp_path / "a.mid").write_bytes(data if whole else good[:where] + data + good[where + len(data) :])
    try:
        roll = midi.trimmed(midi.read_song(tmp_path / "a.mid", steps_per_second=20), tmp_path / "a.mid").roll
    except DataError:
        return
    assert roll.shape[1] == 88
    assert roll[0].any()
    assert roll[-1].any()


def test_shares_of_the_songs(tmp_path: Path) -> None:
    """The usual ones change no byte of the file."""
    source = folder_of(tmp_path / "songs", **{name: song((60 + i, 0, 1)) for i, name in enumerate("abcdefghij")})
    usual = midi.prepare(tmp_path / "a.h5", source=source)
    named = midi.prepare(tmp_path / "b.h5", source=source, splits=(80, 10, 10))
    assert usual.path.read_bytes() == named.path.read_bytes()
    assert "splits" not in usual.options
    other = midi.prepare(tmp_path / "c.h5", source=source, splits=(50, 30, 20))
    assert [len(found) for found in sequences(other).values()] == [5, 3, 2]
    assert other.options["splits"] == [50, 30, 20]
    for splits in [(90, 5), (90, 5, 6), (0, 50, 50), (101, -1, 0)]:
        with pytest.raises(ConfigError, match="--splits"):
            midi.prepare(tmp_path / "d.h5", source=source, splits=splits)


def test_the_grid_of_the_score(tmp_path: Path) -> None:
    """A quarter note is as many steps as asked for at any tempo; what is drawn is played at the songs' own."""
    songs = {f"s{i}": song((60, 0, 1), (62, 1, 1.5), tempo=(60, 90, 120)[i % 3]) for i in range(12)}
    source = folder_of(tmp_path / "songs", **songs)
    info = midi.prepare(tmp_path / "x.h5", source=source, grid="beats", per_beat=2)
    lengths = {name: len(x) for split in sequences(info).values() for name, x in split.items()}
    assert [lengths[f"s{i}"] for i in range(3)] == [3, 4, 6]  # a second and a half, in eighth notes
    assert (info.steps_per_second, info.extra["quarters_per_minute"]) == pytest.approx((3, 90), rel=1e-5)
    form = format_of(info)
    assert (form.steps_per_quarter, form.by_score) == (2, True)
    given = media.read(form, Path(source) / "s0.mid")  # on beats, though its tempo is not the songs' usual one
    assert len(given) == 3
    assert info.options == {
        "source": "songs", "grid": "beats", "per_beat": 2, "window": None, "hop": None, "seed": 0
    }  # fmt: skip
    for options in ({"grid": "beats", "rate": 3}, {"per_beat": 3}, {"grid": "bars"}, {"grid": "beats", "per_beat": 0}):
        with pytest.raises(ConfigError, match=r"grid|beat"):
            midi.prepare(tmp_path / "y.h5", source=source, **options)


def test_files_of_a_mac_are_passed_over(tmp_path: Path) -> None:
    """Whatever is in them, and in strict mode as well."""
    folder_of(tmp_path / "songs", a=song((60, 0, 1)))
    folder_of(tmp_path / "songs" / "__MACOSX", a=b"x")
    (tmp_path / "songs" / "._a.mid").write_bytes(b"\0\5\x16\7")
    info = midi.prepare(tmp_path / "x.h5", source=tmp_path / "songs", strict=True)
    assert (list(sequences(info)["train"]), info.extra["hidden_files"]) == (["a"], 2)


def test_one_song(tmp_path: Path) -> None:
    """A file is what a folder with it alone is."""
    (tmp_path / "song.mid").write_bytes(song((60, 0, 1)))
    assert list(sequences(midi.prepare(tmp_path / "x.h5", source=tmp_path / "song.mid"))["train"]) == ["song"]


def test_folders_that_are_not(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_bytes(song((60, 0, 1)))
    for name, words in {
        "gone": "no such file or folder",
        "file.txt": "not a folder",
        "empty": r"no \.mid or \.midi file",
    }.items():
        with pytest.raises(DataError, match=words) as error:
            midi.prepare(tmp_path / "x.h5", source=str(tmp_path / name))
        assert error.value.hint
    (tmp_path / "x.h5").touch()
    with pytest.raises(ConfigError, match="exists already"):
        midi.prepare(tmp_path / "x.h5", source=str(tmp_path / "gone"))


def test_split_by_time_all_splits_have_all_songs(tmp_path: Path) -> None:
    """The start of each song is for train and its end for test, no window crosses, and only train makes columns."""
    songs = {f"s{i}": song(*((60 + i + k % 5, k / 5, k / 5 + 0.2) for k in range(100)), (90, 19, 20)) for i in (0, 9)}
    source = folder_of(tmp_path / "songs", **songs)  # 20 s: 400 steps
    info = midi.prepare(tmp_path / "x.h5", source=source, window=20, hop=10, split_by="time", splits=(80, 10, 10))
    found = sequences(info)
    for part in found.values():
        assert {name.partition("#")[0] for name in part} == {"s0", "s9"}
    assert [len(found[split]) for split in SPLITS] == [2 * 31, 2 * 3, 2 * 3]
    whole = sequences(midi.prepare(tmp_path / "y.h5", source=folder_of(tmp_path / "one", s9=songs["s9"])))["train"]
    kept = np.isin(midi_notes(tmp_path / "y.h5"), info.extra["pitches"])
    mine = np.isin(info.extra["pitches"], midi_notes(tmp_path / "y.h5"))
    np.testing.assert_array_equal(found["train"]["s9#30"][:, mine], whole["s9"][300:320][:, kept])
    np.testing.assert_array_equal(found["test"]["s9#2"][:, mine], whole["s9"][380:400][:, kept])
    assert 90 not in info.extra["pitches"]
    assert (info.extra["notes_dropped"], info.options["split_by"]) == (2, "time")
    with pytest.raises(ConfigError, match="split_by='time' without a window"):
        midi.prepare(tmp_path / "z.h5", source=source, split_by="time")


def midi_notes(path: Path) -> list[int]:
    """The notes that a file has columns of."""
    found: list[int] = read_info(path).extra["pitches"]
    return found
