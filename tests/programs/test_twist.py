"""The twisted filter on the chain whose evidence is known: the best twist is exact, any twist is unbiased."""

from __future__ import annotations

import math

import pyro.distributions as dist
import pytest
import torch
from oracle import A, C, LinearGaussian, Q, R, exact, simulate
from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.networks import State
from pyro_vrnn.programs import particle_filter


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


@torch.no_grad()
@pytest.mark.parametrize("particles", [1, 7])
def test_the_best_twist_and_guide_are_exact_from_the_first_step(particles: int) -> None:
    """Not a matter of the end alone, where one particle's twists cancel: no weight is ever uneven, nothing is added."""
    net, batch = Smoothing().double(), simulate([9, 4, 1, 7])
    truth, best = exact(batch), Messages(batch).twist
    found = particle_filter(net, batch, particles, threshold=1.0, twist=best)
    torch.testing.assert_close(found.log_evidence, truth, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.increments[0], truth, rtol=0, atol=1e-9)
    assert float(found.increments[1:].abs().max()) < 1e-9
    torch.testing.assert_close(found.ess, torch.full_like(found.ess, particles), rtol=0, atol=1e-9)
    plain = particle_filter(net, batch, 7, threshold=1.0)
    assert float(plain.ess[0].min()) < 6.9 or particles == 1  # without the twist the same guide's weights are uneven
    assert float((plain.log_evidence - truth).abs().max()) > 1e-3


@torch.no_grad()
def test_a_factor_of_x_alone_changes_nothing() -> None:
    net, batch = LinearGaussian().double(), simulate([9, 4, 7])
    best, values = Messages(batch).twist, []
    shift = torch.randn(9, 3, dtype=torch.float64)
    for twist in (best, lambda t, state: best(t, state) + shift[t]):
        torch.manual_seed(0)
        values.append(particle_filter(net, batch, 11, twist=twist).log_evidence)
    torch.testing.assert_close(values[0], values[1])


def random_twist(t: int, state: State) -> Tensor:
    """Neither right nor small."""
    z = state[0][..., 0]
    return torch.sin(3 * z + t) - 0.3 * z**2 + 0.5


@torch.no_grad()
@pytest.mark.parametrize("resampling", ["systematic", "multinomial"])
def test_the_estimate_is_unbiased_with_any_twist(resampling: str) -> None:
    net, batch, n = LinearGaussian().double(), simulate([4]), 200_000
    torch.manual_seed(0)
    found = particle_filter(net, wide(batch, n), 3, threshold=1.0, resampling=resampling, twist=random_twist)
    ratio = (found.log_evidence - exact(batch)).exp()
    assert float(ratio.mean()) == pytest.approx(1.0, abs=4 * float(ratio.std()) / n**0.5)
    assert float(found.log_evidence.mean()) < float(exact(batch))
    wrong = (found.log_evidence + random_twist(2, (torch.ones(1, 1),)) - exact(batch)).exp()  # a twist not taken back
    assert abs(float(wrong.mean()) - 1) > 10 * float(wrong.std()) / n**0.5
