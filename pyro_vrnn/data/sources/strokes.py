"""Pen drawings as steps (dx, dy, pen), from one of four layouts.

    npz     train, test [sum of N, 3] = x, y, pen, and *_len, perhaps *_writer; y upwards (the pen digits)
    npz     points [sum of N, 2], pen_up, length, perhaps drawer; y upwards (Omniglot)
    folder  trainimg-K-inputdata.txt, testimg-K-inputdata.txt, lines "dx dy eos eod", y downwards
            (Edwin de Jong's MNIST digits as stroke sequences, 2016)
    JSON    a list of drawings; a drawing is a list of strokes, a stroke a list of points [x, y], y upwards

A drawing of N points becomes N - 1 steps: the way from the point before, and 1 at the last point before the pen is
lifted. y points upwards. Where the first point was is not kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import MAX_BYTES, MAX_TABLE_BYTES, cut, instead_of, read_npz, seeded_split
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import DataError, at_least
from pyro_vrnn.system.files import read_plain_file

MOST_POINTS = 100_000  # of a drawing
MAX_TEXT_BYTES = 2 * 2**20  # of an MNIST stroke file
MNIST_NAME = re.compile(r"(train|test)img-(\d+)-inputdata\.txt")
LAYOUTS = "an npz with x, y, pen, a folder of *img-*-inputdata.txt, or JSON drawings of strokes of [x, y]"


@reads
def prepare(
    request: Request,
    *,
    clip: float = 10.0,
) -> DataInfo:
    """Write drawings to a data file, float32 [T, 3], in the units of the source.

    Validation drawings are by other hands where the source says whose hand it was: of train and test arrays the
    writers with the highest numbers, a sixth of them; of points with a drawer 80/10/10 of the drawers in order. Else
    a tenth is chosen by the seed, and a tenth for test where the source has no test drawings.

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
    else:
        data = read_plain_file(source, MAX_BYTES)
        if data.startswith(b"PK"):
            _from_npz(read_npz(data, source), source, drawings, seed)
        elif data.lstrip()[:1] == b"[":
            _from_json(data, source, drawings, seed)
        else:
            raise DataError(f"{source}: none of the layouts that are read", f"give {LAYOUTS}", source)
    return drawings.write(clip=clip, options={"seed": seed})


