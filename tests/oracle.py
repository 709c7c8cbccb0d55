"""A model whose evidence is known: a linear-Gaussian chain, written with the same arrows as every model.

z_1 ~ N(0, 1);  z_t ~ N(a z_{t-1}, q²);  x_t ~ N(c z_t, r²);   guide: z_t ~ N(u z_{t-1} + v x_t, s²)
"""

from __future__ import annotations

import math

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.models.likelihoods import Likelihood
from pyro_vrnn.models.networks import State

A, Q, C, R = 0.8, 0.6, 1.2, 0.7


class FixedGaussian(Likelihood):
    support = "real"

    def forward(self, features: Tensor) -> Distribution:
        return dist.Normal(C * features, R).to_event(1)

    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        pass

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        return dist.Normal(p_x.base_dist.loc, R * temperature).to_event(1)


class LinearGaussian(SequenceModel):
    """State: (z_{t-1}, whether t = 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.latent_dim = 1
        self.likelihood = FixedGaussian(1, 1)
        self.u, self.v, self.log_s = (nn.Parameter(torch.tensor(v)) for v in (0.3, 0.55, -0.75))

    def start(self, size: int) -> State:
        return torch.zeros(size, 1, dtype=self.u.dtype), torch.ones(size, 1, dtype=self.u.dtype)

    def features(self, x: Tensor) -> Tensor:
        return x

    def p_z(self, state: State) -> Distribution:
        z, first = state
        return dist.Normal(A * z, torch.where(first > 0, 1.0, Q)).to_event(1)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        return self.likelihood(z)

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        return z, torch.zeros_like(z)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        return features

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        loc = self.u * state[0] + self.v * e_t
        return dist.Normal(loc, self.log_s.exp().expand(loc.shape)).to_event(1)


COLUMNS = torch.tensor([1.2, -0.5], dtype=torch.float64)


class TwoColumns(Likelihood):
    support = "real"
    factorised = True

    def forward(self, features: Tensor) -> Distribution:
        return dist.Normal(COLUMNS.to(features) * features, R).to_event(1)

    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        pass

    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        return p_x


class Chain(LinearGaussian):
    """The oracle's chain, seen in two columns; its guide reads their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.likelihood = TwoColumns(1, 2)

    def features(self, x: Tensor) -> Tensor:
        return x.sum(-1, keepdim=True)


