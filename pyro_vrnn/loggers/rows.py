"""The rows of metrics.jsonl as loggers name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyro_vrnn.system.errors import CheckpointError, DataError
from pyro_vrnn.system.files import read_plain_file, reason

VALID = "valid_"
MOST_BYTES = 1 << 30
"""Of metrics.jsonl: some millions of rows."""


def read_rows(run: Path) -> list[dict[str, Any]]:
    """The rows that metrics.jsonl of a run holds now, oldest first; none where there is no such file.

    A last line that a kill cut off is left out; a resumed training writes it again.

    Raises:
        CheckpointError: a line that is no row, or the file cannot be read, or is none, such as a FIFO.
    """
    path = run / "metrics.jsonl"
    try:
        *lines, _ = read_plain_file(path, MOST_BYTES).split(b"\n") if path.exists() else [b""]
    except DataError as error:
        raise CheckpointError(error.message, _REMOVE, path) from None
    except OSError as error:  # of a folder that may not be entered
        raise CheckpointError(f"{path}: cannot be read: {reason(error)}", _REMOVE, path) from None
    return [_row(line, number, path) for number, line in enumerate(lines, start=1)]


_REMOVE = "the file is damaged: move it away, and the run is read without it"


def _row(line: bytes, number: int, path: Path) -> dict[str, Any]:
    """One row: finite numbers and truths by their names, at an update."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}, line {number}: not JSON ({error})", _REMOVE, path) from None
    whole = isinstance(row, dict) and isinstance(row.get("step"), int)
    if not whole or not all(isinstance(v, int | float) and abs(v) < 1e300 for v in row.values()):  # NaN is not below
        raise CheckpointError(f"{path}, line {number}: not a row of finite numbers at an update", _REMOVE, path)
    found: dict[str, Any] = row
    return found


def scalars(row: dict[str, Any]) -> dict[str, float]:
    """The numbers of a row by names in two groups: {"train/loss": …} or {"valid/nll_per_step": …}.

    The step, which is their abscissa, and whether a validation is the best one, which the curve shows, are left out.
    Units are those of metrics.jsonl: loss, nll and kl in nats per step, seconds of training.
    """
    validation = any(key.startswith(VALID) for key in row)
    group = "valid" if validation else "train"
    return {
        f"{group}/{key.removeprefix(VALID)}": float(value) for key, value in row.items() if key not in ("step", "best")
    }
