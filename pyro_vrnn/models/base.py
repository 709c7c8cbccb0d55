"""The contract: a model is its arrows. programs/ turns them into model/guide pairs; nothing else loops over time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.likelihoods import Likelihood
from pyro_vrnn.networks import State
from pyro_vrnn.sequences import Batch


class SequenceModel(nn.Module, ABC):
    """p(x, z) and q(z | x) over sequences, as one method per arrow of the graph.

    Every arrow takes any number of leading dims: `...` is nothing, a batch, particles x batch, or
    time x batch. A distribution's batch dims end in B and its event dim is [Z] or [X]. Every concrete model
    is final.
    """

    Config: ClassVar[type[Any]]
    """A frozen dataclass of this model's own settings (see config.py)."""
    likelihood: Likelihood
    latent_dim: int

    @abstractmethod
    def start(self, size: int) -> State:
        """The state before t = 1, each part [size, ·]."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What `next` and `encode` read of x_t; of x_t alone, so all T at once. [..., X] -> [..., F]."""

    @abstractmethod
    def p_z(self, state: State) -> Distribution:
        """Prior of z_t given the state before t. [..., B | Z]."""

    @abstractmethod
    def p_x(self, state: State, z: Tensor) -> Distribution:
        """Emission of x_t given the state before t and z_t. [..., B | X]."""

    @abstractmethod
    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """The deterministic transition: the state after t, from z_t and features(x_t)."""

    @abstractmethod
    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """What the guide knows of x at each t, from features(x) [T, B, F]. [T, B, E]."""

    @abstractmethod
    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """Posterior of z_t given the state before t and e_t. [..., B | Z]."""

    def states(self, features: Tensor, z: Tensor) -> State:
        """The states *before* each step, given both paths; override only for speed.

        Args:
            features: [T, B, F].
            z: [T, ..., B, Z].

        Returns:
            The state's parts, each [T, ..., B, ·].
        """
        state = tuple(part.expand(*z.shape[1:-1], part.shape[-1]) for part in self.start(z.shape[-2]))
        path = [state]
        for t in range(len(z) - 1):
            state = self.next(state, z[t], features[t])
            path.append(state)
        return stack(path)


def stack(path: list[State]) -> State:
    """A list of T states to one state whose parts have a leading time dim."""
    return tuple(torch.stack(parts) for parts in zip(*path, strict=True))
