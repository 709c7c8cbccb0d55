"""The events of a MIDI file as it is, and a tidy file of those that make music.

Files that people bring lie about themselves: they are wrapped in RIFF, say other sizes and numbers of tracks than there
are, keep their tempo in the second track, or hold key signatures that do not exist. mido and pretty_midi believe the
headers, know the tempo of the first track alone, and refuse a song for a meta event that nobody needs. So the chunks
are walked here, which takes little time and memory, and what makes music goes on to them: notes and tempi.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pyro_vrnn.system.errors import DataError

MIDI_EVENTS = 50_000
"""The most events that are read, two a note: mido and pretty_midi take up to 15 microseconds and 500 bytes for each."""

MIDI_TICKS = 2_500_000
"""The last tick that is read or written, for each of which pretty_midi takes 32 bytes. (An hour and a half at 480 a
quarter note, 60 quarter notes per minute.)"""

MIDI_HINT = "give a standard MIDI file (.mid) of pitched notes"
REAL_TIME = 0xF8
"""Status bytes of clocks and the like, and of meta events."""
NOTE_ON = 0x90
"""The first status byte that turns a note on; those before it turn one off."""
NOTES_END = 0xA0
"""Status bytes from 0x80 and below it turn notes on and off."""
META, SET_TEMPO, END_OF_TRACK = 0xFF, 0x51, 0x2F
TIMED_META = (0x01, 0x05, SET_TEMPO, 0x58, 0x59)
"""Text, lyric, tempo, metre and key: the song lasts at least until the last of them."""
SECOND = 1_000_000  # microseconds


class Event(NamedTuple):
    """One event: when, its status byte, and what belongs to it (of a meta event, its type first)."""

    tick: int
    status: int
    body: bytes


@dataclass(frozen=True)
class Tracks:
    """The events of a MIDI file by track, and what its headers had wrong."""

    ticks: int
    """Ticks a quarter note, or a second if `smpte`."""
    smpte: bool
    """Whether its time is in frames of film: there is no tempo then."""
    tracks: list[list[Event]] = field(default_factory=list)
    mended: list[str] = field(default_factory=list)

    @property
    def tempi(self) -> list[Event]:
        """The changes of tempo in whatever track, by time."""
        found = [e for track in self.tracks for e in track if e.status == META and e.body[0] == SET_TEMPO]
        return sorted(found, key=lambda event: event.tick)

    @property
    def tempo(self) -> int:
        """The first tempo, microseconds a quarter note; 500,000 where none is given, as the standard says."""
        first = self.tempi[:1]
        return int.from_bytes(first[0].body[1:], "big") if first else SECOND // 2

    def tidy(self, *, in_beats: bool) -> Any:
        """A mido.MidiFile of its notes with all tempi in the first track.

        Made of messages and not of bytes, which mido would have to read again.

        Args:
            in_beats: give each quarter note a second, whatever the tempo.

        Raises:
            ValueError: a note or velocity above 127.
        """
        import mido  # type: ignore[import-untyped]

        ends = [e.tick for track in self.tracks for e in track if e.status == META and e.body[0] in TIMED_META]
        steady = self.smpte or in_beats
        tempi = [Event(0, META, bytes([SET_TEMPO]) + SECOND.to_bytes(3, "big"))] if steady else self.tempi
        first = [*tempi, Event(max(ends), META, b"\x01end")] if ends else tempi
        voices = [[event for event in track if event.status < NOTES_END] for track in self.tracks]
        song = mido.MidiFile(type=1, ticks_per_beat=self.ticks)
        for events in [first, *filter(None, voices)]:
            before, track = 0, mido.MidiTrack()
            for event in events:
                track.append(_message(event, event.tick - before))
                before = event.tick
            track.append(mido.MetaMessage("end_of_track", time=0))
            song.tracks.append(track)
        return song


def _message(event: Event, delta: int) -> Any:
    """An event as mido has it, so many ticks after the one before."""
    import mido

    if event.status == META and event.body[0] == SET_TEMPO:
        return mido.MetaMessage("set_tempo", tempo=int.from_bytes(event.body[1:], "big"), time=delta)
    if event.status == META:
        return mido.MetaMessage("text", text="end", time=delta)
    note, velocity = event.body
    if note > 127 or velocity > 127:
        raise ValueError(f"data byte {max(note, velocity)} is above 127")
    kind = "note_on" if event.status >= NOTE_ON else "note_off"
    channel = event.status & 15
    return mido.Message(kind, skip_checks=True, channel=channel, note=note, velocity=velocity, time=delta)


def read_tracks(data: bytes, path: str | Path) -> Tracks:
    """The events of a MIDI file. A track is read to its end event or to where the next one begins, whatever its size.

    Raises:
        DataError: not MIDI, no track, cut short, songs of their own in its tracks (type 2), time without ticks, a tempo
            of nothing, more than `MIDI_EVENTS`, or a tick after `MIDI_TICKS`.
    """
    mended = []
    if data[:4] == b"RIFF" and data[8:12] == b"RMID":
        data = data[max(0, data.find(b"MThd")) :]
        mended.append("wrapped in RIFF")
    if data[:4] != b"MThd" or len(data) < 14:
        raise DataError(f"{path}: not a MIDI file: it does not begin with an MThd header", MIDI_HINT, path)
    size, form, said, division = struct.unpack(">IHHh", data[4:14])
    if form == 2:
        hint = "save each of its tracks as a MIDI file"
        raise DataError(f"{path}: a MIDI file of type 2, whose tracks are songs of their own", hint, path)
    frames, parts = -(division >> 8), division & 255
    smpte = frames in (24, 25, 29, 30) and parts > 0
    if division <= 0 and not smpte:
        raise DataError(f"{path}: its header has no ticks a quarter note", MIDI_HINT, path)
    found = Tracks(frames * parts if smpte else division, smpte, mended=mended)
    walk = _Walk(data, path, found)
    walk.chunks(8 + size)
    if not found.tracks:
        raise DataError(f"{path}: a MIDI file without a track, near byte {walk.at}", MIDI_HINT, path)
    if said != len(found.tracks):
        mended.append("number of tracks")
    if any(not any(event.body[1:]) for event in found.tempi):
        raise DataError(f"{path}: a tempo of 0 microseconds a quarter note", MIDI_HINT, path)
    return found


class _Walk:
    """A way through the bytes of a file, which knows where it is."""

    def __init__(self, data: bytes, path: str | Path, found: Tracks) -> None:
        self.data, self.path, self.found = data, path, found
        self.at = self.events = 0

    def mend(self, what: str) -> None:
        """Keep what a header had wrong, once a file."""
        if what not in self.found.mended:
            self.found.mended.append(what)

    def chunks(self, start: int) -> None:
        """Read all tracks; pass over what is none."""
        data, self.at = self.data, start
        if data[start : start + 4] != b"MTrk" and (first := data.find(b"MTrk", 14)) >= 0:
            alien = data[start : start + 4].isalnum()  # a chunk of another kind, which the standard allows
            self.at = start if alien else first
            if not alien:
                self.mend("size of the header")
        try:
            while self.at < len(data):
                name, size = struct.unpack_from(">4sI", data, self.at)
                if name == b"MTrk":
                    self.track(size)
                elif name.isalnum() and self.at + 8 + size <= len(data):
                    self.at += 8 + size
                else:
                    following = data.find(b"MTrk", self.at)
                    self.mend("bytes that are no track")
                    self.at = len(data) if following < 0 else following
        except struct.error as error:
            if b"MTrk".startswith(data[self.at : self.at + 4]):
                raise self.cut("it is cut short") from error
            self.mend("bytes that are no track")
        except (IndexError, ValueError) as error:
            if isinstance(error, DataError):
                raise
            raise self.cut(str(error) if type(error) is ValueError else "it is cut short") from error

    def cut(self, why: str) -> DataError:
        """The error for where this is."""
        near = min(self.at, len(self.data))
        return DataError(f"{self.path}: not a readable MIDI file, near byte {near}: {why}", MIDI_HINT, self.path)

    def track(self, size: int) -> None:
        """Read the track whose header is here, and go to what follows it."""
        self.at += 8
        stop, tick, running = self.at + size, 0, 0
        events: list[Event] = []
        self.found.tracks.append(events)
        while not (self.at == stop and self.starts_chunk(stop)):
            event = self.event(tick, running)
            tick = event.tick
            if event.status < REAL_TIME:  # nothing is repeated of those by leaving their status out
                running = event.status
            if event.status == META and event.body[:1] == bytes([END_OF_TRACK]):
                break
            if event.status != META or event.body[0] != SET_TEMPO or len(event.body) == 4:
                events.append(event)
        if self.at == stop:
            return
        self.mend("size of a track")
        if self.starts_chunk(self.at):
            return
        following = stop if self.at < stop <= len(self.data) else self.data.find(b"MTrk", self.at)
        self.at = len(self.data) if following < 0 else following

    def starts_chunk(self, at: int) -> bool:
        """Whether the file ends here or another chunk may begin."""
        return at == len(self.data) or self.data[at : at + 4] == b"MTrk"

    def event(self, tick: int, running: int) -> Event:
        """The event that is here, after `tick`."""
        data = self.data
        delta, at = _variable(data, self.at)
        tick, self.events = tick + delta, self.events + 1
        if tick > MIDI_TICKS:
            raise DataError(f"{self.path}: {tick} ticks long; at most {MIDI_TICKS} are read", "cut the song", self.path)
        if self.events > MIDI_EVENTS:
            raise DataError(f"{self.path}: more than {MIDI_EVENTS} events", "cut the song", self.path)
        status, told = (data[at], 1) if data[at] >= 0x80 else (running, 0)
        self.at, kind = at, b""
        if status in (0xF0, 0xF7, META):
            at += told
            if status == META:
                kind, at = data[at : at + 1], at + 1
            size, at = _variable(data, at)
        elif status in DATA_BYTES:
            size, at = DATA_BYTES[status], at + told
        else:
            raise ValueError("no event begins here")
        if at + size > len(data):
            raise IndexError
        self.at = at + size
        return Event(tick, status, kind + data[at : at + size])


DATA_BYTES = {status: 1 if 0xC0 <= status < 0xE0 else 2 for status in range(0x80, 0xF0)} | {
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
