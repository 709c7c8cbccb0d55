"""How a model's arrows are run over time, the readable way: from the first step to the last, by the arrows alone.

The stacked program asks `fast.loop_of(net)` for a loop. What is not in that table, a user's model or a subclass that
overrides an arrow included, is run by this one.
Shapes: B sequences, T steps; `...` is nothing or particles; `|` parts batch from event dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.models.base import SequenceModel, expand, stack
from pyro_vrnn.models.latents import stack_steps
from pyro_vrnn.models.networks import State

Net = TypeVar("Net", bound=SequenceModel)


@dataclass(frozen=True)
class Inference:
    """One path of z that the guide drew over all steps, and what was computed on the way."""

    z: Tensor  # [..., B, T, Z]
    q_z: Distribution | None  # [T, ..., B | Z]; None where it has to be asked from the arrow for the whole path
    states: State  # before each step, each part [T, ..., B, ·]
    p_z: Distribution | None = None  # [T, ..., B | Z], where the loop needed it


class Loop(Generic[Net]):
    """The loops over time that the stacked program needs. A fast one gives the same numbers from the same random state.

    Args:
        net: the model whose arrows are run.
    """

    def __init__(self, net: Net) -> None:
        self.net = net

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """The states *before* each step, given both paths.

        Args:
            features: [T, B, F].
            z: [T, ..., B, Z].
            start: the state before the first step, each part [B, ·].

        Returns:
            The state's parts, each [T, ..., B, ·].
        """
        state = expand(start, z.shape[1:-1])
        path = [state]
        for t in range(len(z) - 1):
            state = expand(self.net.next(state, z[t], features[t]), z.shape[1:-1])
            path.append(state)
        return stack(path)

    def after(self, features: Tensor, z: Tensor, states: State, start: State) -> State:
        """The state after the last step, from what `states` takes and returns; each part [..., B, ·]."""
        return self.net.next(tuple(part[-1] for part in states), z[-1], features[-1])

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """Draw z_t ~ q(z_t | state, e_t) and step the state, from t = 1 to T.

        Args:
            features: [T, B, F].
            e: from `encode`, [T, B, E].
            start: the state before the first step, each part [B, ·].
            shape: the batch shape of the draw, [..., B].
        """
        state = expand(start, shape)
        states, posteriors, draws = [state], [], []
        for t, (e_t, features_t) in enumerate(zip(e.unbind(), features.unbind(), strict=True)):
            q = self.net.q_z(state, e_t)  # [..., B | Z]
            posteriors.append(q if q.batch_shape == shape else q.expand(shape))
            draws.append(posteriors[-1].rsample())
            if t < len(e) - 1:
                state = expand(self.net.next(state, draws[-1], features_t), shape)  # each [..., B, ·]
                states.append(state)
        z = torch.stack(draws, dim=-2)
        return Inference(z, stack_steps(posteriors, z), stack(states))
