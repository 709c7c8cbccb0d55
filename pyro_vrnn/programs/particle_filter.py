"""A particle filter driven by the same arrows: log-evidence, effective sample sizes, filtering means; FIVO's bound.

For each sequence K particles go through time together: z_t ~ q(z_t | state, e_t), weighed by
p(z_t) p(x_t) / q(z_t), and drawn anew from among themselves when their weights have become uneven.
The product over time of the mean weights is an unbiased estimate of p(x) (Maddison et al. 2017, arXiv:1705.09279).

With a twist r(state_t, x_{t+1:T}) the weight of step t is p(z_t) p(x_t) / q(z_t) * r_t / r_{t-1}, where r_0 = r_T = 1:
particles are kept that suit what is still to come, and what they gained or lost by it is taken back at the next step.
The estimate is unbiased whatever r is; the best r is p(x_{t+1:T} | state_t), up to a factor that is of x alone
(Lawson et al. 2022, arXiv:2206.05952). Without one r is 1: the plain filter.
Shapes: K particles, B sequences, T steps, widths X, Z.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel, expand
from pyro_vrnn.models.latents import kl_by_unit
from pyro_vrnn.models.networks import State
from pyro_vrnn.programs.markov import seen_by_guide

Resampling = Literal["systematic", "multinomial"]
Lookahead = Callable[[int, State], Tensor]
"""A twist on one batch: log r(state_t, x_{t+1:T}) from t (0, 1, …) and the states after that step [..., B, ·]. [..., B]

It is not asked for r_T = 1: whatever it says where a sequence has no further step counts for nothing."""


@dataclass(frozen=True)
class Filtered:
    """What one run of the filter says of each sequence; nothing is said of steps that a sequence does not have."""

    log_evidence: Tensor
    """An estimate of log p(x), in expectation below it: FIVO's bound. Nats, [B]."""
    increments: Tensor
    """What each step adds to it: estimates of log p(x_t | x_{<t}); with a twist the first foresees the others, and only
    their sum is an estimate. Zero after a sequence's end. [T, B]"""
    ess: Tensor
    """Effective sample size after weighing, before drawing anew; from 1 to K. [T, B]"""
    resampled: Tensor
    """Where particles were drawn anew, bool. [T, B]"""
    mean: Tensor
    """E[z_t | x_{<=t}] (with a smoothing guide too: what is ahead decides where particles go, not what they weigh; a
    twist weighs it too, and the mean is nearer to E[z_t | x]). [T, B, Z]"""
    kl: Tensor
    """KL(q_t || p_t), mean over the particles. [T, B]"""
    log_ancestors: Tensor
    """Log-probability of each step's choice of ancestors, for the score-function gradient. Zero where none. [T, B]"""


@dataclass(frozen=True)
class Moment:
    """All particles at one step, for who follows their paths."""

    step: int
    """0, 1, …"""
    p_x: Distribution
    """What each particle says of x_t, before it is known what was observed. [K, B | X]"""
    log_w: Tensor
    """How much each weighs after this step, since the last drawing anew. [K, B]"""
    ancestors: Tensor
    """Which of these particles each particle of the next step continues from; after the last step itself. [K, B]"""
    state: State
    """Where the particles of the next step start, each part [K, B, ·]."""


