"""Each log-probability is the paper's formula, and sums or integrates to one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from heads import D, all_bits, make
from torch import Tensor

from pyro_vrnn.models.likelihoods import LIKELIHOODS, Bernoulli, LogisticMixture


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def total(log_prob: Tensor, cell: float = 1.0) -> float:
    return float(torch.logsumexp(log_prob.flatten(), 0).exp()) * cell


def plane(half: float, count: int) -> tuple[Tensor, float]:
    """A grid on the square [-half, half]^2, [count^2, 2], and its cells' area."""
    axis = torch.linspace(-half, half, count, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), float(axis[1] - axis[0]) ** 2


def wide(name: str, x_dim: int) -> torch.distributions.Distribution:
    """One distribution with scales near 1."""
    torch.manual_seed(1)
    return LIKELIHOODS[name](D, x_dim).double()(torch.randn(D, dtype=torch.float64))


@pytest.mark.parametrize("name", ["bernoulli", "made", "nade"])
def test_bits_sum_to_one(name: str) -> None:
    p_x = make(name, 3, torch.float64)(torch.randn(D).double())
    assert total(p_x.log_prob(all_bits(3))) == pytest.approx(1.0, abs=1e-12)


def test_symbols_sum_to_one() -> None:
    p_x = make("categorical", 13, torch.float64)(torch.randn(D).double())
    assert total(p_x.log_prob(torch.eye(13).double())) == pytest.approx(1.0, abs=1e-12)
    pyro_log_probs = torch.distributions.OneHotCategorical(logits=p_x.logits).log_prob(torch.eye(13).double())
    torch.testing.assert_close(p_x.log_prob(torch.eye(13).double()), pyro_log_probs)


@pytest.mark.parametrize("name", ["gaussian", "gaussian-fixed", "gmm", "frame-ar"])
def test_densities_integrate_to_one(name: str) -> None:
    line = torch.linspace(-15, 15, 2001, dtype=torch.float64)[:, None]
    assert total(wide(name, 1).log_prob(line), 0.015) == pytest.approx(1.0, abs=1e-6)
    grid, area = plane(12, 181)
    assert total(wide(name, 2).log_prob(grid), area) == pytest.approx(1.0, abs=1e-6)


def test_strokes_integrate_to_one() -> None:
    grid, area = plane(12, 181)
    head = LIKELIHOODS["bivariate-gmm-pen"](D, 3).double()
    torch.nn.init.uniform_(head.raw_rho.bias, -1, 1)
    p_x = head(torch.randn(D).double())
    assert float(p_x.rho.abs().max()) > 0.5
    whole = [
        total(p_x.log_prob(torch.cat([grid, torch.full((len(grid), 1), pen).double()], -1)), area) for pen in (0.0, 1.0)
    ]
    assert sum(whole) == pytest.approx(1.0, abs=1e-6)
    assert whole[1] == pytest.approx(float(p_x.mean[2]), abs=1e-6)


def coarse(x_dim: int, bins: int, seed: int = 0) -> LogisticMixture:
    """Bins as wide as a quarter and less, so that edges and bins matter."""
    torch.manual_seed(seed)
    head = LogisticMixture(D, x_dim).double()
    head.step = 2 / bins
    head.set_units(torch.tensor(0.0), torch.tensor(1.0))
    return head


def test_bins_sum_to_one() -> None:
    for bins in (8, 64):
        head = coarse(2, bins)
        p_x = head(torch.randn(D).double())
        centres = torch.linspace(-1, 1 - 2 / bins, bins, dtype=torch.float64)
        grid = torch.cartesian_prod(centres, centres)
        assert total(p_x.log_prob(grid), (2 / bins) ** 2) == pytest.approx(1.0, abs=1e-12)
    fine = make("logistic-mixture", 1, torch.float64)(torch.randn(D).double())
    centres = (torch.arange(65536, dtype=torch.float64) / 32768 - 1)[:, None]
    assert total(fine.log_prob(centres), 1 / 32768) == pytest.approx(1.0, abs=1e-9)


def test_a_bin_has_the_mass_that_the_paper_gives_it() -> None:
    """Salimans et al. 2017, eq. (2), as written: differences of sigmoids, the outer ones at -inf and inf."""
    head = coarse(3, 8)
    p_x = head(torch.randn(5, D).double())
    for x in (-1.0, -0.25, 0.0, 0.5, 0.75):
        up = torch.sigmoid((x + 0.125 - p_x.loc) / p_x.scale) if x < 0.75 else torch.ones_like(p_x.loc)
        down = torch.sigmoid((x - 0.125 - p_x.loc) / p_x.scale) if x > -1 else torch.zeros_like(p_x.loc)
        mass = (p_x.logits.softmax(-1) * (up - down)).sum(-1)
        expected = (mass / 0.25).log().sum(-1)
        value = torch.full((5, 3), x, dtype=torch.float64)
        torch.testing.assert_close(p_x.log_prob(value), expected, rtol=1e-10, atol=1e-10)


