"""Sequences of numbers from CSV, npy and npz files.

CSV     a header; a column `sequence` that says whose row it is, perhaps one `split`; all others are numbers
folder  of CSV files with one header, a sequence each, called by their names
npy     [N, T, X]: N sequences
npz     train [sum of T, X] and train_len [N], and perhaps valid and test alike: rows end to end
npz     images uint8 [N, T, X]: an image is T steps of X pixels, the first 80% of them train, 10% valid, 10% test
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import LONGEST_COLUMN, SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import (
    MAX_BYTES,
    MAX_TABLE_BYTES,
    Skips,
    cut,
    find_files,
    read_file,
    read_npy,
    read_npz,
    seeded_split,
)
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError

BRIGHT = 127  # a pixel above it is a 1
NPY = b"\x93NUMPY"
LAYOUTS = (
    "a CSV with a column `sequence`, a folder of CSVs, an npy [N, T, X], or an npz with train and train_len or images"
)


@reads
def prepare(
    request: Request,
    *,
    binary: bool = False,
) -> DataInfo:
    """Write sequences of numbers to a data file, float32 [T, X] (bits of images: uint8).

    What does not name splits is split by sequence, 80/10/10; an npz without `valid` gives a tenth of its training
    sequences to it. Sequences that are empty, ragged or not finite are skipped and listed in the file. The names of a
    CSV's columns are kept, and so is that a sequence is an image: `columns` and `image` in the file's `extra`.

    Args:
        request: its source is a file or folder, see LAYOUTS; its progress is told the number of sequences at the end.
        binary: whether pixels of images above 127 become 1 and others 0; otherwise they are divided by 255.

    Raises:
        DataError: the source is missing, damaged, hostile or none of the layouts, or nothing is left to train on.
        ConfigError: the file exists, or `binary` without images.
    """
    source, seed, skips = request.source, request.seed, request.skips()
    splits: Mapping[str, Iterable[Array]]
    extra: dict[str, Any] = {}
    tables = find_files(source, (".csv",)) if source.is_dir() and any(source.rglob("*.[cC][sS][vV]")) else {}
    data = b"" if len(tables) > 1 else read_file(source, MAX_BYTES, LAYOUTS, (".csv", ".npy", ".npz"))
    arrays = read_npz(data, source) if data.startswith(b"PK") else {}
    if binary and "images" not in arrays:
        raise ConfigError(f"{source}: --binary is for an npz of images", "leave it out")
    if "images" in arrays:
        splits, ids = _from_images(arrays["images"], source, binary)
        extra["image"] = True
    else:
        if arrays:
            found = _from_rows(arrays, source, seed)
        elif data.startswith(NPY):
            found = _from_array(data, source, seed)
        else:
            read = _from_tables(tables, seed, skips) if tables else _from_csv(data, source, seed, skips)
            found, extra["columns"] = read
        splits, ids = _whole(found, skips)
    count = sum(map(len, ids.values()))
    request.report(count, count)
    return write_sequences(
        request.path,
        splits,
        ids=ids,
        kind="vectors",
        support="binary" if binary else "real",
        steps_per_second=None,
        source=request.origin,
        licence="unknown",
        options={"source": source.name, "seed": seed, "binary": binary},
        extra=extra | skips.extra(),
        overwrite=request.overwrite,
    )


def _from_images(images: Array, source: Path, binary: bool) -> tuple[dict[str, Iterable[Array]], dict[str, list[str]]]:
    """Images in order."""
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape:
        raise DataError(f"{source}: images is {images.dtype} {list(images.shape)}", "uint8 [N, T, X]", source)
    ends = [0, max(1, len(images) * 80 // 100), max(1, len(images) * 90 // 100), len(images)]
    splits: dict[str, Iterable[Array]] = {}
    ids = {}
    for split, start, stop in zip(SPLITS, ends, ends[1:], strict=False):
        part = images[start:stop]
        splits[split] = (x > BRIGHT if binary else x.astype(np.float32) / 255 for x in part)
        ids[split] = [f"image-{i}" for i in range(start, stop)]
    return splits, ids


def _from_rows(arrays: Mapping[str, Array], source: Path, seed: int) -> dict[str, dict[str, Array]]:
    """{split: {id: sequence}} of rows end to end."""
    if "train" not in arrays:
        raise DataError(f"{source}: no array 'train'", f"give {LAYOUTS}", source)
    found = {
        split: {f"{split}-{i}": x for i, x in enumerate(cut(arrays, split, f"{split}_len", source))}
        for split in SPLITS
        if split in arrays
    }
    if "valid" not in found:
        part = seeded_split(found["train"], seed, (90, 10, 0))
        everything = found["train"]
        found |= {s: {name: x for name, x in everything.items() if part[name] == s} for s in ("train", "valid")}
    return found


def _from_array(data: bytes, source: Path, seed: int) -> dict[str, dict[str, Array]]:
    """{split: {id: sequence}} of an npy file's content."""
    array = read_npy(data, source)
    if array.ndim != 3 or 0 in array.shape or array.dtype.kind not in "biuf":
        shape = f"{array.dtype} {list(array.shape)}"
        raise DataError(f"{source}: an array {shape}", "numbers, [sequences, steps, columns]", source)
    part = seeded_split(map(str, range(len(array))), seed)
    return {split: {f"{i}": x for i, x in enumerate(array) if part[str(i)] == split} for split in SPLITS}


