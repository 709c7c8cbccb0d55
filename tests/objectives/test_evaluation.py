from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import equipped, make_net, write_small

from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.objectives import OBJECTIVES, ElboObjective, IwaeObjective
from pyro_vrnn.objectives.evaluation import evaluate, summarise
from pyro_vrnn.programs import PROGRAMS, Stacked

CPU = torch.device("cpu")


@pytest.fixture
def dataset(tmp_path: Path) -> SequenceDataset:
    return SequenceDataset(write_small(tmp_path / "small.h5"), "test")


def test_the_two_averages_and_the_error_by_hand() -> None:
    lengths, nll = torch.tensor([10, 20, 40]), torch.tensor([[30.0, 50.0, 160.0]]).double()
    found = summarise(ElboObjective(), "test", lengths, nll, torch.tensor([[7.0, 14.0, 14.0]]))
    assert found.nll_per_step == pytest.approx(240 / 70)
    assert found.nll_per_step_sequence_mean == pytest.approx((3 + 2.5 + 4) / 3)
    assert found.nll_per_sequence == pytest.approx(80)
    assert found.kl_per_step == pytest.approx(0.5)
    r = 240 / 70
    residuals = [30 - 10 * r, 50 - 20 * r, 160 - 40 * r]
    assert found.stderr == pytest.approx((1.5 * sum(v * v for v in residuals)) ** 0.5 / 70)
    assert (found.sequences, found.steps) == (3, 70)


def test_one_sequence_has_no_error() -> None:
    found = summarise(ElboObjective(), "test", torch.tensor([4]), torch.tensor([[8.0]]), torch.tensor([[1.0]]))
    assert found.stderr is None


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_sequence_is_scored_once_whatever_the_batches(dataset: SequenceDataset, name: str) -> None:
    """Batches of 1 and of all: the same bound within its Monte Carlo error (other random numbers)."""
    net = equipped(make_net(dtype=torch.float32), name)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(0.3)  # prior and posterior near each other: small errors
    objective = OBJECTIVES[name](name=name, particles=400)
    one, many = (
        evaluate(Stacked(net), dataset, objective, split="test", batch_size=b, seed=0, device=CPU) for b in (1, 100)
    )
    assert one.sequences == many.sequences == len(dataset) == 7
    assert one.steps == many.steps == int(dataset.lengths.sum())
    assert one.nll_per_step == pytest.approx(many.nll_per_step, rel=0.01)


def test_the_programs_report_the_same(dataset: SequenceDataset) -> None:
    net = make_net(dtype=torch.float32)
    found = [
        evaluate(P(net), dataset, IwaeObjective(particles=3), split="test", batch_size=4, seed=0, device=CPU)
        for P in PROGRAMS.values()
    ]
    assert found[0].nll_per_step == pytest.approx(found[1].nll_per_step, rel=1e-5)
    assert found[0].kl_per_step == pytest.approx(found[1].kl_per_step, rel=1e-5)


def test_it_equals_pyros_own_loss(dataset: SequenceDataset) -> None:
    net = make_net(dtype=torch.float32)
    pair = Stacked(net)
    for name in ("elbo", "iwae"):
        objective = OBJECTIVES[name](name=name, particles=4)
        found = evaluate(pair, dataset, objective, split="test", batch_size=100, seed=3, device=CPU)
        order = sorted(range(len(dataset)), key=lambda i: -dataset.lengths[i])
        torch.manual_seed(3)
        with torch.no_grad():
            loss = objective.loss(pair.net).loss(pair.model, pair.guide, collate(dataset, order))
        assert found.nll_per_step == pytest.approx(loss / int(dataset.lengths.sum()), rel=1e-4)


def test_it_leaves_the_random_state_and_the_mode_alone(dataset: SequenceDataset) -> None:
    net = make_net("model.dropout=0.5", dtype=torch.float32)
    net.train()
    before = torch.get_rng_state()
    options = {"split": "test", "batch_size": 4, "seed": 0, "device": CPU}
    first = evaluate(Stacked(net), dataset, ElboObjective(), **options)
    assert torch.equal(before, torch.get_rng_state())
    assert net.training
    assert evaluate(Stacked(net), dataset, ElboObjective(), **options) == first


def test_repeats_tell_the_error_of_the_draws(dataset: SequenceDataset) -> None:
    net = make_net(dtype=torch.float32)
    pair, objective = Stacked(net), IwaeObjective(particles=3)
    single = [
        evaluate(pair, dataset, objective, split="test", batch_size=4, seed=5 + i, device=CPU).nll_per_step
        for i in range(3)
    ]
    found = evaluate(pair, dataset, objective, split="test", batch_size=4, seed=5, device=CPU, repeats=3)
    assert found.nll_per_step == pytest.approx(sum(single) / 3)
    assert found.repeats == 3
    assert found.stderr_repeats == pytest.approx(float(torch.tensor(single).double().std()) / 3**0.5, rel=1e-4)
