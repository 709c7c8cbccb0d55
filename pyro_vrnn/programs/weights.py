"""One run of the pair with K particles, read off its two traces: what every bound is made of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import cached_property
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.latents import kl_by_unit
from pyro_vrnn.programs.stacked import StackedSteps, kl_by_step

Side = Callable[..., Any]
"""A program's `model` or `guide`."""


def traces(
    model: Side, guide: Side, batch: Batch, particles: int, beta: float | Tensor = 1.0
) -> tuple[poutine.Trace, poutine.Trace]:
    """The guide's trace with K particles and the model's, replayed on it, with log-probabilities [K, B]."""
    drawn, scored = _traces(model, guide, batch, particles, beta)
    drawn.compute_log_prob()
    scored.compute_log_prob()
    return drawn, scored


def _traces(
    model: Side, guide: Side, batch: Batch, particles: int, beta: float | Tensor
) -> tuple[poutine.Trace, poutine.Trace]:
    """Both traces without log-probabilities."""
    drawn = poutine.trace(_with_particles(guide, particles)).get_trace(batch, beta)
    return drawn, poutine.trace(poutine.replay(_with_particles(model, particles), trace=drawn)).get_trace(batch, beta)


def _with_particles(side: Side, particles: int) -> Side:
    # Inside replay, or replay marks a site as done before the plate can broadcast its distribution.
    def wrapped(batch: Batch, beta: float | Tensor = 1.0) -> Any:
        with pyro.plate("particles", particles, dim=-2) if particles > 1 else nullcontext():
            return side(batch, beta)

    return wrapped


def draw(guide: Side, batch: Batch, particles: int) -> dict[str, Tensor]:
    """The guide's draws alone, by site; gradients go through them."""
    trace = poutine.trace(_with_particles(guide, particles)).get_trace(batch)
    return {k: v["value"] for k, v in trace.nodes.items() if v["type"] == "sample" and not site_is_subsample(v)}


def log_joint(model: Side, batch: Batch, z: dict[str, Tensor], particles: int) -> Tensor:
    """log p(x, z) of given draws, [K, B]."""
    given = poutine.condition(_with_particles(model, particles), data=z)
    trace = poutine.trace(given).get_trace(batch)
    trace.compute_log_prob()
    sites = [v["log_prob"] for v in trace.nodes.values() if v["type"] == "sample" and not site_is_subsample(v)]
    total = sites[0]
    for site in sites[1:]:
        total = total + site
    return total.expand(particles, batch.size)


def whole(z: dict[str, Tensor]) -> Tensor:
    """Draws by site as one path: `z` itself, or `z_1`, …, `z_T` side by side. [..., B, T, Z]."""
    return z["z"] if "z" in z else torch.stack(list(z.values()), dim=-2)


class Terms:
    """The parts of the bound for each particle and sequence, nats; each is computed when it is asked for.

    With gradients or without, as it was when the pair ran; with the weights as they are when it is asked.

    Args:
        drawn, scored: the guide's trace and the model's, without log-probabilities.
        shape: [K, B].
    """

    def __init__(self, drawn: poutine.Trace, scored: poutine.Trace, shape: tuple[int, int]) -> None:
        self._drawn, self._scored, self._shape, self._grads = drawn, scored, shape, torch.is_grad_enabled()
        sites = [(k, v) for k, v in scored.nodes.items() if v["type"] == "sample" and not site_is_subsample(v)]
        self._latent = [name for name, site in sites if not site["is_observed"]]
        self._observed = [name for name, site in sites if site["is_observed"]]

    def _sum(self, trace: poutine.Trace, names: list[str]) -> Tensor:
        with torch.set_grad_enabled(self._grads):
            trace.compute_log_prob(lambda name, site: name in names)
            total: Tensor = sum((trace.nodes[name]["log_prob"] for name in names), torch.zeros(()))
            return total.expand(self._shape)

    @cached_property
    def nll(self) -> Tensor:
        """-log p(x | z), [K, B]."""
        return -self._sum(self._scored, self._observed)

    @cached_property
    def log_q(self) -> Tensor:
        """beta sum_t log q(z_t), [K, B]."""
        return self._sum(self._drawn, self._latent)

    @cached_property
    def log_weights(self) -> Tensor:
        """sum_t log p(x_t) + beta (log p(z_t) - log q(z_t)), [K, B]."""
        return self._sum(self._scored, self._latent) - self.nll - self.log_q

    @cached_property
    def kl_by_step(self) -> Tensor:
        """KL(q_t || p_t) along the drawn path, in closed form where there is one, no beta. [T, K, B]."""
        with torch.set_grad_enabled(self._grads):
            steps = [_kl_steps(self._drawn.nodes[name], self._scored.nodes[name]) for name in self._latent]
            return torch.cat([kl.reshape(len(kl), -1, self._shape[1]).expand(-1, *self._shape) for kl in steps])

    @cached_property
    def kl(self) -> Tensor:
        """[K, B]."""
        return self.kl_by_step.sum(0)

    @cached_property
    def z(self) -> dict[str, Tensor]:
        """The guide's draws, by site."""
        return {name: self._drawn.nodes[name]["value"] for name in self._latent}


def terms(model: Side, guide: Side, batch: Batch, particles: int, beta: float | Tensor = 1.0) -> Terms:
    """Run the pair once with a particle plate outside and read both traces.

    Args:
        model, guide: of either program; they give the same numbers.
        batch: whole sequences, or pieces.
        particles: K.
        beta: KL weight; 1 for everything that is reported.
    """
    return Terms(*_traces(model, guide, batch, particles, beta), (particles, batch.size))


def _kl_steps(q: Any, p: Any) -> Tensor:
    """KL of one site, or of a stacked site's steps, without beta; zero where a sequence has ended. [steps, ..., B]."""
    if isinstance(q["fn"], StackedSteps):
        return kl_by_step(q["fn"], p["fn"])
    kl = kl_by_unit(q["fn"], p["fn"], q["value"]).sum(-1)
    return torch.where(q["mask"], kl, torch.zeros_like(kl))[None]
