"""Likelihoods that are autoregressive inside a step: nade, made, frame-ar."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pyro
import pytest
import torch
from heads import CHAINS, D, all_bits, make, width
from torch import Tensor
from torch.nn import functional as F

from pyro_vrnn.models.likelihoods import MADE, NADE, FrameAR, Likelihood

chains = pytest.mark.parametrize("name", CHAINS)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def by_hand(head: Likelihood, features: Tensor, x: Tensor, j: int) -> tuple[float, float]:
    """What column j's conditional is, from x[:j] alone, one sum at a time: (logit, 0) or (loc, scale)."""
    before = [float(v) for v in x[:j]]
    if isinstance(head, NADE | MADE):
        c = head.c(features)
        logit = float(head.b(features)[j])
        for k in range(head.hidden_dim):
            limit = k % head.x_dim if isinstance(head, MADE) else head.x_dim
            if isinstance(head, MADE) and j < limit:
                continue
            a = float(c[k]) + sum(v * float(head.W[i, k]) for i, v in enumerate(before) if i < limit)
            h = max(a, 0.0) if isinstance(head, MADE) else 1 / (1 + math.exp(-a))
            logit += float(head.V[j, k]) * h
        return logit, 0.0
    assert isinstance(head, FrameAR)
    past = torch.tensor(([0.0] * head.window + before)[-head.window :], dtype=x.dtype)
    h = F.relu(head.c(features) + head.P[j] + head.C.weight @ past)
    u, v = head.out.weight @ h
    raw = head.raw_scale(features)[j] + v
    return float(head.loc(features)[j] + u), float(torch.log1p(raw.exp())) + 1e-4


def log_conditional(head: Likelihood, given: tuple[float, float], x_j: float) -> float:
    a, b = given
    if head.support == "binary":
        return -math.log1p(math.exp(-a if x_j else a))
    return -(((x_j - a) / b) ** 2) / 2 - math.log(b) - math.log(2 * math.pi) / 2


@chains
def test_log_prob_is_the_sum_of_hand_computed_conditionals(name: str) -> None:
    head = make(name, dtype=torch.float64)
    features = torch.randn(2, D, dtype=torch.float64)
    x = head(features).sample()
    for row in range(2):
        terms = [
            log_conditional(head, by_hand(head, features[row], x[row], j), float(x[row, j])) for j in range(width(name))
        ]
        p_x = head(features[row])
        assert p_x.log_conditionals(x[row]).tolist() == pytest.approx(terms, rel=1e-9, abs=1e-9)
        assert float(p_x.log_prob(x[row])) == pytest.approx(sum(terms), rel=1e-9)


@chains
def test_a_draw_follows_the_conditionals_it_is_scored_by(name: str) -> None:
    head = make(name, dtype=torch.float64)
    features = torch.randn(D, dtype=torch.float64)
    p_x = head(features)
    noise = p_x.noise(torch.Size([width(name)]), None)
    x, means = p_x.draw(noise)
    for j in range(width(name)):
        a, b = by_hand(head, features, x, j)
        if head.support == "binary":
            assert float(means[j]) == pytest.approx(1 / (1 + math.exp(-a)), rel=1e-9)
            assert float(x[j]) == float(noise[j] < means[j])
        else:
            assert float(means[j]) == pytest.approx(a, rel=1e-9)
            assert float(x[j]) == pytest.approx(a + b * float(noise[j]), rel=1e-9)


@chains
def test_a_column_depends_on_those_before_it_alone(name: str) -> None:
    """Change column k: what is said of columns before it stays, bit for bit; of those after it, changes."""
    head = make(name, dtype=torch.float64)
    p_x = head(torch.randn(D, dtype=torch.float64))
    x = p_x.sample()
    for k in range(width(name)):
        moved = x.clone()
        moved[k] = 1 - x[k]
        if head.support == "binary":
            before, after = p_x.logits(x), p_x.logits(moved)
            first = k + 1  # its own logit stays too
        else:
            before, after = p_x.log_conditionals(x), p_x.log_conditionals(moved)
            first = k
        assert torch.equal(before[:first], after[:first])
        assert (before[first:] != after[first:]).all()


