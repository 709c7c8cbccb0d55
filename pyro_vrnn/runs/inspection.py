"""The posterior trace of a sequence: what the guide drew, what the model says of it, what each step and unit cost."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

from pyro_vrnn import media
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.media import figures
from pyro_vrnn.models.latents import kl_by_unit
from pyro_vrnn.programs import Markov, traces
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, DataError, check_seed
from pyro_vrnn.system.files import cannot_write, make_folder, safe_name

ACTIVE_NATS = 0.01
"""A latent unit is active if its KL, averaged over steps and particles, is above this."""


@dataclass(frozen=True)
class Posterior:
    """K draws of the guide on one sequence, and the model replayed on them; log-probabilities are computed."""

    guide: Any
    model: Any
    steps: int

    def z(self) -> Tensor:
        """[K, T, Z]."""
        return torch.stack([self._value(f"z_{t}") for t in range(1, self.steps + 1)], dim=1)

    def kl(self) -> Tensor:
        """KL of each unit at each step, analytic given the draw's own past, nats. [K, T, Z]."""
        per_step = []
        for t in range(1, self.steps + 1):
            q, p = (side.nodes[f"z_{t}"]["fn"] for side in (self.guide, self.model))
            kl = kl_by_unit(q, p, self.guide.nodes[f"z_{t}"]["value"])
            per_step.append(kl.flatten(0, -2))
        return torch.stack([kl.expand(per_step[-1].shape) for kl in per_step], dim=1)

    def log_weights(self) -> Tensor:
        """log p(x, z) - log q(z | x), nats. [K]."""
        total = torch.zeros(())
        for t in range(1, self.steps + 1):
            total = total + self.log_prob("model", f"x_{t}") + self.log_prob("model", f"z_{t}")
            total = total - self.log_prob("guide", f"z_{t}")
        return total

    def log_prob(self, side: str, name: str) -> Tensor:
        """Log-probability of one site, nats. [K]."""
        value: Tensor = getattr(self, side).nodes[name]["log_prob"]
        return value.reshape(-1)

    def mean_x(self) -> Tensor:
        """E[x_t | z] at each step, averaged over the particles. [T, X]."""
        means = [self.model.nodes[f"x_{t}"]["fn"].mean for t in range(1, self.steps + 1)]
        return torch.stack([m.flatten(0, -2).mean(0) for m in means])

    def _value(self, name: str) -> Tensor:
        value: Tensor = self.guide.nodes[name]["value"]
        return value.flatten(0, -2)


@torch.no_grad()
def posterior(run: Trained, x: Any, particles: int = 1, *, seed: int = 0, given: int = 0) -> Posterior:
    """Run the guide on one sequence and replay the model on its draws.

    Args:
        run: the trained model.
        x: [T, X], an array or tensor.
        particles: K draws.
        seed: of the draws.
        given: first steps that are only read (`Batch.given`).

    Raises:
        DataError: x has another shape or values that the model cannot score.
    """
    try:
        values = torch.as_tensor(np.asarray(x, dtype=np.float32), device=run.device)
    except (TypeError, ValueError) as error:
        raise DataError(f"x is no array of numbers: {error}", f"give [steps, {run.format.x_dim}] values") from None
    if values.dim() != 2 or values.shape[1] != run.format.x_dim or len(values) == 0:
        raise DataError(f"x has shape {list(values.shape)}: expected [steps, {run.format.x_dim}]")
    if bool(values.isinf().any()) or (bool(values.isnan().any()) and not run.format.missing):
        raise DataError("x has NaN or infinite values", "NaN is for a model of data with missing values")
    if run.format.support == "binary" and not bool(((values == 0) | (values == 1) | values.isnan()).all()):
        raise DataError("x has values other than 0 and 1", "the model was trained on binary data")
    if particles < 1:
        raise ConfigError(f"--particles {particles}: must be at least 1")
    check_seed(seed)
    unscored = torch.tensor([given], device=run.device) if given else None
    batch = Batch.of(values[:, None], given=unscored)
    devices = [run.device] if run.device.type == "cuda" else []
    with (
        pyro.get_param_store().scope(),
        pyro.validation_enabled(False),
        torch.random.fork_rng(devices=devices),
    ):
        torch.manual_seed(seed)
        program = Markov(run.net)
        guide, model = traces(program.model, program.guide, batch, particles)
    return Posterior(guide, model, len(values))


