"""The fast loop of the deep Markov model: z_t itself is the state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pyro_vrnn.fast.blocks import ACTIVATIONS, Layer
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
        if self.net.flows:
            return super().infer(features, e, start, shape)
        head = self.net.posterior.linear
        return draw(
            [
                Layer(self.net.from_z.weight, self.net.from_z.bias, ACTIVATIONS[nn.Tanh], plus=e),
                Layer(0.5 * head.weight, head.bias),
            ],
            start,
            shape,
            steps=len(e),
            floor=self.net.posterior.floor,
        )
