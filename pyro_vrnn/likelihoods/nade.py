"""Bits that depend on the bits before them: NADE."""

from __future__ import annotations

import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.likelihoods.base import RATE_FLOOR, Likelihood
from pyro_vrnn.likelihoods.chain import BinaryChain


class NADE(Likelihood):
    """A neural autoregressive distribution over X bits (Larochelle & Murray 2011).

        p(x_j = 1 | x_1, …, x_{j-1}) = sigmoid(b_j + V_j · sigmoid(c + sum_{i<j} x_i W_i))

    b [X] and c [H] are linear in the features, W and V [X, H] are not: the output of RNN-NADE
    (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392). Columns come in the data's order, for notes from low
    to high. Scoring goes through the columns one by one, as drawing does: all at once, by a cumulative sum
    [..., X, H], takes about ten times as long on a CPU (1,000 steps of 88 bits) and more memory.
    """

    support = "binary"
    hidden_dim = 128

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__(in_dim, x_dim)
        self.b = nn.Linear(in_dim, x_dim)
        self.c = nn.Linear(in_dim, self.hidden_dim)
        self.W = nn.Parameter(torch.empty(x_dim, self.hidden_dim).uniform_(-1, 1) / x_dim**0.5)
        self.V = nn.Parameter(torch.empty(x_dim, self.hidden_dim).uniform_(-1, 1) / self.hidden_dim**0.5)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        return NADEChain((self.b(features), self.c(features)), (self.W, self.V), self.x_dim)

    @torch.no_grad()
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Independent bits at the training rates: V starts at zero (and has a gradient there)."""
        self.b.bias.copy_(torch.logit(mean.to(self.b.bias), eps=RATE_FLOOR))
        nn.init.zeros_(self.V)

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """Each conditional's logit divided by the temperature."""
        return p_x.temper(temperature)


class NADEChain(BinaryChain):
    """The distribution of `NADE`."""

    activation = staticmethod(torch.sigmoid)

    def logits(self, value: Tensor) -> Tensor:
        """[..., X] -> [..., X]."""
        (b, c), (W, V) = self.given, self.weights
        dots = []
        for x_j, W_j, V_j in zip(value.unbind(-1), W, V, strict=True):
            dots.append(type(self).activation(c) @ V_j)  # [...]
            c = c + x_j[..., None] * W_j  # [..., H]
        return b + torch.stack(torch.broadcast_tensors(*dots), -1)
