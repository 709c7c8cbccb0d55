"""How long a sound file says that it is, and the headers that do not say it.

A program that writes sound into a pipe cannot go back to fill in the size: ffmpeg leaves 0xFFFFFFFF or 0, sox
0x7FFFF000 or 0x7F000000, arecord 0x80000000, others 0x7FFFFFFF. So does one that was stopped. Such a file is read to
its end; one with any other size that is larger than it is, is cut, which decoding.py refuses. Of several formats
libsndfile would read nothing then: it is given the file behind a header that is right (`Whole`).
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from io import FileIO
from typing import Any

UNWRITTEN = (0x7F000000, 0x7FFFF000, 2**31, 2**32)
"""What stands for a size that is not known: these, or up to `NEAR` less (rounded to whole frames), or a little more."""
NEAR, MORE = 256, 64
MOST_CHUNKS = 1000
LONGEST_HEAD = 2**20  # bytes; chunks of a wav that are not needed do not count
RIFF64 = b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00"


class Whole(io.RawIOBase):
    """A file that begins with other bytes than it does; nothing of it is held in memory.

    Args:
        file: open for reading.
        head: the bytes it begins with.
        skip: the bytes of `file` that they are instead of.
        endless: whether its own header does not say how long it is.
    """

    def __init__(self, file: FileIO, head: bytes, skip: int, *, endless: bool) -> None:
        self.file, self.head, self.skip, self.endless = file, head, skip, endless
        self.size = len(head) + max(0, file.seek(0, io.SEEK_END) - skip)
        self.at = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a byte, counted from the start, from where it is, or from the end."""
        self.at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence])
        return self.at

    def tell(self) -> int:
        """The byte that it is at."""
        return self.at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the file reaches; how many bytes that was."""
        view = memoryview(buffer).cast("B")
        done = 0
        if self.at < len(self.head):
            part = self.head[self.at : self.at + len(view)]
            view[: len(part)] = part
            done = len(part)
        try:
            if done < len(view):
                self.file.seek(self.at + done - len(self.head) + self.skip)
                done += self.file.readinto(view[done:])
        except (OSError, OverflowError):  # libsndfile has no way to hear of it: it finds the file to be cut short
            pass
        self.at += done
        return done


@dataclass(frozen=True)
class _Layout:
    """How chunks lie in a file: name and size, and then the content, to the next multiple of `align`."""

    form: str
    align: int = 2
    counted: bool = False  # the size is that of name and size too

    def chunk(self, file: FileIO, at: int) -> tuple[bytes, int, int] | None:
        """Its name of four letters, the size of its content, and where that starts; None at the end of the file."""
        header = struct.Struct(self.form)
        file.seek(at)
        data = file.read(header.size)
        if len(data) < header.size:
            return None
        name, said = header.unpack(data)
        return name[:4], said - header.size * self.counted, at + header.size

    def after(self, start: int, said: int) -> int:
        """Where the next chunk is."""
        return start + said + -said % self.align


RIFF, RIFX = _Layout("<4sI"), _Layout(">4sI")
W64, CAF = _Layout("<16sQ", align=8, counted=True), _Layout(">4sQ", align=1)


def mended(file: FileIO) -> Whole | None:
    """The file behind a header that says how long it is, if its own does not; else None. The file's place is lost."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(40)
    if head[:4] in (b"RIFF", b"RIFX", b"RF64") and head[8:12] == b"WAVE":
        return _wave(file, size, RIFX if head[:4] == b"RIFX" else RIFF, 12)
    if head[:16] == RIFF64 and head[24:28] == b"wave":
        return _wave(file, size, W64, 40)
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _patched(file, size, RIFX, 12, b"SSND", 8)
    if head[:4] == b"caff":
        return _patched(file, size, CAF, 8, b"data", 4)
    if head[:4] in (b".snd", b"dns."):
        return _au(file, size, head)
    return None


def _unwritten(said: int) -> bool:
    """Whether a size stands for one that is not known. No file has 2**62 bytes."""
    return said <= 0 or said >= 2**62 or any(-MORE <= limit - said <= NEAR for limit in UNWRITTEN)


def _is_endless(file: FileIO, size: int, layout: _Layout, said: int, start: int, before: int = 0) -> bool:
    """Whether the size of the chunk of samples is not known; `before` bytes of it come before the first sample.

    It is, whatever the number, if it ends where the file does or other chunks begin.
    """
    if not _unwritten(said) and not _unwritten(said - before):
        return False
    return start + said > size or not _are_chunks(file, size, layout, layout.after(start, said))


def _are_chunks(file: FileIO, size: int, layout: _Layout, at: int) -> bool:
    """Whether there is nothing but whole chunks up to the end of the file."""
    for _ in range(MOST_CHUNKS):
        if at >= size:
            return True
        chunk = layout.chunk(file, at) if at >= 0 else None
        if chunk is None or chunk[1] < 0 or chunk[2] + chunk[1] > size or not re.fullmatch(rb"[ -~]{4}", chunk[0]):
            return False
        at = layout.after(chunk[2], chunk[1])
    return False