class Drawings:
    """Drawings as they are read, and their file.

    Args:
        request: the data file that is asked for.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.skips = request.skips()
        self.splits: dict[str, list[Array]] = {split: [] for split in SPLITS}
        self.ids: dict[str, list[str]] = {split: [] for split in SPLITS}

    def add(self, split: str, name: str, points: Array) -> None:
        """A drawing, points [N, 3] = x, y, pen with y upwards; skipped if it cannot be used."""
        try:
            steps = offsets(points)
        except ValueError as error:
            self.skips.add(name, str(error))
            return
        self.splits[split].append(steps)
        self.ids[split].append(name)

    def add_all(self, name: str, drawings: Sequence[Array], splits: Sequence[str]) -> None:
        """Drawings [N, 3] of these splits, called name-0, name-1, ..."""
        for i, (points, split) in enumerate(zip(drawings, splits, strict=True)):
            self.add(split, f"{name}-{i}", points)

    def write(
        self,
        *,
        clip: float,
        options: dict[str, Any],
        extra: dict[str, Any] | None = None,
        source: str | None = None,
        licence: str = "unknown",
    ) -> DataInfo:
        """The data file; `clip` as in `prepare`."""
        self.skips.check_left(self.ids["train"])
        clipped = clip_offsets(self.splits, clip)
        return write_sequences(
            self.request.path,
            self.splits,
            ids=self.ids,
            kind="strokes",
            support="real",
            steps_per_second=None,
            source=source or self.request.origin,
            licence=licence,
            options={"source": self.request.source.name, "clip": clip, **options},
            extra={"clipped_values": clipped, **(extra or {}), **self.skips.extra()},
            overwrite=self.request.overwrite,
        )


def offsets(points: Array) -> Array:
    """Points [N, 3] = x, y, pen as steps (dx, dy, pen), float32 [N - 1, 3].

    Raises:
        ValueError: too few or too many points, not finite, or a pen that is not 0 and 1 or never changes.
    """
    if not 2 <= len(points) <= MOST_POINTS:
        raise ValueError(f"{len(points)} points; 2 to {MOST_POINTS} can be used")
    points = points.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is not finite below
        steps = np.concatenate([np.diff(points[:, :2], axis=0), points[1:, 2:]], axis=1).astype(np.float32)
    bad = np.flatnonzero(~np.isfinite(steps).all(axis=1))
    if len(bad):
        raise ValueError(f"point {bad[0]} or {bad[0] + 1} is not finite, or too far away")
    pen = points[:, 2]
    if not np.isin(pen, (0, 1)).all():
        raise ValueError(f"a pen of {pen[~np.isin(pen, (0, 1))][0]:g}, not 0 or 1")
    if (pen == pen[0]).all():
        raise ValueError(f"the pen is {pen[0]:g} at every point")
    return steps


def clip_offsets(splits: dict[str, list[Array]], clip: float) -> int:
    """Cut dx and dy in place at `clip` deviations of the training split from its mean; how many values were cut."""
    train = np.concatenate(splits["train"])[:, :2].astype(np.float64)
    mean, std = train.mean(axis=0), train.std(axis=0)
    reach = np.where(std > 0, clip * std, np.inf)  # a column that never changes has no scale to clip by
    low, high = (mean - reach).astype(np.float32), (mean + reach).astype(np.float32)
    clipped = 0
    for sequences in splits.values():
        for steps in sequences:
            before = steps[:, :2].copy()
            np.clip(before, low, high, out=steps[:, :2])
            clipped += int((steps[:, :2] != before).sum())
    return clipped


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
    for part in [split for split in SPLITS if split in arrays]:
        found = cut(arrays, part, f"{part}_len", source)
        if arrays[part].shape[1] != 3:
            raise DataError(f"{source}: {part} has {arrays[part].shape[1]} columns, not x, y, pen", LAYOUTS, source)
        split_of = [part] * len(found)
        if part == "train" and "valid" not in arrays:
            hands = _hands(arrays, "train_writer", len(found), source)
            split_of = _by_seed(len(found), seed, (90, 10, 0)) if hands is None else by_hand(hands, 6)
        drawings.add_all(part, found, split_of)


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


def _by_seed(drawings: int, seed: int, shares: tuple[int, int, int] = (80, 10, 10)) -> list[str]:
    """A split for each drawing [N]."""
    names = [str(i) for i in range(drawings)]
    split = seeded_split(names, seed, shares)
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


def joined(strokes: Any) -> Array:
    """Strokes, each a list of [x, y], as points [N, 3] = x, y, pen; an empty stroke is passed over.

    Raises:
        ValueError, TypeError, OverflowError: they are something else.
    """
    parts = [np.zeros((0, 3))]
    for stroke in strokes:
        if len(stroke) > 0:
            points = np.array(stroke, dtype=np.float64)
            if points.ndim != 2 or points.shape[1] != 2:
                raise ValueError(f"a stroke of shape {list(points.shape)}")
            pen = np.zeros((len(points), 1))
            pen[-1] = 1
            parts.append(np.concatenate([points, pen], axis=1))
    return np.concatenate(parts)


def _from_folder(drawings: Drawings) -> None:
    """Read one drawing per file; a tenth of the training files goes to valid."""
    folder, seed = drawings.request.source, drawings.request.seed
    found = sorted((m[1], int(m[2]), m[0]) for m in (MNIST_NAME.fullmatch(p.name) for p in folder.iterdir()) if m)
    if not found:
        hint = instead_of(folder, LAYOUTS, (".npz", ".json"))
        raise DataError(f"{folder}: no pen drawings in it", hint, folder)
    part = seeded_split([name for split, _, name in found if split == "train"], seed, (90, 10, 0))
    for done, (_, _, name) in enumerate(found, start=1):
        try:
            points = _read_mnist(read_plain_file(folder / name, MAX_TEXT_BYTES))
        except DataError as error:
            drawings.skips.add(name, error.message.removeprefix(f"{folder / name}: "), "file")
        except ValueError as error:
            drawings.skips.add(name, str(error), "file")
        else:
            drawings.add(part.get(name, "test"), name.removesuffix("-inputdata.txt"), points)
        drawings.request.report(done, len(found))


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
