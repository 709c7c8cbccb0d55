"""Ragged sequences of three columns, and parameters that make an estimator's fit a matter of a moment."""

from __future__ import annotations

from typing import Any

import numpy as np

TINY: dict[str, Any] = {"hidden_dim": 4, "max_steps": 2, "settings": {"model.network_dims": [4]}, "device": "cpu"}
LENGTHS = [5, 9, 2, 7, 1]


def sequences(seed: int = 0, *, center: float = 0.0) -> list[Any]:
    random = np.random.default_rng(seed)
    return [center + random.normal(size=(n, 3)) for n in LENGTHS]
