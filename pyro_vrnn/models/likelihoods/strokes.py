"""Handwriting: pen movements with correlated dx and dy, and the end of a stroke."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import Distribution, TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from pyro_vrnn.models.likelihoods.base import RATE_FLOOR, SCALE_BIAS, Likelihood, around, positive, raw_scale
from pyro_vrnn.system.errors import ConfigError


class BivariateMixturePen(Likelihood):
    """x = (dx, dy, pen): 20 bivariate Gaussians with correlation, and a bit (Graves 2013, arXiv:1308.0850).

        p(x) = e(pen) sum_k pi_k N((dx, dy) | loc_k, scale_k, rho_k)          eq. (24)-(25)

    e(1) is the probability that a stroke ends here. pi by a softmax, loc linear, rho = 0.999 tanh (kept
    off +-1), scale = softplus + 1e-4 where Graves takes exp. The pen must be 0 or 1: standardise dx and
    dy only.

    Raises:
        ConfigError: x_dim is not 3.
    """

    support = "real"
    components = 20
    rho_limit = 1 - 1e-3

    def __init__(self, in_dim: int, x_dim: int, components: int = components) -> None:
        super().__init__(in_dim, x_dim)
        self.components = components
        if x_dim != 3:
            raise ConfigError(f"bivariate-gmm-pen is for steps of (dx, dy, pen); these have {x_dim} values")
        self.logits = nn.Linear(in_dim, self.components)
        self.loc = nn.Linear(in_dim, self.components * 2)
        self.raw_scale = nn.Linear(in_dim, self.components * 2)
        self.raw_rho = nn.Linear(in_dim, self.components)
        self.pen = nn.Linear(in_dim, 1)
        nn.init.constant_(self.raw_scale.bias, SCALE_BIAS)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | 3]."""
        return StrokeMixture(
            self.logits(features),
            self.loc(features).unflatten(-1, (self.components, 2)),
            positive(self.raw_scale(features)).unflatten(-1, (self.components, 2)),
            self.rho_limit * torch.tanh(self.raw_rho(features)),
            self.pen(features).squeeze(-1),
        )

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Start (dx, dy) as a gmm without correlation within a component, and the pen's bias at its rate."""
        loc, scale = around(mean[:2], std[:2], self.components)
        nn.init.zeros_(self.logits.bias)
        nn.init.zeros_(self.raw_rho.bias)
        self.loc.bias.copy_(loc.flatten())
        self.raw_scale.bias.copy_(raw_scale(scale).repeat(self.components))
        self.pen.bias.copy_(torch.logit(mean[2:].to(self.pen.bias), eps=RATE_FLOOR))

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Logits of the components and of the pen divided by the temperature, variances times it."""
        scale = p_x.scale * math.sqrt(temperature)
        return StrokeMixture(p_x.logits / temperature, p_x.loc, scale, p_x.rho, p_x.pen / temperature)


class StrokeMixture(TorchDistribution):
    """The distribution of `BivariateMixturePen`, over [... | 3].

    Args:
        logits: of the components, [..., K].
        loc, scale: [..., K, 2].
        rho: correlations, [..., K].
        pen: logit of the end of a stroke, [...].
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own attribute)
    support = constraints.independent(constraints.cat([constraints.real, constraints.boolean], -1, [2, 1]), 1)

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, rho: Tensor, pen: Tensor) -> None:
        self.logits, self.loc, self.scale, self.rho, self.pen = logits, loc, scale, rho, pen
        super().__init__(pen.shape, torch.Size([3]))

    def expand(self, batch_shape: Any, _instance: Any = None) -> StrokeMixture:
        """What plates call."""
        shape = torch.Size(batch_shape)
        return StrokeMixture(
            self.logits.expand(*shape, -1),
            self.loc.expand(*shape, -1, -1),
            self.scale.expand(*shape, -1, -1),
            self.rho.expand(*shape, -1),
            self.pen.expand(shape),
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Nats. [..., 3] -> [...]. Eq. (25) with its square completed, so that it is never below zero."""
        if self._validate_args:
            self._validate_sample(value)
        u, v = ((value[..., None, :2] - self.loc) / self.scale).unbind(-1)  # [..., K]
        slack = 1 - self.rho**2
        v = (v - self.rho * u) / slack.sqrt()
        log_n = -(u**2 + v**2) / 2 - math.log(2 * math.pi) - self.scale.log().sum(-1) - slack.log() / 2
        log_pen = value[..., 2] * self.pen - F.softplus(self.pen)
        return torch.logsumexp(F.log_softmax(self.logits, -1) + log_n, -1) + log_pen

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Choose a component, draw from it, draw the pen. [..., 3]."""
        shape = torch.Size(sample_shape) + self.batch_shape
        k = torch.distributions.Categorical(logits=self.logits).sample(sample_shape)[..., None]  # [..., 1]
        rho = self.rho.expand(*shape, -1).gather(-1, k)
        pick = k[..., None].expand(*shape, 1, 2)
        loc = self.loc.expand(*shape, -1, -1).gather(-2, pick).squeeze(-2)  # [..., 2]
        scale = self.scale.expand(*shape, -1, -1).gather(-2, pick).squeeze(-2)
        u, v = torch.randn_like(loc).split(1, -1)
        moves = loc + scale * torch.cat([u, rho * u + (1 - rho**2).sqrt() * v], -1)
        pen = torch.rand_like(moves[..., :1]) < self.pen.sigmoid()[..., None]
        return torch.cat([moves, pen.to(moves)], -1)

    @property
    def mean(self) -> Tensor:
        """[..., 3]; of the pen, its probability."""
        pi = self.logits.softmax(-1)[..., None]
        return torch.cat([(pi * self.loc).sum(-2), self.pen.sigmoid()[..., None]], -1)

    @property
    def variance(self) -> Tensor:
        """[..., 3]."""
        pi, mean = self.logits.softmax(-1)[..., None], self.mean
        moves = (pi * (self.scale**2 + (self.loc - mean[..., None, :2]) ** 2)).sum(-2)
        return torch.cat([moves, mean[..., 2:] * (1 - mean[..., 2:])], -1)
