"""Features to the distribution of one observed step, p(x_t | features).

A likelihood is an `nn.Module` made with `(in_dim, x_dim)`; `forward` returns a distribution with event shape [X].
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn


class Likelihood(nn.Module, ABC):
    """The contract. `support` says which data it can score (sequences.py: binary, real, categorical)."""

    support: str

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__()
        self.in_dim, self.x_dim = in_dim, x_dim

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> a distribution over [... | X]."""

    @abstractmethod
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Put the output's bias at the training split's mean and deviation, [X] each: free nats at step 0."""

    @abstractmethod
    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """The distribution to draw from at a temperature: below 1 surer, above 1 wilder, at 1 itself."""


class Bernoulli(Likelihood):
    """X independent bits given the features, by their logits (finite for any finite logit)."""

    support = "binary"

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__(in_dim, x_dim)
        self.linear = nn.Linear(in_dim, x_dim)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        return dist.Bernoulli(logits=self.linear(features)).to_event(1)

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Bias = logit of the training rate; a column that never sounds gets the rate 1e-4, not -inf."""
        self.linear.bias.copy_(torch.logit(mean.to(self.linear.bias), eps=1e-4))

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Logits divided by the temperature."""
        return dist.Bernoulli(logits=p_x.base_dist.logits / temperature).to_event(1)


LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
}
