"""The rows of metrics.jsonl as loggers name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyro_vrnn.system.errors import CheckpointError

VALID = "valid_"


def read_rows(run: Path) -> list[dict[str, Any]]:
    """The rows that metrics.jsonl of a run holds now, oldest first; none where there is no such file.

    A last line that a kill cut off is left out; a resumed training writes it again.

    Raises:
        CheckpointError: another line is no JSON object.
    """
    path = run / "metrics.jsonl"
    lines = path.read_text("utf-8", "replace").splitlines(keepends=True) if path.exists() else []
    return [_row(line, path, i) for i, line in enumerate(lines, start=1) if line.endswith("\n")]


def _row(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}, line {number}: no row of numbers", "the file is damaged: remove it", path)
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
