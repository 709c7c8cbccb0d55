"""A mixture of Gaussians over the whole step."""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.models.likelihoods.base import SCALE_BIAS, Likelihood, around, positive, raw_scale


class GaussianMixture(Likelihood):
    """K = 20 diagonal Gaussians over the whole frame, one choice k a frame (VRNN-GMM, Chung et al. 2015, sec. 4).

        p(x) = sum_k pi_k prod_j N(x_j | loc_kj, scale_kj)     (after Graves 2013, arXiv:1308.0850, sec. 4.1)

    pi by a softmax, loc linear, scale = softplus + 1e-4 where Graves takes exp. With K components the output
    layer has K (2 X + 1) units.
    """

    support = "real"
    factorised = True
    components = 20

    def __init__(self, in_dim: int, x_dim: int, components: int = components) -> None:
        super().__init__(in_dim, x_dim)
        self.components = components
        self.logits = nn.Linear(in_dim, self.components)
        self.loc = nn.Linear(in_dim, self.components * x_dim)
        self.raw_scale = nn.Linear(in_dim, self.components * x_dim)
        nn.init.constant_(self.raw_scale.bias, SCALE_BIAS)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        loc = self.loc(features).unflatten(-1, (self.components, self.x_dim))  # [..., K, X]
        scale = positive(self.raw_scale(features)).unflatten(-1, (self.components, self.x_dim))
        return _mixture(self.logits(features), loc, scale)

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Equal weights, components a tenth of a deviation apart; the mixture has the data's moments."""
        loc, scale = around(mean, std, self.components)
        nn.init.zeros_(self.logits.bias)
        self.loc.bias.copy_(loc.flatten())
        self.raw_scale.bias.copy_(raw_scale(scale).repeat(self.components))

    def observed(self, p_x: Distribution, mask: Tensor) -> Distribution:
        """Each component is factorised, so what is missing is summed out within it."""
        component = p_x.component_distribution.base_dist.mask(mask[..., None, :]).to_event(1)
        return dist.MixtureSameFamily(p_x.mixture_distribution, component)

    def completed(self, p_x: Distribution, x: Tensor, mask: Tensor) -> Distribution:
        """The components, at their probabilities given what was observed."""
        component = p_x.component_distribution
        seen = component.base_dist.mask(mask[..., None, :]).to_event(1).log_prob(x[..., None, :])  # [..., K]
        choice = dist.Categorical(logits=p_x.mixture_distribution.logits + seen)
        return dist.MixtureSameFamily(choice, component)

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Component logits divided by the temperature, variances times it."""
        component = p_x.component_distribution.base_dist
        logits = p_x.mixture_distribution.logits / temperature
        return _mixture(logits, component.loc, component.scale * math.sqrt(temperature))


def _mixture(logits: Tensor, loc: Tensor, scale: Tensor) -> Distribution:
    """[..., K], [..., K, X], [..., K, X] -> [... | X]."""
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), dist.Normal(loc, scale).to_event(1))
