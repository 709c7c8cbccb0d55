"""The twisted filter on the chain whose evidence is known: the best twist is exact, any twist is unbiased."""

from __future__ import annotations

import pytest
import torch
from oracle import LinearGaussian, Messages, Smoothing, exact, simulate, wide
from torch import Tensor

from pyro_vrnn.models.networks import State
from pyro_vrnn.programs import particle_filter


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


def test_the_bounds_gradient_without_the_score_of_the_choice_of_ancestors_leads_away_from_the_best_twist() -> None:
    """Why the twist is not trained by it: the bound rises from r = 1 to the best r, and this gradient says it falls."""
    net, batch = LinearGaussian().double(), wide(simulate([12] * 10, seed=5), 200)
    best, bounds, slopes = Messages(batch).twist, [], []
    for share in (0.0, 0.5, 1.0):
        power = torch.tensor(share, dtype=torch.float64, requires_grad=True)
        torch.manual_seed(0)
        twist = lambda t, state, power=power: power * best(t, state)  # noqa: E731
        bound = particle_filter(net, batch, 4, threshold=1.0, twist=twist).log_evidence.mean()
        bounds.append(float(bound.detach()))
        slopes.append(float(torch.autograd.grad(bound, power)[0]))
    assert bounds[0] < bounds[1] < bounds[2]
    assert slopes[0] < slopes[1] < -0.3
