"""What a whole sequence says of its missing values, and of where it stands at its end, by a particle filter's paths.

The filter (particle_filter.py) weighs K paths of z by p(x, z) / q(z | x), where x is what was observed, and draws them
anew where the weights have become uneven. A path that is there at the end, traced back through its ancestors, is a
sample of the smoothing distribution p(z | x): it knows what came after a hole too.

A transition that reads x_{t-1} reads a missing one as missing (models/masked.py): so the model was trained, and so the
guide reads it. What is sampled for a hole is not fed back.

The limit of it: the paths that survive have few ancestors far back. `ancestors` counts them; a hole with few of them
needs more particles, and the interval of one with a single ancestor is that of p(x_t | one path).
Shapes: K particles, T steps, widths X, Z; one sequence, so B is 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.models.networks import State
from pyro_vrnn.programs.particle_filter import Moment, particle_filter, systematic

DRAWS = 4
"""Samples of a missing x_t for each path."""
PRUNE_EVERY = 16
"""Steps."""


@dataclass(frozen=True)
class Smoothed:
    """What is known of the steps that have missing entries, by step (0, 1, …)."""

    mean: dict[int, Tensor]
    """E[x_t | all that was observed]. [X]"""
    samples: dict[int, Tensor]
    """Equally likely samples of it. [DRAWS K, X]"""
    ancestors: dict[int, int]
    """How many different particles of this step the paths at the end come from."""
    ess: Tensor
    """Effective sample size after weighing. [T]"""


@dataclass
class _Step:
    """What is kept of one step: of the particles that still have descendants, U of them."""

    parents: Tensor
    """Their places among those that are kept of the step before. [U]"""
    held: tuple[Tensor, Tensor] | None
    """If something is missing at this step: E[x_t | path] and samples of x_t. [U, X] and [DRAWS, U, X]"""


def _prune(steps: list[_Step]) -> None:
    """Let go of particles without descendants (Jacob, Murray & Rubenthaler 2015): memory grows with the holes alone."""
    for n, (step, after) in enumerate(zip(reversed(steps[:-1]), reversed(steps[1:]), strict=True)):
        alive, places = after.parents.unique(return_inverse=True)
        if len(alive) == len(step.parents) and n >= PRUNE_EVERY:
            return  # nothing changes here, nor before: what is older was looked at the last time
        after.parents, step.parents = places, step.parents[alive]
        if step.held is not None:
            step.held = step.held[0][alive], step.held[1][:, alive]


@torch.no_grad()
def smooth(net: SequenceModel, batch: Batch, particles: int) -> Smoothed:
    """The posterior of what is missing in one sequence.

    Args:
        net: in evaluation mode.
        batch: one sequence, of which not all was observed.
        particles: K.
    """
    assert batch.size == 1
    assert batch.x is not None
    assert batch.observed is not None
    x, observed, holes = batch.x, batch.observed, set((~batch.observed).any(-1)[:, 0].nonzero()[:, 0].tolist())
    steps: list[_Step] = []
    now: list[Moment] = []

    def visit(moment: Moment) -> None:
        t, held = moment.step, None
        if t in holes:
            p_x = net.likelihood.completed(moment.p_x, x[t], observed[t]).expand(moment.log_w.shape)
            held = p_x.mean[:, 0], p_x.sample(torch.Size([DRAWS]))[:, :, 0]
        steps.append(_Step((now[0] if now else moment).ancestors[:, 0], held))
        now[:] = [moment]
        if t % PRUNE_EVERY == PRUNE_EVERY - 1:
            _prune(steps)

    ess = particle_filter(net, batch, particles, visit=visit).ess[:, 0]
    index = systematic(torch.softmax(now[0].log_w, 0), particles)[:, 0]  # [K]
    found = Smoothed({}, {}, {}, ess)
    for t, step in reversed(list(enumerate(steps))):
        if step.held is not None:
            mean, drawn = step.held
            found.mean[t], found.samples[t] = mean[index].mean(0), drawn[:, index].flatten(0, 1)
            found.ancestors[t] = len(index.unique())
        index = step.parents[index]
    return found


@torch.no_grad()
def at_end(net: SequenceModel, batch: Batch, particles: int, num: int) -> tuple[State, Tensor]:
    """Where one sequence may stand after its last step: states by their probability given all that was observed.

    Args:
        net: in evaluation mode.
        batch: one sequence.
        particles: K.
        num: how many states.

    Returns:
        The states, each part [num, ·], and the effective sample size at each step, [T].
    """
    assert batch.size == 1
    last: list[Moment] = []

    def visit(moment: Moment) -> None:
        last[:] = [moment]

    ess = particle_filter(net, batch, particles, visit=visit).ess[:, 0]
    index = systematic(torch.softmax(last[0].log_w, 0), num)[:, 0]
    return tuple(part[index, 0] for part in last[0].state), ess
