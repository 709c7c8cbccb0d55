"""The loop of a model with direct connections: the wrapped model's own loop, and x one step later."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from pyro_vrnn.models.base import expand, over_particles
from pyro_vrnn.models.direct import Connected
from pyro_vrnn.models.loop import Inference, Loop
from pyro_vrnn.models.networks import State


class DirectLoop(Loop[Connected]):
    """Runs a model with direct connections.

    Args:
        net: the wrapper.
        own: the loop of the model that it wraps.
    """

    def __init__(self, net: Connected, own: Loop[Any]) -> None:
        super().__init__(net)
        self.own = own

    def after(self, features: Tensor, z: Tensor, states: State, start: State) -> State:
        """The wrapped model's state after the last step, and the last x."""
        k = self.net.parts
        own = self.own.after(self.net.own_features(features), z, states[:-k], start[:-k])
        return *own, *expand(self.net.after(tuple(part[-1] for part in states[-k:]), features[-1]), z.shape[1:-1])

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """The wrapped model's states, and x one step later."""
        own = self.own.states(self.net.own_features(features), z, start[: -self.net.parts])
        return *own, *self._before(features, z, start)

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """The wrapped model's draw, with x one step later in its states."""
        found = self.own.infer(self.net.own_features(features), e, start[: -self.net.parts], shape)
        return replace(found, states=(*found.states, *self._before(features, found.z.movedim(-2, 0), start)))

    def _before(self, features: Tensor, z: Tensor, start: State) -> State:
        """x_{t-1} for all steps, and what the connections keep beside it, each part [T, ..., B, ·]."""
        parts = self.net.before(features, start)
        return tuple(over_particles(part, z) for part in parts)