def _from_tables(tables: Mapping[str, Path], seed: int, skips: Skips) -> tuple[dict[str, dict[str, Array]], list[str]]:
    """{split: {id: sequence}} of one table a sequence, and the columns that they have in common."""
    values: dict[str, Array] = {}
    columns: list[str] = []
    left = MAX_TABLE_BYTES
    for name, path in tables.items():
        data = read_file(path, left, LAYOUTS, ())
        left -= len(data)
        try:
            rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
            names = [column.strip() for column in next(rows, [])]
            kept = [i for i, column in enumerate(names) if column not in ("sequence", "split")]
            found = [names[i] for i in kept]
            if columns and found != columns:
                raise ValueError(f"its columns are {', '.join(found)[:80]!r}, and {', '.join(columns)[:80]!r} before")
            numbers = []
            for row in filter(None, rows):
                if len(row) != len(names):
                    raise ValueError(f"line {rows.line_num} has {len(row)} columns, the header {len(names)}")
                numbers.append([float(row[i]) for i in kept])
            if not found or len(set(found)) < len(found) or len(max(found, key=len)) > LONGEST_COLUMN:
                raise ValueError("no header of different names")
        except (ValueError, csv.Error) as error:  # (of which UnicodeDecodeError is one)
            skips.add(name, str(error), "file")
            continue
        columns = columns or found
        values[name.removesuffix(path.suffix)] = np.array(numbers).reshape(-1, len(found))
    part = seeded_split(values, seed)
    return {split: {name: x for name, x in values.items() if part[name] == split} for split in SPLITS}, columns


def _from_csv(data: bytes, source: Path, seed: int, skips: Skips) -> tuple[dict[str, dict[str, Array]], list[str]]:
    """{split: {id: sequence}} of a table, and its columns; rows of a sequence need not be neighbours."""

    def refuse(why: str) -> DataError:
        return DataError(f"{source}: {why}", f"give {LAYOUTS}", source)

    if len(data) > MAX_TABLE_BYTES:
        raise refuse(f"{len(data)} bytes of CSV; at most {MAX_TABLE_BYTES} are read")
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        names = [name.strip() for name in next(rows, [])]
        if "sequence" not in names or len(set(names)) < len(names) or not set(names) - {"sequence", "split"}:
            raise refuse(f"its first line is {', '.join(names)[:80]!r}: no header with `sequence` and other columns")
        if len(max(names, key=len)) > LONGEST_COLUMN:
            raise refuse(f"a column's name has {len(max(names, key=len))} characters")
        key, numbers = names.index("sequence"), [i for i, n in enumerate(names) if n not in ("sequence", "split")]
        values: dict[str, list[float]] = {}
        splits: dict[str, str] = {}
        bad: dict[str, str] = {}
        for row in filter(None, rows):
            if key >= len(row):
                raise refuse(f"line {rows.line_num} has {len(row)} columns, the header {len(names)}")
            name = row[key]
            flat = values.setdefault(name, [])
            try:
                if len(row) != len(names):
                    raise ValueError(f"{len(row)} columns, the header {len(names)}")
                flat.extend([float(row[i]) for i in numbers])
            except ValueError as error:
                bad.setdefault(name, f"line {rows.line_num}: {error}")
                continue
            if "split" in names:
                split = row[names.index("split")]
                if split not in SPLITS or splits.setdefault(name, split) != split:
                    why = "not train, valid or test" if split not in SPLITS else f"and in {splits[name]!r}"
                    raise refuse(f"line {rows.line_num}: sequence {name!r} is in split {split!r}, {why}")
    except (csv.Error, UnicodeDecodeError) as error:
        raise refuse(f"not a CSV file in UTF-8: {error}") from error
    for name, reason in bad.items():
        skips.add(name, reason)
        del values[name]
    part = splits if "split" in names else seeded_split(values, seed)
    found: dict[str, dict[str, Array]] = {split: {} for split in SPLITS}
    for name, flat in values.items():
        found[part[name]][name] = np.array(flat).reshape(-1, len(numbers))
    return found, [names[i] for i in numbers]


def _whole(
    found: Mapping[str, Mapping[str, Array]], skips: Skips
) -> tuple[dict[str, list[Array]], dict[str, list[str]]]:
    """Sequences as float32 and their ids, without those that cannot be used."""
    splits: dict[str, list[Array]] = {split: [] for split in SPLITS}
    ids: dict[str, list[str]] = {split: [] for split in SPLITS}
    for split, sequences in found.items():
        for name, x in sequences.items():
            with np.errstate(over="ignore"):
                values = x.astype(np.float32)
            bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
            if len(values) == 0 or len(bad):
                skips.add(name, f"step {bad[0]} is not finite" if len(bad) else "no steps")
                continue
            splits[split].append(values)
            ids[split].append(name)
    skips.check_left(ids["train"])
    return splits, ids
