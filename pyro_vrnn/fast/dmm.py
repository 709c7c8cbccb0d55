"""The fast loop of the deep Markov model: z_t itself is the state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_vrnn.fast.blocks import ACTIVATIONS, Layer, head_of
from pyro_vrnn.fast.recurrence import draw
from pyro_vrnn.models.dmm import DMM
from pyro_vrnn.models.loop import Inference, Loop
from pyro_vrnn.models.networks import State


class DMMLoop(Loop[DMM]):
    """Runs a deep Markov model without flows; with flows it runs the readable loop."""

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """z shifted by a step: no loop."""
        return (torch.cat([start[0].expand(1, *z.shape[1:]), z[:-1]]),)

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """The loop with a backward pass of its own."""
        head = head_of(self.net.posterior)
        if self.net.flows or head is None or type(self.net.from_z) is not nn.Linear:
            return super().infer(features, e, start, shape)
        return draw(
            [
                Layer(self.net.from_z.weight, self.net.from_z.bias, ACTIVATIONS[nn.Tanh], plus=e),
                Layer(0.5 * head[0].weight, head[0].const),
            ],
            start,
            shape,
            steps=len(e),
            floor=self.net.posterior.floor,
        )
