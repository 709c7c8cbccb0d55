"""What comes after a series: paths that the model samples from where the series may stand at its end; their scores."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.media import series, tables
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.objectives.scores import (
    HIGH,
    LOW,
    NORMAL_HIGH,
    Floats,
    Tally,
    crps_of_normal,
    crps_of_samples,
    lag_of,
    naive,
)
from pyro_vrnn.programs import Markov
from pyro_vrnn.programs.smoothing import at_end
from pyro_vrnn.runs.imputing import MOST_PARTICLES
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError, check_seed
from pyro_vrnn.system.files import make_folder, safe_name, write_json

PATHS = 200
PARTICLES = 500
QUANTILES = (0.1, 0.5, 0.9)
MOST_VALUES = 100_000_000


@dataclass(frozen=True, repr=False)
class Forecast:
    """Paths of N further steps, in the units of the source."""

    paths: Floats
    """Equally likely. [paths, N, X]"""
    ess: Floats
    """Effective sample size of the filter at each step of the series; K at most. [T]"""

    def __repr__(self) -> str:
        paths, steps, columns = self.paths.shape
        return f"<Forecast of {steps} steps and {columns} columns, {paths} paths>"

    @property
    def mean(self) -> Floats:
        """[N, X]."""
        found: Floats = self.paths.mean(0)
        return found

    def quantiles(self, at: Sequence[float] = QUANTILES) -> Floats:
        """[quantiles, N, X]."""
        return np.quantile(self.paths, list(at), axis=0)


@torch.no_grad()
def continuations(net: SequenceModel, x: Tensor, steps: int, num: int, particles: int) -> tuple[Tensor, Tensor]:
    """Sample what comes after x, from states by their probability given x (a particle filter's at its end).

    Args:
        net: in evaluation mode.
        x: [T, X], NaN where a value is missing.
        steps: N.
        num: how many paths.
        particles: K of the filter.

    Returns:
        The paths, [num, N, X], and the filter's effective sample sizes, [T].
    """
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        state, ess = at_end(net, Batch.of(x[:, None]), particles, num)
        batch = Batch(torch.full((num,), steps, device=x.device), memory=(state, ()))
        paths = Markov(net).model(batch)  # [N, num, X]
    return paths.movedim(1, 0), ess


def forecast(
    run: Trained, x: Any, *, steps: int, num: int = PATHS, particles: int = PARTICLES, seed: int = 0
) -> Forecast:
    """Sample paths of the steps after a series.

    Args:
        run: of a model of tables of real numbers.
        x: the series, [T, X] in the units of the source; NaN where a value is missing, if the model knows of such.
        steps: N.
        num: how many paths.
        particles: K, of the filter that says where the series stands at its end.
        seed: of all that is random.

    Raises:
        ConfigError: a model of other kinds of data, or numbers out of range.
        DataError: x is not as the model's data.
    """
    _check(run, steps, num, particles)
    check_seed(seed)
    values = run.encoded(x)
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(seed)
        paths, ess = continuations(run.net, values, steps, num, particles)
    found = run.encoding.decode(paths.double().cpu().numpy())
    if not np.isfinite(found).all():
        raise NumericsError("forecast values are not finite", "the model has diverged: train it with a smaller rate")
    return Forecast(found, ess.double().cpu().numpy())


def _check(run: Trained, steps: int, num: int, particles: int) -> None:
    run.check_series("forecast")
    if steps < 1:
        raise ConfigError(f"--steps {steps}: must be at least 1")
    if num < 2:
        raise ConfigError(f"--num {num}: must be at least 2 paths")
    if not 2 <= particles <= MOST_PARTICLES:
        raise ConfigError(f"--particles {particles}: must be from 2 to {MOST_PARTICLES}")
    if steps * num * run.format.x_dim > MOST_VALUES:
        message = f"{num} paths of {steps} steps of {run.format.x_dim} columns: at most {MOST_VALUES:,} values"
        raise ConfigError(message, "ask for fewer --steps or --num")


def write(
    run: Trained,
    *,
    steps: int,
    file: Path | None = None,
    index: str | None = None,
    split: str = "test",
    num: int = PATHS,
    quantiles: Sequence[float] = QUANTILES,
    written: int | None = None,
    particles: int = PARTICLES,
    seed: int = 0,
    out: Path | None = None,
) -> tuple[list[Path], Forecast]:
    """Forecast a series, and write what was found.

    Args:
        run: see `forecast`.
        steps: N.
        file: a table; or else a sequence of the run's data:
        index, split: its number or id, and where it is.
        num, particles, seed: see `forecast`.
        quantiles: between 0 and 1, rising.
        written: of the paths, how many are written; all by default.
        out: folder; default RUN/forecasts.

    Returns:
        The files: quantiles (step, column, mean, q0.1, …), paths (path, step, columns), a figure, and the .json that
        says how; and the forecast. Steps are counted from the first of the series.

    Raises:
        ConfigError, DataError: see `forecast` and `Trained.series`.
    """
    _check(run, steps, num, particles)
    if not quantiles or not all(0 < q < 1 for q in quantiles) or list(quantiles) != sorted(set(quantiles)):
        shown = ",".join(f"{q:g}" for q in quantiles)
        raise ConfigError(f"--quantiles {shown}: rising numbers between 0 and 1", "for example 0.1,0.5,0.9")
    if written is not None and written < 0:
        raise ConfigError(f"--paths {written}: must be at least 0")
    values, name = run.series(file, index, split)
    found = forecast(run, values, steps=steps, num=num, particles=particles, seed=seed)
    folder, stem = make_folder(out or run.output("forecasts")), f"{safe_name(name)}-{steps}"
    files = [folder / f"{stem}-{part}" for part in ("quantiles.csv", "paths.csv", "forecast.png", "forecast.json")]
    levels, mean, first = found.quantiles(quantiles), found.mean, len(values)
    rows: list[list[Any]] = [
        [first + h + 1, column, float(mean[h, j]), *levels[:, h, j].tolist()]
        for h in range(steps)
        for j, column in enumerate(run.columns)
    ]
    tables.write_rows(files[0], ["step", "column", "mean", *(f"q{q:g}" for q in quantiles)], rows)
    kept = found.paths[:written]
    rows = [[k + 1, first + h + 1, *row] for k, path in enumerate(kept) for h, row in enumerate(path.tolist())]
    tables.write_rows(files[1], ["path", "step", *run.columns], rows)
    title = f"{run.folder.name}: {name}, {steps} steps ahead"
    series.fan(values, levels, quantiles, mean, files[2], names=run.columns, title=title)
    facts = {"run": run.named, "checkpoint": run.step_folder.name, "series": name, "seed": seed}
    facts |= {"quantiles": list(quantiles), **summary(found, particles)}
    write_json(files[3], {"schema": 1, "files": [f.name for f in files[:3]], **facts})
    return files, found


def summary(found: Forecast, particles: int) -> dict[str, Any]:
    """What `forecast --json` says of it."""
    num, steps, _ = found.paths.shape
    return {"given": len(found.ess), "steps": steps, "num": num, "particles": particles, "ess": float(found.ess.min())}


def score(
    run: Trained,
    *,
    steps: int,
    season: int | None = None,
    data: str | Path | None = None,
    split: str = "test",
    num: int = PATHS,
    particles: int = PARTICLES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Hold out the last steps of each sequence, forecast them from the rest, and score the model and the baselines.

    An entry counts where it was observed and all baselines say something. Means are over the columns, each over its
    entries; the point that MASE scores is the median. The baselines' spread is that of their errors on train.

    Args:
        run: see `forecast`.
        steps: how many steps are held out.
        season: steps of a season, for the baseline that repeats the last one; no such baseline by default.
        data, split: which sequences.
        num, particles, seed: see `forecast`.
        progress: called with (sequences done, of how many).

    Returns:
        The report of `evaluate --forecast --json`.

    Raises:
        ConfigError: numbers out of range.
        DataError: no sequence is longer than `steps`, or nothing can be scored.
    """
    _check(run, steps, num, particles)
    if season is not None and season < 2:
        raise ConfigError(f"--season {season}: must be at least 2 steps", "the last value is a baseline anyway")
    dataset, train = run.data(data, split), run.data(data, "train")
    lags = {"last value": lag_of((run.encoding.decode(train[i]) for i in range(len(train))), 1)}
    if season is not None:
        lags["last season"] = lag_of((run.encoding.decode(train[i]) for i in range(len(train))), season)
    tallies = {name: Tally(lags["last value"].absolute) for name in ("model", *lags)}
    chosen = [i for i in range(len(dataset)) if dataset.lengths[i] > steps]
    if not chosen:
        longest = int(dataset.lengths.max())
        message = f"--forecast {steps}: no sequence of {split} has more than {longest} steps"
        raise DataError(message, "hold out fewer steps", dataset.info.path)
    for done, i in enumerate(chosen):
        values = run.encoding.decode(dataset[i])
        context, x = values[:-steps], values[-steps:]
        baselines = {name: naive(context, steps, lag) for name, lag in lags.items()}
        scored = ~np.isnan(x)
        for mean, deviation in baselines.values():
            scored &= ~np.isnan(mean) & ~np.isnan(deviation)
        if scored.any():
            paths = forecast(run, context, steps=steps, num=num, particles=particles, seed=seed + i).paths
            low, point, high = np.quantile(paths, [LOW, 0.5, HIGH], axis=0)
            tallies["model"].add(crps_of_samples(paths, x), point, low, high, x, scored)
            for name, (mean, deviation) in baselines.items():
                low, high = mean - NORMAL_HIGH * deviation, mean + NORMAL_HIGH * deviation
                tallies[name].add(crps_of_normal(mean, deviation, x), mean, low, high, x, scored)
        if progress is not None:
            progress(done + 1, len(chosen))
    count = int(tallies["model"].count.sum())
    if count == 0:
        raise DataError(f"{split}: none of the held-out values can be scored", "they or all before them are missing")
    found = {name: tally.summary() for name, tally in tallies.items()}
    assert all(v is None or math.isfinite(v) for one in found.values() for v in one.values())
    return {
        "schema": 1,
        "forecast": steps,
        "season": season,
        "split": split,
        "sequences": len(chosen),
        "too_short": len(dataset) - len(chosen),
        "values": count,
        "num": num,
        "particles": particles,
        "scores": found,
        "columns": {name: dict(zip(run.columns, tally.by_column(), strict=True)) for name, tally in tallies.items()},
        "data": str(dataset.info.path),
    }