def particle_filter(
    net: SequenceModel,
    batch: Batch,
    particles: int,
    *,
    threshold: float = 0.5,
    resampling: Resampling = "systematic",
    twist: Lookahead | None = None,
    visit: Callable[[Moment], None] | None = None,
) -> Filtered:
    """Filter every sequence of a batch with K particles.

    Args:
        net: any model.
        batch: whole sequences.
        particles: K.
        threshold: draw anew where the effective sample size is below this share of K; 0 never does (which is IWAE),
            1 does at all but even weights.
        resampling: systematic (one random number a sequence and step: least noise) or multinomial.
        twist: log r; none is r = 1.
        visit: called at every step with all particles.
    """
    lead = torch.Size([particles, batch.size])
    features = net.features(batch.read)  # [T, B, F]
    e = net.encode(batch, seen_by_guide(net, batch, features))  # [T, B, E]
    assert batch.x is not None
    state, observed = expand(net.begin(batch), lead), batch.observed
    log_w = features.new_zeros(lead)  # since the last drawing, [K, B]
    log_r = torch.zeros_like(log_w)  # of the step before, [K, B]
    evidence = features.new_zeros(batch.size)  # of the segments before it, [B]
    totals, sizes, chosen, means, kls, log_ancestors = [evidence], [], [], [], [], []
    # unbind, for its gradient is one stack; that of an index is a tensor of zeros at every step
    for t, (x_t, e_t, features_t, alive, scored) in enumerate(
        zip(batch.x.unbind(), e.unbind(), features.unbind(), batch.alive, batch.scored, strict=True)
    ):
        q = net.q_z(state, e_t)
        q = q if q.batch_shape == lead else q.expand(lead)
        z = q.rsample()  # [K, B, Z]
        p = net.p_z(state)
        told = p_x = net.p_x(state, z)
        if observed is not None:
            p_x = net.likelihood.observed(p_x, observed[t])
        log_px = p_x.log_prob(x_t)
        log_px = torch.where(scored, log_px, torch.zeros_like(log_px))
        step = log_px + p.log_prob(z) - q.log_prob(z)  # [K, B]
        state = expand(net.next(state, z, features_t), lead)
        if twist is not None:
            before, log_r = log_r, torch.where(batch.lengths > t + 1, twist(t, state), 0.0)
            step = step + (log_r - before)
        log_w = log_w + torch.where(alive, step, torch.zeros_like(step))
        weights = torch.softmax(log_w.detach(), 0)
        size = 1 / weights.square().sum(0)  # [B]
        with torch.no_grad():
            means.append((weights[..., None] * z).sum(0))
            kls.append(torch.where(alive, kl_by_unit(q, p, z).sum(-1).expand(lead).mean(0), torch.zeros_like(size)))
        totals.append(evidence + torch.logsumexp(log_w, 0) - math.log(particles))
        anew = (batch.lengths > t + 1) & (size < threshold * particles)  # [B]
        log_prob, weighed = torch.zeros_like(size), log_w
        ancestors = own = torch.arange(particles, device=log_w.device)[:, None]
        if threshold > 0 and t < batch.steps - 1:
            ancestors, log_prob = choose_ancestors(log_w, resampling)
            ancestors = torch.where(anew, ancestors, own)  # [K, B]
            state = tuple(part.gather(0, ancestors[..., None].expand_as(part)) for part in state)
            log_r = log_r.gather(0, ancestors)
            evidence = torch.where(anew, totals[-1], evidence)
            log_w = torch.where(anew, torch.zeros_like(log_w), log_w)
        sizes.append(size)
        chosen.append(anew)
        log_ancestors.append(torch.where(anew, log_prob, torch.zeros_like(log_prob)))
        if visit is not None:
            visit(Moment(t, told, weighed, ancestors.expand(lead), state))
    path = torch.stack(totals)
    return Filtered(
        log_evidence=path[-1],
        increments=path[1:] - path[:-1],
        ess=torch.stack(sizes),
        resampled=torch.stack(chosen),
        mean=torch.stack(means),
        kl=torch.stack(kls),
        log_ancestors=torch.stack(log_ancestors),
    )


def choose_ancestors(log_w: Tensor, resampling: Resampling) -> tuple[Tensor, Tensor]:
    """Whom each particle continues from, [K, B], and the log-probability of the choice, [B].

    The latter has a gradient for multinomial drawing; for systematic it is zero.
    """
    particles = len(log_w)
    log_p = torch.log_softmax(log_w, 0)  # [K, B]
    if resampling == "multinomial":
        weights = log_p.detach().exp().nan_to_num(1.0)  # what is not a number is told by the evidence
        ancestors = torch.multinomial(weights.T, particles, replacement=True).T  # [K, B]
        return ancestors, log_p.gather(0, ancestors).sum(0)
    return systematic(log_p.detach().exp(), particles), torch.zeros_like(log_p[0])


def systematic(weights: Tensor, count: int) -> Tensor:
    """So many choices among K particles, from one random number a sequence. [K, B] -> [count, B].

    Args:
        weights: they sum to one over the particles, [K, B].
        count: how many.
    """
    ends = weights.cumsum(0)  # [K, B]
    start = torch.rand(1, weights.shape[1], dtype=ends.dtype, device=ends.device)
    points = (torch.arange(count, device=ends.device)[:, None] + start) / count  # [count, B]
    ancestors = torch.searchsorted(ends.T.contiguous(), points.T.contiguous()).T
    return ancestors.clamp(max=len(weights) - 1)
