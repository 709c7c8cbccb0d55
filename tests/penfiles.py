"""Small files of pen drawings, for the tests of their sources."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from stored import sequences

from pyro_vrnn.data.schema import Array, DataInfo
from pyro_vrnn.data.sources import strokes

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
DRAWING = [[[0, 0], [1, 2], [3, 3]], [[3, 5], [7, 1]]]
STEPS = [[1, 2, 0], [2, 1, 1], [0, 2, 0], [4, -4, 1]]


def everything(info: DataInfo) -> dict[str, list[list[float]]]:
    return {name: x.tolist() for found in sequences(info).values() for name, x in found.items()}


def as_arrays(drawings: list[Any], part: str) -> dict[str, Array]:
    """x, y, pen end to end, and their lengths."""
    points = [strokes.joined(drawing) for drawing in drawings]
    return {part: np.concatenate(points).astype(np.int16), f"{part}_len": np.array([len(p) for p in points], np.int32)}


def moved(by: int) -> Any:
    return [[[x + by * i, y] for i, (x, y) in enumerate(stroke)] for stroke in DRAWING]


def digits(drawings: int = 12, tests: int = 3, **changes: Any) -> bytes:
    """A file like the pen digits', the training drawings by 6 writers."""
    arrays = as_arrays([moved(i) for i in range(drawings)], "train")
    arrays |= as_arrays([moved(i) for i in range(tests)], "test")
    arrays["train_writer"] = np.arange(drawings, dtype=np.int16) % 6 + 1
    file = io.BytesIO()
    np.savez_compressed(file, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return file.getvalue()


def prepared(folder: Path, data: bytes, **options: Any) -> DataInfo:
    (folder / "source.bin").write_bytes(data)
    return strokes.prepare(folder / "x.h5", source=str(folder / "source.bin"), overwrite=True, **options)
