"""Pen drawings on their way into a data file: points become steps, splits are dealt out, far moves are cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import seeded_split
from pyro_vrnn.data.sources.request import Request
from pyro_vrnn.data.writer import write_sequences

MOST_POINTS = 100_000  # of a drawing
CARVED = (95.0, 5.0, 0.0)
"""Percentages of a training split that stay, and that become validation where the source names none."""


class Drawings:
    """Drawings as they are read, and their file.

    Args:
        request: the data file that is asked for.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.skips = request.skips()
        self.found: dict[str, Any] = {}
        """What else the data file is told, in `extra`."""
        self.splits: dict[str, list[Array]] = {split: [] for split in SPLITS}
        self.ids: dict[str, list[str]] = {split: [] for split in SPLITS}
        self.labels: dict[str, str] = {}
        """What a drawing shows, by its name, where the source says so."""

    def add(self, split: str, name: str, points: Array) -> None:
        """A drawing, points [N, 3] = x, y, pen with y upwards; skipped if it cannot be used."""
        try:
            self.add_steps(split, name, offsets(points))
        except ValueError as error:
            self.skips.add(name, str(error))

    def add_steps(self, split: str, name: str, steps: Array) -> None:
        """A drawing as steps (dx, dy, pen), float32 [T, 3]."""
        self.splits[split].append(steps)
        self.ids[split].append(name)

    def deal(self, seed: int, shares: Sequence[float]) -> None:
        """Move training drawings to valid and test by the seed: `shares` are percentages of the three splits."""
        split_of = seeded_split(self.ids["train"], seed, shares)
        train = list(zip(self.ids["train"], self.splits["train"], strict=True))
        self.ids["train"], self.splits["train"] = [], []
        for name, steps in train:
            self.add_steps(split_of[name], name, steps)

    def carve(self, seed: int) -> None:
        """Make validation drawings of 5% of the training drawings, for a source that names splits but not that one."""
        self.deal(seed, CARVED)
        if self.ids["valid"]:
            self.found["carved"] = "5% of train"

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
        if self.labels:
            self.found["labels"] = {s: [self.labels.get(name, "") for name in names] for s, names in self.ids.items()}
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
            extra={"clipped_values": clipped, **self.found, **(extra or {}), **self.skips.extra()},
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
