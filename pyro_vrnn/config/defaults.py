"""Settings for data without a recipe: model, likelihood, sizes, pieces and length of the training, by what the data is.

The numbers are those of the shipped recipes for data of the same kind. A recipe, a flag or `--set` says it otherwise.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pyro_vrnn.data.baselines import last_value_line
from pyro_vrnn.data.kinds import KINDS
from pyro_vrnn.data.schema import DataInfo
from pyro_vrnn.models import model_class

UPDATES = 3000
"""Of a training, unless one pass over the data takes more."""
SMALL = 2_000_000
"""Values in the training split below which weights are decayed more."""
STILL = 0.5
"""Deviation around the last value, in deviations of the column, below which real columns get direct connections."""
CHORALES = (285, 15_509, 193)
"""Training sequences of the chorales, all of their steps, and the longest."""
FAST = 4.0
"""Steps per second of bits from which most repeat the one before, so that direct connections pay (models/direct.py)."""


def settings_for(info: DataInfo | None, model: str | None, likelihood: str | None = None) -> dict[str, Any]:
    """A recipe for a data file, as nested plain values.

    Args:
        info: what the data file says of itself; None for Bach's chorales, which may not be prepared yet.
        model: the model that was asked for; its sizes are then its own defaults.
        likelihood: the likelihood that was asked for.
    """
    kind = _Kind(info)
    connects = likelihood in (None, "bernoulli", "gaussian")
    chosen = model or kind.model
    sizes: dict[str, Any] = kind.sizes() if chosen == kind.model else {}
    direct: dict[str, Any] = {"direct": True} if connects and (kind.direct or kind.slow) else {}
    direct |= {"dropout": 0.4} if kind.direct else {}
    pieces = kind.pieces
    batch = 16 if pieces < 2000 else 32 if pieces < 10_000 else 64
    each = max(1, math.ceil(pieces / batch))
    epochs = max(1, min(200, math.ceil(UPDATES / each)))
    total = epochs * each
    objective: dict[str, Any] = {"name": "elbo"}
    if kind.latent(chosen) and kind.warms_up:
        objective |= {"kl_start": 0.2, "kl_steps": max(1, min(1000, total // 4))}
    return {
        "model": {"name": chosen, "likelihood": kind.likelihood, **direct, **sizes},
        "objective": objective,
        "data": {
            "batch_size": batch,
            **({"window": kind.window} if kind.window else {}),
            **({"dither": True} if kind.sampled else {}),
        },
        "training": {
            "epochs": epochs,
            "learning_rate": 1e-3 if kind.direct else 2e-3,
            "decay": "cosine",
            "decay_steps": total,
            "decay_to": 0.05,
            "weight_decay": 3.0 if kind.direct else 0.3 if kind.values < SMALL else 0.01,
            "average": 0.98,
            "clip_norm": 1.0,
            "validate_every": max(1, epochs // 40),
            "patience": 15,
        },
    }


def in_words(raw: dict[str, Any]) -> str:
    """The choice in one line."""
    model, data, training = raw["model"], raw["data"], raw["training"]
    parts = [model["name"], model["likelihood"]]
    parts += [f"{word} {model[key]}" for key, word in (("latent_dim", "z"), ("hidden_dim", "h")) if key in model]
    parts += ["direct connections"] if model.get("direct") else []
    parts += [f"pieces of {data['window']} steps"] if data.get("window") else ["whole sequences"]
    parts += [raw["objective"]["name"], f"at most {training['epochs']} epochs"]
    return f"settings for this data: {', '.join(parts)} (config --data shows all)"


class _Kind:
    """What of a data file decides its settings."""

    def __init__(self, info: DataInfo | None) -> None:
        self.info = info
        self.support = "binary" if info is None else info.support
        self.sampled = info is not None and KINDS[info.kind].sampled
        self.pen = info is not None and KINDS[info.kind].pen
        self.text = info is not None and info.extra.get("level") in ("char", "word")
        self.image = info is not None and info.extra.get("image") is True
        self.rate = None if info is None else info.steps_per_second
        self.x_dim = 88 if info is None else info.x_dim
        train = None if info is None else info.splits["train"]
        sequences, steps, longest = CHORALES if train is None else (train.sequences, train.steps, train.longest)
        self.values = steps * self.x_dim
        usual = 40 if self.sampled else 100
        self.window = usual if longest > 3 * usual or (self.sampled and longest > usual) else 0
        self.pieces = max(sequences, steps // self.window if self.window else 0)

    @property
    def likelihood(self) -> str:
        """The distribution of what is in a step."""
        if self.support != "real":
            return {"binary": "bernoulli", "categorical": "categorical"}[self.support]
        return "frame-ar" if self.sampled else "bivariate-gmm-pen" if self.pen else "gaussian"

    @property
    def model(self) -> str:
        """A VRNN; an RNN for text, of which a z at every step carries nothing (docs/results.md)."""
        return "rnn" if self.text else "vrnn"

    @property
    def direct(self) -> bool:
        """Whether most bits repeat the one before."""
        return self.support == "binary" and self.rate is not None and self.rate > FAST

    @property
    def slow(self) -> bool:
        """Whether real columns are mostly where they were a step before."""
        if self.info is None or self.likelihood != "gaussian" or self.image:
            return False
        _, slope, around = last_value_line(self.info)
        return bool(np.median(around) < STILL) and bool(np.median(slope) > 0)

    @property
    def warms_up(self) -> bool:
        """Whether the KL weight rises: not for sound, where z is used from the start."""
        return not self.sampled

    def latent(self, model: str) -> bool:
        """Whether a model of this name has latent variables."""
        return bool(model_class(model).Config.latent)

    def sizes(self) -> dict[str, Any]:
        """Widths of the default model."""
        if self.text:
            return {"cell": "lstm", "hidden_dim": 256, "network_dims": [128]}
        if self.sampled:
            return {"latent_dim": 32, "hidden_dim": 192, "network_dims": [192]}
        if self.support == "real" and self.x_dim <= 16 and not self.pen:
            return {"latent_dim": 8, "hidden_dim": 64, "network_dims": [64]}
        music = self.support == "binary" and not self.image
        return {"latent_dim": 32 if music else 16, "hidden_dim": 128, "network_dims": [128]}
