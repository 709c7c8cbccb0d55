"""What becomes of sequences of numbers, wherever they come from: splits, pieces, outliers, offsets, and one data file.

Values arrive in float64 with NaN for what is missing, and are stored as float32. A column that float32 would flatten
(1e8 plus a signal of 2) is stored without its median, `offset` in the file's `extra`; outliers are told, or taken out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import (
    SHARES,
    Skips,
    carve_valid,
    carved_extra,
    check_shares,
    seeded_split,
    shares_option,
)
from pyro_vrnn.data.sources.request import Request
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError, at_least, choose

OUTLYING = 1e3
"""Robust deviations from the median beyond which a value is told as an outlier."""
COARSE = 1e-3
"""The share of a column's robust deviation that rounding to float32 may take before the column gets an offset."""
SAMPLED_ROWS = 200_000
BLOCK_ROWS = 1 << 16
OUTLIERS_KEPT = 20
SPLIT_BY = ("sequence", "time")


@dataclass(frozen=True, kw_only=True)
class Cut:
    """How sequences are dealt out to the splits and cut into pieces.

    Attributes:
        window: steps of a piece; whole sequences without it.
        hop: steps from one piece to the next; the window by default.
        split_by: "sequence", or "time": the end of each sequence is held out.
        splits: percentages of train, valid and test.
    """

    window: int | None = None
    hop: int | None = None
    split_by: str = "sequence"
    splits: Sequence[float] = SHARES

    def __post_init__(self) -> None:
        check_shares(self.splits)
        at_least("window", 1 if self.window is None else self.window, 1)
        at_least("hop", 1 if self.hop is None else self.hop, 1)
        if self.hop is not None and self.window is None:
            raise ConfigError(f"hop={self.hop} without a window", "give --window too")
        if self.split_by not in SPLIT_BY:
            raise choose("split_by", self.split_by, SPLIT_BY)

    def options(self) -> dict[str, Any]:
        """For the data file; nothing of what is as usual, which older files do not name."""
        found: dict[str, Any] = {} if self.window is None else {"window": self.window, "hop": self.hop}
        return found | ({} if self.split_by == "sequence" else {"split_by": self.split_by}) | shares_option(self.splits)


@dataclass
class Sequences:
    """Sequences by name, and how to read one.

    Attributes:
        read: the values of one from a step on and before another, [T, X] float64, NaN where missing.
        steps: of each; its keys are the names of all, in order.
        splits: of those whose split the source says.
        columns: names of the columns, or none.
        labels: of those that have one.
        files: names of those that are a file each, for people.
    """

    read: Callable[[str, int, int], Array]
    steps: Mapping[str, int]
    splits: Mapping[str, str] = field(default_factory=dict)
    columns: list[str] = field(default_factory=list)
    labels: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, found: Mapping[str, Array], **others: Any) -> Sequences:
        """Sequences in memory."""

        def read(name: str, start: int, stop: int) -> Array:
            return np.array(found[name][start:stop], np.float64)

        return cls(read=read, steps={name: len(x) for name, x in found.items()}, **others)

    def blocks(self, name: str, start: int = 0, stop: int | None = None) -> Iterator[tuple[int, Array]]:
        """The steps of a sequence, some at a time, with the number of the first: one may be larger than the memory."""
        stop = self.steps[name] if stop is None else stop
        for at in range(start, stop, BLOCK_ROWS):
            yield at, self.read(name, at, min(stop, at + BLOCK_ROWS))


def carved(names: Sequence[str], splits: Mapping[str, str], seed: int) -> tuple[dict[str, str], bool]:
    """The splits of a source; where it names train and test alone, with a validation split out of train."""
    there = set(splits.values())
    if there != {"train", "test"}:
        return dict(splits), False
    train = [name for name in names if splits[name] == "train"]
    if len(train) < 2:
        return dict(splits), False
    return dict(splits) | carve_valid(train, seed), True


@dataclass
class _Facts:
    """What is known of the values before any is written. [X] each."""

    median: Array
    deviation: Array
    offset: Array
    outliers: list[dict[str, Any]]
    outlier_count: int = 0
    coarse: list[int] = field(default_factory=list)
    missing: int = 0
    partial: int = 0
    none: list[int] = field(default_factory=list)

    def outlying(self, x: Array) -> Array:
        """Which values are outliers, [T, X]."""
        with np.errstate(invalid="ignore", over="ignore"):
            far = np.abs(x - self.median) > OUTLYING * self.deviation
        return np.asarray(far & (self.deviation > 0))


