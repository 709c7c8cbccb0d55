"""One run of the pair with K particles, read off its two traces: what every bound is made of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyro_vrnn.latents import kl_by_unit
from pyro_vrnn.programs.stacked import StackedSteps, kl_by_step
from pyro_vrnn.sequences import Batch

Side = Callable[..., Any]
"""A program's `model` or `guide`."""


def traces(
    model: Side, guide: Side, batch: Batch, particles: int, beta: float | Tensor = 1.0
) -> tuple[poutine.Trace, poutine.Trace]:
    """The guide's trace with K particles and the model's, replayed on it, with log-probabilities [K, B]."""

    drawn = poutine.trace(_with_particles(guide, particles)).get_trace(batch, beta)
    scored = poutine.trace(poutine.replay(_with_particles(model, particles), trace=drawn)).get_trace(batch, beta)
    drawn.compute_log_prob()
    scored.compute_log_prob()
    return drawn, scored


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


@dataclass(frozen=True)
class Terms:
    """The parts of the bound for each particle and sequence, nats."""

    log_weights: Tensor  # sum_t log p(x_t) + beta (log p(z_t) - log q(z_t)), [K, B]
    log_q: Tensor  # the last part of it, beta sum_t log q(z_t), [K, B]
    nll: Tensor  # -log p(x | z), [K, B]
    kl_by_step: Tensor  # KL(q_t || p_t) along the drawn path, in closed form where there is one, no beta, [T, K, B]
    z: dict[str, Tensor]  # the guide's draws, by site

    @property
    def kl(self) -> Tensor:
        """[K, B]."""
        return self.kl_by_step.sum(0)


def terms(model: Side, guide: Side, batch: Batch, particles: int, beta: float | Tensor = 1.0) -> Terms:
    """Run the pair once with a particle plate outside and read both traces.

    Args:
        model, guide: of either program; they give the same numbers.
        batch: whole sequences, or pieces.
        particles: K.
        beta: KL weight; 1 for everything that is reported.
    """
    drawn, scored = traces(model, guide, batch, particles, beta)
    like = batch.read
    log_px, log_pz, log_qz = like.new_zeros(3, particles, batch.size).unbind()
    kl, z = [], {}
    for name, site in scored.nodes.items():
        if site["type"] != "sample" or site_is_subsample(site):
            continue
        if site["is_observed"]:
            log_px = log_px + site["log_prob"]
        else:
            q = drawn.nodes[name]
            log_pz, log_qz = log_pz + site["log_prob"], log_qz + q["log_prob"]
            kl += _kl_steps(q, site)
            z[name] = q["value"]
    by_step = torch.stack([step.expand(particles, batch.size) for step in kl])
    return Terms(log_px + log_pz - log_qz, log_qz, -log_px, by_step, z)


def _kl_steps(q: Any, p: Any) -> list[Tensor]:
    """Of one site, or of a stacked site's steps, without beta; zero where a sequence has ended. [..., B] each."""
    if isinstance(q["fn"], StackedSteps):
        return list(kl_by_step(q["fn"], p["fn"]))
    kl = kl_by_unit(q["fn"], p["fn"], q["value"]).sum(-1)
    return [torch.where(q["mask"], kl, torch.zeros_like(kl))]
