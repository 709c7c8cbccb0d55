"""The particle filter's bound with very many particles: what `particle_filter.py` computes, each thing only once.

Particles that were drawn anew from the same ancestor share their state, and with it prior and posterior of the next z.
With weights as uneven as those of music, a thousand particles have some two hundred different states; prior, posterior
and transition are computed for these alone, and the particles read them by number. The draws are the readable
filter's, in the same order, so that the numbers are the same to rounding. A twist weighs the states after each step,
before it is known who is continued from: then the transition is computed for all particles.
Shapes: K particles, B sequences, T steps, U different states (at most K B), widths X, Z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel, expand
from pyro_vrnn.models.networks import State
from pyro_vrnn.programs.markov import seen_by_guide
from pyro_vrnn.programs.particle_filter import Lookahead, Resampling, choose_ancestors, particle_filter


@dataclass(frozen=True)
class _Distinct:
    """The different states of all particles, and who has which."""

    state: State
    """Each part [U, ·]."""
    owner: Tensor
    """The sequence of each. [U]"""
    index: Tensor
    """The state of each particle. [K, B]"""
    count: Tensor
    """How many particles have each. [U]"""


@torch.no_grad()
def log_evidence(
    net: SequenceModel,
    batch: Batch,
    particles: int,
    *,
    threshold: float = 0.5,
    resampling: Resampling = "systematic",
    twist: Lookahead | None = None,
) -> tuple[Tensor, Tensor]:
    """The filter's estimate of log p(x) of each sequence and the sum over its steps of KL(q_t || p_t), nats. [B], [B].

    A model whose prior and posterior are not both diagonal Gaussians goes through the readable filter.

    Args:
        net: in evaluation mode.
        batch: whole sequences.
        particles: K.
        threshold, resampling, twist: see `particle_filter`.
    """
    lead = torch.Size([particles, batch.size])
    features = net.features(batch.read)  # [T, B, F]
    e = net.encode(batch, seen_by_guide(net, batch, features))  # [T, B, E]
    assert batch.x is not None
    start, columns = net.begin(batch), torch.arange(batch.size, device=features.device)
    at = _Distinct(start, columns, columns.expand(lead), torch.full_like(columns, particles))
    if not all(_normal(side) for side in (net.q_z(start, e[0]), net.p_z(start))):
        found = particle_filter(net, batch, particles, threshold=threshold, resampling=resampling, twist=twist)
        return found.log_evidence, found.kl.sum(0)
    log_w, evidence = features.new_zeros(lead), features.new_zeros(batch.size)
    log_r = torch.zeros_like(log_w)
    kl_sum = torch.zeros_like(evidence)
    for t, (x_t, alive, scored) in enumerate(zip(batch.x, batch.alive, batch.scored, strict=True)):
        z, log_ratio, kl = _draw(net, at, e[t])
        state = tuple(_rows(part, at.index) for part in at.state)  # [K, B, ·]
        p_x = net.p_x(state, z)
        if batch.observed is not None:
            p_x = net.likelihood.observed(p_x, batch.observed[t])
        log_px = p_x.log_prob(x_t)
        step, after = torch.where(scored, log_px, 0.0) + log_ratio, None
        if twist is not None:
            after = expand(net.next(state, z, features[t]), lead)
            before, log_r = log_r, torch.where(batch.lengths > t + 1, twist(t, after), 0.0)
            step = step + (log_r - before)
        log_w = log_w + torch.where(alive, step, 0.0)
        kl_sum = kl_sum + torch.where(alive, kl, 0.0)
        total = evidence + torch.logsumexp(log_w, 0) - math.log(particles)
        if t == batch.steps - 1:
            break
        size = 1 / torch.softmax(log_w, 0).square().sum(0)  # [B]
        anew = (batch.lengths > t + 1) & (size < threshold * particles)
        chosen = torch.arange(particles, device=z.device)[:, None].expand(lead)
        if threshold > 0:
            drawn, _ = choose_ancestors(log_w, resampling)
            chosen = torch.where(anew, drawn, chosen)
            evidence, log_w = torch.where(anew, total, evidence), torch.where(anew, 0.0, log_w)
            log_r = log_r.gather(0, chosen)
        at = _continued(chosen, after) if after is not None else _step(net, state, z, features[t], chosen)
    return total, kl_sum


def _rows(values: Tensor, index: Tensor) -> Tensor:
    """[U, D], [K, B] -> [K, B, D]; many times faster than values[index]."""
    return values.index_select(0, index.flatten()).view(*index.shape, -1)


def _normal(q: Distribution) -> bool:
    return type(q) is dist.Independent and type(q.base_dist) is dist.Normal


def _draw(net: SequenceModel, at: _Distinct, e_t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """z [K, B, Z], log p(z) - log q(z) of each [K, B], and the particles' mean KL(q || p) [B].

    With z = m + s eps of the posterior and N(m', s') the prior, the difference of their log-densities in a unit is
    (eps^2 - (a + b eps)^2) / 2 + log b, where a = (m - m') / s' and b = s / s'; a and b are the states' alone.
    """
    q, p = net.q_z(at.state, e_t[at.owner]).base_dist, net.p_z(at.state).base_dist  # [U, Z]
    a, b = (q.loc - p.loc) / p.scale, q.scale / p.scale
    log_b = b.log().sum(-1)
    kl = 0.5 * (a.square() + b.square() - 1).sum(-1) - log_b  # [U]
    by_sequence = torch.zeros_like(e_t[:, 0] if e_t.shape[1] else kl[: len(e_t)])
    by_sequence.index_add_(0, at.owner, kl * at.count)
    eps = torch.randn(*at.index.shape, q.loc.shape[-1], dtype=q.loc.dtype, device=q.loc.device)
    parts = _rows(torch.cat([q.loc, q.scale, a, b], dim=-1), at.index).chunk(4, dim=-1)  # [K, B, Z] each
    z = torch.addcmul(parts[0], parts[1], eps)
    off = torch.addcmul(parts[2], parts[3], eps)
    log_ratio = 0.5 * (eps.square() - off.square()).sum(-1) + log_b[at.index]
    return z, log_ratio, by_sequence / len(at.index)


def _step(net: SequenceModel, state: State, z: Tensor, features: Tensor, chosen: Tensor) -> _Distinct:
    """The states after this step of the particles that are continued from, each one once.

    Args:
        net: the model.
        state: before the step, each part [K, B, ·].
        z: drawn at it, [K, B, Z].
        features: of x_t, [B, F].
        chosen: whom each particle of the next step continues from, [K, B].
    """
    kept, owner, index, count = _once(chosen)
    before = tuple(_kept(part, kept) for part in state)
    after = net.next(before, _kept(z, kept), features[owner])
    return _Distinct(expand(after, torch.Size([len(kept)])), owner, index, count)


def _continued(chosen: Tensor, after: State) -> _Distinct:
    """See `_step`, where the states after this step of all particles, each part [K, B, ·], are known already."""
    kept, owner, index, count = _once(chosen)
    return _Distinct(tuple(_kept(part, kept) for part in after), owner, index, count)


def _once(chosen: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Whom particles continue from, each once: places among all K B, sequences, who has which [K, B], counts [U]."""
    size = chosen.shape[1]
    flat = chosen * size + torch.arange(size, device=chosen.device)
    kept, index, count = flat.unique(return_inverse=True, return_counts=True)
    return kept, kept % size, index, count


def _kept(values: Tensor, kept: Tensor) -> Tensor:
    """[K, B, D] -> [U, D]."""
    return values.flatten(0, 1).index_select(0, kept)
