"""Collections of the UEA and UCR archives of time series: .ts, .arff, and the UCR's .tsv, with their classes as labels.

.ts     a header of @ lines, then a case a line: dimensions between colons, values between commas, ? where missing, the
        class last (www.timeseriesclassification.com; sktime's and aeon's format)
.arff   attributes and @data; a case of several dimensions is a quoted list of them, parted by \\n
.tsv    the class, then the values, between tabs; NaN at the end is padding

A folder, or one of its files, has NAME_TRAIN and NAME_TEST; both are read, and train gives 5% to validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.common import MAX_BYTES, Skips, is_hidden
from pyro_vrnn.data.sources.finishing import Sequences
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import check_plain_file

ENDINGS = (".ts", ".arff", ".tsv")
PART = re.compile(r"(.+)_(train|test)", re.IGNORECASE)
MISSING = {"?", "nan", "na", ""}
HINT = "a .ts, .arff or .tsv file of the UEA or UCR archive"


@dataclass(frozen=True)
class Case:
    """One time series, [T, X], and its class."""

    values: Array
    label: str


def find(source: Path) -> dict[str, Path] | None:
    """The files of a collection by split, or None if the source is none.

    One file that is neither TRAIN nor TEST has no split of its own: its key is "".
    """
    if source.is_dir():
        files = sorted(p for p in source.iterdir() if p.suffix.lower() in ENDINGS and not is_hidden(p.name))
        files = [path for path in files if path.suffix.lower() != ".tsv" or _is_ucr(path)]
        for ending in ENDINGS:
            parts = {m[2].lower(): p for p in files if p.suffix.lower() == ending and (m := PART.fullmatch(p.stem))}
            if "train" in parts:
                return parts
        return None
    if source.suffix.lower() not in ENDINGS or not source.is_file():
        return None
    if source.suffix.lower() == ".tsv" and not _is_ucr(source):
        return None
    found = PART.fullmatch(source.stem)
    if found is None:
        return {"": source} if source.suffix.lower() != ".tsv" else None
    other = "test" if found[2].lower() == "train" else "train"
    names = {p.name.lower(): p for p in source.parent.iterdir()}
    twin = names.get(f"{found[1]}_{other}{source.suffix}".lower())
    return {found[2].lower(): source} | ({} if twin is None else {other: twin})


def _is_ucr(path: Path) -> bool:
    """Whether a .tsv begins as the archive's do: with a line of numbers. Any other is a table."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            return len(_numbers(file.readline(1 << 20).strip().replace("\t", ","))) > 2
    except (OSError, ValueError):
        return False


def read(files: dict[str, Path], skips: Skips) -> Sequences:
    """The cases of a collection. A case that cannot be read is skipped.

    Raises:
        DataError: a file is none of the formats, or its cases have other dimensions than the first.
    """
    found: dict[str, Array] = {}
    splits: dict[str, str] = {}
    labels: dict[str, str] = {}
    width: int | None = None
    for split in sorted(files, key=lambda name: name != "train"):
        path = files[split]
        if check_plain_file(path) > MAX_BYTES:
            raise DataError(f"{path}: more than {MAX_BYTES} bytes", "cut it", path)
        for number, line, case in _cases(path):
            name = f"{split or 'case'}-{number}"
            if isinstance(case, str):
                skips.add(name, f"{path.name}, line {line}: {case}")
                continue
            width = case.values.shape[1] if width is None else width
            if case.values.shape[1] != width:
                skips.add(name, f"{path.name}, line {line}: {case.values.shape[1]} dimensions, {width} before")
                continue
            found[name], labels[name] = case.values, case.label
            if split:
                splits[name] = split
    if "train" not in files and splits:
        splits = {}  # a test file alone is split like any other
    return Sequences.of(found, splits=splits, labels=labels if any(labels.values()) else {})


def _cases(path: Path) -> Iterator[tuple[int, int, Case | str]]:
    """The cases of a file, or why one cannot be read, with their number and line."""
    ending = path.suffix.lower()
    labelled, begun, number = ending == ".tsv", ending == ".tsv", 0
    relational = False
    try:
        with open(path, encoding="utf-8-sig") as file:
            for line, raw in enumerate(file, start=1):
                text = raw.strip()
                if not text or (text.startswith(("#", "%")) and not begun):
                    continue
                if not begun:
                    if not text.startswith("@"):
                        raise DataError(f"{path}: line {line}: {text[:40]!r} before @data", HINT, path)
                    key, *rest = text[1:].lower().split(None, 2) or [""]
                    begun = key == "data"
                    if ending == ".ts":
                        labelled |= key in ("classlabel", "targetlabel") and bool(rest) and rest[0].lower() == "true"
                        if key == "timestamps" and rest and rest[0].lower() == "true":
                            raise DataError(f"{path}: line {line}: time stamps are not read", "even steps", path)
                    elif key == "attribute":
                        relational |= text.lower().endswith("relational")
                        labelled = "{" in text or labelled
                    continue
                try:
                    yield number, line, READERS[ending](text, labelled)
                except ValueError as error:
                    yield number, line, str(error).splitlines()[0][:120]
                number += 1
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text in UTF-8", HINT, path) from error
    if not begun:
        raise DataError(f"{path}: no @data", HINT, path)


def _ts(text: str, labelled: bool) -> Case:
    """A line of a .ts file."""
    *parts, last = text.split(":")
    if not labelled:
        parts, last = [*parts, last], ""
    if "(" in text:
        raise ValueError("time stamps are not read")
    return Case(_stacked([_numbers(part) for part in parts]), last.strip())


def _arff(text: str, labelled: bool) -> Case:
    """A line of an .arff file."""
    quoted = re.match(r"""(['"])(.*)\1\s*(?:,(.*))?$""", text)
    if quoted:
        dims = [_numbers(part) for part in quoted[2].split("\\n") if part.strip()]
        return Case(_stacked(dims), (quoted[3] or "").strip().strip("'\""))
    cells = text.split(",")
    values, label = (cells[:-1], cells[-1]) if labelled else (cells, "")
    return Case(_unpadded(_numbers(",".join(values)))[:, None], label.strip().strip("'\""))


def _tsv(text: str, labelled: bool) -> Case:
    """A line of a UCR .tsv file."""
    label, *values = text.split("\t")
    return Case(_unpadded(_numbers(",".join(values)))[:, None], label.strip())


READERS = {".ts": _ts, ".arff": _arff, ".tsv": _tsv}


def _numbers(text: str) -> Array:
    """Values between commas, NaN where one is missing."""
    cells = [cell.strip() for cell in text.split(",")]
    return np.array([np.nan if cell.lower() in MISSING else float(cell) for cell in cells], np.float64)


def _stacked(dims: list[Array]) -> Array:
    """Dimensions side by side, [T, X]; ValueError if they are not as long as each other."""
    lengths = {len(dim) for dim in dims}
    if not dims or len(lengths) != 1:
        raise ValueError(f"dimensions of {min(lengths, default=0)} to {max(lengths, default=0)} values")
    return np.stack(dims, axis=1)


def _unpadded(values: Array) -> Array:
    """Values without NaN at the end, which pads a shorter series."""
    there = np.flatnonzero(~np.isnan(values))
    return values[: there[-1] + 1] if len(there) else values[:0]
