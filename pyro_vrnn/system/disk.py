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


class Disk:
    """The file under HDF5 while it is written.

    HDF5 takes the process down at exit after a write that failed. So it never learns of a full disk: the first
    error is kept here for us, and what comes after it goes nowhere.

    Args:
        raw: an unbuffered file, open for reading and writing.
    """

    def __init__(self, raw: io.FileIO) -> None:
        self.raw = raw
        self.error: OSError | None = None
        """The first failure to write, if there was one."""

    def write(self, data: Any) -> int:
        """Write all of the data, unless a write has failed before; how many bytes HDF5 is told."""
        left = memoryview(data)
        size = len(left)
        try:
            while len(left) and self.error is None:
                left = left[self.raw.write(left) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int) -> int:
        """Make the file so many bytes long."""
        try:
            if self.error is None:
                self.raw.truncate(size)
        except OSError as error:
            self.error = error
        return size

    def read(self, size: int = -1) -> bytes:
        """Read at most so many bytes."""
        return self.raw.read(size) or b""

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer, or what there is of it; how many bytes."""
        return self.raw.readinto(buffer) or 0

    def seek(self, offset: int, whence: int = 0) -> int:
        """Stand at a place of the file."""
        return self.raw.seek(offset, whence)

    def tell(self) -> int:
        """Where it stands."""
        return self.raw.tell()

    def flush(self) -> None:
        """Nothing: writes are not held back here, and the end of the whole is what is synced."""


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
