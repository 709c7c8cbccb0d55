"""Decoded samples on disk while a data file is made: nothing is decoded twice, and an interrupted `prepare` goes on.

Beside the file OUT that is to be made: `.OUT.samples`, int16 samples end to end, and `.OUT.heard`, a line of JSON for
what they are of and one for each recording that is done. Both are gone when OUT is there, or when it cannot be made;
they stay when the process is interrupted, killed or loses its machine, and take as much room as OUT.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from pyro_vrnn.errors import ConfigError, UserError
from pyro_vrnn.files import cannot_write, write_refused
from pyro_vrnn.sources.decoding import BLOCK, Recording
from pyro_vrnn.storage import Array


class Spool:
    """See the module's docstring; a context manager.

    Args:
        out: the data file that is to be made.
        recordings: in order.
        settings: what else decides the samples; JSON values.

    Raises:
        ConfigError: another process is making the same file, or it cannot be made there.
    """

    def __init__(self, out: str | Path, recordings: Sequence[Recording], settings: dict[str, Any]) -> None:
        out = Path(out)
        self.out = out
        self.samples_path, self.journal_path = (
            out.with_name(f".{out.name[:200]}.{end}") for end in ("samples", "heard")
        )
        self.key = hashlib.sha256(json.dumps([settings, [_identity(r) for r in recordings]]).encode()).hexdigest()
        self.known: list[dict[str, Any]] = []
        self.end = 0  # samples

    def __enter__(self) -> Self:
        with cannot_write(self.out):
            self.out.parent.mkdir(parents=True, exist_ok=True)
            self.samples: IO[bytes] = open(self.samples_path, "ab+", buffering=0)
            self._lock()
            self.journal: IO[bytes] = open(self.journal_path, "ab+", buffering=0)
            self._go_on()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.samples.close()
        self.journal.close()
        if kind is None or issubclass(kind, UserError):
            for path in (self.samples_path, self.journal_path):
                with suppress(OSError):
                    path.unlink()

    def _lock(self) -> None:
        if sys.platform == "win32":
            return
        import fcntl

        try:
            fcntl.flock(self.samples, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.samples.close()
            raise ConfigError(
                f"{self.out}: another process is making it", "wait for it, or choose another --out"
            ) from error

    def _go_on(self) -> None:
        """Read what an earlier process left, if it was about the same; else start anew."""
        self.journal.seek(0)
        lines = self.journal.read().split(b"\n")
        held = self.samples.seek(0, os.SEEK_END) // 2
        if lines[0] == self.key.encode():
            for line in lines[1:-1]:
                entry = json.loads(line)
                if entry["end"] > held:  # the machine went down between the two files
                    break
                self.known.append(entry)
        self.end = self.known[-1]["end"] if self.known else 0
        self.samples.truncate(2 * self.end)
        self.journal.truncate(0)
        self.journal.write(b"".join(line + b"\n" for line in [self.key.encode(), *map(_line, self.known)]))

    def add(self, samples: Array) -> None:
        """Samples of the recording at hand, int16."""
        data = memoryview(samples.astype("<i2", copy=False).tobytes())
        try:
            while len(data):
                data = data[self.samples.write(data) :]
        except OSError as error:
            raise write_refused(self.out, error) from error

    def drop(self) -> None:
        """Forget the samples of the recording at hand, which cannot be used."""
        self.samples.truncate(2 * self.end)

    def done(self, count: int, said: dict[str, Any]) -> None:
        """The recording at hand ends here, after so many samples; `said` is kept of it."""
        self.end += count
        entry = {"end": self.end, **said}
        with cannot_write(self.out):
            self.journal.write(_line(entry) + b"\n")
        self.known.append(entry)

    def read(self, i: int) -> Iterator[Array]:
        """The samples of recording i again, in blocks."""
        start = self.known[i - 1]["end"] if i else 0
        while start < self.known[i]["end"]:
            count = min(BLOCK, self.known[i]["end"] - start)
            held = os.pread(self.samples.fileno(), 2 * count, 2 * start)
            start += count
            yield np.frombuffer(held, "<i2")


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry).encode()


def _identity(recording: Recording) -> list[Any]:
    """What a recording is, with its file's size and time."""
    try:
        status = recording.path.stat()
        file = [status.st_size, status.st_mtime_ns]
    except OSError:
        file = []
    fields = asdict(recording)
    return [os.fsencode(fields.pop("path")).decode("latin-1"), *fields.values(), *file]
