"""Independent Gaussians, with a scale of their own or a fixed one."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.models.likelihoods.base import SCALE_BIAS, Likelihood, positive, raw_scale


class Gaussian(Likelihood):
    """A diagonal Gaussian: p(x) = prod_j N(x_j | loc_j, scale_j).

    loc is linear in the features, scale = softplus(linear) + 1e-4 (VRNN-Gauss, Chung et al. 2015, sec. 4).
    """

    support = "real"
    factorised = True

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__(in_dim, x_dim)
        self.loc = nn.Linear(in_dim, x_dim)
        self.raw_scale = nn.Linear(in_dim, x_dim)
        nn.init.constant_(self.raw_scale.bias, SCALE_BIAS)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        return dist.Normal(self.loc(features), positive(self.raw_scale(features))).to_event(1)

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Biases at the mean and deviation; the deviation of a column that never changes starts at 1e-3."""
        self.loc.bias.copy_(mean)
        self.raw_scale.bias.copy_(raw_scale(std))

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Variance times the temperature."""
        return _temper(p_x, temperature)


class FixedGaussian(Likelihood):
    """A Gaussian of scale 1: p(x) = prod_j N(x_j | loc_j, 1).

    Minus its log is half the squared error plus X log(2 pi) / 2 nats, so maximum likelihood is least squares
    (the LSTM on raw audio). Only the means are learned.
    """

    support = "real"
    factorised = True
    usual_temperature = 1e-12
    """The mean, in all digits that are heard: a deviation of 1 that nothing was fitted to would drown it in noise."""

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__(in_dim, x_dim)
        self.loc = nn.Linear(in_dim, x_dim)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        loc = self.loc(features)
        return dist.Normal(loc, torch.ones_like(loc)).to_event(1)

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Bias at the mean. The deviation stays 1, whatever the data's is."""
        self.loc.bias.copy_(mean)

    def output(self, p_x: Distribution) -> Tensor:
        """The mean: least squares says nothing of the noise."""
        return p_x.mean

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Variance times the temperature."""
        return _temper(p_x, temperature)


def _temper(p_x: Distribution, temperature: float) -> Distribution:
    return dist.Normal(p_x.base_dist.loc, p_x.base_dist.scale * math.sqrt(temperature)).to_event(1)
