"""`pyro_vrnn.train(...)`: the settings of the command line as keyword arguments."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_vrnn import config, runs
from pyro_vrnn.runs.train import train as train_run
from pyro_vrnn.system.errors import ConfigError
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.observer import Observer

FLAGS = {
    "data": "data.path",
    "model": "model.name",
    "likelihood": "model.likelihood",
    "objective": "objective.name",
    "particles": "objective.particles",
    "program": "training.program",
    "epochs": "training.epochs",
    "max_steps": "training.max_steps",
    "batch_size": "data.batch_size",
    "lr": "training.learning_rate",
    "seed": "training.seed",
}
"""Command-line flag (as a Python name) -> the setting it is short for."""


def recipe_of(recipe: str | Path | None, resume: str, init_from: str | Path | None) -> str | None:
    """The recipe of a training: the one that is named, else the settings of the run that it continues or starts from.

    Returns:
        A name or path for `config.resolve`; None where no run is named either, which means what fits the data.

    Raises:
        CheckpointError: no such run.
    """
    if recipe is not None:
        return str(recipe)
    if resume not in ("auto", "never"):
        return str(checkpoint.find(Path(resume), "LATEST")[0] / "config.toml")
    return None if init_from is None else str(checkpoint.find(Path(init_from))[0])


def train(
    recipe: str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: str = "auto",
    init_from: str | Path | None = None,
    device: str = "auto",
    max_seconds: float | None = None,
    overwrite: bool = False,
    settings: dict[str, Any] | None = None,
    observer: Observer | None = None,
    log: str | Sequence[str] = (),
    **flags: Any,
) -> runs.Run:
    """Train a run; what `pyro-vrnn train` does.

    Args:
        recipe: a shipped name or a TOML file; None is what `recipe_of` says.
        out: the run folder; None takes a free name under runs/.
        resume, init_from, device, max_seconds, overwrite, observer: see `runs.train.train`.
        log: a logger or several, besides the observer: csv, tensorboard, wandb.
        settings: any settings by their dotted names, {"model.latent_dim": 16}.
        flags: `data`, `model`, `likelihood`, `objective`, `particles`, `program`, `epochs`, `max_steps`,
            `batch_size`, `lr`, `seed`.

    Returns:
        The run at its best checkpoint; `run.result` says how the training ended.
    """
    if unknown := sorted(flags.keys() - FLAGS.keys()):
        raise ConfigError(f"train() has no argument {unknown[0]!r}", f"choose from {', '.join(FLAGS)}")
    given = {FLAGS[k]: v for k, v in flags.items()} | (settings or {})
    given = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in given.items()}
    return train_run(
        config.resolve(recipe_of(recipe, resume, init_from), flags=given),
        out=None if out is None else Path(out),
        resume=resume,
        init_from=init_from,
        device=device,
        max_seconds=max_seconds,
        overwrite=overwrite,
        observer=observer,
        log=(log,) if isinstance(log, str) else log,
    )
