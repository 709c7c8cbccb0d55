"""What several sources share: what was skipped, seeded splits, files of a folder, bounded npz files."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array
from pyro_vrnn.system.errors import ConfigError, DataError, first_line
from pyro_vrnn.system.files import read_plain_file

MAX_BYTES = 512 * 2**20  # of an npz, and of what it unpacks to
MAX_TABLE_BYTES = 64 * 2**20  # tables take many times their size as Python objects
SKIPS_KEPT = 100
Progress = Callable[[int, int], None]
"""Called with how much is done and how much there is in all."""
SHARES = (80.0, 10.0, 10.0)
"""Percentages of train, valid and test."""
CARVED_SHARE = 5.0
"""Percentage of training sequences that become the validation split of a source that names only train and test."""
OTHER_VALIDS = ("val", "dev", "validation")
"""What a validation split may be called by others: a source that has one of these has named it."""


class Skips:
    """What is left out of a source and why: the first 100, and how many.

    Args:
        source: the file or folder.
        strict: leave nothing out: DataError instead.
    """

    def __init__(self, source: Path, strict: bool) -> None:
        self.source, self.strict = source, strict
        self.kept: list[dict[str, str]] = []
        self.count = 0
        self.hidden = 0
        """Files that only an operating system made (`._x`, `.DS_Store`, `__MACOSX`): passed over, and no fault."""

    def add(self, name: str, reason: str, what: str = "id") -> None:
        """One more; `name` is that of a sequence ("id") or a "file"."""
        if self.strict:
            raise DataError(f"{self.source}: {name}: {reason}", "without --strict it is skipped", self.source)
        self.count += 1
        if len(self.kept) < SKIPS_KEPT:
            self.kept.append({what: name, "reason": reason})

    def check_left(self, train: Sequence[str]) -> None:
        """DataError if nothing is left to train on."""
        if not train:
            first = "; ".join(": ".join(skip.values()) for skip in self.kept[:1]) or "it is empty"
            raise DataError(f"{self.source}: no training sequence; {self.count} skipped", first, self.source)

    def extra(self) -> dict[str, Any]:
        """For the data file."""
        found: dict[str, Any] = {"skipped": self.kept, "skipped_count": self.count}
        return found | ({"hidden_files": self.hidden} if self.hidden else {})


def check_shares(splits: Sequence[float]) -> None:
    """ConfigError unless these are three percentages that leave something to train on."""
    fits = len(splits) == 3 and all(0 <= share <= 100 for share in splits) and abs(sum(splits) - 100) < 1e-6
    if not fits or splits[0] == 0:
        words = ",".join(f"{share:g}" for share in splits)
        raise ConfigError(f"--splits {words}", "percentages for train, valid, test that add up to 100, such as 90,5,5")


def shares_option(splits: Sequence[float]) -> dict[str, list[float]]:
    """The percentages among a data file's options; nothing for the usual ones, which older files do not name."""
    return {} if tuple(splits) == SHARES else {"splits": list(splits)}


def seeded_split(names: Iterable[str], seed: int, shares: Sequence[float] = SHARES) -> dict[str, str]:
    """The split of each name: they are put in the order of sha256("SEED NAME"), and cut.

    Of few names train gets one first, then each other split that has a share. (A hash, because it gives the same
    split on every machine and with every version of NumPy.)
    """
    ordered = sorted(
        set(names), key=lambda name: hashlib.sha256(f"{seed} {name}".encode(errors="backslashreplace")).digest()
    )
    split = dict.fromkeys(ordered, "train")
    start = 1
    for other, share in zip(SPLITS[1:], shares[1:], strict=True):
        stop = start + (max(1, round(len(ordered) * share / 100)) if share else 0)
        split.update(dict.fromkeys(ordered[start:stop], other))
        start = stop
    return split


def carve_valid(names: Iterable[str], seed: int, share: float = CARVED_SHARE) -> dict[str, str]:
    """The split of each training sequence of a source that names no validation split: train, or valid for some.

    Args:
        names: of the training sequences, or of what must not be taken apart.
        seed: chooses which, as in `seeded_split`.
        share: percentage for valid; of two or more names at least one.
    """
    return seeded_split(names, seed, (100 - share, share, 0))


def carved_extra(carved: bool, share: float = CARVED_SHARE) -> dict[str, str]:
    """For the data file: that its validation split is a part of the source's training split, if it is."""
    return {"carved": f"{share:g}% of train"} if carved else {}


