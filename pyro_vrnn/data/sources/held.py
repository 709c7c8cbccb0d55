"""Sequences that are in memory, by name, and the splits that their owner gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources.common import SHARES
from pyro_vrnn.system.errors import ConfigError, DataError, choose


@dataclass
class Held:
    """Sequences that are in memory.

    Attributes:
        values: of each sequence by name, [T, X]; of symbols a list of them.
        columns: names of the columns of numbers.
        splits: of each sequence, if a column says it.
        steps_per_second: if that is known.
        extra: more that the data file says of itself.
    """

    values: dict[str, Any]
    columns: list[str] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)
    steps_per_second: float | None = None
    extra: dict[str, Any] = field(default_factory=dict)


def by_split(data: Any, splits: Any) -> dict[str, Any]:
    """The data of each split; all of it under "" where it is to be dealt out."""
    parts = dict(data) if isinstance(data, Mapping) else {}
    if isinstance(data, Mapping) and splits != [*SHARES]:
        raise ConfigError("data= is a dict by split, so splits= makes no sense with it", "leave it out")
    if isinstance(splits, Mapping):
        if data is not None and "train" in splits:
            raise ConfigError('splits= has "train", and data= is there too', "leave one of them out")
        parts = {**({} if data is None else {"train": data}), **splits}
    elif not isinstance(data, Mapping) and data is not None:
        parts = {"": data}
    for split in parts:
        if split and split not in SPLITS:
            raise choose("split", str(split), SPLITS)
    if not {"", "train"} & set(parts):
        raise DataError("data: nothing to train on", "give a list of arrays [steps, columns], or one by split")
    return {split: parts[split] for split in ("", *SPLITS) if split in parts}


def together(parts: Mapping[str, Held], splits: Any) -> Held:
    """All sequences, with the splits of those that have one."""
    names = [name for part in parts.values() for name in part.values]
    clash = len(set(names)) < len(names)
    first = next(iter(parts.values()))
    found = Held({}, first.columns, dict(first.splits), first.steps_per_second, dict(first.extra))
    for split, part in parts.items():
        if part.columns != first.columns:
            raise DataError(f"data: the columns of {split} are not those of the others", "the same columns in all")
        for name, x in part.values.items():
            new = f"{split}-{name}" if clash else name
            found.values[new] = x
            if split:
                found.splits[new] = split
    if isinstance(splits, list) and isinstance(next(iter(splits), None), str):
        if len(splits) != len(names):
            raise ConfigError(f"splits= has {len(splits)} names for {len(names)} sequences", "one for each")
        for split in splits:
            if split not in SPLITS:
                raise choose("split", str(split), SPLITS)
        found.splits = dict(zip(names, splits, strict=True))
    widths = {name: x.shape[1] for name, x in found.values.items() if isinstance(x, np.ndarray)}
    for name, width in widths.items():
        if width != (one := next(iter(widths.values()))):
            message = f"data: sequence {name!r} has {width} columns, and {next(iter(widths))!r} has {one}"
            raise DataError(message, "all sequences have the same columns")
    return found