def test_a_draw_of_logistics_is_a_bin_and_bins_come_as_often_as_they_should() -> None:
    head = coarse(1, 8)
    p_x = head(torch.randn(D).double())
    draws = p_x.sample((20_000,))
    centres = torch.arange(8, dtype=torch.float64)[:, None] / 4 - 1
    counts = (draws == centres.T).double().mean(0)
    assert float(counts.sum()) == 1.0
    mass = p_x.log_prob(centres).exp() / 4
    assert ((counts - mass).abs() < 4 * (mass * (1 - mass) / 20_000).sqrt()).all()
    assert float(mass[0]) > 0.02, "the edge is not tried"


def test_the_mean_of_logistics_is_that_of_their_bins() -> None:
    head = make("logistic-mixture", 2, torch.float64)
    torch.nn.init.constant_(head.loc.bias, 0.9)  # much of it beyond the edge
    torch.nn.init.constant_(head.raw_scale.bias, -1.0)
    p_x = head(torch.randn(D).double())
    centres = torch.arange(65536, dtype=torch.float64) / 32768 - 1
    for j in range(2):
        parts = (p_x.logits, p_x.loc, p_x.scale, p_x.bin_width, p_x.low, p_x.high)
        column = type(p_x)(*(part[j : j + 1] for part in parts))
        mass = column.log_prob(centres[:, None]).exp() / 32768
        assert float(mass[-1]) > 0.1
        assert float((mass * centres).sum()) == pytest.approx(float(p_x.mean[j]), abs=1 / 65536)


def test_standardised_audio_has_the_same_bins() -> None:
    """x' = (x - mean) / std: the mass of a bin is the same, so the density is std times as large."""
    mean, std = 0.05, 0.02
    raw, standard = (LogisticMixture(D, 2).double() for _ in range(2))
    standard.load_state_dict(raw.state_dict())
    standard.set_units(torch.tensor(mean), torch.tensor(std))
    for head, start in ((raw, (mean, std)), (standard, (0.0, 1.0))):
        torch.nn.init.zeros_(head.loc.weight)
        torch.nn.init.zeros_(head.raw_scale.weight)
        head.fit_start(*(torch.full((2,), v, dtype=torch.float64) for v in start))
    features = torch.randn(D).double()
    x = torch.tensor([[-1.0, 0.25], [32767 / 32768, 1 / 32768], [0.0, 0.06103515625]], dtype=torch.float64)
    torch.testing.assert_close(
        standard(features).log_prob((x - mean) / std),
        raw(features).log_prob(x) + 2 * math.log(std),
        rtol=1e-6,
        atol=1e-6,
    )
    assert standard.bin_width.tolist() == pytest.approx([1 / 32768 / std] * 2)
    drawn = standard(features).sample((100,)) * std + mean
    torch.testing.assert_close(drawn * 32768, (drawn * 32768).round(), rtol=0, atol=1e-3)


def test_sixteen_bits_in_float32() -> None:
    """A difference of sigmoids would be off by percents here, and its log -inf in the tails."""
    head, exact = make("logistic-mixture", 2), make("logistic-mixture", 2).double()
    exact.load_state_dict(head.state_dict())
    features = torch.randn(5, D)
    p_x = head(features)
    for value in (0.0, 1 / 32768, -1.0, 0.9, 32767 / 32768):
        x = torch.full((5, 2), value)
        found, expected = p_x.log_prob(x), exact(features.double()).log_prob(x.double())
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    x = p_x.mean
    logistic = (
        torch.log_softmax(p_x.logits, -1)
        - 2 * torch.nn.functional.softplus(-((x[..., None] - p_x.loc) / p_x.scale))
        - (x[..., None] - p_x.loc) / p_x.scale
        - p_x.scale.log()
    )
    density = torch.logsumexp(logistic, -1).sum(-1)
    torch.testing.assert_close(p_x.log_prob(x), density, rtol=1e-3, atol=1e-3)


def test_strokes_are_graves_equations() -> None:
    """Graves 2013, eq. (24) and (25) as written, and eq. (23) for the pen."""
    p_x = make("bivariate-gmm-pen", dtype=torch.float64)(torch.randn(7, D).double())
    assert float(p_x.rho.abs().min()) > 1e-4
    x = p_x.sample()
    dx, dy, pen = x.unbind(-1)
    (m1, m2), (s1, s2), rho = p_x.loc.unbind(-1), p_x.scale.unbind(-1), p_x.rho
    d1, d2 = dx[:, None] - m1, dy[:, None] - m2
    Z = d1**2 / s1**2 + d2**2 / s2**2 - 2 * rho * d1 * d2 / (s1 * s2)
    n = torch.exp(-Z / (2 * (1 - rho**2))) / (2 * math.pi * s1 * s2 * torch.sqrt(1 - rho**2))
    e = p_x.mean[..., 2]
    density = (p_x.logits.softmax(-1) * n).sum(-1) * torch.where(pen == 1, e, 1 - e)
    torch.testing.assert_close(p_x.log_prob(x), density.log(), rtol=1e-10, atol=1e-10)


