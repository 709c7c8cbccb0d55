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
    x, observed, held = batch.x, batch.observed, set((~batch.observed).any(-1)[:, 0].nonzero()[:, 0].tolist())
    means, drawn = {}, {}  # [K, X] and [DRAWS, K, X] by step
    moments: list[tuple[Tensor, Tensor]] = []

    def visit(moment: Moment) -> None:
        t = moment.step
        if t in held:
            p_x = net.likelihood.completed(moment.p_x, x[t], observed[t]).expand(moment.log_w.shape)
            means[t], drawn[t] = p_x.mean[:, 0], p_x.sample(torch.Size([DRAWS]))[:, :, 0]
        moments.append((moment.log_w, moment.ancestors[:, 0]))

    ess = particle_filter(net, batch, particles, visit=visit).ess[:, 0]
    index = systematic(torch.softmax(moments[-1][0], 0), particles)[:, 0]  # [K]
    found = Smoothed({}, {}, {}, ess)
    for t in reversed(range(len(moments))):
        if t < len(moments) - 1:
            index = moments[t][1][index]
        if t in held:
            found.mean[t], found.samples[t] = means[t][index].mean(0), drawn[t][:, index].flatten(0, 1)
            found.ancestors[t] = len(index.unique())
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
