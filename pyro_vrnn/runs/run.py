"""A run folder: made by `train`, opened by `load`; what it was trained on, and what can be asked of it.

RUN/  config.toml  environment.json  metrics.jsonl  log.txt  checkpoints/  samples/  reconstructions/  interpolations/
     latents/  figures/  diagnostics/  imputed/  forecasts/  report.html
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyro_vrnn import weights
from pyro_vrnn.objectives import Objective, make_objective
from pyro_vrnn.objectives.evaluation import Evaluation, evaluate
from pyro_vrnn.programs import Stacked
from pyro_vrnn.runs import forecasting, imputing, reconstruction, sampling
from pyro_vrnn.runs.drift import Drift, measure
from pyro_vrnn.runs.folder import read_config
from pyro_vrnn.runs.pages import run_page
from pyro_vrnn.runs.plan import build_net
from pyro_vrnn.runs.posteriors import draws, inspection, latent_space
from pyro_vrnn.runs.posteriors.inference_data import PosteriorTrace
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.devices import device as pick_device
from pyro_vrnn.system.errors import check_seed
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.observer import FitResult


class Run(Trained):
    """A trained run and what can be asked of it; each method calls the module that does the work."""

    result: FitResult | None = None
    """How the training ended, for a run that `train` just made."""

    def evaluate(
        self,
        split: str = "test",
        objective: str | Objective = "elbo",
        particles: int | None = None,
        *,
        data: str | os.PathLike[str] | None = None,
        batch_size: int = 32,
        seed: int = 0,
        repeats: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """A bound on log p(x) of a split, at beta = 1; see `evaluation.Evaluation`.

        `objective` is a name, or a bound with all its settings, which `particles` does not change.
        With `repeats` it is estimated so many times with seeds that follow each other; the mean is reported.

        Raises:
            ConfigError: an unknown objective or split, or particles it cannot take.
            DataError: see `data`.
        """
        if isinstance(objective, str):
            objective = make_objective(objective, particles, self.config.objective)
        return evaluate(
            Stacked(self.net),
            self.data(data, split),
            objective,
            split=split,
            batch_size=batch_size,
            seed=check_seed(seed),
            repeats=repeats,
            device=self.device,
            progress=progress,
        )

    def sample(self, num: int = 4, steps: int | None = None, **options: Any) -> list[Path]:
        """Draw sequences and write them; the options and the files are those of `sampling.write`."""
        return sampling.write(self, num=num, steps=steps, **options)

    def posterior(self, x: Any, particles: int = 1, *, seed: int = 0) -> PosteriorTrace:
        """A Pyro trace of the guide on one sequence x [T, X], replayed through the model: the sites of both sides.

        The trace's sites have `fn` of the model and `value` of what the guide drew; log-probabilities are computed.
        `trace.to_inference_data()` is the same for ArviZ.

        Raises:
            ConfigError: particles or a seed out of range.
            DataError: x has another shape or values that the model cannot score.
        """
        return PosteriorTrace(self, draws.posterior(self, x, particles, seed=seed))

    def inspect(self, **options: Any) -> dict[str, Any]:
        """The posterior of sequences in numbers, figures and NetCDF; the options are those of `inspection.inspect`."""
        return inspection.inspect(self, **options)

    def reconstruct(self, **options: Any) -> list[Path]:
        """A sequence through the posterior and back, as files; the options are those of `reconstruction.write`."""
        return reconstruction.write(self, **options)

    def encode(self, **options: Any) -> list[Path]:
        """The latents of a split as files; the options are those of `latent_space.encode`."""
        return latent_space.encode(self, **options)

    def interpolate(self, first: str, second: str, *more: str, **options: Any) -> list[Path]:
        """Sequences between two others or several, as files; the options are those of `latent_space.interpolate`."""
        return latent_space.interpolate(self, first, second, *more, **options)

    def report(self, path: str | Path | None = None, **options: Any) -> Path:
        """Write the run onto one HTML page, RUN/report.html by default; the options are those of `run_page.write`."""
        return run_page.write(self, None if path is None else Path(path), **options)

    def impute(self, x: Any, particles: int = imputing.PARTICLES, *, seed: int = 0) -> imputing.Imputed:
        """The posterior mean and interval of each missing value (NaN) of a series [T, X], in its source's units."""
        return imputing.impute(self, x, particles=particles, seed=seed)

    def forecast(self, x: Any, steps: int, **options: Any) -> forecasting.Forecast:
        """Sample what comes after a series [T, X], in its source's units; the options are `forecasting.forecast`'s."""
        return forecasting.forecast(self, x, steps=steps, **options)

    def drift(self, seconds: int = 60, **options: Any) -> Drift:
        """How far its continuations of sound drift, second by second; the options are those of `drift.measure`."""
        return measure(self, seconds, **options)


def load(path: str | Path, *, device: str = "cpu", say: Callable[[str], None] = lambda message: None) -> Run:
    """Open a run folder (its BEST checkpoint), one checkpoint folder, or a shipped model by its name, such as "bach".

    A folder of that name in the current one goes before the shipped model; `say` is told of it, and later if the
    run's data lies elsewhere now.

    Raises:
        CheckpointError: no run there, or it is damaged.
        DeviceError: no such device.
    """
    folder, step_folder = checkpoint.find(Path(path))
    if weights.hidden(Path(path)):
        say(f"note: {path} is the run in this folder, not the shipped model of that name")
    settings = read_config(folder)
    where = pick_device(device)
    net = build_net(settings).to(where)
    saved = checkpoint.load(step_folder)
    checkpoint.load_weights(net, saved.model, step_folder)
    net.eval()
    return Run(folder, step_folder, settings, net, saved.state, say)
