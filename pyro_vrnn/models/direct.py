"""Direct connections from x_{t-1} to x_t (Bengio et al. 2003, section 2) around any model: `model.direct`.

    x_t ~ Bernoulli(logits of the model's own p(x_t | ·) + a * x_{t-1}),   x_0 = 0

Where steps are short most bits repeat the one before; one weight a column copies it, and starts at what the training
split says (`fit_direct`). For real numbers: direct_line.py. Shapes: B sequences, T steps; `...` as in base.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel, Statistics, Wrapped
from pyro_vrnn.models.likelihoods.base import RATE_FLOOR
from pyro_vrnn.models.networks import State


class Connected(Wrapped):
    """Another model with direct connections. State before t: its own, then x_{t-1} and perhaps more."""

    parts: ClassVar[int] = 1  # of the state, that are not the wrapped model's

    def __init__(self, net: SequenceModel, x_dim: int) -> None:
        super().__init__(net, x_dim)
        self.hold = nn.Parameter(torch.zeros(x_dim))

    def start(self, size: int) -> State:
        """The wrapped model's start, and x_0 = 0."""
        return *self.net.start(size), self.hold.new_zeros(size, self.x_dim)

    def before(self, features: Tensor, start: State) -> State:
        """The own parts of the state before each step, from features [T, B, F]."""
        return (torch.cat([start[-1][None], features[:-1, ..., -self.x_dim :]]),)

    def after(self, state: State, features: Tensor) -> State:
        """The own parts of the state after a step, from those before it."""
        return (features[..., -self.x_dim :],)

    def features(self, x: Tensor) -> Tensor:
        """The wrapped model's features, and x. [..., X] -> [..., F + X]."""
        return torch.cat([self.net.features(x), x], dim=-1)

    def p_z(self, state: State) -> Distribution:
        """The wrapped model's prior."""
        return self.net.p_z(state[: -self.parts])

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """The wrapped model's next state, and x_t."""
        own = self.net.next(state[: -self.parts], z, self.own_features(features))
        return *own, *self.after(state[-self.parts :], features)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """The wrapped model's guide features."""
        if batch.memory is not None:
            state, own = batch.memory
            batch = replace(batch, memory=(state[: -self.parts], own))
        return self.net.encode(batch, self.own_features(features))

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """The wrapped model's posterior."""
        return self.net.q_z(state[: -self.parts], e_t)

    def remember(self, batch: Batch, features: Tensor) -> State:
        """The wrapped model's memory of its guide."""
        return self.net.remember(batch, self.own_features(features))

    def own_features(self, features: Tensor) -> Tensor:
        """The wrapped model's part of the features. [..., F + X] -> [..., F]."""
        return features[..., : -self.x_dim]


class Direct(Connected):
    """A model of bits with direct connections."""

    zero: Tensor
    """Logit of a 1 after a 0, where it starts. [X]"""
    one: Tensor
    """After a 1."""

    def __init__(self, net: SequenceModel, x_dim: int) -> None:
        super().__init__(net, x_dim)
        self.register_buffer("zero", torch.zeros(x_dim))
        self.register_buffer("one", torch.zeros(x_dim))

    def fit_start(self, data: Statistics) -> None:
        """Start the wrapped model as it starts alone, then its outputs at the score of the last value."""
        self.net.fit_start(data)
        self.fit_direct(*data.after())

    @torch.no_grad()
    def fit_direct(self, after_zero: Tensor, after_one: Tensor) -> None:
        """Start at these probabilities of a 1 after a 0 and after a 1, [X] each: the last value's own score."""
        self.zero.copy_(torch.logit(after_zero.to(self.hold), eps=RATE_FLOOR))
        self.one.copy_(torch.logit(after_one.to(self.hold), eps=RATE_FLOOR))
        half = torch.full_like(after_zero, 0.5)
        self.likelihood.fit_start(half, half)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """The wrapped model's logits plus a * x_{t-1}."""
        own = self.net.p_x(state[:-1], z)
        held = torch.lerp(self.zero, self.one + self.hold, state[-1])
        return dist.Bernoulli(logits=own.base_dist.logits + held).to_event(1)
