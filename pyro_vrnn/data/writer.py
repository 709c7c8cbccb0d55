"""The one writer of data files (schema.py says what they hold): atomic, streaming, reproducible."""

from __future__ import annotations

import glob
import json
import math
import os
import re
import secrets
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pyro_vrnn.data.kinds import KINDS
from pyro_vrnn.data.moments import Moments
from pyro_vrnn.data.schema import FORMAT, SCHEMA, SPLITS, Array, DataInfo, read_info
from pyro_vrnn.data.supports import SUPPORTS, check_support
from pyro_vrnn.system.disk import Disk
from pyro_vrnn.system.errors import ConfigError, DataError, choose
from pyro_vrnn.system.files import sync_folder, write_refused

DTYPES = {"bool": "uint8", "uint8": "uint8", "int16": "int16", "float32": "float32", "float64": "float32"}
CHUNK_VALUES = 65536
LONGEST_ID = 1024  # bytes; ids are stored at a fixed width


def write_sequences(
    path: str | Path,
    splits: Mapping[str, Iterable[Array]],
    *,
    ids: Mapping[str, Sequence[str]],
    kind: str,
    support: str,
    steps_per_second: float | None,
    frame_length: int = 1,
    source: str,
    licence: str,
    options: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    missing: bool = False,
    overwrite: bool = False,
) -> DataInfo:
    """Write a data file: all of it, or nothing. The same arguments give the same bytes.

    Args:
        path: the file to make; folders on the way are made too.
        splits: `train`, and if there are any `valid` and `test`; sequences [T_i, X] each, all of one X and
            one dtype (bool is stored as uint8, float64 as float32). Any iterable: a few are held at once.
        ids: as many names for each split, unique in it; read after the split's sequences.
        kind: one of `KINDS`.
        support: one of `SUPPORTS`.
        steps_per_second: of the sequences' steps, or None where time has no unit.
        frame_length: samples per step: X for audio, whose moments are then those of all samples together; else 1.
        options: what the data set was made with; JSON values.
        extra: anything more a reader may want (the pitch of the first column, ...); JSON values.
        missing: whether NaN marks values that were not observed, of real numbers; else it is refused.
        overwrite: replace an existing file.

    Raises:
        ConfigError: the file exists, or cannot be made there.
        DataError: no training sequence, an empty or misshapen one, values not finite or not in the support.
        ResourceError: the disk is full.
    """
    path = Path(path)
    if kind not in KINDS:
        raise choose("kind", kind, KINDS)
    if support not in SUPPORTS:
        raise choose("support", support, SUPPORTS)
    if unknown := set(splits) - set(SPLITS):
        raise choose("split", min(unknown), SPLITS)
    if frame_length != 1 and (not KINDS[kind].sampled or frame_length < 1):
        raise ConfigError(f"frame_length {frame_length}", "more than 1 sample a step is for audio")
    if steps_per_second is not None and not 0 < steps_per_second < math.inf:
        raise ConfigError(f"{steps_per_second} steps per second", "a number above 0, or None")
    check_free(path, overwrite)
    temporary = path.with_name(f"{path.name}.tmp{os.getpid()}-{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(path)
        with open(temporary, "xb+", buffering=0) as raw:
            disk = Disk(raw)
            try:
                with h5py.File(disk, "w", libver=("v110", "v110")) as file:
                    _write_attributes(file, kind, support, frame_length, source, licence, options or {}, extra or {})
                    if steps_per_second is not None:
                        file.attrs["steps_per_second"] = np.float64(steps_per_second)
                    writer = _Writer(file, support, frame_length, missing)
                    for split in SPLITS:
                        writer.write(split, splits.get(split, ()), ids.get(split, ()))
            finally:
                if disk.error is not None:
                    raise disk.error
            os.fsync(raw.fileno())
        info = read_info(temporary)
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        raise write_refused(path, error) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return replace(info, path=path)


def check_free(path: str | Path, overwrite: bool) -> None:
    """ConfigError if a data file may not be made here; asked before long work, and again before writing."""
    path = Path(path)
    if "\0" in str(path):
        raise ConfigError(f"{str(path)!r} is no file name", "leave out the NUL")
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return  # a parent that is a file is found out when the folder is made
    except OSError as error:
        raise write_refused(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"{path} is a folder", "name a file, such as data.h5", path)
    if not overwrite:
        raise ConfigError(f"{path} exists already", "use it as it is, or replace it with --overwrite", path)


def _remove_abandoned(path: Path) -> None:
    """Remove what processes that were killed while they wrote this file have left beside it: as large as the file."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.tmp*-*"):
        number = re.fullmatch(r"\.tmp(\d{1,9})-[0-9a-f]{8}", left.name.removeprefix(path.name))
        if number is not None and not _is_alive(int(number[1])):
            with suppress(OSError):
                left.unlink()


def _is_alive(process: int) -> bool:
    """Whether there is such a process on this machine, of whichever user; taken to be so where asking would stop it."""
    if sys.platform == "win32":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class _Writer:
    """Streams the splits into an open file; the first sequence of `train` settles X and the dtype."""

    def __init__(self, file: h5py.File, support: str, frame_length: int, missing: bool) -> None:
        self.file, self.support, self.frame_length, self.missing = file, support, frame_length, missing
        self.dtype: np.dtype[Any] | None = None
        self.x_dim = 0

    def write(self, split: str, sequences: Iterable[Array], ids: Sequence[str]) -> None:
        """One split: x, offsets, ids; and for `train` the moments."""
        group = self.file.create_group(split)
        x, lengths, moments = _Rows(group, "x"), [], Moments(pooled=self.frame_length > 1)
        observed = _Rows(group, "observed") if self.missing else None
        for i, raw in enumerate(sequences):
            values = self._checked(raw, split, i, ids)
            lengths.append(len(values))
            if split == "train":
                moments.add(values, missing=self.missing)
            if observed is not None:
                observed.add((~np.isnan(values)).astype(np.uint8))
                values = np.nan_to_num(values, nan=0.0)
            x.add(values)
        if split == "train":
            if not lengths:
                raise DataError("no training sequence", "give at least one sequence for the training split")
            moments.check()
            ones = np.ones(self.x_dim)
            self.file.attrs["mean"], self.file.attrs["std"] = moments.mean * ones, moments.std * ones
        x.finish(np.empty((0, self.x_dim), self.dtype))
        if observed is not None:
            observed.finish(np.empty((0, self.x_dim), np.uint8))
        offsets = np.cumsum([0, *lengths], dtype="<i8")
        _create(group, "offsets", offsets, len(offsets))
        names = _encoded(split, ids, len(lengths))
        _create(group, "ids", names, len(names))

    def _checked(self, raw: Array, split: str, i: int, ids: Sequence[str]) -> Array:
        """The sequence as it is stored, or DataError naming split, sequence and step."""
        name = f"{split} sequence {ids[i]!r}" if i < len(ids) else f"{split} sequence {i}"
        raw = np.asarray(raw)
        if raw.ndim != 2 or raw.shape[1] == 0:
            raise DataError(f"{name} has shape {list(raw.shape)}", "a sequence is [steps, values a step]")
        if self.missing and raw.dtype.kind != "f":
            raise DataError(f"{name} is of dtype {raw.dtype}", "NaN, which marks what is missing, is for real numbers")
        if str(raw.dtype) not in DTYPES:
            raise DataError(f"{name} is of dtype {raw.dtype}", f"convert to one of {', '.join(DTYPES)}")
        with np.errstate(over="ignore"):  # what overflows float32 becomes inf and is refused below
            values = raw.astype(np.dtype(DTYPES[str(raw.dtype)]).newbyteorder("<"), copy=False)
        if self.dtype is None:
            self.dtype, self.x_dim = values.dtype, values.shape[1]
        if len(values) == 0:
            raise DataError(f"{name} has no steps", "leave empty sequences out")
        if self.frame_length not in (1, values.shape[1]):
            raise DataError(f"{name} has {values.shape[1]} samples per step, not {self.frame_length}")
        if values.shape[1] != self.x_dim:
            raise DataError(f"{name} has {values.shape[1]} values a step, the first had {self.x_dim}")
        if values.dtype != self.dtype:
            raise DataError(f"{name} is of dtype {values.dtype}, the first was {self.dtype}")
        check_support(np.nan_to_num(values, nan=0.0) if self.missing else values, self.support, name)
        return values


class _Rows:
    """The `x` of a split as it grows, about a chunk at a time; or what goes beside it, row by row."""

    def __init__(self, group: h5py.Group, name: str) -> None:
        self.group, self.name = group, name
        self.data: h5py.Dataset | None = None
        self.waiting: list[Array] = []
        self.held = 0  # values

    def add(self, values: Array) -> None:
        self.waiting.append(values)
        self.held += values.size
        if self.held >= CHUNK_VALUES:
            self.flush(np.concatenate(self.waiting))

    def finish(self, none: Array) -> None:
        """Write the rest; a split without sequences has `none`, [0, X]."""
        if self.waiting or self.data is None:
            self.flush(np.concatenate([none, *self.waiting]))

    def flush(self, rows: Array) -> None:
        self.waiting, self.held = [], 0
        if self.data is None:
            self.data = _create(self.group, self.name, rows[:0], len(rows))
        start = len(self.data)
        self.data.resize(start + len(rows), axis=0)
        self.data[start:] = rows


def _create(group: h5py.Group, name: str, data: Array, rows: int) -> h5py.Dataset:
    """A growable data set; its chunk is no longer than `rows`, so that a small set makes a small file."""
    width = int(np.prod(data.shape[1:]))
    chunk = max(1, min(rows, CHUNK_VALUES // width))
    return group.create_dataset(
        name,
        data=data,
        chunks=(chunk, *data.shape[1:]),
        maxshape=(None, *data.shape[1:]),
        fletcher32=True,
        track_times=False,
    )


def _encoded(split: str, ids: Sequence[str], count: int) -> Array:
    """Ids as fixed-width bytes. What UTF-8 cannot say (a file name in another encoding) is backslashed."""
    if len(ids) != count:
        raise DataError(f"{split}: {len(ids)} ids for {count} sequences")
    names = [str(i).encode("utf-8", "backslashreplace") for i in ids]
    for name in names:
        if not name or b"\0" in name or len(name) > LONGEST_ID:
            raise DataError(f"{split}: id {name[:60]!r}", f"an id has 1 to {LONGEST_ID} bytes and no NUL")
    if len(set(names)) != count:
        twice = next(n for i, n in enumerate(names) if n in names[:i])
        raise DataError(f"{split}: two sequences have the id {twice.decode()!r}")
    return np.array(names, dtype=h5py.string_dtype("utf-8", max(map(len, names), default=1)))


def _write_attributes(
    file: h5py.File,
    kind: str,
    support: str,
    frame_length: int,
    source: str,
    licence: str,
    options: Mapping[str, Any],
    extra: Mapping[str, Any],
) -> None:
    """The attributes that are known before the data."""
    file.attrs["schema"] = np.int64(SCHEMA)
    file.attrs["frame_length"] = np.int64(frame_length)
    texts = {
        "format": FORMAT,
        "kind": kind,
        "support": support,
        "source": source,
        "licence": licence,
        "options": json.dumps(options, sort_keys=True, allow_nan=False),
        "extra": json.dumps(extra, sort_keys=True, allow_nan=False),
    }
    for name, text in texts.items():
        data = text.encode("utf-8", "backslashreplace").replace(b"\0", b"")
        file.attrs.create(name, data, dtype=h5py.string_dtype("utf-8", max(1, len(data))))
