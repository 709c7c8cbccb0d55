"""Sequences of numbers from a CSV or npz file, and what readers of other sources share with it.

CSV     a header; a column `sequence` that says whose row it is, perhaps one `split`; all others are numbers
npz     train [sum of T, X] and train_len [N], and perhaps valid and test alike: rows end to end
npz     images uint8 [N, T, X]: an image is T steps of X pixels, the first 80% of them train, 10% valid, 10% test
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from pyro_vrnn.errors import ConfigError, DataError
from pyro_vrnn.sources.common import MAX_BYTES, MAX_TABLE_BYTES, Skips, cut, read_file, read_npz, seeded_split
from pyro_vrnn.storage import SPLITS, Array, DataInfo
from pyro_vrnn.writing import check_free, write_sequences

BRIGHT = 127  # a pixel above it is a 1
LAYOUTS = "a CSV with a column `sequence`, or an npz with train and train_len, or with images"


def prepare(
    path: str | Path,
    *,
    source: str | Path,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
    seed: int = 0,
    strict: bool = False,
    binary: bool = False,
) -> DataInfo:
    """Write sequences of numbers to a data file, float32 [T, X] (bits of images: uint8).

    A CSV without a column `split` is split by sequence, 80/10/10; an npz without `valid` gives a tenth of its training
    sequences to it. Sequences that are empty, ragged or not finite are skipped and listed in the file.

    Args:
        path: the file to make.
        source: the file to read; LAYOUTS.
        overwrite: replace an existing file.
        progress: told (sequences, sequences) at the end.
        seed: of the split.
        strict: nothing is skipped: DataError.
        binary: of images, pixels above 127 to 1 and others to 0; without it they are divided by 255.

    Raises:
        DataError: the source is missing, damaged, hostile or none of the layouts, or nothing is left to train on.
        ConfigError: the file exists, or `binary` without images.
    """
    check_free(path, overwrite)
    source = Path(source)
    skips = Skips(source, strict)
    splits: Mapping[str, Iterable[Array]]
    data = read_file(source, MAX_BYTES, LAYOUTS, (".csv", ".npz"))
    arrays = read_npz(data, source) if data.startswith(b"PK") else {}
    if binary and "images" not in arrays:
        raise ConfigError(f"{source}: --binary is for an npz of images", "leave it out")
    if "images" in arrays:
        splits, ids = _from_images(arrays["images"], source, binary)
    else:
        found = _from_rows(arrays, source, seed) if arrays else _from_csv(data, source, seed, skips)
        splits, ids = _whole(found, skips)
    if progress is not None:
        progress(sum(map(len, ids.values())), sum(map(len, ids.values())))
    return write_sequences(
        path,
        splits,
        ids=ids,
        kind="vectors",
        support="binary" if binary else "real",
        steps_per_second=None,
        source=f"the file {source.name}",
        licence="unknown",
        options={"source": source.name, "seed": seed, "binary": binary},
        extra=skips.extra(),
        overwrite=overwrite,
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


def _from_csv(data: bytes, source: Path, seed: int, skips: Skips) -> dict[str, dict[str, Array]]:
    """{split: {id: sequence}} of a table; rows of a sequence need not be neighbours."""

    def refuse(why: str) -> DataError:
        return DataError(f"{source}: {why}", f"give {LAYOUTS}", source)

    if len(data) > MAX_TABLE_BYTES:
        raise refuse(f"{len(data)} bytes of CSV; at most {MAX_TABLE_BYTES} are read")
    try:
        rows = csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        names = [name.strip() for name in next(rows, [])]
        if "sequence" not in names or len(set(names)) < len(names) or not set(names) - {"sequence", "split"}:
            raise refuse(f"its first line is {', '.join(names)[:80]!r}: no header with `sequence` and other columns")
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
    return found


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


# ------------------------------------------------------------------------------------------- for other sources
