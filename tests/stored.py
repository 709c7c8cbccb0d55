"""What a prepared file holds, read at once."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import h5py
import numpy as np
import pytest

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.writer import write_sequences


def sequences(info: DataInfo) -> dict[str, dict[str, Array]]:
    """{split: {id: steps}}, read at once (`read_split` reads one after another)."""
    found = {}
    with h5py.File(info.path) as file:
        for split in SPLITS:
            x, ends, ids = (file[split][part][()] for part in ("x", "offsets", "ids"))
            found[split] = {name.decode(): x[a:b] for name, a, b in zip(ids, ends, ends[1:], strict=False)}
    return found


def spelled(info: DataInfo) -> dict[str, list[list[str]]]:
    """{split: sequences of symbols}."""
    names = info.extra["symbols"]
    return {s: [[names[i] for i in x[:, 0]] for x in found.values()] for s, found in sequences(info).items()}


def write_each_tenth(monkeypatch: pytest.MonkeyPatch, *sources: ModuleType) -> None:
    """Of many small files that these sources make, really write each tenth: the disk takes most of their time.

    Of the others it is looked at whether they could be: whole numbers of symbols that are there, [T, 1].
    """
    count = 0

    def write(path: Any, splits: Any, **about: Any) -> Any:
        nonlocal count
        count += 1
        if count % 10 == 1:
            return write_sequences(path, splits, **about)
        for split in SPLITS:
            assert len(splits[split]) == len(set(about["ids"][split])) == len(about["ids"][split])
        x = np.concatenate([x for split in SPLITS for x in splits[split]])
        assert len(splits["train"]) > 0
        assert (x.ndim, x.shape[1], x.min() >= 0, x.max() < len(about["extra"]["symbols"])) == (2, 1, True, True)
        return None

    for source in sources:
        monkeypatch.setattr(source, "write_sequences", write)
