"""Data with little in it: constants, one step, one sequence, fewer sequences than a batch. It trains or says why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyro_vrnn as pv
from pyro_vrnn import runs
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.models import MODELS
from pyro_vrnn.system.errors import DataError

ONES = np.ones((10, 3), np.float32)
KINDS: dict[str, dict[str, Any]] = {
    "vectors": {"support": "real", "steps_per_second": None},
    "strokes": {"support": "real", "steps_per_second": None},
    "pianoroll": {"support": "binary", "steps_per_second": 2.0, "extra": {"lowest_pitch": 40}},
    "audio": {"support": "real", "steps_per_second": 400.0, "frame_length": 20, "extra": {"sample_rate": 8000}},
    "symbols": {"support": "categorical", "steps_per_second": None, "extra": {"symbols": ["a"], "level": "char"}},
}


def write(path: Path, kind: str, train: list[np.ndarray[Any, Any]], valid: bool = True) -> Path:
    """A file whose valid and test splits are a sequence like those of train, or empty."""
    splits = {"train": train, "valid": train[:1] if valid else [], "test": train[:1] if valid else []}
    ids = {name: [f"{name}{i}" for i in range(len(found))] for name, found in splits.items()}
    return write_sequences(path, splits, ids=ids, kind=kind, source="", licence="", **KINDS[kind]).path


def train(
    data: Path, out: Path, *, model: str = "vrnn", likelihood: str = "bernoulli", batch_size: int = 2
) -> runs.Run:
    settings: dict[str, Any] = {"model.hidden_dim": 8, "model.network_dims": [8], "data.batch_size": batch_size}
    settings |= {"training.log_every": 1, "model.likelihood": likelihood}
    if model != "rnn":
        settings["model.latent_dim"] = 2
    return pv.train("chorales-vrnn", data=data, out=out, device="cpu", model=model, max_steps=3, settings=settings)


def trained(out: Path) -> None:
    """Three updates, and a number for each, of validation too."""
    rows = runs.read_metrics(out)
    assert max(row["step"] for row in rows) == 3
    for name in ("loss", "grad_norm", "valid_nll_per_step"):
        values = [row[name] for row in rows if name in row]
        assert values
        assert all(map(math.isfinite, values)), name


@pytest.mark.fault(43)
@pytest.mark.parametrize(
    ("kind", "likelihood", "sequence"),
    [
        ("vectors", "gaussian", ONES * 0),
        ("vectors", "gaussian", ONES * 7),
        ("vectors", "gaussian", ONES * np.float32(1e30)),
        ("vectors", "gaussian", ONES * np.float32([0, 1, -1])),
        ("vectors", "gaussian-fixed", ONES * 7),
        ("vectors", "gmm", ONES * 7),
        ("strokes", "bivariate-gmm-pen", ONES),
        ("audio", "gaussian", np.zeros((10, 20), np.int16)),
        ("audio", "logistic-mixture", np.zeros((10, 20), np.int16)),
        ("pianoroll", "bernoulli", np.zeros((10, 3), np.uint8)),
        ("pianoroll", "nade", np.ones((10, 3), np.uint8)),
        ("symbols", "categorical", np.zeros((10, 1), np.int16)),
    ],
)
def test_data_that_never_changes(kind: str, likelihood: str, sequence: np.ndarray[Any, Any], tmp_path: Path) -> None:
    train(write(tmp_path / "x.h5", kind, [sequence] * 3), tmp_path / "run", likelihood=likelihood)
    trained(tmp_path / "run")


@pytest.mark.fault(43)
@pytest.mark.parametrize("model", MODELS)
def test_sequences_of_one_step_and_fewer_than_a_batch(model: str, tmp_path: Path) -> None:
    data = write(tmp_path / "x.h5", "pianoroll", [np.eye(3, dtype=np.uint8)[:1]] * 3)
    train(data, tmp_path / "run", model=model, batch_size=500)
    trained(tmp_path / "run")


@pytest.mark.fault(43)
def test_one_sequence(tmp_path: Path) -> None:
    roll = np.eye(10, 3, dtype=np.uint8)
    train(write(tmp_path / "x.h5", "pianoroll", [roll]), tmp_path / "run")
    trained(tmp_path / "run")
    alone = write(tmp_path / "alone.h5", "pianoroll", [roll], valid=False)
    with pytest.raises(DataError, match="no validation sequences"):
        train(alone, tmp_path / "none")
    assert not (tmp_path / "none").exists()