def read_file(path: Path, most: int, wanted: str, endings: Sequence[str]) -> bytes:
    """The content of a source that is one file of at most `most` bytes.

    Args:
        wanted: what file is wanted, for the hint.
        endings: of such files.

    Raises:
        DataError: a folder, missing, not a plain file, or too large.
    """
    if path.is_dir():
        raise DataError(f"{path}: a folder", instead_of(path, wanted, endings), path)
    return read_plain_file(path, most)


def instead_of(folder: Path, wanted: str, endings: Sequence[str]) -> str:
    """The hint for a folder where a file is wanted: which, and its name if there is just one in the folder."""
    try:
        fitting = [path for path in folder.iterdir() if path.suffix.lower() in endings and path.is_file()]
    except OSError:
        fitting = []
    return f"give {wanted}" + (f": {fitting[0]}" if len(fitting) == 1 else "")


def is_hidden(path: str | Path) -> bool:
    """Whether a path in a folder is one that users do not see: a part of it begins with a dot, or is `__MACOSX`."""
    return any(part.startswith(".") or part == "__MACOSX" for part in Path(path).parts)


def find_files(folder: Path, suffixes: Sequence[str], skips: Skips | None = None) -> dict[str, Path]:
    """The files below a folder with one of these endings, by their path in it; links to folders are not followed.

    A file with such an ending is given back as it is. Hidden files are passed over, and counted in `skips`.

    Raises:
        DataError: neither, or none in it.
    """
    if folder.is_file() and folder.suffix.lower() in suffixes:
        return {folder.name: folder}
    if not folder.is_dir():
        what = "no such file or folder" if not folder.exists() else "not a folder"
        raise DataError(f"{folder}: {what}", f"give a folder of {', '.join(suffixes)} files, or one of them", folder)
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.suffix.lower() in suffixes}
    seen = {name: path for name, path in files.items() if not is_hidden(name)}
    if skips is not None:
        skips.hidden += len(files) - len(seen)
    if not seen:
        raise DataError(f"{folder}: no {' or '.join(suffixes)} file in it", "check the path", folder)
    return dict(sorted(seen.items()))


def read_npz(data: bytes, path: Path) -> dict[str, Array]:
    """The arrays of an npz file with this content.

    Raises:
        DataError: damaged, objects in it, or more than MAX_BYTES when unpacked.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            claimed = sum(member.file_size for member in archive.infolist())  # more than that is not unpacked either
        if claimed > MAX_BYTES:
            raise ValueError(f"it unpacks to {claimed} bytes; at most {MAX_BYTES} are read")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except Exception as error:  # the readers promise nothing about what they raise on damaged bytes
        why = first_line(error)
        raise DataError(f"{path}: an npz that cannot be read: {why}", "save it again with numpy.savez", path) from error
    return {name: array for name, array in found.items() if isinstance(array, np.ndarray)}


def read_npy(data: bytes, path: Path) -> Array:
    """The array of an npy file with this content.

    Raises:
        DataError: damaged, or objects in it.
    """
    try:
        found: Array = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as error:  # as above
        why = first_line(error)
        raise DataError(f"{path}: an npy that cannot be read: {why}", "save it again with numpy.save", path) from error
    return found


def cut(arrays: Mapping[str, Array], rows: str, lengths: str, path: Path) -> list[Array]:
    """Sequences that lie end to end: arrays[rows] [sum of T, X], of arrays[lengths] [N] rows (0 is possible) each.

    Raises:
        DataError: one is missing or misshapen, or they do not add up.
    """
    x, n = arrays.get(rows), arrays.get(lengths)
    if x is None or x.ndim != 2 or x.shape[1] == 0 or x.dtype.kind not in "biuf":
        shape = "missing" if x is None else f"{x.dtype} {list(x.shape)}"
        raise DataError(f"{path}: array {rows!r} is {shape}", "numbers, [rows, columns]", path)
    if n is None or n.ndim != 1 or n.dtype.kind not in "iu" or (n < 0).any() or sum(n.tolist()) != len(x):
        what = "missing" if n is None else "not a list of whole numbers" if n.dtype.kind not in "iu" else "wrong"
        raise DataError(f"{path}: array {lengths!r} is {what}", f"lengths that add up to {len(x)} rows", path)
    ends = np.cumsum(n, dtype=np.int64)
    return [x[end - k : end] for end, k in zip(ends, n.astype(np.int64), strict=True)]
