"""Audio frames whose samples depend on the samples before them."""

from __future__ import annotations

import math

import torch
from pyro.distributions import Distribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from pyro_vrnn.models.likelihoods.base import SCALE_BIAS, Likelihood, positive, raw_scale
from pyro_vrnn.models.likelihoods.chain import Chain


class FrameAR(Likelihood):
    """A Gaussian for each sample given the features and up to 32 samples before it in the frame.

        h_j = relu(c + P_j + C (x_{j-32}, …, x_{j-1}))                   zeros before the frame
        p(x_j | x_1, …, x_{j-1}) = N(x_j | a_j + u · h_j, softplus(r_j + v · h_j) + 1e-4)

    a, r [X] and c [H] are linear in the features; P [X, H] tells samples near the frame's start, whose past
    is cut off, from silence. The fair baseline of Lai & Dai et al. (2019, arXiv:1902.01388), where the
    output is autoregressive inside the frame; this small causal network is ours. A frame is scored in one
    pass that holds [..., X, 32], and drawn in X.
    """

    support = "real"
    hidden_dim = 32
    window = 32

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__(in_dim, x_dim)
        self.loc = nn.Linear(in_dim, x_dim)
        self.raw_scale = nn.Linear(in_dim, x_dim)
        self.c = nn.Linear(in_dim, self.hidden_dim)
        self.C = nn.Linear(self.window, self.hidden_dim, bias=False)
        self.P = nn.Parameter(torch.zeros(x_dim, self.hidden_dim))
        self.out = nn.Linear(self.hidden_dim, 2, bias=False)
        nn.init.constant_(self.raw_scale.bias, SCALE_BIAS)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        given = (self.loc(features), self.raw_scale(features), self.c(features))
        return FrameChain(given, (self.C.weight, self.P, self.out.weight), self.x_dim)

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Independent samples with the mean and deviation: the rows u, v start at zero (and have a gradient there)."""
        self.loc.bias.copy_(mean)
        self.raw_scale.bias.copy_(raw_scale(std))
        nn.init.zeros_(self.out.weight)

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Each conditional's variance times the temperature."""
        return p_x.temper(temperature)


class FrameChain(Chain):
    """The distribution of `FrameAR`. given: a, r [..., X], c [..., H]; weights: C [H, 32], P [X, H], (u, v) [2, H]."""

    support = constraints.real_vector

    def log_conditionals(self, value: Tensor) -> Tensor:
        """See Chain."""
        (a, r, c), (C, P, out) = self.given, self.weights
        window = C.shape[-1]
        past = F.pad(value, (window, -1)).unfold(-1, window, 1)  # [..., X, 32]
        loc, scale = self._normal(a, r, torch.relu(c[..., None, :] + (P + past @ C.T)) @ out.T)
        return -(((value - loc) / scale) ** 2) / 2 - scale.log() - math.log(2 * math.pi) / 2

    def noise(self, shape: torch.Size, generator: torch.Generator | None) -> Tensor:
        """Standard normal."""
        a = self.given[0]
        return torch.randn(shape, generator=generator, dtype=a.dtype, device=a.device)

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See Chain."""
        (a, r, c), (C, P, out) = self.given, self.weights
        past = noise.new_zeros(*noise.shape[:-1], C.shape[-1])  # [..., 32]
        samples, means = [], []
        for j in range(self.event_shape[0]):
            loc, scale = self._normal(a[..., j], r[..., j], torch.relu(c + (P[j] + past @ C.T)) @ out.T)
            samples.append(loc + scale * noise[..., j])
            means.append(loc)
            past = torch.cat([past[..., 1:], samples[-1][..., None]], -1)
        return torch.stack(samples, -1), torch.stack(means, -1)

    def _normal(self, a: Tensor, r: Tensor, correction: Tensor) -> tuple[Tensor, Tensor]:
        """a and r [...], with corrections [..., 2], to loc and scale."""
        u, v = correction.unbind(-1)
        return a + u, positive(r + v) * math.sqrt(self.temperature)
