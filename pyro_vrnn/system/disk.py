"""The file under HDF5 while it is written: whole or not at all; a full disk is told, and takes no process down."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyro_vrnn.system.files import cannot_write, sync_folder

PAGE = 4096


class Disk:
    """The file under HDF5 while it is written.

    HDF5 takes the process down after a write that failed. So it never learns of a full disk: the first error is kept
    here for us, and what is written after it is held in memory, where HDF5 reads it back. Whoever writes looks at
    `error` now and then, so that it does not become much.

    Args:
        raw: an unbuffered file, open for reading and writing.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self.raw = raw
        self.error: OSError | None = None
        """The first failure to write, if there was one."""
        self._place, self._held = 0, dict[int, bytearray]()

    def write(self, data: Any) -> int:
        """Write all of the data; how many bytes HDF5 is told."""
        left = memoryview(data).cast("B")
        size, end = len(left), self._place + len(left)
        try:
            if self.error is None:
                self.raw.seek(self._place)
            while len(left) and self.error is None:
                left = left[self.raw.write(left) :]
        except OSError as error:
            self.error = error
        for number, begin, part in _pages(end - len(left), len(left)):
            page = self._held.setdefault(number, bytearray(self._on_disk(number * PAGE, PAGE)))
            page[begin : begin + len(part)] = left[part.start : part.stop]
        self._place = end
        return size

    def truncate(self, size: int) -> int:
        """Make the file so many bytes long."""
        try:
            if self.error is None:
                self.raw.truncate(size)
        except OSError as error:
            self.error = error
        return size

    def read(self, size: int) -> bytes:
        """Read so many bytes, or what there is of them."""
        held = bytearray(size)
        return bytes(held[: self.readinto(held)])

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer; how many bytes. Beyond the end of the file there are zeros once a write has failed."""
        view = memoryview(buffer).cast("B")
        if self.error is None:
            self.raw.seek(self._place)
            count = self.raw.readinto(view) or 0
        else:
            count = len(view)
            for number, begin, part in _pages(self._place, count):
                page = self._held.get(number) or self._on_disk(number * PAGE, PAGE)
                view[part.start : part.stop] = page[begin : begin + len(part)]
        self._place += count
        return count

    def seek(self, offset: int, whence: int = 0) -> int:
        """Stand at a place of the file."""
        if whence == io.SEEK_SET:
            self._place = offset
        elif whence == io.SEEK_CUR:
            self._place += offset
        else:
            self._place = self.raw.seek(offset, whence)
        return self._place

    def tell(self) -> int:
        """Where it stands."""
        return self._place

    def flush(self) -> None:
        """Nothing: writes are not held back here, and the end of the whole is what is synced."""

    def _on_disk(self, begin: int, size: int) -> bytes:
        """What the disk has there, and zeros after the end of the file."""
        self.raw.seek(begin)
        return (self.raw.read(size) or b"").ljust(size, b"\0")


def _pages(begin: int, size: int) -> Iterator[tuple[int, int, range]]:
    """Which pages a stretch of a file lies in: the page's number, where in it, and which part of the stretch."""
    done = 0
    while done < size:
        number, within = divmod(begin + done, PAGE)
        count = min(PAGE - within, size - done)
        yield number, within, range(done, done + count)
        done += count


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Disk]:
    """A file to be written by h5py or h5netcdf, which is at `path` when the block has ended well, and else nowhere.

    It replaces what was there. The library's own file must be closed within the block.

    Raises:
        ResourceError: the disk is full, or a quota or size limit is reached.
        ConfigError: the folder is missing or may not be written.
    """
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    with cannot_write(path):
        try:
            with open(beside, "xb+", buffering=0) as raw:
                disk = Disk(raw)
                yield disk
                if disk.error is not None:
                    raise disk.error
                os.fsync(raw.fileno())
            beside.replace(path)
            sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()
