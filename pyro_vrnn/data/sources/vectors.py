"""Sequences of numbers from tables, collections of time series, and arrays.

table     CSV, TSV and their kin (sniffing.py tells how one is written): with a column that says whose row it is, or one
          long one that is cut by time; Excel and Parquet by pandas, where it is installed
folder    of tables with the same columns, or of npy files [T, X]: a sequence each, called by their names
UEA/UCR   .ts, .arff, or .tsv of the archive, a file or a folder with _TRAIN and _TEST (uea.py)
npy       [N, T, X]: N sequences; [T, X]: one, to be cut by time
npz       train [sum of T, X] and train_len [N], and perhaps valid and test alike: rows end to end
npz       one array [N, T, X], or [sum of T, X] and an array of the lengths that sum to it
npz       images uint8 [N, T, X]: an image is T steps of X pixels, the first 80% of them train, 10% valid, 10% test
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources import uea
from pyro_vrnn.data.sources.columns import Choice, check_choice
from pyro_vrnn.data.sources.common import MAX_BYTES, SHARES, Skips, cut, find_files, read_file, read_npy, read_npz
from pyro_vrnn.data.sources.common import seeded_split as seeded
from pyro_vrnn.data.sources.finishing import Cut, Sequences, write_vectors
from pyro_vrnn.data.sources.labels import labels_of
from pyro_vrnn.data.sources.othertables import by_pandas
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.data.sources.spacing import spacing
from pyro_vrnn.data.sources.store import Store
from pyro_vrnn.data.sources.tables import SUFFIXES, Tables, size_of
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError

BRIGHT = 127  # a pixel above it is a 1
NPY = b"\x93NUMPY"
WORKBOOKS = (".xlsx", ".xls", ".parquet")
LAYOUTS = (
    "a table with a column `sequence`, a folder of tables, a UEA .ts, .tsv or .arff, an npy [N, T, X], or an npz with "
    "train and train_len or images"
)


@reads
def prepare(
    request: Request,
    *,
    columns: Sequence[str] = (),
    drop: Sequence[str] = (),
    one_hot: Sequence[str] = (),
    sequence: str | None = None,
    missing: Sequence[str] = (),
    window: int | None = None,
    hop: int | None = None,
    split_by: str = "sequence",
    splits: Sequence[float] = SHARES,
    drop_outliers: bool = False,
    binary: bool = False,
) -> DataInfo:
    """Write sequences of numbers to a data file, float32 [T, X] (bits of images: uint8).

    What does not name splits is split by sequence, 80/10/10; a source of train and test alone gives 5% of its training
    sequences to validation (an npz a tenth). Empty cells, NA, NaN and null are missing values. Sequences that are
    empty, ragged or not finite are skipped and listed in the file. The names of a table's columns are kept, and so is
    that a sequence is an image: `columns` and `image` in the file's `extra`, where there are also the column of time
    and its spacing, what was left out as a row's number, outliers, labels, and offsets (finishing.py).

    Args:
        request: its source is a file or folder, see LAYOUTS; its progress is told bytes, then sequences.
        columns: the columns of a table to keep; all that are numbers by default.
        drop: columns to leave out.
        one_hot: columns of text, which become a column of 0 and 1 for each of their values.
        sequence: the column that says whose row it is; `sequence` by default.
        missing: cells that say that nothing was observed, beside the usual ones, such as -999.
        window: steps of a piece; whole sequences without it.
        hop: steps from one piece to the next; the window by default.
        split_by: "sequence", or "time": the end of each sequence is held out.
        splits: percentages of train, valid and test.
        drop_outliers: make a missing value of what is more than a thousand robust deviations from its column's median.
        binary: whether pixels of images above 127 become 1 and others 0; otherwise they are divided by 255.

    Raises:
        DataError: the source is missing, damaged, hostile or none of the layouts, or nothing is left to train on.
        ConfigError: the file exists, `binary` without images, or options that contradict each other.
    """
    how = Cut(window=window, hop=hop, split_by=split_by, splits=splits)
    choice = Choice(tuple(columns), tuple(drop), tuple(one_hot), sequence)
    check_choice(choice)
    source, skips = request.source, request.skips()
    options: dict[str, Any] = {"source": source.name, "seed": request.seed, "binary": binary}
    asked = {"columns": columns, "drop": drop, "one_hot": one_hot, "missing": missing, "sequence": sequence}
    options |= {name: value if isinstance(value, str) else list(value) for name, value in asked.items() if value}
    if (collection := uea.find(source)) is not None:
        _refuse_binary(binary, source)
        found = uea.read(collection, skips)
        return write_vectors(request, found, skips, cut=how, drop_outliers=drop_outliers, options=options, extra={})
    tables = _tables(source, skips)
    if tables:
        _refuse_binary(binary, source)
        folder = request.path.parent
        with Store(folder) as store, tempfile.TemporaryDirectory() as scratch:
            reader = Tables(
                store, choice, missing, skips, lambda done: request.report(done, size_of([*tables.values()]))
            )
            for name, path in tables.items():
                _add(reader, path, None if len(tables) == 1 and not source.is_dir() else name, Path(scratch), skips)
            return _from_tables(request, reader, skips, how, drop_outliers, options)
    arrays = _arrays(source, skips)
    if "images" in arrays:
        return _images(request, arrays["images"], binary, options, skips)
    _refuse_binary(binary, source)
    found = _from_arrays(arrays, source, request.seed)
    if not found.splits:
        _refuse_alone(found.steps, how, source)
    return write_vectors(request, found, skips, cut=how, drop_outliers=drop_outliers, options=options, extra={})


def _refuse_binary(binary: bool, source: Path) -> None:
    if binary:
        raise ConfigError(f"{source}: --binary is for an npz of images", "leave it out")


def _refuse_alone(steps: Mapping[str, int], how: Cut, source: Path) -> None:
    """DataError for one sequence that is to be dealt out to three splits."""
    if len(steps) == 1 and how.split_by == "sequence":
        raise DataError(
            f"{source}: one sequence of {sum(steps.values())} rows, and nothing says whose row it is",
            "--split-by time holds its end out (with --window N in pieces of N rows), or --sequence COLUMN",
            source,
        )


def _tables(source: Path, skips: Skips) -> dict[str, Path]:
    """The tables of a source by name: a file, or those of a folder; none if it holds arrays."""
    if not source.is_dir():
        plain = source.is_file() and not _is_array(source)
        return {source.stem: source} if plain or source.suffix.lower() in (*SUFFIXES, *WORKBOOKS) else {}
    endings = {path.suffix.lower() for path in source.rglob("*") if path.is_file()}
    if not endings & {*SUFFIXES, *WORKBOOKS}:
        return {}
    some = (".csv",) if ".csv" in endings else tuple(sorted(endings & {*SUFFIXES, *WORKBOOKS}))
    files = find_files(source, some, skips)
    return {name.removesuffix(path.suffix): path for name, path in files.items()}


def _is_array(path: Path) -> bool:
    """Whether a file is an npy or npz by its first bytes (or a zip that is a workbook by its name)."""
    with open(path, "rb") as file:
        head = file.read(6)
    return head == NPY or (head.startswith(b"PK") and path.suffix.lower() not in WORKBOOKS)


def _add(reader: Tables, path: Path, name: str | None, scratch: Path, skips: Skips) -> None:
    """Read one table; of several, one that cannot be read is skipped."""
    try:
        reader.add(by_pandas(path, scratch) if path.suffix.lower() in WORKBOOKS else path, name)
    except DataError as error:
        if name is None or ("column" in error.message.split("'")[0] and not reader.found.runs):
            raise
        skips.add(f"{name}{path.suffix}", error.message.removeprefix(f"{path}: "), "file")


def _from_tables(
    request: Request, reader: Tables, skips: Skips, how: Cut, drop_outliers: bool, options: Mapping[str, Any]
) -> DataInfo:
    """Write what the tables hold."""
    table, source = reader.found, request.source
    if table.roles is None:
        skips.check_left([])
    roles = table.roles
    assert roles is not None
    if roles.sequence is None:
        _refuse_alone(table.steps, how, source)
    table.sort()
    extra: dict[str, Any] = {}
    rate = None
    if roles.time is not None:
        rate, extra["time"] = spacing(table, roles)
    if roles.dropped:
        extra["dropped_columns"] = roles.dropped
    if table.unsorted:
        extra["resorted"] = len(table.unsorted)
    found = Sequences(read=table.read, steps=table.steps, splits=table.splits, columns=table.columns, files=table.files)
    return write_vectors(
        request,
        found,
        skips,
        cut=how,
        drop_outliers=drop_outliers,
        steps_per_second=rate,
        options=options,
        extra=extra,
    )


def _arrays(source: Path, skips: Skips) -> dict[str, Array]:
    """The arrays of an npy or npz, or of a folder of npy files, by name."""
    if source.is_dir() and any(source.rglob("*.npy")):
        files = find_files(source, (".npy",), skips)
        found = {
            name.removesuffix(path.suffix): read_npy(read_file(path, MAX_BYTES, LAYOUTS, ()), path)
            for name, path in files.items()
        }
        return {f"sequence:{name}": x for name, x in found.items()}
    data = read_file(source, MAX_BYTES, LAYOUTS, (".csv", ".npy", ".npz"))
    if data.startswith(NPY):
        return {"": read_npy(data, source)}
    return read_npz(data, source)


def _from_arrays(arrays: Mapping[str, Array], source: Path, seed: int) -> Sequences:
    """Sequences of arrays: of a folder, rows end to end with lengths, or one array of three dimensions."""
    if arrays and all(name.startswith("sequence:") for name in arrays):
        found = {name.removeprefix("sequence:"): _one(x, source, name) for name, x in arrays.items()}
        widths = {x.shape[1] for x in found.values()}
        if len(widths) > 1:
            raise DataError(f"{source}: arrays of {min(widths)} and of {max(widths)} columns", "arrays [T, X]", source)
        return Sequences.of(found)
    if "train" in arrays:
        return _from_rows(arrays, source, seed)
    if "" in arrays and arrays[""].ndim != 3:
        found = {"0": _one(arrays[""], source, "")}
        return Sequences.of(found)
    numbers = {name: x for name, x in arrays.items() if x.dtype.kind in "biuf"}
    large = {name: x for name, x in numbers.items() if x.ndim in (2, 3)}
    lists = {name: x for name, x in numbers.items() if x.ndim == 1 and x.dtype.kind in "iu"}
    if len(large) == 1:
        [(name, x)] = large.items()
        if x.ndim == 3 and 0 not in x.shape:
            return Sequences.of({f"{i}": rows for i, rows in enumerate(x)})
        for other, lengths in lists.items():
            if (lengths >= 0).all() and sum(lengths.tolist()) == len(x):
                return Sequences.of({f"{i}": rows for i, rows in enumerate(cut(arrays, name, other, source))})
        if x.ndim == 2 and len(x) and not name.startswith(SPLITS):
            return Sequences.of({"0": x})
    shapes = ", ".join(f"{name or 'an array'} {x.dtype} {list(x.shape)}" for name, x in list(arrays.items())[:5])
    if list(arrays) == [""]:
        raise DataError(f"{source}: {shapes}", "numbers, [sequences, steps, columns]", source)
    raise DataError(f"{source}: no array 'train'; it has {shapes or 'none'}", f"give {LAYOUTS}", source)


def _one(x: Array, source: Path, name: str) -> Array:
    """One sequence [T, X], of numbers; [T] is one column."""
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or 0 in x.shape or x.dtype.kind not in "biuf":
        what = f"{name.removeprefix('sequence:')} is " if name else ""
        raise DataError(f"{source}: {what}an array {x.dtype} {list(x.shape)}", "numbers, [steps, columns]", source)
    return x


def _from_rows(arrays: Mapping[str, Array], source: Path, seed: int) -> Sequences:
    """Rows end to end, by split; without `valid` a tenth of train becomes it."""
    found: dict[str, Array] = {}
    splits: dict[str, str] = {}
    labels: dict[str, str] = {}
    for split in SPLITS:
        if split in arrays:
            parts = {f"{split}-{i}": x for i, x in enumerate(cut(arrays, split, f"{split}_len", source))}
            found |= parts
            splits |= dict.fromkeys(parts, split)
            labels |= dict(zip(parts, labels_of(arrays, split, len(parts)) or (), strict=False))
    widths = {x.shape[1] for x in found.values()}
    if len(widths) > 1:
        raise DataError(f"{source}: splits of {min(widths)} and of {max(widths)} values a step", path=source)
    if "valid" not in arrays:
        splits |= seeded([name for name, split in splits.items() if split == "train"], seed, (90, 10, 0))
    return Sequences.of(found, splits=splits, labels=labels)


def _images(request: Request, images: Array, binary: bool, options: Mapping[str, Any], skips: Skips) -> DataInfo:
    """Images in order."""
    source = request.source
    if images.dtype != np.uint8 or images.ndim != 3 or 0 in images.shape:
        raise DataError(f"{source}: images is {images.dtype} {list(images.shape)}", "uint8 [N, T, X]", source)
    ends = [0, max(1, len(images) * 80 // 100), max(1, len(images) * 90 // 100), len(images)]
    splits: dict[str, Iterable[Array]] = {}
    ids = {}
    for split, start, stop in zip(SPLITS, ends, ends[1:], strict=False):
        part = images[start:stop]
        splits[split] = (x > BRIGHT if binary else x.astype(np.float32) / 255 for x in part)
        ids[split] = [f"image-{i}" for i in range(start, stop)]
    request.report(len(images), len(images))
    return write_sequences(
        request.path,
        splits,
        ids=ids,
        kind="vectors",
        support="binary" if binary else "real",
        steps_per_second=None,
        source=request.origin,
        licence="unknown",
        options=options,
        extra={"image": True} | skips.extra(),
        overwrite=request.overwrite,
    )
