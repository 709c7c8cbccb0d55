"""What a data file holds, told by its checksums: a run knows its data by it, wherever the file lies.

The values themselves are not read: HDF5 has a checksum (fletcher32) beside each 64 Ki of them, and a hash of those
stands for them, so that gigabytes take a fraction of a second. (It takes the 16-bit words 0 and 65535 for one: files
that differ only in samples of valid or test that are 0 in one and -1 in the other are not told apart.)
Source, licence, options and what `extra` only tells people do not count.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.data import catalogue
from pyro_vrnn.data.reader import fletcher32, read_offsets
from pyro_vrnn.data.schema import CHECKSUM_BYTES, SPLITS, DataInfo, open_data, refusing
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import read_at

FADVISE: Any = getattr(os, "posix_fadvise", None)
"""Not on every operating system."""
SUMMED_VALUES = 65536
"""In a checksum, as the writer lays out chunks; where they are laid out otherwise, the values are read and summed."""
USED = (
    "columns",
    "gain",
    "high",
    "image",
    "level",
    "low",
    "lowest_pitch",
    "normalise",
    "offset",
    "pitches",
    "quarters_per_minute",
    "symbols",
    "unscored",
)
"""The parts of a file's `extra` that change what a model reads, or how what it draws is written."""
LONGEST_FACT = 40
"""Characters; of what is longer its hash is kept."""


@dataclass(frozen=True)
class Content:
    """What training reads of a data file.

    Attributes:
        facts: by name, of all of the file; plain values, or a hash of what is long.
        splits: for each split its `sequences` and `steps`, and a hash of its `lengths`, its `ids` and its `values`.
    """

    facts: dict[str, Any]
    splits: dict[str, dict[str, Any]]

    @property
    def sha256(self) -> str:
        """All of it in one hash."""
        return _hash(json.dumps(asdict(self), sort_keys=True).encode())

    def as_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` reads it."""
        return {"content": self.sha256, **asdict(self)}

    @classmethod
    def from_dict(cls, found: Any) -> Content | None:
        """Back from JSON; None where it is no such thing, as with a run from before there was one."""
        try:
            content = cls(dict(found["facts"]), {split: dict(found["splits"][split]) for split in SPLITS})
        except (KeyError, TypeError, ValueError):
            return None
        return content if content.sha256 == found.get("content") else None

    def differences(self, here: Content) -> list[str]:
        """What another file ("here") has otherwise than this one ("there"), a few words each; none if equal."""
        told = []
        for split in SPLITS:
            mine, theirs = self.splits[split], here.splits[split]
            counts = [(one["sequences"], one["steps"]) for one in (mine, theirs)]
            if counts[0] != counts[1]:
                [(n, steps), (m, others)] = counts
                told.append(f"{split}: {n} sequences of {steps} steps there, {m} of {others} here")
                continue
            told += [f"{part} of {split} differ" for part in ("lengths", "ids", "values") if mine[part] != theirs[part]]
        for name in sorted({*self.facts, *here.facts}):
            was, now = self.facts.get(name), here.facts.get(name)
            if was == now or (told and name in ("mean", "std")):  # these follow from what is told already
                continue
            hashed = any(str(value).startswith("sha256:") for value in (was, now))
            told.append(f"{name} differs" if hashed else f"{name}: {was!r} there, {now!r} here")
        return told


def content_of(path: str | Path) -> Content:
    """The content of a data file.

    Raises:
        DataError: as `read_info`. Damaged values are found when they are read, not here.
    """
    file, info = open_data(path)
    with file:
        facts = {
            "kind": info.kind,
            "support": info.support,
            "x_dim": info.x_dim,
            "dtype": str(file["train"]["x"].dtype),
            "missing": info.missing,
            "steps_per_second": info.steps_per_second,
            "frame_length": info.frame_length,
            "mean": _short(info.mean.tolist()),
            "std": _short(info.std.tolist()),
        }
        facts |= {name: _short(info.extra[name]) for name in USED if name in info.extra}
        return Content(facts, {split: _split(file, split, info) for split in SPLITS})


def find_data(
    named: str,
    *,
    moved: bool,
    preparing: str = "",
    hint: str = "",
    say: Callable[[str], None] = lambda message: None,
) -> Path:
    """The data file that settings name; or data/NAME, if it may have moved with a checkout, or a run was copied.

    Args:
        named: a path or a name.
        moved: whether it may have moved.
        preparing: the command that prepares it, for the error where it is missing.
        hint: what to do where it is missing, in the place of the usual one.
        say: told when a data set is prepared on the way.

    Raises:
        DataError: neither is there.
    """
    beside = catalogue.FOLDER / Path(named).name
    if not moved or named in catalogue.NAMES or catalogue.prepared(named) is not None:
        return catalogue.find(named, preparing=preparing, say=say)
    if beside.exists():
        return beside
    hint = hint or f"put it there or at {beside}, or give `evaluate` its place by --data"
    raise DataError(f"{named}: no such data file", hint, named)


def _split(file: h5py.File, split: str, info: DataInfo) -> dict[str, Any]:
    """What there is to know of one split."""
    group, counts = file[split], info.splits[split]
    with refusing(info.path, f"/{split}"):
        sums = _sums(group["x"], info.path) + (_sums(group["observed"], info.path) if info.missing else b"")
        return {
            "sequences": counts.sequences,
            "steps": counts.steps,
            "lengths": _hash(read_offsets(file, split, info).astype("<i8").tobytes()),
            "ids": _hash(b"\0".join(group["ids"][()].tolist())),
            "values": _hash(sums),
        }


def _sums(x: h5py.Dataset, path: Path) -> bytes:
    """The checksums of all values, in order, little-endian."""
    rows, usual = x.chunks[0], max(1, min(len(x), SUMMED_VALUES // x.shape[1]))
    places: NDArray[np.int64] = np.full(-(-len(x) // rows), -1, np.int64)

    def note(chunk: Any) -> None:
        if not chunk.filter_mask:
            places[chunk.chunk_offset[0] // rows] = chunk.byte_offset + chunk.size - CHECKSUM_BYTES

    x.id.chunk_iter(note)
    if rows != usual or (places < 0).any():
        return b"".join(_summed(x, start, usual) for start in range(0, len(x), usual))
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        if FADVISE is not None:
            for (
                place
            ) in places.tolist():  # the disk fetches them all at once: a fifth of the time, where none is cached
                FADVISE(descriptor, place, CHECKSUM_BYTES, os.POSIX_FADV_WILLNEED)
        return b"".join(read_at(descriptor, CHECKSUM_BYTES, place) for place in places.tolist())
    finally:
        os.close(descriptor)


def _summed(x: h5py.Dataset, start: int, rows: int) -> bytes:
    """The checksum that a chunk of these rows would have: zeros stand after the last."""
    values = np.zeros((rows, x.shape[1]), x.dtype)
    found = x[start : start + rows]
    values[: len(found)] = found
    return fletcher32(values.reshape(-1).view(np.uint8)).to_bytes(CHECKSUM_BYTES, "little")


def _short(value: Any) -> Any:
    """A plain value, or the hash of a long one."""
    text = json.dumps(value, sort_keys=True)
    return value if len(text) <= LONGEST_FACT else f"sha256:{_hash(text.encode())}"


def _hash(data: bytes) -> str:
    """The first half of a sha256, in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()[:32]
