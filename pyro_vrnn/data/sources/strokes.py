"""Pen drawings as steps (dx, dy, pen), from one of these layouts.

    npz     train, test [sum of N, 3] = x, y, pen, and *_len, perhaps *_writer and *_label; y upwards (pen digits)
    npz     points [sum of N, 2], pen_up, length, perhaps drawer; y upwards (Omniglot)
    npz     train, valid, test, pickled arrays of drawings: sketch-rnn's (sketchrnn.py)
    folder  trainimg-K-inputdata.txt, testimg-K-inputdata.txt, lines "dx dy eos eod", y downwards
            (Edwin de Jong's MNIST digits as stroke sequences, 2016)
    JSON    a list of drawings; a drawing is a list of strokes, a stroke a list of points [x, y], y upwards
    ndjson  a drawing a line, or a folder of such files: Quick, Draw! (quickdraw.py)
    InkML   and UNIPEN: a drawing a file, or a folder of them (inkml.py, unipen.py)

A drawing of N points becomes N - 1 steps: the way from the point before, and 1 at the last point before the pen is
lifted. y points upwards. Where the first point was is not kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources import inkml, quickdraw, sketchrnn, unipen
from pyro_vrnn.data.sources.common import (
    MAX_BYTES,
    MAX_TABLE_BYTES,
    SHARES,
    cut,
    find_files,
    instead_of,
    is_hidden,
    read_npz,
    seeded_split,
)
from pyro_vrnn.data.sources.drawings import Drawings, joined
from pyro_vrnn.data.sources.labels import labels_of
from pyro_vrnn.data.sources.plain_xml import DoctypeError
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.system.errors import DataError, at_least
from pyro_vrnn.system.files import read_plain_file

MAX_TEXT_BYTES = 2 * 2**20  # of an MNIST stroke file
MNIST_NAME = re.compile(r"(train|test)img-(\d+)-inputdata\.txt")
MAX_INK_BYTES = 8 * 2**20  # of a file that is one drawing
INK: Mapping[str, Callable[[bytes], Array]] = {".inkml": inkml.read_ink, ".dat": unipen.read_ink}
"""Files that are one drawing each: the endings, and what reads points [N, 3] from their content."""
LAYOUTS = (
    "an npz with x, y, pen or of sketch-rnn, Quick, Draw! .ndjson, .inkml, UNIPEN .dat, "
    "a folder of *img-*-inputdata.txt, or JSON drawings of strokes of [x, y]"
)


@reads
def prepare(
    request: Request,
    *,
    clip: float = 10.0,
) -> DataInfo:
    """Write drawings to a data file, float32 [T, 3], in the units of the source.

    Splits that the source names are kept. Where it names train but not valid, validation drawings are by other hands
    if it says whose hand it was (of train and test arrays the writers with the highest numbers, a sixth of them), else
    5% of train by the seed, one at least (`carved` in the file). Where it names no split, 80/10/10 of the drawers in
    order, or of the drawings by the seed.

    Drawings of fewer than 2 points or more than 100,000, that are ragged or not finite, or whose pen never changes, are
    skipped and listed in the file.

    Args:
        request: its source is a file or folder, see LAYOUTS; its progress counts the files of a folder.
        clip: dx and dy are cut at so many deviations from their mean, both of the training split; how many were is
            in the file (`clipped_values`).

    Raises:
        DataError: the source is missing, damaged, hostile or none of the layouts, or nothing is left to train on.
        ConfigError: the file exists, or clip is below 1.
    """
    at_least("clip", clip, 1)
    source, seed = request.source, request.seed
    drawings = Drawings(request)
    if source.is_dir():
        _from_folder(drawings)
    elif source.suffix.lower() == quickdraw.ENDING:
        quickdraw.read({source.name: source}, drawings)
    elif source.suffix.lower() in INK:
        _from_ink({source.name: source}, drawings)
    else:
        data = read_plain_file(source, MAX_BYTES)
        if data.startswith(b"PK"):
            if sketchrnn.holds_objects(data):
                sketchrnn.read(data, drawings)
            else:
                _from_npz(read_npz(data, source), source, drawings, seed)
        elif data.lstrip()[:1] == b"[":
            _from_json(data, source, drawings, seed)
        elif data[:1] == b"{" and b'"drawing"' in data[: quickdraw.MAX_LINE_BYTES].partition(b"\n")[0]:
            quickdraw.read({source.name: source}, drawings)
        else:
            raise DataError(f"{source}: none of the layouts that are read", f"give {LAYOUTS}", source)
    return drawings.write(clip=clip, options={"seed": seed})


def _from_npz(arrays: dict[str, Array], source: Path, drawings: Drawings, seed: int) -> None:
    """Both layouts of arrays."""
    if "points" in arrays:
        points, pen = arrays["points"], arrays.get("pen_up", np.zeros(0))
        if points.ndim != 2 or points.shape[1] != 2 or pen.shape != points.shape[:1]:
            raise DataError(f"{source}: no points [N, 2] with pen_up [N]", f"give {LAYOUTS}", source)
        found = cut({**arrays, "points": np.column_stack([points, pen])}, "points", "length", source)
        hands = _hands(arrays, "drawer", len(found), source)
        drawings.add_all("drawing", found, _by_seed(len(found), seed) if hands is None else by_hand(hands, 10, 10))
        return
    if "train" not in arrays:
        held = ", ".join(sorted(arrays))[:80] or "nothing"
        raise DataError(f"{source}: array 'train' is missing; it has {held}", f"give {LAYOUTS}", source)
    carve = "valid" not in arrays
    for part in [split for split in SPLITS if split in arrays]:
        found = cut(arrays, part, f"{part}_len", source)
        if arrays[part].shape[1] != 3:
            raise DataError(f"{source}: {part} has {arrays[part].shape[1]} columns, not x, y, pen", LAYOUTS, source)
        split_of = [part] * len(found)
        if part == "train" and "valid" not in arrays:
            hands = _hands(arrays, "train_writer", len(found), source)
            split_of = split_of if hands is None else by_hand(hands, 6)
            carve = hands is None
        drawings.add_all(part, found, split_of)
        names = [f"{part}-{i}" for i in range(len(found))]
        drawings.labels |= dict(zip(names, labels_of(arrays, part, len(found)) or (), strict=False))
    if carve:
        drawings.carve(seed)


def _hands(arrays: dict[str, Array], name: str, drawings: int, source: Path) -> Array | None:
    """Whose hand made each drawing, [N] whole numbers; None if the source does not say."""
    hands = arrays.get(name)
    if hands is not None and (hands.shape != (drawings,) or hands.dtype.kind not in "iu"):
        raise DataError(f"{source}: {name} is not a whole number for each drawing", f"{drawings} of them", source)
    return hands


def by_hand(hands: Array, valid: int, test: int | None = None) -> list[str]:
    """A split for each drawing [N], all drawings of a hand in one, in the order of the hands' numbers.

    The last of `test` parts of the hands are test's, if given, and before them one of `valid` parts is valid's; each
    of them gets one hand or more as long as train keeps the first.
    """
    known = np.unique(hands)
    rank = np.searchsorted(known, hands)
    tests = len(known) - (max(1, len(known) // test) if test else 0)
    valids = tests - max(1, len(known) // valid)
    split = np.where(rank >= tests, "test", np.where(rank >= valids, "valid", "train"))
    return np.where(rank == 0, "train", split).tolist()


def _by_seed(drawings: int, seed: int) -> list[str]:
    """A split for each drawing [N]."""
    names = [str(i) for i in range(drawings)]
    split = seeded_split(names, seed)
    return [split[name] for name in names]


def _from_json(data: bytes, source: Path, drawings: Drawings, seed: int) -> None:
    """Lists of lists of lists of points."""
    if len(data) > MAX_TABLE_BYTES:
        raise DataError(f"{source}: {len(data)} bytes of JSON", f"at most {MAX_TABLE_BYTES} are read", source)
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: JSON that cannot be read: {error}", f"give {LAYOUTS}", source) from error
    for i, (strokes, split) in enumerate(zip(found, _by_seed(len(found), seed), strict=True)):
        try:
            points = joined(strokes)
        except (ValueError, TypeError, OverflowError) as error:
            drawings.skips.add(f"drawing-{i}", f"not a list of strokes of [x, y]: {str(error).splitlines()[0]}")
            continue
        drawings.add(split, f"drawing-{i}", points)


def _from_folder(drawings: Drawings) -> None:
    """Read MNIST stroke files, or else the files with one of the other endings, at any depth."""
    folder = drawings.request.source
    digits = sorted((m[1], int(m[2]), m[0]) for m in (MNIST_NAME.fullmatch(p.name) for p in folder.iterdir()) if m)
    if digits:
        _from_digits({name: split for split, _, name in digits}, drawings)
        return
    there = {p.suffix.lower() for p in folder.rglob("*") if not is_hidden(p.relative_to(folder))}
    endings = [ending for ending in (quickdraw.ENDING, *INK) if ending in there]
    if not endings:
        hint = instead_of(folder, LAYOUTS, (".npz", ".json"))
        raise DataError(f"{folder}: no pen drawings in it", hint, folder)
    if len(endings) > 1:
        raise DataError(f"{folder}: {' and '.join(endings)} files in it", "give a folder of one kind", folder)
    files = find_files(folder, endings, drawings.skips)
    if endings == [quickdraw.ENDING]:
        quickdraw.read(files, drawings)
    else:
        _from_ink(files, drawings)


def _from_digits(split_of: Mapping[str, str], drawings: Drawings) -> None:
    """Read one drawing per file."""
    folder = drawings.request.source
    for done, (name, split) in enumerate(split_of.items(), start=1):
        if (points := _read_one(folder / name, name, MAX_TEXT_BYTES, _read_mnist, drawings)) is not None:
            drawings.add(split, name.removesuffix("-inputdata.txt"), points)
        drawings.request.report(done, len(split_of))
    drawings.carve(drawings.request.seed)


def _from_ink(files: Mapping[str, Path], drawings: Drawings) -> None:
    """Read one drawing per file; a DOCTYPE ends it all."""
    for done, (name, file) in enumerate(files.items(), start=1):
        points = _read_one(file, name, MAX_INK_BYTES, INK[file.suffix.lower()], drawings)
        if points is not None:
            drawings.add("train", name[: -len(file.suffix)], points)
        drawings.request.report(done, len(files))
    if len(files) == 1 and drawings.skips.kept:
        raise DataError(f"{file}: {drawings.skips.kept[0]['reason']}", f"give {LAYOUTS}", file)
    drawings.deal(drawings.request.seed, SHARES)


def _read_one(
    file: Path, name: str, limit: int, points_of: Callable[[bytes], Array], drawings: Drawings
) -> Array | None:
    """The points of a file of one drawing; None, and it is among what was skipped, if it cannot be read."""
    try:
        return points_of(read_plain_file(file, limit))
    except DoctypeError as error:
        raise DataError(f"{file}: {error}", "ink needs none; remove it, or the file", file) from error
    except DataError as error:
        drawings.skips.add(name, error.message.removeprefix(f"{file}: "), "file")
    except ValueError as error:
        drawings.skips.add(name, str(error), "file")
    return None


def _read_mnist(data: bytes) -> Array:
    """Lines "dx dy eos eod" as points [N, 3], y upwards. (A stroke ends with a line of no movement: it stays.)

    Raises:
        ValueError: another number of columns, or no numbers.
    """
    rows = [line.split() for line in data.decode("ascii").splitlines()]
    for number, row in enumerate(rows, start=1):
        if len(row) != 4:
            raise ValueError(f"line {number} has {len(row)} columns, not dx dy eos eod")
    values = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return np.column_stack([values[:, 0].cumsum(), -values[:, 1].cumsum(), values[:, 2]])