def write_vectors(
    request: Request,
    found: Sequences,
    skips: Skips,
    *,
    cut: Cut,
    drop_outliers: bool = False,
    steps_per_second: float | None = None,
    options: Mapping[str, Any],
    extra: Mapping[str, Any],
    source: str | None = None,
) -> DataInfo:
    """Deal sequences out to the splits, cut them, and write the data file; `source` is what it says of its origin.

    Raises:
        DataError: nothing is left to train on, or a column has no value in any training sequence.
    """
    names = _usable(found, skips)
    pieces, dealing = deal({name: found.steps[name] for name in names}, found.splits, cut, request.seed, skips)
    facts = _look(found, pieces)
    columns = found.columns or [str(j) for j in range(len(facts.median))]
    if facts.none:
        name = columns[facts.none[0]]
        raise DataError(f"{request.source}: column {name!r} has no value in train", f"leave it out: --drop {name}")
    missing = facts.missing > 0 or (drop_outliers and facts.outlier_count > 0)

    def values(split: str) -> Iterator[Array]:
        for i, (name, start, stop) in enumerate(pieces[split]):
            x = found.read(name, start, stop)
            if drop_outliers:
                x[facts.outlying(x)] = np.nan
            yield (x - facts.offset).astype(np.float32)
            request.report(i + 1, len(pieces[split]))

    about: dict[str, Any] = dict(extra)
    if found.columns:
        about["columns"] = found.columns
    if found.labels:
        about["labels"] = {s: [found.labels.get(name, "") for name, _, _ in pieces[s]] for s in SPLITS}
    if facts.offset.any():
        about["offset"] = facts.offset.tolist()
    if facts.coarse:
        about["coarse_columns"] = [columns[j] for j in facts.coarse]
    if facts.outlier_count:
        first = [{**o, "column": columns[o["column"]]} for o in facts.outliers]
        about["outliers"] = {"count": facts.outlier_count, "dropped": drop_outliers, "first": first}
    if missing:
        dropped = facts.outlier_count if drop_outliers else 0
        about |= {"missing_values": facts.missing + dropped, "partial_steps": facts.partial + dropped}
    return write_sequences(
        request.path,
        {split: values(split) for split in SPLITS},
        ids=ids_of(pieces, cut),
        kind="vectors",
        support="real",
        steps_per_second=steps_per_second,
        source=source or request.origin,
        licence="unknown",
        options={**options, **cut.options(), **({"drop_outliers": True} if drop_outliers else {})},
        extra=about | dealing | skips.extra(),
        missing=missing,
        overwrite=request.overwrite,
    )


def _usable(found: Sequences, skips: Skips) -> list[str]:
    """The sequences that have values; the others are skipped."""
    names = []
    most = float(np.finfo(np.float32).max)
    for name, steps in found.steps.items():
        empty, bad = True, None
        for at, x in found.blocks(name):
            with np.errstate(invalid="ignore"):
                wrong = np.flatnonzero((np.abs(x) > most).any(axis=1))  # an infinity too
            bad = at + int(wrong[0]) if len(wrong) and bad is None else bad
            empty = empty and bool(np.isnan(x).all())
        if steps == 0:
            skips.add(name, "no steps")
        elif bad is not None:
            skips.add(name, f"step {bad} is not finite")
        elif empty:
            skips.add(name, "no value was observed")
        else:
            names.append(name)
    return names


Pieces = dict[str, list[tuple[str, int, int]]]


def deal(
    steps: Mapping[str, int], named: Mapping[str, str], cut: Cut, seed: int, skips: Skips
) -> tuple[Pieces, dict[str, Any]]:
    """The pieces of each split, and what the data file says of how they came about.

    `steps` are those of each sequence, `named` the splits that the source says. DataError if there is none for train.
    """
    splits, new = carved([*steps], {name: named[name] for name in steps if name in named}, seed)
    if not named:
        splits = seeded_split(steps, seed, cut.splits) if cut.split_by == "sequence" else {}
    pieces, left = _pieces(steps, splits, cut, skips)
    skips.check_left([name for name, _, _ in pieces["train"]])
    return pieces, ({"steps_left_out": left} if left else {}) | carved_extra(new)


