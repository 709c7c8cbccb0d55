"""Audio of 16 bits: each sample is one of the steps of its scale."""

from __future__ import annotations

import math
from typing import Any

import torch
from pyro.distributions import Distribution, TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from pyro_vrnn.models.likelihoods.base import SCALE_BIAS, Likelihood, around, raw_scale


class LogisticMixture(Likelihood):
    """A discretised mixture of 10 logistics for each sample of the frame (Salimans et al. 2017, eq. (2)).

        P(x_j) = sum_k pi_jk [s((x_j + w/2 - loc_jk) / scale_jk) - s((x_j - w/2 - loc_jk) / scale_jk)]

    with s the logistic sigmoid and w the width of a bin, one 16-bit step; the first bin reaches down to -inf
    and the last one up to inf (PixelCNN++, arXiv:1701.05517). `log_prob` is the log of P(x) / w^X: a density,
    in nats, to be compared with a Gaussian's on the same x. Unlike a Gaussian's it has a bound, -X log w.

    Departures: scale = softplus + w / 10 (there exp, clamped); the columns are independent given the features
    and the choice k is each column's own.

    Attributes:
        bin_width, low, high: [X], buffers in the units of x; the centres of the bins are low, low + w, …, high.
            At first those of samples in [-1, 1); `set_units` moves them to standardised x.
    """

    support = "real"
    quantised = True
    components = 10
    step = 1 / 32768
    bin_width: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, in_dim: int, x_dim: int, components: int = components) -> None:
        super().__init__(in_dim, x_dim)
        self.components = components
        size = self.components * x_dim
        self.logits, self.loc, self.raw_scale = (nn.Linear(in_dim, size) for _ in range(3))
        nn.init.constant_(self.raw_scale.bias, SCALE_BIAS)
        for name in ("bin_width", "low", "high"):
            self.register_buffer(name, torch.zeros(x_dim))
        self.set_units(torch.zeros(x_dim), torch.ones(x_dim))

    @torch.no_grad()
    def set_units(self, mean: Tensor, std: Tensor) -> None:
        """Say that x = (sample - mean) / std of samples in [-1, 1), with mean and std [] or [X]. Before `fit_start`."""
        mean, std = mean.double(), std.double()
        self.bin_width.copy_(self.step / std)
        self.low.copy_((-1 - mean) / std)
        self.high.copy_((1 - self.step - mean) / std)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        logits, loc, raw = (
            layer(features).unflatten(-1, (self.x_dim, self.components))
            for layer in (self.logits, self.loc, self.raw_scale)
        )  # [..., X, K]
        scale = F.softplus(raw) + self.bin_width[:, None] / 10
        return DiscretisedLogistics(logits, loc, scale, self.bin_width, self.low, self.high)

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Equal weights, components a tenth of a deviation apart; the mixture has the data's moments (where the
        edges cut nothing off). A logistic's deviation is scale pi / sqrt(3)."""
        loc, deviation = around(mean, std, self.components)
        raw = raw_scale(deviation * math.sqrt(3) / math.pi, self.bin_width.to(deviation) / 10)
        nn.init.zeros_(self.logits.bias)
        self.loc.bias.copy_(loc.T.flatten())
        self.raw_scale.bias.copy_(raw.repeat_interleave(self.components))

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Component logits divided by the temperature, variances times it."""
        scale = p_x.scale * math.sqrt(temperature)
        return DiscretisedLogistics(p_x.logits / temperature, p_x.loc, scale, p_x.bin_width, p_x.low, p_x.high)


class DiscretisedLogistics(TorchDistribution):
    """The distribution of `LogisticMixture`, over [... | X].

    Args:
        logits, loc, scale: [..., X, K].
        bin_width, low, high: [X].
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own attribute)
    support = constraints.real_vector

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, bin_width: Tensor, low: Tensor, high: Tensor
    ) -> None:
        self.logits, self.loc, self.scale = logits, loc, scale
        self.bin_width, self.low, self.high = bin_width, low, high
        super().__init__(loc.shape[:-2], loc.shape[-2:-1])

    def expand(self, batch_shape: Any, _instance: Any = None) -> DiscretisedLogistics:
        """What plates call."""
        shape = torch.Size(batch_shape) + self.loc.shape[-2:]
        logits, loc, scale = (part.expand(shape) for part in (self.logits, self.loc, self.scale))
        return DiscretisedLogistics(logits, loc, scale, self.bin_width, self.low, self.high)

    def log_prob(self, value: Tensor) -> Tensor:
        """Nats, of the density. [..., X] -> [...].

        By s(c + d) - s(c - d) = s(c + d) s(d - c) (1 - exp(-2 d)): exact, and nothing cancels or underflows.
        An open bin lacks one of the first two factors, and the third.
        """
        if self._validate_args:
            self._validate_sample(value)
        x, half = value[..., None], self.bin_width[:, None] / 2  # [..., X, 1]
        not_first, not_last = x > self.low[:, None] + half, x < self.high[:, None] - half
        c, d = (x - self.loc) / self.scale, half / self.scale  # [..., X, K]
        zero = torch.zeros_like(d)
        log_mass = (
            torch.where(not_last, F.logsigmoid(c + d), zero)
            + torch.where(not_first, F.logsigmoid(d - c), zero)
            + torch.where(not_first & not_last, torch.log(-torch.expm1(-2 * d)), zero)
        )
        log_mass = torch.logsumexp(F.log_softmax(self.logits, -1) + log_mass, -1)  # [..., X]
        return (log_mass - self.bin_width.log()).sum(-1)

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Choose a logistic for each column, draw from it, go to the nearest bin's centre. [..., X]."""
        shape = torch.Size(sample_shape) + self.batch_shape + self.event_shape
        k = torch.distributions.Categorical(logits=self.logits).sample(sample_shape)[..., None]  # [..., X, 1]
        loc, scale = (part.expand(*shape, -1).gather(-1, k).squeeze(-1) for part in (self.loc, self.scale))
        x = loc + scale * torch.logit(torch.rand_like(loc))
        x = self.low + self.bin_width * ((x - self.low) / self.bin_width).round()
        return torch.minimum(torch.maximum(x, self.low), self.high)

    @property
    def mean(self) -> Tensor:
        """The mean of what the edges leave of the mixture, exact up to half a bin. [..., X].

        E[clamp(x, low, high)] = low + integral of P(x > y) dy from low to high, a difference of softplus.
        """
        above = F.softplus((self.loc - self.low[:, None]) / self.scale)
        beyond = F.softplus((self.loc - self.high[:, None]) / self.scale)
        return self.low + (self.logits.softmax(-1) * self.scale * (above - beyond)).sum(-1)
