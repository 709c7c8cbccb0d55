"""What a data set is like: counts, the scores of simple references, what to know before training. No torch here."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.baselines import Coins, baselines, coin_baselines
from pyro_vrnn.data.encoding import encoding_of
from pyro_vrnn.data.kinds import KINDS
from pyro_vrnn.data.schema import SPLITS, DataInfo, read_info
from pyro_vrnn.system.errors import DataError

UNITS = {"day": 86400.0, "hour": 3600.0, "minute": 60.0, "second": 1.0}
"""Of time, in seconds, the longest first."""
MOST_NAMED = 5
"""Columns or values that one warning names."""


def describe(path: str | Path) -> dict[str, Any]:
    """A data file in numbers, JSON-able, for `pyro-vrnn data`. Lengths in steps, baselines in nats per step.

    `floors` are there where there is a test split. Of binary data also, where there are steps to count: `ones_per_step`
    (notes), `repeated_steps` (the share of steps equal to the one before, first steps of sequences aside) and
    `columns_used`. Of audio each split's
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
        if KINDS[info.kind].sampled and info.steps_per_second is not None:
            summary["splits"][split]["seconds"] = info.splits[split].steps / info.steps_per_second
    if info.support == "binary":
        pairs = {split: Coins.of(info, split) for split in SPLITS}
        for split, counts in info.splits.items():
            if followed := counts.steps - counts.sequences:
                summary["splits"][split]["repeated_steps"] = pairs[split].repeated / followed
            if counts.steps:
                summary["splits"][split]["ones_per_step"] = float(pairs[split].counts[0][1].sum() / counts.steps)
        used = sum(pairs[split].counts[0][1] for split in SPLITS)
        summary["columns_used"] = int(np.count_nonzero(used))
        if info.splits["test"].sequences:
            summary["floors"] = coin_baselines(info, pairs["train"], pairs["test"])
    elif info.splits["test"].sequences and _is_read(info):
        summary["floors"] = baselines(path)
    return summary


def pace(rate: float) -> str:
    """How often there is a step, in words: "one step per hour" for a rate of 1 / 3600 steps per second."""
    if rate > 0.99:
        count = f"{rate:.4g}"
        return f"{count} {'step' if count == '1' else 'steps'} per second"
    seconds = 1 / rate
    name, length = next(((name, length) for name, length in UNITS.items() if seconds > 0.99 * length), ("second", 1.0))
    count = f"{seconds / length:.4g}"
    return f"one step per {name}" if count == "1" else f"one step per {count} {name}s"


def _is_read(info: DataInfo) -> bool:
    """Whether models can read it; a file that they refuse (symbols without names) can still be described."""
    try:
        encoding_of(info)
    except DataError:
        return False
    return True


def warnings(info: DataInfo) -> list[str]:
    """What somebody who is about to train on it should know, a line each."""
    lines = [
        f"{split} has only one sequence: a bound on it has no error bar"
        for split in SPLITS[1:]
        if info.splits[split].sequences == 1
    ]
    if info.splits["valid"].sequences == 0:
        lines.append("valid is empty: `train` chooses the best model on it, and refuses this file")
    lines += _of_columns(info)
    recordings, silent = counts_in(info.extra, "recordings"), counts_in(info.extra, "silent_recordings")
    lines += [
        f"all recordings of {split} are silence"
        for split in SPLITS
        if recordings.get(split, 0) > 0 and silent.get(split) == recordings[split]
    ]
    lines += [
        f"{split} is of one recording: a bound's error bar over its windows says nothing of other recordings"
        for split in SPLITS[1:]
        if recordings.get(split) == 1 and info.splits[split].sequences > 1
    ]
    if unread := counts_in(info.extra, "unread_types"):
        types = ", ".join(f"{count} {ending}" for ending, count in unread.items())
        lines.append(f"sound of types that are not read was left out ({types}): convert it to wav or flac")
    return lines


def _of_columns(info: DataInfo) -> list[str]:
    """What should be known of single columns: constant, outlying, or coarser than float32; and of uneven time."""
    lines = []
    names = info.extra.get("columns") or [str(j) for j in range(info.x_dim)]
    if KINDS[info.kind].columns == "columns" and info.extra.get("image") is not True:
        still = [str(names[j]) for j in np.flatnonzero(info.std == 0)[:MOST_NAMED]]
        if still and isinstance(names, list):
            lines.append(f"column {', '.join(still)} never changes in train: leave it out with --drop")
    outliers = info.extra.get("outliers")
    if isinstance(outliers, dict) and isinstance(outliers.get("first"), list):
        told = [
            f"{o['sequence']}, step {o['step']}, column {o['column']} ({o['value']:.6g})"
            for o in outliers["first"][:MOST_NAMED]
            if isinstance(o, dict) and {"sequence", "step", "column", "value"} <= set(o)
        ]
        count = outliers.get("count")
        what = "made missing" if outliers.get("dropped") else "far out of their columns (--drop-outliers)"
        lines.append(f"{count} value{'' if count == 1 else 's'} {what}: {'; '.join(told)}")
    if coarse := info.extra.get("coarse_columns"):
        lines.append(f"column {', '.join(map(str, coarse))} is finer than what is stored of it (float32)")
    when = info.extra.get("time")
    if isinstance(when, dict) and isinstance(when.get("irregular"), float):
        lines.append(f"{100 * when['irregular']:.1f}% of the steps in time are not as long as the others")
    return lines


def counts_in(extra: dict[str, Any], name: str) -> dict[str, int]:
    """Numbers by name that a data file may say of itself; empty where it says something else."""
    found = extra.get(name)
    return {k: v for k, v in found.items() if type(v) is int} if isinstance(found, dict) else {}
