"""Independent bits."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.models.likelihoods.base import RATE_FLOOR, Likelihood


class Bernoulli(Likelihood):
    """X independent bits given the features, by their logits (finite for any finite logit)."""

    support = "binary"
    factorised = True

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__(in_dim, x_dim)
        self.linear = nn.Linear(in_dim, x_dim)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        return dist.Bernoulli(logits=self.linear(features)).to_event(1)

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Bias = logit of the training rate; a column that never sounds gets the rate 1e-4, not -inf."""
        self.linear.bias.copy_(torch.logit(mean.to(self.linear.bias), eps=RATE_FLOOR))

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Logits divided by the temperature."""
        return dist.Bernoulli(logits=p_x.base_dist.logits / temperature).to_event(1)
