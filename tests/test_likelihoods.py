from __future__ import annotations

import itertools

import pytest
import torch

from pyro_vrnn.likelihoods import LIKELIHOODS, Bernoulli


def test_probabilities_sum_to_one() -> None:
    head = Bernoulli(4, 3)
    p_x = head(torch.randn(4))
    every = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))
    assert float(p_x.log_prob(every).exp().sum().detach()) == pytest.approx(1.0, abs=1e-6)


def test_logits_of_a_hundred_have_finite_loss_and_gradient() -> None:
    head = Bernoulli(1, 2)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[100.0], [-100.0]]))
        head.linear.bias.zero_()
    p_x = head(torch.ones(1))
    for x in itertools.product([0.0, 1.0], repeat=2):
        head.zero_grad()
        log_prob = head(torch.ones(1)).log_prob(torch.tensor(x))
        log_prob.backward()
        assert torch.isfinite(log_prob)
        assert all(torch.isfinite(p.grad).all() for p in head.parameters())
    assert float(p_x.log_prob(torch.tensor([0.0, 0.0])).detach()) == pytest.approx(-100.0)


def test_samples_have_the_mean() -> None:
    torch.manual_seed(0)
    p_x = Bernoulli(4, 3)(torch.randn(4))
    draws = p_x.sample((20_000,))
    torch.testing.assert_close(draws.mean(0), p_x.mean.detach(), atol=0.02, rtol=0)


def test_it_starts_at_the_data_mean() -> None:
    head = Bernoulli(4, 3)
    with torch.no_grad():
        head.linear.weight.zero_()
    head.fit_start(torch.tensor([0.25, 0.0, 1.0]), torch.ones(3))
    torch.testing.assert_close(
        head(torch.randn(4)).mean.detach(), torch.tensor([0.25, 1e-4, 1 - 1e-4]), atol=1e-6, rtol=1e-3
    )


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_temperature(name: str) -> None:
    head = LIKELIHOODS[name](4, 3)
    p_x = head(torch.randn(4))
    cold, warm = head.temper(p_x, 0.1), head.temper(p_x, 10.0)
    torch.testing.assert_close(head.temper(p_x, 1.0).mean, p_x.mean)
    assert ((cold.mean - 0.5).abs() > (p_x.mean - 0.5).abs()).all()
    assert ((warm.mean - 0.5).abs() < (p_x.mean - 0.5).abs()).all()
