"""Files written whole or not at all; ids as file names."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_vrnn.system.errors import ConfigError, DataError, ResourceError, UserError

PREAD: Any = getattr(os, "pread", None)
"""Not on every operating system."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NAME_BYTES = 100
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}


def read_at(descriptor: int, size: int, place: int) -> bytes:
    """So many bytes of an open file from a place on; fewer at its end. On Windows, not for several threads at once."""
    if PREAD is not None:
        found: bytes = PREAD(descriptor, size, place)
        return found
    os.lseek(descriptor, place, os.SEEK_SET)
    return os.read(descriptor, size)


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: under a temporary name beside it, fsynced, then renamed.

    Raises:
        ResourceError: the disk is full, or a quota or size limit is reached.
        ConfigError: the folder is missing or may not be written.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    with cannot_write(path, len(data)):
        try:
            write_synced(beside, data)
            beside.replace(path)
            sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                beside.unlink()


@contextlib.contextmanager
def cannot_write(path: Path, size: int | None = None) -> Iterator[None]:
    """OSErrors of writing (`size` bytes) at `path` as ours."""
    try:
        yield
    except OSError as error:
        raise write_refused(path, error, size) from error


def write_refused(path: Path, error: OSError, size: int | None = None) -> UserError:
    """What a failure to write means to a user: no room (and how much there is), or no place to write."""
    if error.errno in NO_ROOM:
        free = shutil.disk_usage(next(p for p in (path, *path.absolute().parents) if p.exists())).free
        need = "" if size is None else f" for {size} bytes"
        message = f"{path}: no room{need} ({free} bytes free): {reason(error)}"
        return ResourceError(message, "free some space or write elsewhere; what was there stands", path)
    return ConfigError(f"{path}: cannot be written: {reason(error)}", "write elsewhere with --out", path)


def make_folder(path: Path) -> Path:
    """The folder, made if need be.

    Raises:
        ConfigError, ResourceError: it is a file, or may not be made.
    """
    with cannot_write(path):
        path.mkdir(parents=True, exist_ok=True)
    return path


def write_synced(path: Path, data: bytes) -> None:
    """Make a new file and wait until the disk has it."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename last through a power cut, where the system can (Windows cannot open a folder)."""
    with contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def reason(error: Exception) -> str:
    """The system's words, without the number."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def write_json(path: str | Path, obj: Mapping[str, object] | Sequence[object]) -> None:
    """Write JSON, whole or not at all, keys in the order given, with a newline at the end.

    Raises:
        ValueError: NaN or infinity is in it, which JSON does not have.
        TypeError: something in it is not a plain Python value.
        ConfigError, ResourceError: the file cannot be written.
    """
    write_bytes(path, (json.dumps(obj, indent=2, allow_nan=False) + "\n").encode())


def safe_name(text: str) -> str:
    """A name for a file from an id that somebody else chose, such as one read from a data file.

    Letters, digits, `.`, `_` and `-` stay, in any script; all else becomes `_`. The name has no separator,
    NUL or leading dot or dash, is no device of Windows, even with a suffix added, and has at most 100 bytes.
    A text that had to be changed gets a short hash of it at its end, so that two ids that differ do not
    become one name. A safe name stays as it is.
    """
    name = re.sub(r"[^\w.-]", "_", unicodedata.normalize("NFC", text))
    name = re.sub(r"^[.-]|\.$|^$", "_", name)
    if unicodedata.normalize("NFKC", name.split(".")[0]).upper() in RESERVED:
        name = f"_{name}"
    if name == text and len(name.encode()) <= NAME_BYTES:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name.encode()[: NAME_BYTES - 9].decode(errors='ignore')}-{digest}"


def check_plain_file(path: Path) -> int:
    """The size of a plain file, which is not opened; DataError for a folder, a FIFO, or what is not there."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path}: cannot be read: {reason(error)}", "check the path", path) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{path}: not a plain file", "give the path of a file", path)
    return status.st_size


def read_plain_file(path: Path, limit: int) -> bytes:
    """The bytes of a file, which is not opened unless it is a plain file of at most `limit` bytes."""
    try:
        status = path.stat()
        plain, size = stat.S_ISREG(status.st_mode), status.st_size
        data = path.read_bytes() if plain and size <= limit else b""
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{path}: cannot be read: {reason(error)}", "check the path", path) from error
    if not plain:
        raise DataError(f"{path}: not a plain file", "give the path of a file", path)
    if size > limit:
        raise DataError(f"{path}: {size} bytes; at most {limit} are read", "give a smaller file", path)
    return data


def unlinked(folder: Path, path: Path) -> Path:
    """A path below a folder that somebody may have sent, with no symbolic link on the way: it stays in the folder.

    Raises:
        ConfigError: a part of it is a symbolic link.
    """
    place = folder
    for part in path.relative_to(folder).parts:
        place /= part
        if place.is_symlink():
            message = f"{place}: is a symbolic link, and those in an experiment's folder are not followed"
            raise ConfigError(message, "put what it leads to in its place", place)
    return path


def whole_lines(path: Path, limit: int) -> int:
    """How many of a file's first `limit` bytes are whole lines."""
    with path.open("rb") as file:
        return file.read(limit).rfind(b"\n") + 1
