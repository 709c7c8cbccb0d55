"""The RNN baseline in one call over the whole sequence: there is no z to draw."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_vrnn.models.base import no_latent, over_particles
from pyro_vrnn.models.loop import Inference, Loop
from pyro_vrnn.models.networks import State
from pyro_vrnn.models.rnn import RNN


class RNNLoop(Loop[RNN]):
    """Runs the RNN baseline: all h in one call."""

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """h from one whole-sequence call: no z feeds back. [T, ..., B, H]."""
        return (over_particles(self.net.f.path_before(features, start), z),)

    def after(self, features: Tensor, z: Tensor, states: State, start: State) -> State:
        """`states` keeps the last layer's h alone; all parts from the call itself. Each [B, H]."""
        return self.net.f.after(features, start)

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """Nothing to draw. z is [..., B, T, 0]."""
        z = features.new_zeros(*shape, len(features), 0)
        states = self.states(features, z.movedim(-2, 0), start)
        return Inference(z, no_latent(states), states)
