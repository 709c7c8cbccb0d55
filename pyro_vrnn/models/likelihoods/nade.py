"""Bits that depend on the bits before them: NADE."""

from __future__ import annotations

import torch
from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.models.likelihoods.chain import BinaryChain, BinaryChainHead


class NADE(BinaryChainHead):
    """A neural autoregressive distribution over X bits (Larochelle & Murray 2011).

        p(x_j = 1 | x_1, …, x_{j-1}) = sigmoid(b_j + V_j · sigmoid(c + sum_{i<j} x_i W_i))

    b [X] and c [H] are linear in the features, W and V [X, H] are not: the output of RNN-NADE
    (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392). Columns come in the data's order, for notes from low
    to high. Scoring goes through the columns one by one, as drawing does: all at once, by a cumulative sum
    [..., X, H], takes about ten times as long on a CPU (1,000 steps of 88 bits) and more memory.
    """

    hidden_dim = 128

    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> [... | X]."""
        return NADEChain((self.b(features), self.c(features)), (self.W, self.V), self.x_dim)


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
