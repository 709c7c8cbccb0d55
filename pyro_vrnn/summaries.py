"""What a data set is like: counts, and the scores of two simple references. Streams; no torch here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.errors import DataError
from pyro_vrnn.storage import SPLITS, Array, DataInfo, read_info, read_split, unscored


def floors(path: str | Path) -> dict[str, float]:
    """What two models without a network score on the test split of binary data, in nats a step.

    "independent": every column is a coin with its rate in the training split. "last": every column is a coin
    given only its own previous value; the first step of a sequence, which has none, is scored by the first
    model, and no pair of steps crosses the border of two sequences. A rate is (ones + 1/2) / (steps + 1).
    The average is over steps: the sum of all -log p over the number of test steps.

    Raises:
        DataError: not binary, or no test sequence; else as `read_info`.
    """
    info = read_info(path)
    if info.support != "binary":
        raise DataError(f"{path}: {info.support} data has no such floor", "only binary data has one", path)
    if not info.splits["test"].sequences:
        raise DataError(f"{path}: the test split is empty", "floors are measured on it", path)
    return _floors(_Pairs(info, "train"), _Pairs(info, "test"), firsts=not unscored(info))


class _Pairs:
    """How often each column is 0 or 1, [2, X] each: in all steps, in first steps, and after a 0 or a 1."""

    def __init__(self, info: DataInfo, split: str) -> None:
        counts = np.zeros((4, 2, info.x_dim), np.int64)
        self.repeated = 0  # steps equal to the one before
        for raw in read_split(info.path, split):
            x = raw.astype(np.int64)
            before, now = x[:-1], x[1:]
            both = (before * now).sum(0)
            after_one, after_zero = before.sum(0), (1 - before).sum(0)
            ones_after_zero = now.sum(0) - both
            counts[0] += [len(x) - x.sum(0), x.sum(0)]
            counts[1] += [1 - x[0], x[0]]
            counts[2] += [after_zero - ones_after_zero, ones_after_zero]
            counts[3] += [after_one - both, both]
            self.repeated += int((before == now).all(1).sum())
        self.steps, self.firsts = counts[0], counts[1]
        self.after = counts[2], counts[3]

    @staticmethod
    def rate(counts: Array) -> Array:
        """p(1) from counts of 0 and 1, [2, X] -> [X]."""
        return np.asarray((counts[1] + 0.5) / (counts.sum(0) + 1))

    @staticmethod
    def score(counts: Array, rate: Array) -> float:
        """-log p of that many zeros and ones, nats."""
        return float(-(counts[1] * np.log(rate) + counts[0] * np.log1p(-rate)).sum())


def _floors(train: _Pairs, test: _Pairs, *, firsts: bool) -> dict[str, float]:
    """Of pairs, with or without the first steps of test sequences."""
    scored = test.steps if firsts else test.steps - test.firsts
    independent = test.score(scored, train.rate(train.steps))
    last = (
        (test.score(test.firsts, train.rate(train.steps)) if firsts else 0.0)
        + test.score(test.after[0], train.rate(train.after[0]))
        + test.score(test.after[1], train.rate(train.after[1]))
    )
    steps = int(scored[:, 0].sum())
    return {"independent": independent / steps, "last": last / steps}


def describe(path: str | Path) -> dict[str, Any]:
    """A data file in numbers, JSON-able, for `pyro-vrnn data`. Lengths in steps, floors in nats a step.

    Of binary data also, where there are steps to count: `ones_per_step` (notes), `repeated_steps` (the share of
    steps equal to the one before, first steps of sequences aside), `columns_used` and `floors`. Of audio each split's
    `seconds`. `warnings` are lines for people.

    Raises:
        DataError: as `read_info`, and for damaged values.
    """
    info = read_info(path)
    summary: dict[str, Any] = {
        "path": str(info.path),
        "kind": info.kind,
        "support": info.support,
        "x_dim": info.x_dim,
        "steps_per_second": info.steps_per_second,
        "frame_length": info.frame_length,
        "splits": {},
        "recognised": info.extra.get("recognised"),
        "skipped": info.extra.get("skipped", []),
        "source": info.source,
        "licence": info.licence,
        "options": info.options,
        "extra": info.extra,
        "warnings": warnings(info),
    }
    for split in SPLITS:
        summary["splits"][split] = asdict(info.splits[split])
        if info.kind == "audio" and info.steps_per_second is not None:
            summary["splits"][split]["seconds"] = info.splits[split].steps / info.steps_per_second
    if info.support == "binary":
        pairs = {split: _Pairs(info, split) for split in SPLITS}
        for split, counts in info.splits.items():
            if followed := counts.steps - counts.sequences:
                summary["splits"][split]["repeated_steps"] = pairs[split].repeated / followed
            if counts.steps:
                summary["splits"][split]["ones_per_step"] = float(pairs[split].steps[1].sum() / counts.steps)
        used = sum(pairs[split].steps[1] for split in SPLITS)
        summary["columns_used"] = int(np.count_nonzero(used))
        if info.splits["test"].sequences:
            summary["floors"] = _floors(pairs["train"], pairs["test"], firsts=not unscored(info))
    return summary


def warnings(info: DataInfo) -> list[str]:
    """What somebody who is about to train on it should know, a line each."""
    lines = [
        f"{split} has only one sequence: a bound on it has no error bar"
        for split in SPLITS[1:]
        if info.splits[split].sequences == 1
    ]
    recordings, silent = counts_in(info.extra, "recordings"), counts_in(info.extra, "silent_recordings")
    lines += [
        f"all recordings of {split} are silence"
        for split in SPLITS
        if recordings.get(split, 0) > 0 and silent.get(split) == recordings[split]
    ]
    if unread := counts_in(info.extra, "unread_types"):
        types = ", ".join(f"{count} {ending}" for ending, count in unread.items())
        lines.append(f"sound of types that are not read was left out ({types}): convert it to wav or flac")
    return lines


def counts_in(extra: dict[str, Any], name: str) -> dict[str, int]:
    """Numbers by name that a data file may say of itself; empty where it says something else."""
    found = extra.get(name)
    return {k: v for k, v in found.items() if type(v) is int} if isinstance(found, dict) else {}
