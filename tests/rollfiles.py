"""Small files of piano-rolls in every layout, for the tests of their source."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import SPLITS, Array
from pyro_vrnn.data.sources import pianoroll
from pyro_vrnn.system.errors import DataError

SETS = {  # file in shared/data/pianoroll: our name, and baselines from its README
    "jsb_chorales": ("jsb", 11.06, 10.47),
    "nottingham": ("nottingham", 10.25, 5.16),
    "muse_data": ("muse", 11.51, 8.56),
    "piano_midi": ("piano", 11.05, 8.26),
}
NOTES: dict[str, list[list[tuple[int, ...]]]] = {
    "train": [[(60, 64, 67), (), (21, 108)], [(60,)]],
    "valid": [[(61,), (61,)]],
    "test": [[(62, 62), (50, 40)]],
}


def as_rolls(notes: Any) -> dict[str, list[Array]]:
    """Note lists as rolls, the slow way."""
    splits: dict[str, list[Array]] = {}
    for split, sequences in notes.items():
        splits[split] = []
        for sequence in sequences:
            roll = np.zeros((len(sequence), 88), np.uint8)
            for t, step in enumerate(sequence):
                roll[t, [note - 21 for note in step]] = 1
            splits[split].append(roll)
    return splits


def as_npz(splits: dict[str, list[Array]], **changes: Any) -> bytes:
    arrays: dict[str, Any] = {}
    for split, sequences in splits.items():
        arrays[split] = np.concatenate(sequences)
        arrays[f"{split}_len"] = np.array([len(x) for x in sequences], np.int32)
    file = io.BytesIO()
    np.savez_compressed(file, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return file.getvalue()


def as_mat(splits: dict[str, list[Array]], compress: bool = True, **changes: Any) -> bytes:
    from scipy.io import savemat

    cells: dict[str, Any] = {}
    for split, sequences in splits.items():
        cells[f"{split}data"] = np.empty((1, len(sequences)), object)
        cells[f"{split}data"][0] = [x.astype(float) for x in sequences]
    file = io.BytesIO()
    savemat(file, {k: v for k, v in (cells | changes).items() if v is not None}, do_compression=compress)
    return file.getvalue()


def prepared(tmp_path: Path, data: bytes) -> dict[str, list[Array]]:
    """What becomes of a source with this content (its name says nothing)."""
    (tmp_path / "source.bin").write_bytes(data)
    info = pianoroll.prepare(tmp_path / "out.h5", tmp_path / "source.bin", overwrite=True)
    return {split: list(read_split(info.path, split)) for split in SPLITS}


def refused(tmp_path: Path, data: bytes) -> str:
    """The message for a source with this content, after checking that nothing is left behind."""
    path = tmp_path / "source.bin"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        pianoroll.prepare(tmp_path / "out.h5", path)
    assert os.listdir(tmp_path) == ["source.bin"]
    assert "\n" not in error.value.message
    assert str(path) in error.value.message
    return error.value.message


def same(a: dict[str, list[Array]], b: dict[str, list[Array]]) -> bool:
    return a.keys() == b.keys() and all(len(a[s]) == len(b[s]) and all(map(np.array_equal, a[s], b[s])) for s in a)


LAYOUTS: dict[str, Callable[[], bytes]] = {
    **{f"pickle {p}": lambda p=p: pickle.dumps(NOTES, p) for p in range(pickle.HIGHEST_PROTOCOL + 1)},
    "json": lambda: json.dumps(NOTES).encode(),
    "json with a byte order and spaces": lambda: b"\n  " + json.dumps(NOTES, indent=1).encode(),
    "npz": lambda: as_npz(as_rolls(NOTES)),
    "npz of bool": lambda: as_npz({s: [x.astype(bool) for x in v] for s, v in as_rolls(NOTES).items()}),
    "npz of float": lambda: as_npz({s: [x.astype("f8") for x in v] for s, v in as_rolls(NOTES).items()}),
    "mat": lambda: as_mat(as_rolls(NOTES)),
    "mat, not compressed": lambda: as_mat(as_rolls(NOTES), compress=False),
}


def changed(split: str, value: Any) -> dict[str, Any]:
    return {**NOTES, split: value}
