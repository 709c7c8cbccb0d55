"""Missing values: nothing changes where none are, the evidence is the Kalman filter's, programs agree."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from oracle import COLUMNS, A, Chain, Q, R
from small import X, equipped, make_batch, make_net, suits
from torch import Tensor

from pyro_vrnn.data.batch import Batch, marked
from pyro_vrnn.fast import LOOPS, loop_of
from pyro_vrnn.models import MODELS, SequenceModel
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.models.masked import Masked
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.objectives.evaluation import sequence_bounds
from pyro_vrnn.programs import PROGRAMS, Markov, Stacked
from pyro_vrnn.programs.particle_filter import particle_filter
from pyro_vrnn.programs.twist import twist_of


def holed(batch: Batch, share: float = 0.3, seed: int = 4) -> Batch:
    """The batch without some of its entries, and without one whole step."""
    assert batch.x is not None
    generator = torch.Generator().manual_seed(seed)
    observed = torch.rand(batch.x.shape, generator=generator) > share
    observed[1, 0] = False
    observed &= batch.alive[..., None]
    return replace(batch, x=torch.where(observed, batch.x, 0.0), observed=observed)


def masked(model: str) -> Masked:
    """A model of this name that knows what is missing, with random weights everywhere."""
    net = Masked(make_net(f"model.name={model}"), X).double()
    torch.manual_seed(9)
    with torch.no_grad():
        net.W.weight.normal_(0, 0.5)
    return net


def loss(net: SequenceModel, program: str, objective: str, batch: Batch) -> float:
    """One loss of a training under a fixed seed."""
    if objective == "sixo" and twist_of(net) is None:
        torch.manual_seed(4)
        equipped(net, objective)
    torch.manual_seed(3)
    cls = OBJECTIVES[objective]
    elbo: Any = cls(name=objective, particles=3 if cls.weighted else 1).loss(net)
    pair: Any = PROGRAMS[program](net)
    with pyro.get_param_store().scope():
        found: float = elbo.loss(pair.model, pair.guide, batch)
    return found


PAIRS = [(m, o) for m, o in itertools.product(MODELS, OBJECTIVES) if suits(m, o)]


@pytest.mark.parametrize(("model", "objective"), PAIRS)
def test_with_nothing_missing_all_numbers_are_as_before(model: str, objective: str) -> None:
    """The wrapper starts at the model, and a batch that marks all of its entries is one that marks none."""
    plain, batch = make_net(f"model.name={model}"), make_batch()
    assert batch.x is not None
    net = Masked(make_net(f"model.name={model}"), X).double()
    every = replace(batch, observed=batch.alive[..., None].expand_as(batch.x))
    want = loss(plain, "stacked", objective, batch)
    assert loss(net, "stacked", objective, batch) == want
    # A step of padding has no mark and is no step: what is read there goes nowhere.
    assert loss(net, "stacked", objective, every) == pytest.approx(want, rel=1e-12)
    if objective not in ("fivo", "sixo"):
        assert loss(net, "markov", objective, every) == pytest.approx(
            loss(plain, "markov", objective, batch), rel=1e-12
        )


@pytest.mark.parametrize(("model", "objective"), PAIRS)
def test_both_programs_agree_and_a_missing_value_changes_nothing(model: str, objective: str) -> None:
    net, batch = masked(model), holed(make_batch())
    assert batch.x is not None
    assert batch.observed is not None
    stacked = loss(net, "stacked", objective, batch)
    if objective not in ("fivo", "sixo"):
        assert stacked == pytest.approx(loss(net, "markov", objective, batch), rel=1e-9)
    noise = torch.where(batch.observed, batch.x, (batch.x + 1) % 2)
    assert loss(net, "stacked", objective, replace(batch, x=noise)) == pytest.approx(stacked, rel=1e-12)
    more = batch.observed.clone()
    more[0, 0, int(more[0, 0].nonzero()[0])] = False
    assert abs(loss(net, "stacked", objective, replace(batch, observed=more)) - stacked) > 1e-6


def test_it_runs_the_fast_loop_of_its_model() -> None:
    for name, cls in MODELS.items():
        assert type(loop_of(masked(name))) is LOOPS[cls]


# ------------------------------------------------------------------------------------------- exact evidence


def kalman(batch: Batch) -> Tensor:
    """log p of what was observed of each sequence, by the Kalman filter with the columns that are there. [B]."""
    assert batch.x is not None
    assert batch.observed is not None
    found = []
    for b, length in enumerate(batch.lengths.tolist()):
        mean, var, total = 0.0, 1.0, 0.0
        for t in range(length):
            if t:
                mean, var = A * mean, A**2 * var + Q**2
            for c, x, seen in zip(COLUMNS.tolist(), batch.x[t, b].tolist(), batch.observed[t, b].tolist(), strict=True):
                if seen:  # columns are independent given z: one after the other
                    s = c**2 * var + R**2
                    total -= 0.5 * (math.log(2 * math.pi * s) + (x - c * mean) ** 2 / s)
                    gain = var * c / s
                    mean, var = mean + gain * (x - c * mean), (1 - gain * c) * var
        found.append(total)
    return torch.tensor(found, dtype=torch.float64)


def chain_batch() -> Batch:
    """Two columns of the chain with holes: entries, a whole step, and the first step of a sequence."""
    generator = torch.Generator().manual_seed(2)
    lengths = [6, 4, 5]
    z = torch.randn(6, 3, 1, generator=generator, dtype=torch.float64)
    x = COLUMNS * z + R * torch.randn(6, 3, 2, generator=generator, dtype=torch.float64)
    x[2, 0] = x[0, 1] = x[3, 2, 0] = x[1, 0, 1] = x[4, 2, 1] = x[0, 2, 0] = float("nan")
    batch = Batch.of(x, torch.tensor(lengths))
    assert batch.observed is not None
    return replace(batch, observed=batch.observed & batch.alive[..., None])


def many(batch: Batch, repeats: int) -> Batch:
    assert batch.x is not None
    assert batch.observed is not None
    wide = [part.repeat(1, repeats, 1) for part in (batch.x, batch.observed)]
    return Batch(batch.lengths.repeat(repeats), wide[0], observed=wide[1])


@pytest.mark.parametrize("program", [Stacked, Markov])
def test_importance_weighted_bounds_reach_the_kalman_filters_evidence(program: Any) -> None:
    net, batch = Masked(Chain(), 2).double(), chain_batch()
    truth = kalman(batch)
    torch.manual_seed(0)
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        iwae = OBJECTIVES["iwae"](name="iwae", particles=3000)
        bounds = sequence_bounds(program(net), many(batch, 8), iwae)[0].reshape(8, -1)
        elbo = sequence_bounds(program(net), many(batch, 400), OBJECTIVES["elbo"](name="elbo"))[0].reshape(400, -1)
    error = bounds.std(0) / math.sqrt(8)
    assert ((bounds.mean(0) - truth).abs() < 4 * error + 0.005).all()
    assert (elbo.mean(0) < truth).all()


def test_the_particle_filter_reaches_it_too() -> None:
    net, batch = Masked(Chain(), 2).double(), chain_batch()
    torch.manual_seed(0)
    found = particle_filter(net, many(batch, 8), 2000).log_evidence.reshape(8, -1)
    error = found.std(0) / math.sqrt(8)
    assert ((found.mean(0) - kalman(batch)).abs() < 4 * error + 0.005).all()


def test_a_sequence_of_which_nothing_was_observed_has_no_score() -> None:
    net, batch = Masked(Chain(), 2).double(), chain_batch()
    assert batch.observed is not None
    nothing = replace(batch, observed=torch.zeros_like(batch.observed))
    torch.manual_seed(0)
    assert particle_filter(net, nothing, 50).log_evidence.abs().max() < 0.4  # log of a mean of p(z) / q(z)
    assert (kalman(nothing) == 0).all()


# ------------------------------------------------------------------------------------------- likelihoods


@pytest.mark.parametrize("name", ["gaussian", "gaussian-fixed", "gmm", "bernoulli"])
def test_factorised_likelihoods_score_the_entries_that_are_there(name: str) -> None:
    """As the same distribution of fewer columns does."""
    torch.manual_seed(0)
    likelihood = LIKELIHOODS[name](5, 4).double()
    p_x = likelihood(torch.randn(7, 3, 5, dtype=torch.float64))  # [T, K | X]
    x = (torch.rand(7, 1, 4) < 0.5).double() if name == "bernoulli" else torch.randn(7, 1, 4, dtype=torch.float64)
    mask = torch.rand(7, 1, 4) < 0.6
    found = likelihood.observed(p_x, mask).log_prob(x)
    for t in range(7):
        keep = mask[t, 0]
        if name == "gmm":
            parts = dist.Normal(p_x.component_distribution.base_dist.loc, p_x.component_distribution.base_dist.scale)
            by_entry = parts.log_prob(x[..., None, :])[t][..., keep].sum(-1)  # [K, C]
            want = torch.logsumexp(p_x.mixture_distribution.logits.log_softmax(-1)[t] + by_entry, -1)
        else:
            want = p_x.base_dist.log_prob(x)[t][:, keep].sum(-1)
        torch.testing.assert_close(found[t], want)
    assert found.shape == (7, 3)


@pytest.mark.parametrize("name", [n for n, cls in LIKELIHOODS.items() if not cls.factorised])
def test_joint_likelihoods_score_whole_steps(name: str) -> None:
    torch.manual_seed(0)
    likelihood = LIKELIHOODS[name](5, 3).double()
    p_x = likelihood(torch.randn(7, 2, 5, dtype=torch.float64))
    x = torch.zeros(7, 1, 3, dtype=torch.float64)
    mask = torch.ones(7, 1, 3, dtype=torch.bool)
    mask[2] = False
    found, every = likelihood.observed(p_x, mask).log_prob(x), p_x.log_prob(x)
    assert (found[2] == 0).all()
    torch.testing.assert_close(found[3:], every[3:])


def test_marks_lie_beside_the_values() -> None:
    x = torch.randn(3, 2, 4)
    assert marked(x, None) is x
    seen = torch.rand(3, 2, 4) < 0.5
    assert marked(x, seen).tolist() == torch.cat([x, seen.float()], -1).tolist()


def test_a_batch_of_values_with_nan() -> None:
    x = torch.tensor([[[1.0, float("nan")]], [[2.0, 3.0]]])
    batch = Batch.of(x)
    assert batch.observed is not None
    assert batch.x is not None
    assert batch.observed.tolist() == [[[True, False]], [[True, True]]]
    assert batch.x.tolist() == [[[1.0, 0.0]], [[2.0, 3.0]]]
    assert batch.lengths.tolist() == [2]
    assert Batch.of(torch.ones(2, 1, 2)).observed is None