def _walk(file: FileIO, size: int, layout: _Layout, at: int, last: bytes) -> dict[bytes, tuple[int, int]]:
    """Size and start of each chunk up to the one that is called `last`; without that if there is none."""
    found: dict[bytes, tuple[int, int]] = {}
    for _ in range(MOST_CHUNKS):
        chunk = layout.chunk(file, at) if at < size else None
        if chunk is None:
            break
        name, said, start = chunk
        found[name] = said, start
        if name == last or said < 0:
            break
        at = layout.after(start, said)
    return found


def _wave(file: FileIO, size: int, layout: _Layout, at: int) -> Whole | None:
    """A wav, RF64 or Wave64 as a wav, or as RF64 if it is too long for that, without chunks that are not needed."""
    found = _walk(file, size, layout, at, b"data")
    if b"data" not in found or b"fmt " not in found or not 14 <= found[b"fmt "][0] <= 2**16:
        return None
    said, start = found[b"data"]
    file.seek(0)
    outer = struct.unpack(layout.form[0] + ("16xQ" if layout is W64 else "4xI"), file.read(24 if layout is W64 else 8))[
        0
    ]
    if b"ds64" in found:
        file.seek(found[b"ds64"][1])
        sizes = file.read(16)
        if len(sizes) < 16:
            return None
        outer, long = struct.unpack("<QQ", sizes)
        said = long if long or said == 2**32 - 1 else said
    endless = _is_endless(file, size, layout, said, start)
    if not endless and not _unwritten(outer):
        return None
    length = size - start if endless else said
    file.seek(found[b"fmt "][1])
    form = file.read(found[b"fmt "][0])
    form += b"\0" * (len(form) % 2)
    order = layout.form[0]
    form = struct.pack(f"{order}4sI", b"fmt ", len(form)) + form
    rest = 4 + len(form) + 8 + length
    if rest < 2**32 or order == ">":
        top = struct.pack(f"{order}4sI4s", b"RIFX" if order == ">" else b"RIFF", min(rest, 2**32 - 1), b"WAVE")
        data = struct.pack(f"{order}4sI", b"data", min(length, 2**32 - 1))
    else:
        top = struct.pack("<4sI4s4sIQQQI", b"RF64", 2**32 - 1, b"WAVE", b"ds64", 28, rest + 36, length, 0, 0)
        data = struct.pack("<4sI", b"data", 2**32 - 1)
    return Whole(file, top + form + data, start, endless=endless)


def _patched(file: FileIO, size: int, layout: _Layout, at: int, name: bytes, before: int) -> Whole | None:
    """An AIFF or CAF whose chunk of samples has its size; `before` bytes of it come before the first sample."""
    said, start = _walk(file, size, layout, at, name).get(name, (0, LONGEST_HEAD + 1))
    if start > LONGEST_HEAD or not _is_endless(file, size, layout, said, start, before):
        return None
    file.seek(0)
    head = bytearray(file.read(start))
    if layout is CAF:
        head[-8:] = struct.pack(">Q", size - start)
    else:
        head[-4:] = struct.pack(">I", min(size - start, 2**32 - 1))
        head[4:8] = struct.pack(">I", min(size - 8, 2**32 - 1))
    return Whole(file, bytes(head), start, endless=True)


def _au(file: FileIO, size: int, head: bytes) -> Whole | None:
    """An au whose size is the one that the format has for this: then libsndfile looks where the file ends."""
    order = ">" if head[:4] == b".snd" else "<"
    start, said = struct.unpack(f"{order}II", head[4:12]) if len(head) >= 24 else (0, 0)
    if not 24 <= start < size or not _unwritten(said) or said == size - start:
        return None
    return Whole(file, head[:8] + b"\xff\xff\xff\xff", 12, endless=True)


def claimed(sound: Any, head: bytes, tagged: bool) -> int | None:
    """The samples that a header says there are, even if libsndfile has seen that there are fewer.

    Args:
        sound: the file as `soundfile` has opened it.
        head: its first 1024 bytes.
        tagged: what `mp3_says_length` says of it.
    """
    frames = int(sound.frames)
    if sound.format == "MP3":
        return frames if tagged else None  # a guess from the file's size
    if frames == 2**63 - 1:  # libsndfile's word for not knowing: a flac or ogg made in a pipe
        return None
    if sound.format == "NIST":
        said = re.search(rb"sample_count -i (\d{1,18})\s", head)
        return int(said[1]) if said else frames
    # The log of libsndfile tells of a chunk that is longer than the file: "data : 160000 (should be 4956)".
    log = re.search(r"^ *(?:data|SSND|Data Size|riff|Riff size) *: (\d+) \(should be (\d+)\)", sound.extra_info, re.M)
    if log is None or int(log[1]) <= int(log[2]):
        return frames
    size, there = int(log[1]), int(log[2])
    return size // (there // frames) if there >= frames > 0 else max(1, frames) * size // max(1, there)


def mp3_says_length(head: bytes, file: FileIO) -> bool:
    """Whether, if this is an mp3, its first frame after the ID3 tag is one that tells the length."""
    begin = 0
    if head.startswith(b"ID3"):
        begin = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
    file.seek(begin)
    frame = file.read(4096)
    return any(tag in frame for tag in (b"Xing", b"Info", b"VBRI"))
