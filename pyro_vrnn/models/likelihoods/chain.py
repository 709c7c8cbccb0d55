"""Columns of one step drawn one after the other: what nade, made and frame-ar have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import Distribution, TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn import functional as F

from pyro_vrnn.models.likelihoods.base import RATE_FLOOR, Likelihood


class Chain(TorchDistribution):
    """p(x) = prod_j p(x_j | x_1, …, x_{j-1}) over [... | X]; drawn column by column.

    Args:
        given: what the features say; tensors [..., ·] with the same leading dims.
        weights: what all steps share.
        x_dim: X.
        temperature: of each conditional (not of the joint): logits over it, variances times it.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own attribute)
    mean_draws = 100

    def __init__(
        self, given: tuple[Tensor, ...], weights: tuple[Tensor, ...], x_dim: int, temperature: float = 1.0
    ) -> None:
        self.given, self.weights, self.temperature = given, weights, temperature
        super().__init__(given[0].shape[:-1], torch.Size([x_dim]))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Chain:
        """What plates call."""
        given = tuple(part.expand(*batch_shape, part.shape[-1]) for part in self.given)
        return type(self)(given, self.weights, self.event_shape[0], self.temperature)

    def temper(self, temperature: float) -> Chain:
        """The distribution at a temperature."""
        return type(self)(self.given, self.weights, self.event_shape[0], self.temperature * temperature)

    def log_prob(self, value: Tensor) -> Tensor:
        """Nats. [..., X] -> [...]."""
        if self._validate_args:
            self._validate_sample(value)
        return self.log_conditionals(value).sum(-1)

    @abstractmethod
    def log_conditionals(self, value: Tensor) -> Tensor:
        """log p(x_j | x_1, …, x_{j-1}) of every column. [..., X] -> [..., X]."""

    @abstractmethod
    def noise(self, shape: torch.Size, generator: torch.Generator | None) -> Tensor:
        """What a draw is made of, [..., X]."""

    @abstractmethod
    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Noise to x, one column after the other, and the mean of each column's conditional on the way."""

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """X steps. [..., X]."""
        return self.draw(self.noise(torch.Size(sample_shape) + self.batch_shape + self.event_shape, None))[0]

    @property
    @torch.no_grad()
    def mean(self) -> Tensor:
        """An unbiased estimate: the columns' conditional means, averaged over 100 draws. [..., X], no gradient.

        There is no closed form. The draws have a generator of their own: the same every time, and the
        random state is left alone. A bit's is off by at most 0.05 (one standard error).
        """
        generator = torch.Generator(self.given[0].device).manual_seed(0)
        shape = torch.Size([self.mean_draws]) + self.batch_shape + self.event_shape
        return self.draw(self.noise(shape, generator))[1].mean(0)


class BinaryChain(Chain):
    """Bits by one hidden layer, whose input grows by a row of W with each column drawn.

    given: bias b [..., X] and hidden bias c [..., H]; weights: W and V, [X, H] each.

        logit_j = b_j + V_j · activation(c + sum_{i<j} x_i W_i)
    """

    support = constraints.independent(constraints.boolean, 1)
    activation: Callable[[Tensor], Tensor]

    @abstractmethod
    def logits(self, value: Tensor) -> Tensor:
        """Logits of every column given those before it. [..., X] -> [..., X]."""

    def log_conditionals(self, value: Tensor) -> Tensor:
        """See Chain."""
        logits = self.logits(value) / self.temperature
        return value * logits - F.softplus(logits)

    def noise(self, shape: torch.Size, generator: torch.Generator | None) -> Tensor:
        """Uniform."""
        b = self.given[0]
        return torch.rand(shape, generator=generator, dtype=b.dtype, device=b.device)

    def draw(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See Chain."""
        (b, c), (W, V) = self.given, self.weights
        bits, means = [], []
        for j in range(self.event_shape[0]):
            logit = b[..., j] + type(self).activation(c) @ V[j]
            means.append(torch.sigmoid(logit / self.temperature).expand(noise.shape[:-1]))
            bits.append((noise[..., j] < means[-1]).to(noise))
            c = c + bits[-1][..., None] * W[j]  # [..., H]
        return torch.stack(bits, -1), torch.stack(means, -1)


class BinaryChainHead(Likelihood):
    """What nade and made share: b [X] and c [H] linear in the features, W and V [X, H] not."""

    support = "binary"
    hidden_dim: int

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__(in_dim, x_dim)
        self.b = nn.Linear(in_dim, x_dim)
        self.c = nn.Linear(in_dim, self.hidden_dim)
        self.W = nn.Parameter(torch.empty(x_dim, self.hidden_dim).uniform_(-1, 1) / x_dim**0.5)
        self.V = nn.Parameter(torch.empty(x_dim, self.hidden_dim).uniform_(-1, 1) / self.hidden_dim**0.5)

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Independent bits at the training rates: V starts at zero (and has a gradient there)."""
        self.b.bias.copy_(torch.logit(mean.to(self.b.bias), eps=RATE_FLOOR))
        nn.init.zeros_(self.V)

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Each conditional's logit divided by the temperature."""
        return p_x.temper(temperature)
