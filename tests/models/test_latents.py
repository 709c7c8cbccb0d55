"""Distributions of one step's z: layers, flows, and their KL along a drawn value."""

from __future__ import annotations

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn
from torch.distributions.kl import kl_divergence

from pyro_vrnn.models.latents import AutoregressiveFlow, Flowed, Ladder, center, kl_by_unit, ladder
from pyro_vrnn.models.networks import DiagonalNormal, Layers

Z, B = 3, 5


def gaussian(shift: float, scale: float = 1.0) -> dist.Distribution:
    return dist.Normal(shift + torch.zeros(B, Z), scale).to_event(1)


def two_layers(seed: int) -> dist.Distribution:
    torch.manual_seed(seed)
    below = nn.ModuleList([DiagonalNormal(Z, Layers((7,)), Z)])
    return ladder(gaussian(0.1 * seed, 1.0 + 0.2 * seed), below)


def test_one_layer_is_the_gaussian_itself() -> None:
    top = gaussian(0.5)
    assert ladder(top, nn.ModuleList()) is top


def test_a_ladder_scores_each_layer_given_the_one_above() -> None:
    q = two_layers(1)
    assert isinstance(q, Ladder)
    z = q.rsample()  # [B, 2 Z]
    assert z.shape == (B, 2 * Z)
    above, below = z.split(Z, dim=-1)
    expected = q.top.log_prob(above) + q.layer(1, above).log_prob(below)
    torch.testing.assert_close(q.log_prob(z), expected)


def test_a_ladders_kl_is_the_mean_of_its_log_ratio() -> None:
    q, p = two_layers(1), two_layers(2)
    analytic, sampled = [], []
    with torch.no_grad():
        for _ in range(2000):
            z = q.rsample()
            analytic.append(kl_by_unit(q, p, z).sum(-1))
            sampled.append(q.log_prob(z) - p.log_prob(z))
    a, b = torch.stack(analytic), torch.stack(sampled)
    assert (a.mean(0) - b.mean(0)).abs().max() < 5 * (b.std(0) / 2000**0.5).max()
    assert a.var() < b.var()


@pytest.mark.parametrize("backward", [False, True])
def test_a_flow_and_its_inverse(backward: bool) -> None:
    torch.manual_seed(0)
    flow = AutoregressiveFlow(Z, 7, backward=backward)
    x = torch.randn(B, Z)
    y, log_scale = flow(x)
    torch.testing.assert_close(flow.inverse(y), x, rtol=1e-4, atol=1e-5)
    jacobian: Tensor = torch.autograd.functional.jacobian(lambda v: flow(v)[0], x[0])  # type: ignore[assignment]
    torch.testing.assert_close(torch.linalg.slogdet(jacobian)[1], log_scale[0].sum(), rtol=1e-4, atol=1e-5)


def test_a_flowed_gaussian_scores_what_it_drew_and_anything_else() -> None:
    torch.manual_seed(0)
    q = Flowed(gaussian(0.0), [AutoregressiveFlow(Z, 7, backward=False)])
    z = q.rsample()
    drawn = q.log_prob(z)
    torch.testing.assert_close(q.log_prob(z.clone()), drawn, rtol=1e-4, atol=1e-4)  # by the inverse
    assert center(q).shape == (B, Z)


def test_the_kl_of_gaussians_is_torchs() -> None:
    q, p = gaussian(0.3, 0.5), gaussian(-0.2, 2.0)
    torch.testing.assert_close(kl_by_unit(q, p, q.rsample()).sum(-1), kl_divergence(q, p))
