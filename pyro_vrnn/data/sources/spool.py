"""Decoded samples on disk while a data file is made: nothing is decoded twice, and an interrupted `prepare` continues.

Beside the file OUT that is to be made: `.OUT.samples`, int16 samples end to end, and `.OUT.heard`, a line for what they
are of, one of JSON for their gain if they have one, and one of JSON, with a checksum, for each recording that is done.
Both are gone when OUT is there, or when it cannot be made; they stay when the process is interrupted or killed, and
take as much room as OUT. What is not as it was left is decoded again.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.decoding import BLOCK, Recording
from pyro_vrnn.system.errors import ConfigError, UserError
from pyro_vrnn.system.files import cannot_write, read_at, write_refused

MARK = b"pyro-vrnn "
"""The journal's first bytes, before its key."""
USED = {
    **{"samples": int, "clipped": int, "peak": float, "loud": bool, "endless": bool},
    **{"low": int, "high": int, "full_scale": int, "rate": int},
}
LEFT = {"because": str, "no_sound": bool}


class Spool:
    """See the module's docstring; a context manager.

    Args:
        out: the data file that is to be made.
        recordings: in order.
        settings: what else decides the samples; JSON values.

    Raises:
        ConfigError: another process is making the same file, it cannot be made there, or other files have these names.
    """

    def __init__(self, out: str | Path, recordings: Sequence[Recording], settings: dict[str, Any]) -> None:
        out = Path(out)
        self.out, self.recordings = out, len(recordings)
        beside = f".{out.name[:200]}"
        self.samples_path, self.journal_path = out.with_name(f"{beside}.samples"), out.with_name(f"{beside}.heard")
        key = hashlib.sha256(json.dumps([settings, [_identity(r) for r in recordings]]).encode()).hexdigest()
        self.key = MARK + key.encode()
        self.known: list[dict[str, Any]] = []
        self.gain = 1.0  # what the samples that it holds were multiplied by
        self.end = 0  # samples
        self.crc = 0

    def __enter__(self) -> Self:
        with cannot_write(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.samples = self._open(self.samples_path)
            try:
                self._lock()
                self.journal = self._open(self.journal_path)
                try:
                    self._go_on()
                except BaseException:
                    self.journal.close()
                    raise
            except BaseException:
                self.samples.close()
                raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        if isinstance(error, KeyboardInterrupt):
            kept = f"{2 * self.end / 1e6:.0f} MB of decoded samples are kept in {self.samples_path}"
            error.args = (f"{kept}; the same command continues",)
        if kind is None or issubclass(kind, UserError):  # while it is still locked, where open files can be removed
            for path in (self.samples_path, self.journal_path):
                with suppress(OSError):
                    path.unlink()
        self.samples.close()
        self.journal.close()
        if kind is None and sys.platform == "win32":
            for path in (self.samples_path, self.journal_path):
                with suppress(OSError):
                    path.unlink()

    def _open(self, path: Path) -> IO[bytes]:
        """A file of ours, never what a link leads to."""
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(path, flags, 0o644)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise ConfigError(f"{path}: a link, which is not followed", "take it away", path) from error
            raise
        file = os.fdopen(descriptor, "rb+", buffering=0)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            file.close()
            raise ConfigError(f"{path}: not a regular file", "take it away", path)
        return file

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self.samples, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "wait for it, or choose another --out"
            raise ConfigError(f"{self.out}: another process is making it", hint) from error
        except OSError:
            return  # a file system without locks

    def _go_on(self) -> None:
        """Read what an earlier process left, if it was about the same; else start anew."""
        lines = self.journal.read().split(b"\n")
        held = self.samples.seek(0, os.SEEK_END) // 2
        if (lines[0] or held) and not lines[0].startswith(MARK):
            hint = "take both away, or choose another --out"
            raise ConfigError(f"{self.journal_path} and {self.samples_path.name}: not what prepare left there", hint)
        if lines[0] == self.key:
            self.gain = _gain(lines[1]) if len(lines) > 1 else 1.0
            first = 1 if self.gain == 1 else 2
            for line in lines[first : self.recordings + first]:
                entry = _entry(line, self.end, held)
                if entry is None or self._checksum(self.end, entry["end"]) != entry["crc"]:
                    break
                self.known.append(entry)
                self.end = entry["end"]
        self._write_journal()

    def _write_journal(self) -> None:
        """Leave in both files what is known, and nothing else."""
        self.samples.truncate(2 * self.end)
        self.samples.seek(2 * self.end)
        self.journal.seek(0)
        self.journal.truncate(0)
        lines = [self.key, *([] if self.gain == 1 else [_line({"gain": self.gain})]), *map(_line, self.known)]
        _write_all(self.journal, b"".join(line + b"\n" for line in lines))

    def restart(self, gain: float) -> None:
        """Forget all samples: they come again, multiplied by `gain`."""
        self.known, self.end, self.crc, self.gain = [], 0, 0, gain
        with cannot_write(self.out):
            self._write_journal()

    def _checksum(self, start: int, end: int) -> int:
        crc = 0
        for block in self._blocks(start, end):
            crc = zlib.crc32(block, crc)
        return crc

    def _blocks(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            count = min(BLOCK, end - start)
            yield read_at(self.samples.fileno(), 2 * count, 2 * start)
            start += count

    def add(self, samples: Array) -> None:
        """Samples of the recording at hand, int16."""
        data = samples.astype("<i2", copy=False).tobytes()
        self.crc = zlib.crc32(data, self.crc)
        try:
            _write_all(self.samples, data)
        except OSError as error:
            raise write_refused(self.out, error) from error

    def drop(self) -> None:
        """Forget the samples of the recording at hand, which cannot be used."""
        self.samples.truncate(2 * self.end)
        self.samples.seek(2 * self.end)
        self.crc = 0

    def done(self, count: int, said: dict[str, Any]) -> None:
        """The recording at hand ends here, after so many samples; `said` is kept of it: what USED or LEFT names."""
        self.end += count
        entry = {"end": self.end, "crc": self.crc, **said}
        with cannot_write(self.out):
            _write_all(self.journal, _line(entry) + b"\n")
        self.known.append(entry)
        self.crc = 0

    def read(self, i: int, start: int, stop: int) -> Iterator[Array]:
        """Samples of recording i again, in blocks; not more than there are."""
        first = self.known[i - 1]["end"] if i else 0
        for block in self._blocks(first + start, min(first + stop, self.known[i]["end"])):
            yield np.frombuffer(block, "<i2")


def _write_all(file: IO[bytes], data: bytes) -> None:
    """Raw files may take less than they are given."""
    left = memoryview(data)
    while len(left):
        left = left[file.write(left) :]


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode()


def _gain(line: bytes) -> float:
    """What a journal's second line says of the gain; 1 if it is of something else."""
    try:
        entry = json.loads(line)
    except ValueError:
        return 1.0
    said = entry.get("gain") if isinstance(entry, dict) else None
    return said if type(said) is float and 0 < said < 1 else 1.0


def _entry(line: bytes, start: int, held: int) -> dict[str, Any] | None:
    """A journal's line, if it is a whole one of ours about samples from `start` on that are there."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict):
        return None
    fields = {"end": int, "crc": int} | (LEFT if "because" in entry else USED)
    if entry.keys() != fields.keys() or any(type(entry[k]) is not kind for k, kind in fields.items()):
        return None
    return entry if start <= entry["end"] <= held else None


def _identity(recording: Recording) -> list[Any]:
    """What a recording is, with its file's size and time."""
    try:
        status = recording.path.stat()
        file = [status.st_size, status.st_mtime_ns]
    except OSError:
        file = []
    fields = asdict(recording)
    return [os.fsencode(fields.pop("path")).decode("latin-1"), *fields.values(), *file]
