"""Holes in a series: what the model says of each missing value, given all that was observed, as a mean and interval."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.sources.othertables import labels
from pyro_vrnn.media import series, tables
from pyro_vrnn.objectives.scores import HIGH, LOW, Floats
from pyro_vrnn.programs.smoothing import smooth
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError, check_seed
from pyro_vrnn.system.files import make_folder, safe_name, write_json

PARTICLES = 2000
MOST_PARTICLES = 100_000
FEW = 10
"""A hole with fewer ancestors than this has a mean and an interval that more particles would change."""


@dataclass(frozen=True, repr=False)
class Imputed:
    """A series without holes, in the units of the source. [T, X] each, but for the counts."""

    mean: Floats
    """What was observed, and E[x | all that was observed] where it was not."""
    low: Floats
    """The 10% quantile; what was observed, where it was."""
    high: Floats
    """The 90% quantile likewise."""
    missing: NDArray[np.bool_]
    """Where the holes are."""
    ancestors: NDArray[np.int64]
    """How many different particles of this step the paths at the end come from; 0 where nothing is missing. [T]"""
    ess: Floats
    """Effective sample size of the filter at each step; K at most. [T]"""

    def __repr__(self) -> str:
        holes = f"{int(self.missing.sum())} of {self.missing.size} values"
        few = f", a hole with {self.fewest} ancestors: give more particles" if self.fewest < FEW else ""
        return f"<Imputed {holes}, effective sample size {self.ess.min():.0f} at least{few}>"

    @property
    def fewest(self) -> int:
        """The least number of ancestors of a hole."""
        return int(self.ancestors[self.missing.any(1)].min())


def impute(run: Trained, x: Any, *, particles: int = PARTICLES, seed: int = 0) -> Imputed:
    """The posterior of each missing value: paths of z by a particle filter, traced back (programs/smoothing.py).

    The intervals are of single values, each with the noise of p(x | z), and not of several together.

    Args:
        run: of a model that was trained on data with missing values.
        x: [T, X] in the units of the source, NaN where a value is missing.
        particles: K.
        seed: of all that is random.

    Raises:
        ConfigError: a model of other kinds of data, or of data without missing values.
        DataError: nothing is missing, or x is not as the model's data.
    """
    run.check_series("impute")
    if not run.format.missing:
        message = "the model was trained on data without missing values: it knows nothing of holes"
        raise ConfigError(message, "train on data with missing values (a table with empty cells), then impute")
    if not 2 <= particles <= MOST_PARTICLES:
        raise ConfigError(f"--particles {particles}: must be from 2 to {MOST_PARTICLES}")
    check_seed(seed)
    own = run.own_columns(x)
    values = run.encoded(own)
    batch = Batch.of(values[:, None])
    if batch.observed is None:
        raise DataError("no value is missing: there is nothing to impute", "an empty cell, or nan, is a missing value")
    missing = (~batch.observed)[:, 0].cpu().numpy()  # [T, X]
    if not run.net.likelihood.factorised and (missing.any(1) & ~missing.all(1)).any():
        message = f"step {int((missing.any(1) & ~missing.all(1)).argmax()) + 1} is missing in part"
        raise DataError(message, "the model's output is joint within a step: whole steps can be imputed")
    with (
        pyro.get_param_store().scope(),
        pyro.validation_enabled(False),
        torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []),
    ):
        torch.manual_seed(seed)
        found = smooth(run.net, batch, particles)
    parts = np.stack([own] * 3)  # mean, low, high: [3, T, X]
    ancestors = np.zeros(len(values), np.int64)
    for t, samples in found.samples.items():
        bounds = np.quantile(samples.double().cpu().numpy(), [LOW, HIGH], axis=0)  # [2, X]
        new = run.encoding.decode(np.concatenate([found.mean[t].double().cpu().numpy()[None], bounds]))
        parts[:, t] = np.where(missing[t], new, parts[:, t])
        ancestors[t] = found.ancestors[t]
    if not np.isfinite(parts).all():
        raise NumericsError("imputed values are not finite", "the model has diverged: train it with a smaller rate")
    return Imputed(parts[0], parts[1], parts[2], missing, ancestors, found.ess.double().cpu().numpy())


def write(
    run: Trained,
    *,
    file: Path | None = None,
    index: str | None = None,
    split: str = "test",
    particles: int = PARTICLES,
    seed: int = 0,
    out: Path | None = None,
) -> tuple[list[Path], Imputed]:
    """Impute a series, and write what was found.

    Args:
        run: see `impute`.
        file: a table; or else a sequence of the run's data:
        index, split: its number or id, and where it is.
        particles, seed: see `impute`.
        out: folder; default RUN/imputed.

    Returns:
        The files: the holes (step, column, mean, low, high, ancestors), the completed table with the other columns of a
        FILE, such as its time, a figure, and the .json that says how; and what was found.

    Raises:
        ConfigError, DataError: see `impute` and `Trained.series`.
    """
    run.check_series("impute")
    if not run.format.missing:
        impute(run, np.zeros((1, run.format.x_dim)))  # says why not, before a file is read
    values, name = run.series(file, index, split)
    found = impute(run, values, particles=particles, seed=seed)
    folder, stem = make_folder(out or run.output("imputed")), safe_name(name)
    files = [folder / f"{stem}-{part}" for part in ("holes.csv", "completed.csv", "imputed.png", "imputed.json")]
    rows = [
        [
            t + 1,
            run.columns[j],
            *(float(part[t, j]) for part in (found.mean, found.low, found.high)),
            found.ancestors[t],
        ]
        for t, j in np.argwhere(found.missing)
    ]
    tables.write_rows(files[0], ["step", "column", "mean", "low", "high", "ancestors"], rows)
    beside, cells = ([], []) if file is None else labels(file, run.format.columns)
    whole = [[*(cells[t] if beside else ()), *row] for t, row in enumerate(found.mean.tolist())]
    tables.write_rows(files[1], [*beside, *run.columns], whole)
    title = f"{run.folder.name}: {name}"
    series.imputed(found.mean, found.low, found.high, found.missing, files[2], names=run.columns, title=title)
    facts = {"run": run.named, "checkpoint": run.step_folder.name, "series": name, "seed": seed}
    write_json(files[3], {"schema": 1, "files": [f.name for f in files[:3]], **facts, **summary(found, particles)})
    return files, found


def summary(found: Imputed, particles: int) -> dict[str, Any]:
    """What `impute --json` says of it."""
    return {
        "steps": len(found.mean),
        "missing": int(found.missing.sum()),
        "particles": particles,
        "ess": float(found.ess.min()),
        "ancestors": found.fewest,
        "interval": [LOW, HIGH],
    }
