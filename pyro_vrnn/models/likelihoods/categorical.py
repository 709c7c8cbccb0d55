"""One symbol of X."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn
from torch.distributions.constraints import Constraint

from pyro_vrnn.models.likelihoods.base import Likelihood


class Categorical(Likelihood):
    """One of X symbols, as a one-hot vector: p(x) = prod_j p_j^{x_j}, p = softmax(linear).

    A row of zeros, the padding, is no symbol: its log-probability is 0 and its gradient is 0. Integer codes
    become one-hot columns before they reach a model.
    """

    support = "categorical"
    rate_floor = 1e-6
    """`fit_start`'s least probability of a symbol that the training split does not have."""

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__(in_dim, x_dim)
        self.linear = nn.Linear(in_dim, x_dim)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        return OneHot(logits=self.linear(features))

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Bias = log of the training rates, which are the mean of the one-hot columns."""
        self.linear.bias.copy_(mean.clamp_min(self.rate_floor).log())

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Logits divided by the temperature."""
        return OneHot(logits=p_x.logits / temperature)


class _OneHotOrZeros(Constraint):
    """At most one 1, else zeros."""

    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) <= 1)


class OneHot(dist.OneHotCategorical):
    """Pyro's, but zeros are no symbol, where Pyro takes them for the first (or refuses them, validating)."""

    support = _OneHotOrZeros()

    def log_prob(self, value: Tensor) -> Tensor:
        """Nats. [..., X] -> [...]."""
        if self._validate_args:
            self._validate_sample(value)
        return (value * self.logits).sum(-1)