def test_strokes_are_drawn_with_their_correlation() -> None:
    head = make("bivariate-gmm-pen", dtype=torch.float64)
    torch.nn.init.constant_(head.raw_rho.bias, 1.5)
    p_x = head(torch.zeros(D).double())
    draws = p_x.sample((20_000,))[:, :2]
    pi, mean = p_x.logits.softmax(-1), p_x.mean[:2]
    within = p_x.rho * p_x.scale.prod(-1)
    covariance = float((pi * (within + (p_x.loc - mean).prod(-1))).sum())
    products = (draws - draws.mean(0)).prod(-1)
    assert float(products.mean()) == pytest.approx(covariance, abs=4 * float(products.std()) / 20_000**0.5)
    assert float((pi * within).sum()) > 8 * float(products.std()) / 20_000**0.5, "their correlation does not show"


def test_a_mixture_chooses_once_a_frame() -> None:
    """Two components far apart: their columns come together. A choice by column would mix them."""
    head = LIKELIHOODS["gmm"](D, 5)
    head.logits.bias[2:] = -30.0
    head.loc.bias.copy_((torch.arange(20) % 2 * 100.0)[:, None].expand(-1, 5).flatten())
    draws = head(torch.zeros(D)).sample((200,)) > 50
    assert (draws.all(-1) | ~draws.any(-1)).all()
    assert draws.any()
    assert not draws.all()


def test_the_mixture_is_the_sum_of_its_components() -> None:
    p_x = make("gmm", 3, torch.float64)(torch.randn(5, D).double())
    x = p_x.sample()
    component = p_x.component_distribution.base_dist
    z = (x[:, None] - component.loc) / component.scale  # [5, K, 3]
    n = (torch.exp(-(z**2) / 2) / (component.scale * (2 * math.pi) ** 0.5)).prod(-1)
    density = (p_x.mixture_distribution.probs * n).sum(-1)
    torch.testing.assert_close(p_x.log_prob(x), density.log(), rtol=1e-10, atol=1e-10)


def test_a_fixed_gaussian_is_the_squared_error() -> None:
    head = make("gaussian-fixed", 3)
    features, x = torch.randn(5, D), torch.randn(5, 3)
    expected = -((x - head.loc(features)) ** 2).sum(-1) / 2 - 3 * math.log(2 * math.pi) / 2
    torch.testing.assert_close(head(features).log_prob(x), expected)


def test_logits_of_a_hundred() -> None:
    head = Bernoulli(1, 2)
    head.linear.weight.copy_(torch.tensor([[100.0], [-100.0]]))
    head.linear.bias.zero_()
    p_x = head(torch.ones(1))
    assert float(p_x.log_prob(torch.tensor([0.0, 0.0]))) == pytest.approx(-100.0)


def test_a_column_that_never_sounds_may_still_sound() -> None:
    head = Bernoulli(4, 3)
    head.fit_start(torch.tensor([0.25, 0.0, 1.0]), torch.ones(3))
    torch.testing.assert_close(head(torch.zeros(4)).mean, torch.tensor([0.25, 1e-4, 1 - 1e-4]), atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("name", ["gmm", "bivariate-gmm-pen", "logistic-mixture"])
def test_a_temperature_sharpens_the_choice_and_narrows_the_components(name: str) -> None:
    head = make(name, 3, torch.float64)
    p_x = head(torch.randn(D).double())
    cold = head.temper(p_x, 0.25)

    def parts(p: torch.distributions.Distribution) -> tuple[Tensor, Tensor, Tensor]:
        if name == "gmm":
            component = p.component_distribution.base_dist
            return p.mixture_distribution.probs, component.loc, component.scale
        return p.logits.softmax(-1), p.loc, p.scale

    (pi, loc, scale), (cold_pi, cold_loc, cold_scale) = parts(p_x), parts(cold)
    torch.testing.assert_close(cold_pi, pi**4 / (pi**4).sum(-1, keepdim=True))
    torch.testing.assert_close(cold_loc, loc)
    torch.testing.assert_close(cold_scale, scale / 2)
    if name == "bivariate-gmm-pen":
        torch.testing.assert_close(torch.logit(cold.mean[2]), 4 * torch.logit(p_x.mean[2]))
        torch.testing.assert_close(cold.rho, p_x.rho)
