"""The fast loop of SRNN: d and a are known before it, and only z_{t-1} feeds back."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pyro_vrnn.fast.blocks import feed, head_of
from pyro_vrnn.fast.recurrence import draw
from pyro_vrnn.models.base import over_particles
from pyro_vrnn.models.latents import stack_steps
from pyro_vrnn.models.loop import Inference, Loop
from pyro_vrnn.models.networks import State
from pyro_vrnn.models.srnn import SRNN


class SRNNLoop(Loop[SRNN]):
    """Runs an SRNN whose layers have a fast form; others (layer norm, dropout at work) run step by step."""

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """z shifted by a step, and d from one whole-sequence call: no loop."""
        z_before = torch.cat([start[0].expand(1, *z.shape[1:]), z[:-1]])
        return z_before, over_particles(self.net.f_d.path_before(features, start[1:]), z)

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """The loop, with d and a known before it: only z_{t-1} feeds back."""
        a, d = e.split(self.net.hidden_dim, dim=-1)  # [T, B, H]
        posterior, p = head_of(self.net.nn_q), head_of(self.net.nn_p)
        if posterior is not None and p is not None:
            prior = p if self.net.res_q else []
            drawn = draw(
                [feed(posterior[0], a, first=False), *posterior[1:]],
                (start[0],),
                shape,
                steps=len(e),
                floor=self.net.nn_q.floor,
                residual=[feed(prior[0], d, first=False), *prior[1:]] if prior else [],
            )
            return replace(drawn, states=(*drawn.states, over_particles(d, drawn.states[0])))
        z_before, posteriors, draws = [start[0].expand(*shape, -1)], [], []
        for t in range(len(e)):
            posteriors.append(self.net.q_z((z_before[t], d[t]), e[t]))
            draws.append(posteriors[-1].rsample())
            z_before.append(draws[-1])
        z = torch.stack(draws, dim=-2)
        states = torch.stack(z_before[:-1]), over_particles(d, z.movedim(-2, 0))
        return Inference(z, stack_steps(posteriors, z), states)