def ids_of(pieces: Pieces, cut: Cut) -> dict[str, list[str]]:
    """What the pieces of each split are called: after their sequence, with a number where it is cut."""
    return {s: [n if cut.window is None else f"{n}#{k}" for n, k in _numbered(pieces[s])] for s in SPLITS}


def _pieces(lengths: Mapping[str, int], splits: Mapping[str, str], cut: Cut, skips: Skips) -> tuple[Pieces, int]:
    """The pieces of each split, (sequence, first step, step after the last); and the steps that no piece has."""
    pieces: Pieces = {split: [] for split in SPLITS}
    left = 0
    for name, steps in lengths.items():
        if splits:
            parts = {splits[name]: (0, steps)}
        else:
            ends = np.rint(np.cumsum([0.0, *cut.splits]) / 100 * steps).astype(int).tolist()
            parts = {split: (a, b) for split, a, b in zip(SPLITS, ends, ends[1:], strict=False) if b > a}
        for split, (a, b) in parts.items():
            if cut.window is None:
                pieces[split].append((name, a, b))
                continue
            if b - a < cut.window:
                skips.add(name, f"{b - a} steps{'' if splits else f' in {split}'}, a window has {cut.window}")
                continue
            starts = range(a, b - cut.window + 1, cut.hop or cut.window)
            pieces[split] += [(name, start, start + cut.window) for start in starts]
            left += b - starts[-1] - cut.window
    return pieces, left


def _numbered(pieces: list[tuple[str, int, int]]) -> Iterator[tuple[str, int]]:
    """Pieces with their number in their sequence."""
    counts: dict[str, int] = {}
    for name, _, _ in pieces:
        counts[name] = counts.get(name, -1) + 1
        yield name, counts[name]


def _look(found: Sequences, pieces: Pieces) -> _Facts:
    """Robust statistics of the training split, then what they say of all values."""
    total = sum(stop - start for _, start, stop in pieces["train"])
    share, random = min(1.0, SAMPLED_ROWS / total), np.random.default_rng(0)
    parts, there = [], np.zeros(1, bool)
    for piece in pieces["train"]:
        for _, x in found.blocks(*piece):
            there = there | (~np.isnan(x)).any(0)
            parts.append(x if share == 1 else x[random.random(len(x)) < share])
    sample = np.concatenate(parts)
    median, deviation = np.zeros((2, sample.shape[1]))
    none = np.flatnonzero(~there).tolist()
    for j, column in enumerate(sample.T):
        seen = column[~np.isnan(column)]
        if not len(seen):
            continue
        low, median[j], high = np.quantile(seen, (0.25, 0.5, 0.75))
        deviation[j] = (high - low) / 1.349 or np.ptp(np.quantile(seen, (0.01, 0.99))) / 4.65
    facts = _Facts(median, deviation, np.zeros_like(median), [], none=none)
    top, reach = np.zeros((2, len(median)))
    for split in SPLITS:
        blocks = ((piece[0], *block) for piece in pieces[split] for block in found.blocks(*piece))
        for name, at, x in blocks:
            hole = np.isnan(x)
            facts.missing += int(hole.sum())
            facts.partial += int((hole.any(1) & ~hole.all(1)).sum())
            far = facts.outlying(x)
            if far.any():
                facts.outlier_count += int(far.sum())
                for step, j in np.argwhere(far)[: OUTLIERS_KEPT - len(facts.outliers)].tolist():
                    value = float(x[step, j])
                    facts.outliers.append(
                        {"sequence": found.files.get(name, name), "step": at + step + 1, "column": j, "value": value}
                    )
            plain = np.where(hole | far, median, x)
            top = np.maximum(top, np.abs(plain).max(0))
            reach = np.maximum(reach, np.abs(plain - median).max(0))
    fine = COARSE * np.where(deviation > 0, deviation, reach)
    coarse = (np.spacing(top.astype(np.float32)) > fine) & (fine > 0)
    facts.offset[coarse] = median[coarse]
    facts.coarse = np.flatnonzero(coarse & (np.spacing(reach.astype(np.float32)) > fine)).tolist()
    return facts
