"""STORN without a loop in Python: no z_t feeds back into its guide."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_vrnn.fast.recurrence import noise
from pyro_vrnn.models.base import expand, over_particles
from pyro_vrnn.models.loop import Inference, Loop
from pyro_vrnn.models.networks import DiagonalNormal, State, cat
from pyro_vrnn.models.storn import STORN


class STORNLoop(Loop[STORN]):
    """Runs a STORN: all z at once, then all h in one call."""

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """All h in one call; an LSTM's c is not among what that gives."""
        if self.net.f.memories > 1:
            return super().states(features, z, start)
        before = over_particles(torch.cat([start[0][None], features[:-1]]), z)
        return before, self.net.f.path_before(cat(before, z), expand(start[1:], z.shape[1:-1]))

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """All z at once: none feeds back into the guide."""
        if type(self.net.phi_enc) is not DiagonalNormal:
            return super().infer(features, e, start, shape)
        one = self.net.phi_enc(e).base_dist  # [T, B, Z]; with dropout one mask for all particles
        eps = noise(len(e), shape, self.net.latent_dim, one.loc)
        loc, scale = over_particles(one.loc, eps), over_particles(one.scale, eps)
        z = loc + scale * eps
        q_z = dist.Normal(loc, scale, validate_args=False).to_event(1)
        return Inference(z.movedim(0, -2), q_z, self.states(features, z, start))
