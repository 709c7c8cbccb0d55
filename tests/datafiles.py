"""Small data files, for the tests of what writes, checks and reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from pyro_vrnn.data.reader import read_ids, read_split
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo, open_data, read_info
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import DataError, one_line

QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def write(path: Path, splits: dict[str, list[Array]] | None = None, **changes: Any) -> DataInfo:
    """A small real-valued data file; any argument can be changed."""
    if splits is None:
        random = np.random.default_rng(0)
        lengths = {"train": [3, 5, 2], "valid": [4], "test": [1, 3]}
        splits = {s: [random.normal(size=(n, 2)).astype("f4") for n in ns] for s, ns in lengths.items()}
    arguments: dict[str, Any] = {
        "ids": {s: [f"{s}-{i}" for i in range(len(v))] for s, v in splits.items() if isinstance(v, list)},
        "kind": "vectors",
        "support": "real",
        "steps_per_second": 2.0,
        "source": "drawn by NumPy",
        "licence": "none",
        "options": {"seed": 0},
        "extra": {"names": ["a", "é"]},
    }
    return write_sequences(path, splits, **{**arguments, **changes})


def contents(path: Path) -> tuple[Any, ...]:
    """All that the reader makes of a file."""
    info = read_info(path)
    file, _ = open_data(path)
    with file:
        ids = [list(read_ids(file, split, info)) for split in SPLITS]
    arrays = [(a.dtype, a.shape, a.tobytes()) for split in SPLITS for a in read_split(path, split)]
    described = (info.kind, info.support, info.steps_per_second, info.source, info.licence, info.options)
    return described, info.extra, info.splits, info.mean.tobytes(), info.std.tobytes(), ids, arrays


def refused(path: Path) -> DataError:
    """The error that reading all of the file gives."""
    with pytest.raises(DataError) as error:
        contents(path)
    assert one_line(str(path)) in error.value.message
    assert error.value.path == str(path)
    assert error.value.hint
    return error.value


def nan_in_the_rows(file: h5py.File, outside: Path) -> None:
    file["valid/x"][2, 1] = np.nan