@torch.no_grad()
def inspect(
    run: Trained,
    *,
    split: str = "test",
    sequence: str = "0",
    particles: int = 1,
    seed: int = 0,
    out: Path | None = None,
    export: Path | None = None,
) -> dict[str, Any]:
    """The report of `inspect --json` on one sequence of a split; figures are written below `out`.

    Where `per_step` is false z_1 is about the whole sequence, and the later z are there for the programs alone.

    Args:
        run: the trained model.
        split: of the run's data.
        sequence: a number or an id.
        particles: K draws of the posterior; means over them are reported.
        seed: of the draws.
        out: folder of the figures; default RUN/figures.
        export: a .nc file for the posterior (ArviZ's layout).
    """
    dataset = run.data(split=split)
    index = dataset.find(sequence)
    x, name = dataset[index], dataset.ids[index]
    found = posterior(run, x, particles, seed=seed, given=int(dataset.given[index]))
    kl = found.kl()  # [K, T, Z]
    by_step, by_unit = kl.sum(-1).mean(0), kl.mean((0, 1))
    sites = []
    for t in range(1, found.steps + 1):
        sites.append(
            {
                "name": f"z_{t}",
                "kind": "latent",
                "shape": list(found.guide.nodes[f"z_{t}"]["value"].shape),
                "log_prob_p": float(found.log_prob("model", f"z_{t}").mean()),
                "log_prob_q": float(found.log_prob("guide", f"z_{t}").mean()),
                "kl": float(by_step[t - 1]),
            }
        )
        sites.append(
            {
                "name": f"x_{t}",
                "kind": "observed",
                "shape": list(found.model.nodes[f"x_{t}"]["value"].shape),
                "log_prob_p": float(found.log_prob("model", f"x_{t}").mean()),
                "log_prob_q": None,
                "kl": None,
            }
        )
    log_weights = found.log_weights()
    folder = make_folder(out or run.output("figures"))
    stem = f"posterior-{split}-{safe_name(name)}"
    title, steps_kl = f"{run.folder.name}: {split} {name}", by_step.cpu().numpy()
    pictures = []
    picture = media.posterior(run.format, x, steps_kl, found.mean_x().cpu().numpy(), folder / f"{stem}.png", title)
    if picture is not None:
        pictures.append(picture)
    if run.net.latent_dim > 0:
        pictures += [folder / f"{stem}-kl-by-step.png", folder / f"{stem}-kl-by-unit.png"]
        figures.kl_by_step(steps_kl, pictures[-2], title=title)
        figures.kl_by_unit(by_unit.cpu().numpy(), pictures[-1], ACTIVE_NATS)
    if export is not None:
        export_netcdf(found, x, kl, export)
        pictures.append(export)
    return {
        "schema": 1,
        "sequence": name,
        "index": index,
        "split": split,
        "steps": found.steps,
        "particles": particles,
        "per_step": run.net.per_step,
        "sites": sites,
        "kl_by_step": by_step.tolist(),
        "kl_by_unit": by_unit.tolist(),
        "active_units": int((by_unit > ACTIVE_NATS).sum()),
        "bound": float(torch.logsumexp(log_weights, 0)) - math.log(len(log_weights)),
        "files": [str(f) for f in pictures],
    }


def export_netcdf(found: Posterior, x: Any, kl: Tensor, path: Path) -> None:
    """Write the draws as NetCDF with ArviZ's groups: posterior (chain, draw, step, unit), observed_data.

    Raises:
        ConfigError: the optional packages are absent, or the file cannot be written.
    """
    try:
        import h5netcdf  # noqa: F401
        import xarray
    except ImportError:
        raise ConfigError("--export needs xarray and h5netcdf", "pip install 'pyro-vrnn[netcdf]'") from None
    z = found.z().cpu().numpy()[None]  # [1, K, T, Z]
    draws = xarray.Dataset(
        {
            "z": (("chain", "draw", "step", "unit"), z),
            "kl": (("chain", "draw", "step", "unit"), kl.cpu().numpy()[None]),
            "log_weight": (("chain", "draw"), found.log_weights().cpu().numpy()[None]),
        },
        coords={
            "chain": [0],
            "draw": range(z.shape[1]),
            "step": range(1, found.steps + 1),
            "unit": range(z.shape[3]),
        },
    )
    observed = xarray.Dataset(
        {"x": (("step", "column"), np.asarray(x))},
        coords={"step": range(1, found.steps + 1), "column": range(x.shape[1])},
    )
    if path.is_dir():
        raise ConfigError(f"--export {path}: is a folder", "give a file name that ends in .nc")
    beside = path.with_name(f".{path.name}.tmp")
    with cannot_write(path):
        try:
            draws.to_netcdf(beside, group="posterior", engine="h5netcdf", mode="w")
            observed.to_netcdf(beside, group="observed_data", engine="h5netcdf", mode="a")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
