"""The loop of a model with direct connections: the wrapped model's own loop, and x one step later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyro_vrnn.models.base import over_particles
from pyro_vrnn.models.direct import Direct
from pyro_vrnn.models.loop import Inference, Loop
from pyro_vrnn.models.networks import State


class DirectLoop(Loop[Direct]):
    """Runs a model with direct connections.

    Args:
        net: the wrapper.
        own: the loop of the model that it wraps.
    """

    def __init__(self, net: Direct, own: Loop[Any]) -> None:
        super().__init__(net)
        self.own = own

    def after(self, features: Tensor, z: Tensor, states: State, start: State) -> State:
        """The wrapped model's state after the last step, and the last x."""
        own = self.own.after(self.net.own_features(features), z, states[:-1], start[:-1])
        return *own, features[-1, ..., -self.net.x_dim :].expand(*z.shape[1:-1], -1)

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """The wrapped model's states, and x one step later."""
        return *self.own.states(self.net.own_features(features), z, start[:-1]), self._before(features, z, start)

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """The wrapped model's draw, with x one step later in its states."""
        found = self.own.infer(self.net.own_features(features), e, start[:-1], shape)
        return replace(found, states=(*found.states, self._before(features, found.z.movedim(-2, 0), start)))

    def _before(self, features: Tensor, z: Tensor, start: State) -> Tensor:
        """x_{t-1} for all steps, [T, ..., B, X]."""
        return over_particles(torch.cat([start[-1][None], features[:-1, ..., -self.net.x_dim :]]), z)
