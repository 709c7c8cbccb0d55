"""Rows of numbers on disk while a source is read: a table may be larger than the memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.float64]
Runs = list[tuple[int, int]]
"""Where the rows of a sequence lie: first row, and the one after the last."""


class Store:
    """Rows of one width in a temporary file beside what is made, which is gone when it is closed.

    Args:
        folder: where the file may be; it is made.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115  (closed by __exit__)
        self.width = self.rows = 0

    def __enter__(self) -> Store:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.file.close()

    def add(self, rows: Rows) -> int:
        """Keep rows [N, width], and say which one is the first."""
        if not self.rows:
            self.width = rows.shape[1]
        assert rows.shape[1] == self.width
        left = memoryview(np.ascontiguousarray(rows, np.float64).tobytes())
        while len(left):
            left = left[self.file.write(left) :]
        self.rows += len(rows)
        return self.rows - len(rows)

    def read(self, runs: Runs) -> Rows:
        """The rows of these runs, one after the other, [N, width]."""
        parts = [self._run(start, stop) for start, stop in runs]
        return parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, self.width)), *parts])

    def _run(self, start: int, stop: int) -> Rows:
        size, place, parts = (stop - start) * self.width * 8, start * self.width * 8, []
        while size:
            part = os.pread(self.file.fileno(), size, place)
            assert part, "the temporary file has become shorter"
            parts.append(part)
            size, place = size - len(part), place + len(part)
        return np.frombuffer(b"".join(parts), np.float64).reshape(-1, self.width).copy()