def test_a_sample_reads_thirty_two_before_it_and_no_more() -> None:
    head = make("frame-ar", 40, torch.float64)
    p_x = head(torch.randn(D, dtype=torch.float64))
    x = p_x.sample()
    moved = x.clone()
    moved[2] += 1.0
    same = p_x.log_conditionals(x) == p_x.log_conditionals(moved)
    assert same.tolist() == [True] * 2 + [False] * 33 + [True] * 5


@pytest.mark.parametrize("name", ["made", "nade"])
def test_vectors_are_drawn_as_often_as_they_are_scored(name: str) -> None:
    """And not as often as independent bits would be."""
    head = make(name, 3, torch.float64)
    torch.nn.init.normal_(head.W)
    torch.nn.init.normal_(head.V, std=3 / head.hidden_dim**0.5)
    torch.nn.init.zeros_(head.b.bias)
    p_x = head(torch.zeros(D, dtype=torch.float64))
    bits = all_bits(3)
    draws = p_x.sample((20_000,))
    often = (draws[:, None] == bits).all(-1).double().mean(0)
    p = p_x.log_prob(bits).exp()
    error = (p * (1 - p) / 20_000).sqrt()
    assert ((often - p).abs() < 4 * error).all()
    rates = draws.mean(0)
    independent = (bits * rates + (1 - bits) * (1 - rates)).prod(-1)
    assert ((independent - p).abs() > 8 * error).any()


@pytest.mark.parametrize("name", ["made", "nade"])
def test_the_mean_is_the_marginal(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = make(name, 5, torch.float64)
    with torch.no_grad():
        for p in head.parameters():
            p.mul_(3.0)
    p_x = head(torch.randn(D, dtype=torch.float64))
    bits = all_bits(5)
    exact = (p_x.log_prob(bits).exp()[:, None] * bits).sum(0)
    assert ((p_x.mean - exact).abs() < 4 * 0.05).all()
    monkeypatch.setattr(type(p_x), "mean_draws", 20_000)
    assert ((p_x.mean - exact).abs() < 4 * 0.5 / 20_000**0.5).all()
    torch.testing.assert_close(p_x.mean[0], exact[0])


@chains
def test_the_mean_is_the_same_every_time_and_spends_no_random_numbers(name: str) -> None:
    with torch.enable_grad():
        p_x = make(name)(torch.randn(2, D))
        state = torch.get_rng_state()
        first = p_x.mean
    assert torch.equal(state, torch.get_rng_state())
    torch.manual_seed(99)
    assert torch.equal(p_x.mean, first)
    assert not first.requires_grad


@chains
def test_tempered_conditionals(name: str) -> None:
    head = make(name, dtype=torch.float64)
    p_x = head(torch.randn(D, dtype=torch.float64))
    x = p_x.sample()
    cold = head.temper(p_x, 0.25)
    if head.support == "binary":
        logits = 4 * p_x.logits(x)
        expected = pyro.distributions.Bernoulli(logits=logits).log_prob(x)
        torch.testing.assert_close(cold.log_conditionals(x), expected)
    else:
        noise = p_x.noise(torch.Size([width(name)]), None)
        warm_x, cold_x = p_x.draw(noise)[0], cold.draw(noise)[0]
        assert float(cold_x[0] - p_x.draw(0 * noise)[0][0]) == pytest.approx(
            float(warm_x[0] - p_x.draw(0 * noise)[0][0]) / 2, rel=1e-9
        )


def test_hidden_units_of_made_see_every_number_of_columns() -> None:
    head = MADE(D, 13)
    assert head.M_W.sum(0).unique().tolist() == list(range(13))
    reach = head.M_V @ head.M_W.T  # [X, X]: paths from column i to output j
    assert torch.equal(reach > 0, torch.ones(13, 13).tril(-1) > 0)
