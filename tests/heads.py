"""Small likelihoods for tests: D features, X columns that share no size with the leading dims of the tests."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from pyro_vrnn.models.likelihoods import LIKELIHOODS, Likelihood

D = 11
CHAINS = ("frame-ar", "made", "nade")


def width(name: str) -> int:
    """X."""
    return 3 if name == "bivariate-gmm-pen" else 13


def data_moments(name: str, x_dim: int | None = None) -> tuple[Tensor, Tensor]:
    """Means and deviations that data of such a support could have, [X] float64."""
    x_dim = x_dim or width(name)
    support = LIKELIHOODS[name].support
    if support == "real":
        mean, std = torch.linspace(-0.2, 0.3, x_dim).double(), torch.linspace(0.03, 0.1, x_dim).double()
        if name == "bivariate-gmm-pen":
            mean[2], std[2] = 0.1, 0.3
        return mean, std
    rate = torch.linspace(0.05, 0.6, x_dim).double()
    if support == "categorical":
        rate = rate / rate.sum()
    return rate, (rate * (1 - rate)).sqrt()


def make(name: str, x_dim: int | None = None, dtype: torch.dtype = torch.float32, seed: int = 0) -> Likelihood:
    """Started at some data, then with noise on all weights, so that nothing hides near zero."""
    x_dim = x_dim or width(name)
    torch.manual_seed(seed)
    head = LIKELIHOODS[name](D, x_dim).to(dtype)
    head.fit_start(*data_moments(name, x_dim))
    with torch.no_grad():
        for p in head.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return head


def all_bits(x_dim: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Every binary vector, [2^X, X]."""
    return torch.tensor(list(itertools.product([0.0, 1.0], repeat=x_dim)), dtype=dtype)


def points(name: str) -> Tensor:
    """Zeros, and some values in the support, [N, X] float32."""
    x_dim = width(name)
    if LIKELIHOODS[name].support == "categorical":
        return torch.cat([torch.zeros(1, x_dim), torch.eye(x_dim)[:3]])
    return torch.stack([torch.zeros(x_dim), torch.ones(x_dim), (torch.arange(x_dim) % 2).float()])
