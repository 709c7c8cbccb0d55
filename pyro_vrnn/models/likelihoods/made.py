"""Bits that depend on the bits before them: MADE."""

from __future__ import annotations

import torch
from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.models.likelihoods.chain import BinaryChain, BinaryChainHead


class MADE(BinaryChainHead):
    """A masked autoencoder over X bits (Germain et al. 2015, arXiv:1502.03509), one hidden layer.

        p(x_j = 1 | x_1, …, x_{j-1}) = sigmoid(b_j + (V * M_V)_j · relu(c + x (W * M_W)))

    b [X] and c [H] are linear in the features. Hidden unit k sees the first m_k columns and is seen by the
    columns after them, m_k in 0, …, X - 1 in turn (from 1 in the paper: a unit of m = 0 sees the features
    alone). Columns come in the data's order; no connectivity- or order-agnostic training. A step is scored
    with two matrix products, and drawn in X.
    """

    hidden_dim = 256
    M_W: Tensor
    M_V: Tensor

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__(in_dim, x_dim)
        seen = torch.arange(self.hidden_dim) % x_dim  # [H]
        column = torch.arange(x_dim)[:, None]  # [X, 1]
        self.register_buffer("M_W", (column < seen).to(self.W), persistent=False)
        self.register_buffer("M_V", (column >= seen).to(self.V), persistent=False)

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        weights = (self.W * self.M_W, self.V * self.M_V)
        return MADEChain((self.b(features), self.c(features)), weights, self.x_dim)


class MADEChain(BinaryChain):
    """The distribution of `MADE`; its weights come masked."""

    activation = staticmethod(torch.relu)

    def logits(self, value: Tensor) -> Tensor:
        """[..., X] -> [..., X]."""
        (b, c), (W, V) = self.given, self.weights
        return b + self.activation(c + value @ W) @ V.T
