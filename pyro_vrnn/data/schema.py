"""One HDF5 file of ragged sequences: what is in it, and the one way to open it, which refuses what it should.

    /train /valid /test   groups, and in each
        x         [sum of lengths, X] uint8, int16 or float32: the sequences end to end
        offsets   [N + 1] int64: sequence i is x[offsets[i]:offsets[i + 1]]
        ids       [N] fixed-width UTF-8 bytes, unique within the split
        observed  [sum of lengths, X] uint8: 1, or 0 where a value is missing (and x is 0); in all splits or none
    attributes of /   format, schema, kind, support, steps_per_second (absent where time has no unit),
                      frame_length, mean and std [X] float64 of the training split alone, source, licence,
                      options and extra (JSON)

Each data set is chunked (about 64 Ki values) with fletcher32 and no other filter, and the file is laid out as
HDF5 1.10 does, whose metadata carries checksums too: a flipped bit is an error, not another number.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import h5py
import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.data.kinds import KINDS
from pyro_vrnn.data.supports import SUPPORTS
from pyro_vrnn.system.errors import DataError, UserError, first_line

Array = NDArray[Any]

FORMAT, SCHEMA = "pyro-vrnn", 1
SPLITS = ("train", "valid", "test")
LONGEST_COLUMN = 200  # characters of a column's name
PREPARE = "prepare it first: pyro-vrnn prepare KIND FILE --out NAME.h5"
AGAIN = "prepare the data set again with `pyro-vrnn prepare`"
CHECKSUM_BYTES = 4
# What h5py and NumPy raise on damaged files (KeyError is a LookupError, RecursionError a RuntimeError).
DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError)


@dataclass(frozen=True)
class SplitInfo:
    """Counts of one split; lengths in steps (0 where the split is empty)."""

    sequences: int
    steps: int
    shortest: int
    median: float
    longest: int


@dataclass(frozen=True, eq=False)
class DataInfo:
    """What a data file says of itself.

    `mean` and `std` are [X] float64 over all steps of the training split; the deviation is the raw one (over
    N, not N - 1), 0 for a column that never changes: who divides by it puts a floor under it.
    """

    path: Path
    kind: str
    support: str
    x_dim: int
    steps_per_second: float | None
    frame_length: int  # samples per step: X for audio, else 1
    mean: Array
    std: Array
    source: str
    licence: str
    options: dict[str, Any]
    extra: dict[str, Any]
    splits: dict[str, SplitInfo]
    missing: bool = False
    """Whether some values may be missing: the file says which were observed."""


def read_info(path: str | Path) -> DataInfo:
    """What is in a data file, after checking all of it but the values, which are checked as they are read.

    Raises:
        DataError: missing, not a regular file, not ours, damaged, or with parts that reach outside the file.
    """
    file, info = open_data(path)
    file.close()
    return info


def unscored(info: DataInfo) -> int:
    """How many first steps of each sequence are there to be read only (`extra.unscored`): nearly always none.

    Raises:
        DataError: not 0 or 1.
    """
    steps = info.extra.get("unscored", 0)
    if steps not in (0, 1) or isinstance(steps, bool):
        raise DataError(f"{info.path}: /extra: unscored {steps!r} is not 0 or 1", AGAIN, info.path)
    if any(split.sequences and split.shortest <= steps for split in info.splits.values()):
        raise DataError(f"{info.path}: a sequence of one step, which is only read", AGAIN, info.path)
    return int(steps)


def open_data(path: str | Path) -> tuple[h5py.File, DataInfo]:
    """The file, open for reading and checked as `read_info` says. The caller closes it."""
    path = Path(path)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{path}: {reason}", PREPARE, path) from error
    if not stat.S_ISREG(status.st_mode):  # never open a FIFO or a device: that can hang or have effects
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise DataError(f"{path}: {what}", "give a .h5 file; `pyro-vrnn prepare` makes one of your own data", path)
    if status.st_size == 0:
        raise DataError(f"{path}: an empty file", AGAIN, path)
    with refusing(path, "the file"):
        if not h5py.is_hdf5(path):
            raise DataError(f"{path}: not an HDF5 file, so not a data file", PREPARE, path)
        file = h5py.File(path, "r", locking="best-effort")
    checker = _Checker(file, path, status.st_size)
    try:
        return file, checker.info()
    except UserError:
        file.close()
        raise
    except DAMAGE as error:
        file.close()
        raise damaged(path, checker.at, error) from error


@contextmanager
def refusing(path: Path, what: str) -> Iterator[None]:
    """HDF5 tells of damage in many ways: each becomes a DataError naming the object and the file."""
    try:
        yield
    except UserError:
        raise
    except DAMAGE as error:
        raise damaged(path, what, error) from error


def damaged(path: Path, what: str, error: BaseException) -> DataError:
    """The error for a part of a data file (`what`) that HDF5 cannot read, with the first line of its own words."""
    reason = first_line(error)
    return DataError(f"{path}: {what} cannot be read: {reason}", AGAIN, path)


class _Checker:
    """Reads a file's description, and looks at how each object is stored before it touches it."""

    def __init__(self, file: h5py.File, path: Path, size: int) -> None:
        self.file, self.path, self.size = file, path, size
        self.at = "/"  # the object being looked at, for the error

    def refuse(self, why: str) -> NoReturn:
        raise DataError(f"{self.path}: {self.at}: {why}", AGAIN, self.path)

    def info(self) -> DataInfo:
        """The whole description."""
        if (name := self.text("format")) != FORMAT:
            self.refuse(f"{name[:40]!r}, not {FORMAT!r}")
        if (schema := int(self.attribute("schema", "i", 0))) != SCHEMA:
            self.refuse(f"version {schema}, this program reads version {SCHEMA}")
        if (kind := self.text("kind")) not in KINDS:
            self.refuse(f"{kind[:40]!r} is none of {', '.join(KINDS)}")
        if (support := self.text("support")) not in SUPPORTS:
            self.refuse(f"{support[:40]!r} is none of {', '.join(SUPPORTS)}")
        frame_length = int(self.attribute("frame_length", "i", 0))
        rate = None
        if h5py.h5a.exists(self.file.id, b"steps_per_second"):
            rate = float(self.attribute("steps_per_second", "f", 0))
            if not 0 < rate < np.inf:
                self.refuse(f"{rate} steps per second")
        self.members(self.file, SPLITS)
        splits = {split: self.split(split) for split in SPLITS}
        if splits["train"].sequences == 0:
            self.refuse("no training sequence")
        x_dim = int(self.file["train"]["x"].shape[1])
        missing = "observed" in self.file["train"]
        if any(("observed" in self.file[split]) != missing for split in SPLITS):
            self.refuse("observed is in some of the splits, and not in all")
        if missing and self.file["train"]["x"].dtype.kind != "f":
            self.refuse("/train/observed: missing values are for real numbers")
        if frame_length not in ((1, x_dim) if KINDS[kind].sampled else (1,)):
            self.at = "attribute 'frame_length'"
            self.refuse(f"{frame_length} samples per step of {x_dim} columns, of kind {kind}")
        return DataInfo(
            path=self.path,
            kind=kind,
            support=support,
            x_dim=x_dim,
            steps_per_second=rate,
            frame_length=frame_length,
            mean=self.moment("mean", x_dim),
            std=self.moment("std", x_dim),
            source=self.text("source"),
            licence=self.text("licence"),
            options=self.json("options"),
            extra=self.json("extra"),
            splits=splits,
            missing=missing,
        )

    def split(self, name: str) -> SplitInfo:
        """A split's counts."""
        group = self.child(self.file, name, h5py.Group)
        self.members(group, ("x", "offsets", "ids", "observed"))
        ids = self.dataset(group, "ids", "|S", 1)
        x = self.dataset(group, "x", ("|u1", "<i2", "<f4"), 2)
        if x.shape[1] != self.file["train"]["x"].shape[1]:
            self.refuse("another width than /train/x")
        if group.id.links.exists(b"observed") and self.dataset(group, "observed", "|u1", 2).shape != x.shape:
            self.refuse("another shape than x")
        offsets = self.dataset(group, "offsets", "<i8", 1)[()]
        lengths = np.diff(offsets)
        falls = bool((offsets[1:] <= offsets[:-1]).any())  # not of the differences: those can wrap around
        if len(offsets) != len(ids) + 1:
            self.refuse(f"{len(offsets)} for {len(ids)} ids")
        if offsets[0] != 0 or offsets[-1] != len(x) or falls:
            self.refuse(f"they do not rise from 0 to {len(x)}, the number of steps")
        if not len(lengths):
            return SplitInfo(0, 0, 0, 0.0, 0)
        shortest, longest = int(lengths.min()), int(lengths.max())
        return SplitInfo(len(lengths), len(x), shortest, float(np.median(lengths)), longest)

    def members(self, group: h5py.Group, names: tuple[str, ...]) -> None:
        """Nothing but these objects, each behind a hard link; a link is not followed to find out."""
        for name in group.id:
            self.at = f"{group.name.rstrip('/')}/{name.decode(errors='backslashreplace')}"
            kind = group.id.links.get_info(name).type
            if kind != h5py.h5l.TYPE_HARD:
                words = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
                self.refuse(f"{words.get(kind, 'a user-defined link')}, which is not followed")
            if name.decode(errors="backslashreplace") not in names:
                self.refuse("not a part of a data set")

    def child(self, group: h5py.Group, name: str, expected: type) -> Any:
        """A member that `members` has passed."""
        self.at = f"{group.name.rstrip('/')}/{name}"
        if not group.id.links.exists(name.encode()):
            self.refuse("missing")
        found = group[name]
        if not isinstance(found, expected):
            self.refuse(f"not a {expected.__name__.lower()}")
        return found

    def dataset(self, group: h5py.Group, name: str, dtypes: str | tuple[str, ...], ndim: int) -> h5py.Dataset:
        """A data set that lies whole in this file, with no filter but the checksum."""
        data = self.child(group, name, h5py.Dataset)
        made = data.id.get_create_plist()  # asked first: the shape of a virtual data set opens its sources
        if made.get_layout() == h5py.h5d.VIRTUAL:
            self.refuse("a virtual data set, which reaches outside the file")
        if made.get_external_count():
            self.refuse("external storage, which reaches outside the file")
        if data.dtype.kind == "O":
            self.refuse("an object or variable-length dtype")
        filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
        if made.get_layout() != h5py.h5d.CHUNKED or filters != [h5py.h5z.FILTER_FLETCHER32]:
            self.refuse("not stored in chunks with fletcher32 and no other filter")
        if data.chunks[1:] != data.shape[1:]:
            self.refuse(f"chunks of {list(data.chunks)}, which divide rows of {list(data.shape[1:])}")
        if not data.dtype.str.startswith(dtypes):
            self.refuse(f"dtype {data.dtype}, not {dtypes}")
        if data.ndim != ndim or 0 in data.shape[1:]:
            self.refuse(f"shape {list(data.shape)}")
        claimed = data.dtype.itemsize * int(np.prod(data.shape, dtype=object))
        held = data.id.get_storage_size()
        if not claimed <= held <= self.size:
            self.refuse(f"claims {claimed} bytes, {held} are stored in a file of {self.size}")
        self.chunks(data)
        return data

    def chunks(self, data: h5py.Dataset) -> None:
        """Each of them has the size of its values, and of a checksum: HDF5 reads past the end of what is shorter."""
        plain = data.dtype.itemsize * int(np.prod(data.chunks, dtype=object))
        odd: list[int] = []

        def look(chunk: Any) -> bool | None:
            if chunk.size == plain + (0 if chunk.filter_mask & 1 else CHECKSUM_BYTES):
                return None
            odd.append(chunk.size)
            return True  # that is enough

        data.id.chunk_iter(look)
        if odd:
            self.refuse(f"a chunk of {odd[0]} bytes, where {plain} and a checksum belong")

    def attribute(self, name: str, kind: str, ndim: int) -> Array:
        """An attribute of the file of this NumPy dtype kind."""
        self.at = f"attribute {name!r}"
        if not h5py.h5a.exists(self.file.id, name.encode()):
            self.refuse("missing")
        stored = self.file.attrs.get_id(name)
        if stored.dtype.kind != kind or stored.shape is None or len(stored.shape) != ndim:
            self.refuse(f"dtype {stored.dtype}, shape {stored.shape}")
        if stored.get_storage_size() > self.size:
            self.refuse(f"claims {stored.get_storage_size()} bytes in a file of {self.size}")
        return np.asarray(self.file.attrs[name])

    def text(self, name: str) -> str:
        return bytes(self.attribute(name, "S", 0).item()).decode()

    def json(self, name: str) -> dict[str, Any]:
        def no_constant(word: str) -> NoReturn:
            raise ValueError(f"{word} is not JSON")

        value = json.loads(self.text(name), parse_constant=no_constant)
        if not isinstance(value, dict):
            self.refuse("not a JSON object")
        return value

    def moment(self, name: str, x_dim: int) -> Array:
        value = self.attribute(name, "f", 1).astype(np.float64)
        if len(value) != x_dim or not np.isfinite(value).all() or (name == "std" and (value < 0).any()):
            self.refuse(f"not {x_dim} finite numbers (not negative for std)")
        return value
