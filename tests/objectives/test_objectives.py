"""Bounds against exact evidence; one weight a sequence; SVI's losses against the bounds that evaluation reports."""

from __future__ import annotations

import math

import pyro
import pytest
import torch
from oracle import LinearGaussian, exact, simulate
from small import equipped, make_batch, make_net

from pyro_vrnn.objectives import OBJECTIVES, ElboObjective, IwaeObjective, Objective, RenyiObjective
from pyro_vrnn.objectives.evaluation import sequence_bounds
from pyro_vrnn.programs import PROGRAMS, Stacked, terms
from pyro_vrnn.system.errors import ConfigError


def bound(objective: Objective, lengths: list[int], repeats: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean over repeats, and its standard error, of the sum over sequences; repeats are equal sequences in a batch."""
    net, batch = LinearGaussian().double(), simulate(lengths)
    wide = type(batch)(batch.lengths.repeat(repeats), batch.x.repeat(1, repeats, 1))
    torch.manual_seed(seed)
    with pyro.get_param_store().scope():
        values, _ = sequence_bounds(Stacked(net), wide, objective)
    sums = values.reshape(repeats, -1).sum(1)
    return sums.mean(), sums.std() / math.sqrt(repeats)


def test_the_oracle_knows_its_evidence() -> None:
    """Against Pyro's own GaussianHMM, a second derivation."""
    from oracle import A, C, Q, R

    batch = simulate([6, 6])
    eye = torch.eye(1, dtype=torch.float64)
    normal = pyro.distributions.Normal
    hmm = pyro.distributions.GaussianHMM(
        normal(torch.zeros(1).double(), 1.0 * torch.ones(1).double()).to_event(1),
        A * eye,
        normal(torch.zeros(6, 1).double(), torch.full((6, 1), Q).double()).to_event(1),
        C * eye,
        normal(torch.zeros(6, 1).double(), torch.full((6, 1), R).double()).to_event(1),
    )
    # GaussianHMM steps before it observes: its z_1 has variance A² + Q², which is 1 here, as the oracle's.
    assert pytest.approx(1.0) == A**2 + Q**2
    torch.testing.assert_close(hmm.log_prob(batch.x.movedim(0, 1)), exact(batch), rtol=1e-7, atol=1e-6)


def test_bounds_are_in_order_and_reach_the_evidence() -> None:
    lengths = [5, 2, 4]
    truth = float(exact(simulate(lengths)).sum())
    elbo, elbo_error = bound(ElboObjective(), lengths, 4000)
    iwae_5, error_5 = bound(IwaeObjective(particles=5), lengths, 2000)
    iwae_50, error_50 = bound(IwaeObjective(particles=50), lengths, 1000)
    iwae_5000, error_5000 = bound(IwaeObjective(particles=5000), lengths, 20)
    assert elbo + 4 * elbo_error < iwae_5 - 4 * error_5
    assert iwae_5 + 4 * error_5 < iwae_50 - 4 * error_50
    assert iwae_50 - 4 * error_50 < truth
    assert abs(iwae_5000 - truth) < 0.01
    assert error_5000 < 0.005
    sampled, sampled_error = bound(OBJECTIVES["elbo-mc"](name="elbo-mc", particles=5), lengths, 2000)
    assert abs(sampled - elbo) < 4 * (sampled_error + elbo_error)


def test_renyi_lies_between_the_elbo_and_iwae() -> None:
    lengths = [5, 2, 4]
    iwae, _ = bound(IwaeObjective(particles=20), lengths, 500)
    at_zero, _ = bound(RenyiObjective(particles=20, alpha=0.0), lengths, 500)
    half, _ = bound(RenyiObjective(particles=20, alpha=0.5), lengths, 500)
    near_one, _ = bound(RenyiObjective(particles=20, alpha=0.9999), lengths, 500)
    mean, _ = bound(OBJECTIVES["elbo-mc"](name="elbo-mc", particles=20), lengths, 500)
    assert float(at_zero) == pytest.approx(float(iwae), rel=1e-12)
    assert float(mean) < float(half) < float(iwae)
    assert float(near_one) == pytest.approx(float(mean), abs=1e-3)


@pytest.mark.parametrize("program", PROGRAMS)
def test_one_weight_a_sequence(program: str) -> None:
    """log-mean-exp by hand over each sequence's own weights; one over the batch would be another number."""
    net, batch = make_net(), make_batch()
    torch.manual_seed(2)
    pair = PROGRAMS[program](net)
    with torch.no_grad():
        loss = IwaeObjective(particles=5).loss(net).loss(pair.model, pair.guide, batch)
        torch.manual_seed(2)
        found = terms(pair.model, pair.guide, batch, 5)
    weights = found.log_weights
    assert weights.shape == (5, batch.size)
    by_hand = sum(math.log(sum(math.exp(float(w) - 1000) for w in (row + 1000)) / 5) for row in weights.T)
    joint = float(torch.logsumexp(weights.sum(1), 0)) - math.log(5)
    assert -loss == pytest.approx(by_hand, rel=1e-9)
    assert -loss != pytest.approx(joint, rel=1e-3)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_trained_loss_is_minus_the_reported_bound(name: str, program: str) -> None:
    net, batch = equipped(make_net(), name), make_batch()
    objective = OBJECTIVES[name](name=name, particles=5)
    pair = PROGRAMS[program](net)
    torch.manual_seed(4)
    loss = objective.loss(net).loss_and_grads(pair.model, pair.guide, batch)
    with torch.no_grad():
        torch.manual_seed(4)
        reported, _ = sequence_bounds(pair, batch, objective)
    assert reported.shape == (batch.size,)
    assert loss == pytest.approx(-float(reported.sum()), rel=1e-9)


def test_the_iwae_gradient_is_that_of_the_log_mean_exp() -> None:
    net, batch = make_net(), make_batch()
    pair = Stacked(net)
    torch.manual_seed(4)
    IwaeObjective(particles=5).loss(net).loss_and_grads(pair.model, pair.guide, batch)
    given = {k: p.grad.clone() for k, p in net.named_parameters()}
    net.zero_grad()
    torch.manual_seed(4)
    (-torch.logsumexp(terms(pair.model, pair.guide, batch, 5).log_weights, 0).sum()).backward()
    for key, p in net.named_parameters():
        torch.testing.assert_close(given[key], p.grad, rtol=1e-8, atol=1e-12, msg=key)


@pytest.mark.parametrize("values_at_once", [100, 1000, 10**9])
def test_particles_in_chunks_are_the_same_bound(values_at_once: int) -> None:
    """Chunks change which random numbers go where, never the bound: on the oracle all are within their error."""
    net, batch = LinearGaussian().double(), simulate([3, 5])
    torch.manual_seed(0)
    values, kl = sequence_bounds(Stacked(net), batch, IwaeObjective(particles=3000), values_at_once=values_at_once * 8)
    torch.testing.assert_close(values, exact(batch), rtol=0, atol=0.03)
    assert kl.shape == (2,)


def test_annealing_weighs_the_kl_on_both_sides() -> None:
    """loss(beta) = nll + beta KL, with nll and KL measured apart."""
    net, batch = make_net(), make_batch()
    for program in PROGRAMS.values():
        pair = program(net)
        with torch.no_grad():
            torch.manual_seed(6)
            found = terms(pair.model, pair.guide, batch, 1)
            for name in ("elbo", "elbo-mc"):
                torch.manual_seed(6)
                loss = OBJECTIVES[name](name=name).loss(net).loss(pair.model, pair.guide, batch, 0.25)
                sampled_kl = -(found.log_weights + found.nll)
                kl = found.kl if name == "elbo" else sampled_kl
                assert loss == pytest.approx(float((found.nll + 0.25 * kl).sum()), rel=1e-9)


def test_kl_schedule() -> None:
    objective = ElboObjective(kl_start=0.2, kl_end=1.0, kl_steps=100)
    assert [objective.beta(s) for s in (0, 50, 100, 1000)] == pytest.approx([0.2, 0.6, 1.0, 1.0])
    assert IwaeObjective().beta(0) == 1.0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: IwaeObjective(particles=1), "elbo-mc"),
        (lambda: RenyiObjective(particles=1), "elbo-mc"),
        (lambda: RenyiObjective(alpha=1.0), "elbo-mc"),
        (lambda: RenyiObjective(alpha=-0.5), "lower bound"),
        (lambda: ElboObjective(kl_start=0.0), "poutine.scale"),
        (lambda: ElboObjective(kl_end=1.5), "poutine.scale"),
        (lambda: ElboObjective(kl_start=0.5), "kl_steps"),
        (lambda: ElboObjective(particles=0), "1 or more"),
        (lambda: ElboObjective(kl_steps=-1), "0 or more"),
    ],
)
def test_impossible_settings_are_refused_with_what_to_use(make: object, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()  # type: ignore[operator]
    assert says in f"{error.value.message} {error.value.hint}"