def conditional(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of each entry of x [T, 2] of `Chain` given those that are not NaN: a Kalman smoother's answer.

    By conditioning the joint Gaussian of all entries; what was observed has variance 0.
    """
    steps = len(x)
    var = [1.0]
    for _ in range(steps - 1):
        var.append(A**2 * var[-1] + Q**2)
    cov = torch.tensor([[var[min(i, j)] * A ** abs(i - j) for j in range(steps)] for i in range(steps)])
    joint = torch.kron(cov.double(), torch.outer(COLUMNS, COLUMNS)) + R**2 * torch.eye(2 * steps, dtype=torch.float64)
    flat, seen = x.double().flatten(), ~x.flatten().isnan()
    gain = torch.linalg.solve(joint[seen][:, seen], joint[seen]).T  # [2 T, seen]
    mean = torch.where(seen, flat, gain @ flat[seen])
    left = joint.diagonal() - (gain * joint[:, seen]).sum(1)
    return mean.reshape(x.shape), torch.where(seen, 0.0, left).reshape(x.shape)


def exact(batch: Batch) -> Tensor:
    """log p(x) of each sequence, by the joint Gaussian of its x. [B]."""
    assert batch.x is not None
    total = []
    for b, length in enumerate(batch.lengths.tolist()):
        cov = torch.zeros(length, length, dtype=torch.float64)
        var = 1.0
        for i in range(length):
            var = 1.0 if i == 0 else A**2 * var + Q**2
            for j in range(i, length):
                cov[i, j] = cov[j, i] = C**2 * var * A ** (j - i)
        cov += R**2 * torch.eye(length, dtype=torch.float64)
        x = batch.x[:length, b, 0].double()
        total.append(torch.distributions.MultivariateNormal(torch.zeros_like(x), cov).log_prob(x))
    return torch.stack(total)


def filtering_means(batch: Batch) -> torch.Tensor:
    """E[z_t | x_1, …, x_t] by the Kalman recursion. [T, B]."""
    assert batch.x is not None
    mean, var, found = torch.zeros(batch.size, dtype=torch.float64), 1.0, []
    for t, x_t in enumerate(batch.x[..., 0].double()):
        if t:
            mean, var = A * mean, A**2 * var + Q**2
        gain = var * C / (C**2 * var + R**2)
        mean, var = mean + gain * (x_t - C * mean), (1 - gain * C) * var
        found.append(mean)
    return torch.stack(found)


def simulate(lengths: list[int], seed: int = 0) -> Batch:
    """Data from the chain itself, float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.zeros(max(lengths), len(lengths), 1, dtype=torch.float64)
    for b, length in enumerate(lengths):
        z = torch.randn((), generator=generator, dtype=torch.float64)
        for t in range(length):
            if t:
                z = A * z + Q * torch.randn((), generator=generator, dtype=torch.float64)
            x[t, b, 0] = C * z + R * torch.randn((), generator=generator, dtype=torch.float64)
    return Batch(torch.tensor(lengths), x)


class Messages:
    """Backward messages of the chain: log p(x_{t+1:T} | z_t) = -P z² / 2 + h z + c, all [T, B]."""

    def __init__(self, batch: Batch) -> None:
        assert batch.x is not None
        x, zero = batch.x[..., 0], torch.zeros(batch.size, dtype=torch.float64)
        rows = [(zero, zero, zero)] * batch.steps
        for t in reversed(range(1, batch.steps)):  # 0-based: from the message of t to that of t - 1
            precision, linear, constant = self.with_x(rows[t], x[t])
            scale = 1 + precision * Q**2
            new = (
                A**2 * precision / scale,
                A * linear / scale,
                constant - scale.log() / 2 + linear**2 * Q**2 / scale / 2,
            )
            there = batch.alive[t]
            rows[t - 1] = tuple(torch.where(there, a, zero) for a in new)
        self.rows, self.x = rows, x

    @staticmethod
    def with_x(row: tuple[Tensor, ...], x_t: Tensor) -> tuple[Tensor, ...]:
        precision, linear, constant = row
        constant = constant - x_t**2 / R**2 / 2 - math.log(2 * math.pi * R**2) / 2
        return precision + C**2 / R**2, linear + C * x_t / R**2, constant

    def twist(self, t: int, state: State) -> Tensor:
        """The best one, with its factor of x: log p(x_{t+1:T} | z_t)."""
        precision, linear, constant = self.rows[t]
        z = state[0][..., 0]
        return -precision * z**2 / 2 + linear * z + constant


class Smoothing(LinearGaussian):
    """The chain with the guide that is exact: q(z_t | z_{t-1}, x) = p(z_t | z_{t-1}, x_{t:T})."""

    def p_z(self, state: State) -> Distribution:
        """The oracle's, whose 0.6 is a float32."""
        z, first = state
        return dist.Normal(A * z, Q + (1 - Q) * first).to_event(1)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        found = Messages(batch)
        rows = [found.with_x(row, x)[:2] for row, x in zip(found.rows, found.x, strict=True)]
        return torch.stack([torch.stack(row, -1) for row in rows])  # [T, B, 2]

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        p = self.p_z(state).base_dist
        prior = 1 / p.scale**2
        var = 1 / (prior + e_t[..., :1])
        return dist.Normal(var * (prior * p.loc + e_t[..., 1:]), var.sqrt()).to_event(1)


def wide(batch: Batch, repeats: int) -> Batch:
    assert batch.x is not None
    return Batch(batch.lengths.repeat(repeats), batch.x.repeat(1, repeats, 1))
