"""The fast loop of VRNN and VRNN-I: the guide and the transition together, with a backward pass of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vrnn.fast.blocks import feed, head_of, layers_of
from pyro_vrnn.fast.recurrence import Transition, draw
from pyro_vrnn.models.base import expand, over_particles
from pyro_vrnn.models.loop import Inference, Loop
from pyro_vrnn.models.networks import State, cat
from pyro_vrnn.models.vrnn import VRNN, VRNNI


class VRNNLoop(Loop[VRNN | VRNNI]):
    """Runs a VRNN whose layers have a fast form; several stochastic layers or layer norm run the readable loop."""

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """All h in one call; an LSTM's c is not among what that gives."""
        if self.net.f.memories > 1:
            return super().states(features, z, start)
        return (
            self.net.f.path_before(cat(over_particles(features, z), self.net.phi_z(z)), expand(start, z.shape[1:-1])),
        )

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """The loop with a backward pass of its own."""
        posterior, after_z = head_of(self.net.phi_enc), layers_of(self.net.phi_z)
        if self.net.stochastic_layers > 1 or posterior is None or after_z is None:
            return super().infer(features, e, start, shape)
        first, *rest = posterior
        return draw(
            [feed(first, e, first=True), *rest],
            start,
            shape,
            steps=len(e),
            floor=self.net.phi_enc.floor,
            transition=Transition(self.net.f, after_z, features),
        )
