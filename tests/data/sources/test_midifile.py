from __future__ import annotations

import io
import json
import logging
import os
import struct
import time
from pathlib import Path
from typing import Any

import mido  # type: ignore[import-untyped]
import numpy as np
import pretty_midi
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pyro_vrnn.data.notes import held_notes
from pyro_vrnn.data.sources import midifile
from pyro_vrnn.data.sources.midifile import read_midi, read_song
from pyro_vrnn.data.sources.miditracks import read_tracks
from pyro_vrnn.media.midi_writer import write_midi
from pyro_vrnn.system.errors import DataError

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def rolls(draw: st.DrawFn) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Small rolls, many with silence at the start, the end, or everywhere."""
    shape = draw(st.tuples(st.integers(1, 30), st.integers(1, 88)))
    roll = draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 1), fill=st.just(0)))
    silence = [np.zeros((draw(st.integers(0, 9)), shape[1]), np.uint8) for _ in range(2)]
    return np.concatenate([silence[0], roll, silence[1]])


class TestHeldNotes:
    def test_runs_of_a_column_are_one_note(self) -> None:
        roll = np.array([[1, 0], [1, 1], [0, 0], [1, 1]])
        assert held_notes(roll).tolist() == [[0, 0, 2], [0, 3, 4], [1, 1, 2], [1, 3, 4]]

    @given(rolls())
    def test_notes_cover_the_roll(self, roll: np.ndarray[Any, Any]) -> None:
        covered = np.zeros_like(roll)
        for column, first, stop in held_notes(roll):
            assert covered[max(first - 1, 0) : stop + 1, column].sum() == 0  # and do not touch
            covered[first:stop, column] = 1
        assert (covered == roll).all()

    @pytest.mark.parametrize("roll", [np.zeros(3), np.zeros((2, 3, 4)), np.full((2, 2), 2), np.full((2, 2), np.nan)])
    def test_refuses_other_arrays(self, roll: np.ndarray[Any, Any]) -> None:
        with pytest.raises(ValueError, match="piano-roll"):
            held_notes(roll)


class TestMidi:
    @same_folder
    @given(roll=rolls(), rate=st.sampled_from([1.0, 2.0, 3.0, 7.3, 20.0, 50.0]), quarter=st.sampled_from([1, 2, 4]))
    def test_reads_back_what_was_written(
        self, tmp_path: Path, roll: np.ndarray[Any, Any], rate: float, quarter: int
    ) -> None:
        path = tmp_path / "a.mid"
        about = write_midi(roll, path, steps_per_second=rate, steps_per_quarter=quarter)
        back = read_midi(path, steps_per_second=rate, columns=roll.shape[1])
        assert back.dtype == np.uint8
        assert back.tolist() == roll.tolist()

        # mido, pretty_midi and the metadata agree on the length, to a tick
        tick = 60 / about["tempo"] / about["ticks_per_quarter"]
        assert about["seconds"] == len(roll) / rate
        assert pretty_midi.PrettyMIDI(str(path)).get_end_time() == pytest.approx(about["seconds"], abs=0.51 * tick)
        assert 0 < mido.MidiFile(path).length - about["seconds"] < 1.51 * tick

    @pytest.mark.parametrize("rate", [3.0, 20.0, 2.0])
    def test_a_long_roll_does_not_drift(self, tmp_path: Path, rate: float) -> None:
        """At 3 steps per second a whole number of microseconds is 1e-6 too short: 50 ticks after 150,000 steps."""
        roll = np.zeros((150_000, 88), np.uint8)
        roll[-2, 40] = 1
        about = write_midi(roll, tmp_path / "a.mid", steps_per_second=rate)
        back = read_midi(tmp_path / "a.mid", steps_per_second=rate)
        assert (back == roll).all()
        song = pretty_midi.PrettyMIDI(str(tmp_path / "a.mid"))
        assert song.get_end_time() == pytest.approx(
            150_000 / rate, abs=60 / about["tempo"] / about["ticks_per_quarter"]
        )

    def test_notes_tempo_and_metadata(self, tmp_path: Path) -> None:
        roll = np.zeros((8, 88), np.uint8)
        roll[2:5, 39] = 1
        roll[6, 0] = roll[6, 87] = 1
        path = tmp_path / "a.mid"
        about = write_midi(roll, path, steps_per_second=20, program=19, velocity=101)
        assert about == {
            "steps": 8,
            "notes": 3,
            "seconds": 0.4,
            "steps_per_second": 20,
            "steps_per_quarter": 1,
            "tempo": 1200,
            "ticks_per_quarter": 480,
            "program": 19,
            "velocity": 101,
            "lowest_pitch": 21,
        }
        json.dumps(about)
        song = pretty_midi.PrettyMIDI(str(path))
        assert song.resolution == 480
        assert [message.tempo for message in mido.MidiFile(path).tracks[0] if message.type == "set_tempo"] == [50_000]
        (voice,) = song.instruments
        assert (voice.program, voice.is_drum) == (19, False)
        notes = sorted((n.pitch, round(n.start, 6), round(n.end, 6), n.velocity) for n in voice.notes)
        assert notes == [(21, 0.3, 0.35, 101), (60, 0.1, 0.25, 101), (108, 0.3, 0.35, 101)]

    def test_a_step_is_a_fraction_of_a_quarter_note(self, tmp_path: Path) -> None:
        about = write_midi(np.ones((4, 1)), tmp_path / "a.mid", steps_per_second=8, steps_per_quarter=4)
        assert about["tempo"] == 120

    def test_same_roll_same_bytes(self, tmp_path: Path) -> None:
        roll = np.random.default_rng(0).integers(0, 2, (50, 88))
        for name in "ab":
            write_midi(roll, tmp_path / name, steps_per_second=20)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        assert sorted(os.listdir(tmp_path)) == ["a", "b"]

    @pytest.mark.parametrize("setting", [{"lowest_pitch": 20}, {"lowest_pitch": 22}])
    def test_refuses_notes_outside_the_piano(self, tmp_path: Path, setting: dict[str, int]) -> None:
        roll = np.zeros((2, 88), np.uint8)
        write_midi(roll, tmp_path / "a.mid", steps_per_second=20, **setting)  # silent ones may be
        roll[0, [0, 87]] = 1
        with pytest.raises(ValueError, match=r"1 notes lie outside MIDI notes 21\.\.108"):
            write_midi(roll, tmp_path / "a.mid", steps_per_second=20, **setting)

    @pytest.mark.parametrize(
        "setting",
        [
            {"steps_per_second": 0},
            {"steps_per_second": float("nan")},
            {"steps_per_second": float("inf")},
            {"steps_per_second": 0.01},
            {"steps_per_second": 1e9},
            {"steps_per_quarter": 0},
            {"program": 128},
            {"velocity": 0},
        ],
    )
    def test_refuses_numbers_out_of_range(self, tmp_path: Path, setting: dict[str, float]) -> None:
        with pytest.raises(ValueError, match=r"\d|nan|inf"):
            write_midi(np.ones((1, 1)), tmp_path / "a.mid", **{"steps_per_second": 20, **setting})  # type: ignore[arg-type]
        assert not list(tmp_path.iterdir())

    def test_refuses_rolls_without_steps_or_too_long(self, tmp_path: Path) -> None:
        for steps in (0, 420_000):
            with pytest.raises(ValueError, match="steps"):
                write_midi(np.zeros((steps, 1), np.uint8), tmp_path / "a.mid", steps_per_second=20)

    def test_other_peoples_files(self, shared: Path) -> None:
        """As many notes as the 20 Hz rolls that came with the files, which were cut at both ends."""
        folder = shared / "data" / "openmsx_midi"
        with np.load(folder / "openmsx_20hz.npz") as stored:
            name, length, roll = str(stored["name"][0]), int(stored["length"][0]), stored["roll"]
        theirs = roll[:length]
        ours = read_midi(folder / f"{name}.mid", steps_per_second=20)
        assert length <= len(ours) < length + 100
        assert (ours.any(axis=0) == theirs.any(axis=0)).all()
        assert ours.sum() == pytest.approx(theirs.sum(), rel=0.1)


def midi(*tracks: list[Any], division: int = 480) -> bytes:
    file = io.BytesIO()
    song = mido.MidiFile(ticks_per_beat=division)
    song.tracks += [mido.MidiTrack(track) for track in tracks]
    song.save(file=file)
    return file.getvalue()


def note(pitch: int, start: int, length: int, channel: int = 0) -> list[Any]:
    on = mido.Message("note_on", note=pitch, velocity=64, time=start, channel=channel)
    return [on, mido.Message("note_off", note=pitch, time=length, channel=channel)]


class TestReadMidi:
    def read(self, tmp_path: Path, data: bytes, **settings: Any) -> np.ndarray[Any, Any]:
        (tmp_path / "a.mid").write_bytes(data)
        return read_midi(tmp_path / "a.mid", **{"steps_per_second": 10, **settings})

    def test_short_notes_stay_and_times_are_rounded(self, tmp_path: Path) -> None:
        # 960 ticks a second; the first is a tick long, the second lasts from 0.145 s to 0.36 s
        roll = self.read(tmp_path, midi([*note(60, 0, 1), *note(62, 138, 207)]))
        assert np.argwhere(roll).tolist() == [[0, 39], [1, 41], [2, 41], [3, 41]]
        assert roll.shape == (4, 88)

    @pytest.mark.fault(38)
    def test_notes_outside_are_counted_and_drums_left_out(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        tracks = [[*note(60, 0, 96), *note(10, 0, 96), *note(120, 0, 96)], note(61, 0, 96, channel=9)]
        with caplog.at_level(logging.WARNING):
            roll = self.read(tmp_path, midi(*tracks))
        assert np.argwhere(roll).tolist() == [[0, 39]]
        assert "2 of 3 notes outside MIDI notes 21..108 left out" in caplog.text

    def test_other_columns(self, tmp_path: Path) -> None:
        assert self.read(tmp_path, midi(note(60, 0, 96)), lowest_pitch=60, columns=2).tolist() == [[1, 0]]

    @pytest.mark.fault(37)
    @pytest.mark.parametrize(
        ("data", "words"),
        [
            (b"", "MThd"),
            (b"MThd", "MThd"),
            (b"hello, this is text", "MThd"),
            (midi(note(60, 0, 96, channel=9)), "drums"),
            (midi(note(5, 0, 96)), "outside MIDI notes 21..108"),
            (midi([]), "lasts 0 s"),
            (midi(note(60, 0, 96), division=1)[:12] + struct.pack(">h", 0) + b"x", "no ticks"),
            (midi(note(60, 0, 96))[:12] + struct.pack(">h", -7128) + b"x", "no ticks"),  # 28 frames a second
            (midi(note(60, 0, 96))[:12] + struct.pack(">h", -6400) + b"x", "no ticks"),  # of no ticks
            (midi(note(60, 0, 96))[:-9], "near byte"),
            (midi(note(60, 1 << 27, 96)), "134217728 ticks long"),
            (midi([mido.MetaMessage("set_tempo", tempo=0, time=0), *note(60, 0, 96)]), "tempo of 0"),
            (midi([mido.MetaMessage("set_tempo", tempo=(1 << 24) - 1), *note(60, 2_000_000, 9)], division=1), "lasts"),
            (b"MThd" + b"\xff" * 200, "no ticks"),
            (b"MThd" + b"\x7f" * 200, "without a track"),
            (midi(note(60, 0, 96))[:9] + b"\2" + midi(note(60, 0, 96))[10:], "type 2"),
        ],
    )
    def test_refuses_what_is_not_music(self, tmp_path: Path, data: bytes, words: str) -> None:
        with pytest.raises(DataError) as caught:
            self.read(tmp_path, data)
        assert words in caught.value.message
        assert str(tmp_path / "a.mid") in caught.value.message
        assert caught.value.path == str(tmp_path / "a.mid")
        assert caught.value.hint
        assert caught.value.exit_code == 3

    def test_cut_at_every_byte(self, tmp_path: Path) -> None:
        data = midi(note(60, 0, 96), note(64, 0, 480))
        between = data.rindex(b"MTrk")  # between the tracks one of the two that it claims is there
        for length in range(len(data)):
            if length != between:
                with pytest.raises(DataError):
                    self.read(tmp_path, data[:length])
        assert self.read(tmp_path, data[:between]).any()

    def test_time_of_film(self, tmp_path: Path) -> None:
        """25 frames of 40 ticks a second; a tempo means nothing then."""
        data = midi([mido.MetaMessage("set_tempo", tempo=100_000), *note(60, 500, 250)])
        roll = self.read(tmp_path, data[:12] + struct.pack(">bB", -25, 40) + data[14:])
        assert np.argwhere(roll[:, 39]).ravel().tolist() == [5, 6, 7]
        with pytest.raises(DataError, match="not in beats"):
            read_song(tmp_path / "a.mid", steps_per_beat=4)

    @pytest.mark.fault(37)
    def test_headers_that_lie(self, tmp_path: Path) -> None:
        """Each gives the notes of the file that does not, and a word on what was wrong."""
        data = midi(note(60, 0, 480), [mido.MetaMessage("lyrics", text="la"), *note(64, 0, 480)])
        first, last = data.index(b"MTrk"), data.rindex(b"MTrk")
        size = int.from_bytes(data[last + 4 : last + 8], "big")
        alien = b"XFIH" + struct.pack(">I", 3) + b"abc"

        def sized(size: int) -> bytes:
            return data[: last + 4] + struct.pack(">I", size) + data[last + 8 :]

        lies = {
            "wrapped in RIFF": b"RIFF" + struct.pack("<I", len(data) + 12) + b"RMIDdata" + b"\0\0\0\0" + data,
            "size of a track": sized(size + 5),
            "size of a track ": sized(2**31),
            "size of a track  ": sized(3),
            "size of a track   ": sized(0),
            "number of tracks": data[:10] + b"\0\5" + data[12:],
            "number of tracks ": data[:10] + b"\0\1" + data[12:],
            "size of the header": data[:4] + struct.pack(">I", 9) + data[8:],
            "bytes that are no track": data + bytes(20),
            "bytes that are no track ": data + b"\0\0",
            "bytes that are no track  ": data[:last] + bytes(9) + data[last:],
        }
        want = self.read(tmp_path, data).tolist()
        for what, lie in lies.items():
            (tmp_path / "a.mid").write_bytes(lie)
            song = read_song(tmp_path / "a.mid", steps_per_second=10)
            assert (song.roll.tolist(), song.mended) == (want, (what.strip(),)), what
        (tmp_path / "a.mid").write_bytes(data[:first] + alien + data[first:last] + alien + data[last:] + alien)
        song = read_song(tmp_path / "a.mid", steps_per_second=10)
        assert (song.roll.tolist(), song.mended) == (want, ())  # chunks of other kinds are no fault

    def test_on_the_grid_of_the_score(self, tmp_path: Path) -> None:
        """Whatever the tempo: a note of a quarter is four steps."""
        slower = mido.MetaMessage("set_tempo", tempo=1_234_567)
        (tmp_path / "a.mid").write_bytes(midi([*note(60, 0, 480), slower, *note(62, 240, 480)]))
        song = read_song(tmp_path / "a.mid", steps_per_beat=4)
        assert np.argwhere(song.roll).tolist() == [[0, 39], [1, 39], [2, 39], [3, 39], *([i, 41] for i in range(6, 10))]
        assert song.quarters_per_minute == pytest.approx(60e6 / 1_234_567)

    @same_folder
    @given(data=st.binary(max_size=300), where=st.integers(0, 100), whole=st.booleans())
    def test_garbage(self, tmp_path: Path, data: bytes, where: int, whole: bool) -> None:
        """Any bytes, and a good file with some of its bytes replaced: a roll or a DataError, and nothing else."""
        good = midi([mido.MetaMessage("set_tempo", tempo=400_000), *note(60, 0, 96)], note(64, 0, 480))
        try:
            roll = self.read(tmp_path, data if whole else good[:where] + data + good[where + len(data) :])
        except DataError:
            return
        assert roll.shape[1] == 88
        assert len(roll) >= 1

    @same_folder
    @given(data=st.binary(max_size=20), where=st.integers(14, 100))
    def test_events_are_those_that_mido_reads(self, data: bytes, where: int) -> None:
        """Wherever mido reads a file and its headers are right: the same channel messages at the same ticks."""
        tempo, other = mido.MetaMessage("set_tempo", tempo=400_000), mido.Message("sysex", data=(1, 2))
        good = midi([tempo, other, *note(60, 0, 96), *note(60, 0, 96)], note(64, 0, 480))
        bad = good[:where] + data + good[where + len(data) :]
        try:
            theirs = mido.MidiFile(file=io.BytesIO(bad)).tracks
            ours = read_tracks(bad, "a.mid")
        except Exception:  # whatever mido raises
            return
        if ours.mended:
            return
        for track, events in zip(theirs, ours.tracks, strict=True):
            tick, want = 0, []
            for message in track:
                tick += message.time
                if not message.is_meta and message.type not in ("sysex", "songpos") and message.bytes()[0] < 0xF0:
                    want.append((tick, *message.bytes()))
            found = [(e.tick, e.status, *e.body) for e in events if e.status < 0xF0]
            assert found[: len(want)] == want  # mido stops at the size, we at the end of the track

    @same_folder
    @given(
        notes=st.lists(st.tuples(st.integers(21, 108), st.integers(0, 500), st.integers(1, 500)), min_size=1),
        tempi=st.lists(
            st.tuples(st.integers(0, 900), st.integers(100_000, 2_000_000)), max_size=4, unique_by=lambda x: x[0]
        ),
        where=st.integers(0, 1),
    )
    def test_tempo_is_obeyed_in_whatever_track(
        self, tmp_path: Path, notes: list[Any], tempi: list[Any], where: int
    ) -> None:
        """By arithmetic on the map of all tempi."""
        changes, last = [], 0
        for tick, tempo in sorted(tempi):
            changes.append(mido.MetaMessage("set_tempo", tempo=tempo, time=tick - last))
            last = tick
        tracks: list[list[Any]] = [[], []]
        tracks[where] += changes
        roll = self.read(tmp_path, midi(*tracks, [m for n in notes for m in note(*n)], division=96))

        def seconds(tick: int) -> float:
            total, at, tempo = 0.0, 0, 500_000
            for start, new in sorted(tempi, key=lambda pair: pair[0]):
                if start <= tick:
                    total, at, tempo = total + (start - at) * tempo, start, new
            return (total + (tick - at) * tempo) / 96e6

        want, tick = np.zeros((len(roll), 88), np.uint8), 0
        for pitch, start, length in notes:
            a, b = (seconds(tick + start) * 10, seconds(tick + start + length) * 10)
            tick += start + length
            want[round(a) : max(round(a) + 1, round(b)), pitch - 21] = 1
        near = [seconds(t) * 10 % 1 for t in np.cumsum([n for _, *pair in notes for n in pair]).tolist()]
        if all(abs(part - 0.5) > 1e-6 for part in near):  # no tie of rounding
            np.testing.assert_array_equal(roll, want)

    def test_only_plain_files_of_some_size(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        os.mkfifo(tmp_path / "fifo")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        started = time.monotonic()
        for name in ("fifo", "", "missing", "loop", "a\0b", "x" * 300):
            with pytest.raises(DataError, match=r"plain file|cannot be read"):
                read_midi(tmp_path / name, steps_per_second=10)
        with pytest.raises(DataError, match="plain file"):
            read_midi("/dev/zero", steps_per_second=10)
        assert time.monotonic() - started < 10  # a moment: none is waited for
        monkeypatch.setattr(midifile, "MIDI_BYTES", 20)
        with pytest.raises(DataError, match="at most 20 are read"):
            self.read(tmp_path, midi(note(60, 0, 96)))
