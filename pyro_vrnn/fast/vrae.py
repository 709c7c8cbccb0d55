"""VRAE without a loop in Python, unless it runs free: there is one z, drawn before the first step."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vrnn.fast.recurrence import noise
from pyro_vrnn.models.base import expand, over_particles
from pyro_vrnn.models.loop import Inference, Loop
from pyro_vrnn.models.networks import DiagonalNormal, State
from pyro_vrnn.models.vrae import VRAE


class VRAELoop(Loop[VRAE]):
    """Runs a VRAE: z once, then all h in one call."""

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """All h in one call, where they are those of an RNN that reads x; an LSTM's c is not among what that gives."""
        if self.net.free_running or self.net.f.memories > 1 or len(z) == 1:
            return super().states(features, z, start)
        first = expand(start, z.shape[1:-1])
        h = self.net.f.path(over_particles(features, z)[:-1], self.net.hidden(first, z[0]))
        return self._marks(z), torch.cat([first[1][None], h])

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """All z at once: none feeds back into the guide."""
        if type(self.net.phi_enc) is not DiagonalNormal:
            return super().infer(features, e, start, shape)
        q = self.net.phi_enc(e[0, ..., :-1]).base_dist  # [B, Z]
        eps = noise(len(e), shape, self.net.latent_dim, q.loc)
        loc = torch.cat([q.loc.expand(1, *eps.shape[1:]), torch.zeros_like(eps[1:])])
        scale = torch.cat([q.scale.expand(1, *eps.shape[1:]), torch.ones_like(eps[1:])])
        z = loc + scale * eps
        q_z = dist.Normal(loc, scale, validate_args=False).to_event(1)
        return Inference(z.movedim(0, -2), q_z, self.states(features, z, start))

    @staticmethod
    def _marks(z: Tensor) -> Tensor:
        """1 at t = 1, else 0: [T, ..., B, 1]."""
        marks = z.new_zeros(*z.shape[:-1], 1)
        marks[0] = 1.0
        return marks
