"""What a prepared file holds, read at once."""

from __future__ import annotations

import h5py

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo


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
