"""Draws of the guide on one sequence, the model replayed on them, and what the model draws of itself beside them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch
from pyro.poutine import Trace, trace
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.latents import kl_by_unit
from pyro_vrnn.programs import Markov, traces
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError, check_seed


@dataclass(frozen=True)
class Posterior:
    """K draws of the guide on one sequence, and the model replayed on them; log-probabilities are computed."""

    guide: Trace
    """Sites z_1, …, z_T with the values that q drew."""
    model: Trace
    """Sites z_1, x_1, …, z_T, x_T of p, on those values."""
    x: Tensor
    """The sequence as the model reads it, NaN where a value is missing. [T, X]"""
    seed: int
    """Seed of the draws."""
    given: int = 0
    """First steps that are only read, and have no score."""

    @property
    def steps(self) -> int:
        """T."""
        return len(self.x)

    def z(self) -> Tensor:
        """What the guide drew. [K, T, Z]."""
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
        """log p(x, z) - log q(z | x), nats. [K].

        Raises:
            NumericsError: they are not finite.
        """
        total = torch.zeros(())
        for t in range(1, self.steps + 1):
            total = total + self.log_prob("model", f"x_{t}") + self.log_prob("model", f"z_{t}")
            total = total - self.log_prob("guide", f"z_{t}")
        if not bool(total.isfinite().all()):
            hint = "the model has diverged: train it with a smaller training.learning_rate"
            raise NumericsError("log p(x, z) - log q(z | x) is not finite", hint)
        return total

    def log_likelihood(self) -> Tensor:
        """log p(x_t | z_1, …, z_t, x_1, …, x_{t-1}) of each draw, nats; 0 where nothing is scored. [K, T]."""
        return torch.stack([self.log_prob("model", f"x_{t}") for t in range(1, self.steps + 1)], dim=1)

    def log_prob(self, side: str, name: str) -> Tensor:
        """Log-probability of one site, nats. [K]."""
        value: Tensor = getattr(self, side).nodes[name]["log_prob"]
        return value.reshape(-1)

    def mean_x(self) -> Tensor:
        """E[x_t | z] at each step, averaged over the particles. [T, X]."""
        means = [self.model.nodes[f"x_{t}"]["fn"].mean for t in range(1, self.steps + 1)]
        return torch.stack([m.flatten(0, -2).mean(0) for m in means])

    def sample_x(self) -> Tensor:
        """A sample of p(x_t | z_1, …, z_t, x_1, …, x_{t-1}) for each draw, from the random state at hand. [K, T, X]."""
        sites = [self.model.nodes[f"x_{t}"]["fn"] for t in range(1, self.steps + 1)]
        return torch.stack([fn().flatten(0, -2) for fn in sites], dim=1)

    def _value(self, name: str) -> Tensor:
        value: Tensor = self.guide.nodes[name]["value"]
        return value.flatten(0, -2)


@contextmanager
def seeded(run: Trained, seed: int) -> Iterator[None]:
    """A random state of one's own and a param store of one's own; those outside are left as they were."""
    devices = [run.device] if run.device.type == "cuda" else []
    with pyro.get_param_store().scope(), pyro.validation_enabled(False), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


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
        ConfigError: particles or a seed out of range.
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
    with seeded(run, seed):
        program = Markov(run.net)
        guide, model = traces(program.model, program.guide, batch, particles)
    return Posterior(guide, model, values, seed, given)


@torch.no_grad()
def prior(run: Trained, like: Posterior, particles: int) -> tuple[Tensor, Tensor]:
    """Sequences that the model draws of itself, as long as a given one, from the random state at hand.

    Steps that are only read are read here too: the model has no distribution of them.

    Returns:
        z [K, T, Z] and x [K, T, X].
    """
    lengths = torch.full((particles,), like.steps, device=run.device)
    batch = Batch(lengths)
    if like.given:
        read = Batch.of(like.x[: like.given, None].expand(-1, particles, -1))
        given = torch.full_like(lengths, like.given)
        batch = Batch(lengths, read.x, given=given, observed=read.observed)
    drawn = trace(Markov(run.net).model).get_trace(batch)
    z = torch.stack([drawn.nodes[f"z_{t}"]["value"] for t in range(1, like.steps + 1)], dim=1)
    x: Tensor = drawn.nodes["_RETURN"]["value"]
    return z, x.movedim(1, 0)
