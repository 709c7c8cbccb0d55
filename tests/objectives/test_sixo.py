"""SIXO: FIVO where r is 1, learned on the model's own sequences, refused where no particle's future differs."""

from __future__ import annotations

import math
from dataclasses import replace

import pyro
import pytest
import torch
from oracle import LinearGaussian, Messages, Smoothing, exact, simulate, wide
from small import X, equipped, make_batch, make_net
from test_estimators import grads_of

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.models.masked import Masked
from pyro_vrnn.objectives import FivoObjective, SixoObjective
from pyro_vrnn.objectives.evaluation import sequence_bounds
from pyro_vrnn.objectives.sixo import density_ratio
from pyro_vrnn.programs import Stacked, particle_filter
from pyro_vrnn.programs.twist import Twist, dream, is_twist, lookahead, twist_of
from pyro_vrnn.system.errors import ConfigError

WITH_STEPS = [
    ("model.name=dmm",),
    ("model.name=srnn",),
    ("model.name=storn",),
    ("model.name=vrnn", "model.cell=lstm"),
    ("model.name=vrnn-i", "model.stochastic_layers=2"),
    ("model.name=vrnn", "model.direct=true"),
]


def twist(net: SequenceModel) -> Twist:
    found = twist_of(net)
    assert found is not None
    return found


def fresh(net: SequenceModel, width: int = 16) -> SequenceModel:
    """With a twist that has learned nothing."""
    SixoObjective(twist_dim=width).equip(net)
    return net


@pytest.mark.parametrize("sets", WITH_STEPS, ids="-".join)
def test_a_twist_that_has_learned_nothing_is_fivo_bit_for_bit(sets: tuple[str, ...]) -> None:
    """The loss, the gradients of model and guide, and what is evaluated."""
    net, batch = fresh(make_net(*sets)), make_batch()
    fivo, fivo_grads = grads_of(FivoObjective(particles=3).loss(net), net, batch)
    sixo, sixo_grads = grads_of(SixoObjective(particles=3).loss(net), net, batch)
    assert sixo == fivo
    for key, grad in fivo_grads.items():
        if not is_twist(key):
            assert torch.equal(sixo_grads[key], grad), key
    assert all(is_twist(key) for key in sixo_grads.keys() - fivo_grads.keys())
    assert sixo_grads["twist.log_r.bias"].isfinite().all()
    assert float(sixo_grads["twist.log_r.weight"].abs().max()) > 0  # and it learns from there
    bounds = []
    for objective in (FivoObjective(particles=5), SixoObjective(particles=5)):
        torch.manual_seed(1)
        bounds.append(torch.stack(sequence_bounds(Stacked(net), batch, objective)))
    torch.testing.assert_close(*bounds, rtol=1e-12, atol=1e-12)  # (the transition runs in another shape)


def test_a_network_that_gets_one_is_the_same_network_and_the_random_numbers_too() -> None:
    net, state = make_net(), torch.get_rng_state()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    fresh(net)
    assert torch.equal(torch.get_rng_state(), state)
    after = net.state_dict()
    assert all(torch.equal(after.pop(k), v) for k, v in before.items())
    assert after
    assert all(is_twist(k) for k in after)


@pytest.mark.parametrize("sets", WITH_STEPS, ids="-".join)
def test_the_bound_trains_model_and_guide_and_the_classifier_the_twist(sets: tuple[str, ...]) -> None:
    """The twist's gradient is that of telling futures apart alone; the model's is the bound's, through r too."""
    net, batch = equipped(make_net(*sets), "sixo"), make_batch()
    _, grads = grads_of(SixoObjective(particles=3).loss(net), net, batch)
    torch.manual_seed(0)
    found = particle_filter(net, batch, 3, twist=lookahead(net, twist(net), batch, fixed=True))
    net.zero_grad()
    (-found.log_evidence.sum()).backward()
    of_bound = {k: p.grad.clone() for k, p in net.named_parameters() if p.grad is not None}
    assert not any(is_twist(k) for k in of_bound)
    net.zero_grad()
    (batch.scored_steps * density_ratio(net, twist(net), batch)).backward()
    of_classifier = {k: p.grad.clone() for k, p in net.named_parameters() if p.grad is not None}
    assert all(is_twist(k) for k in of_classifier)
    expected = of_bound | of_classifier
    assert grads.keys() == expected.keys()
    for key, grad in grads.items():
        torch.testing.assert_close(grad, expected[key], rtol=1e-9, atol=1e-12, msg=key)


def test_only_the_twist_learns_if_that_is_asked() -> None:
    net, batch = make_net(), make_batch()
    objective = SixoObjective(particles=3, twist_only=True)
    objective.equip(net)
    assert objective.learner(net) is twist(net)
    assert SixoObjective().learner(net) is net
    value, grads = grads_of(objective.loss(net), net, batch)
    assert grads
    assert all(is_twist(key) for key in grads)
    assert value == pytest.approx(2 * math.log(2) * batch.scored_steps)  # the classifier's, which knows nothing yet


@pytest.fixture(scope="module")
def learned() -> SequenceModel:
    """The chain with a twist that was trained on sequences of the chain alone."""
    net = fresh(LinearGaussian().double())
    optim = torch.optim.Adam(twist(net).parameters(), lr=1e-2)
    like = Batch(torch.full((48,), 12))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for _ in range(100):
            optim.zero_grad()
            density_ratio(net, twist(net), like).backward()
            optim.step()
    return net


@torch.no_grad()
def test_what_it_learns_is_what_the_chain_says_of_its_future(learned: SequenceModel) -> None:
    batch = simulate([12, 8] * 10, seed=5)
    z = torch.randn(200, 20, 1, dtype=torch.float64)  # states that a particle may be in
    best, found = Messages(batch).twist, lookahead(learned, twist(learned), batch)
    for t in (0, 3):
        a, b = (r - r.mean(0) for r in (best(t, (z, 0 * z)), found(t, (z, 0 * z))))
        assert float((a - b).std()) < 0.4 * float(a.std())


@torch.no_grad()
@pytest.mark.parametrize("guide", [LinearGaussian, Smoothing])
def test_few_particles_are_nearer_to_the_evidence_and_never_above(
    guide: type[LinearGaussian], learned: SequenceModel
) -> None:
    """With a guide that filters, and with one that sees the future."""
    batch, net, ruler = simulate([12, 8] * 10, seed=5), guide().double(), []
    truth, many = exact(batch), wide(batch, 600)
    for r in (None, lookahead(net, twist(learned), many)):
        torch.manual_seed(1)
        bound = particle_filter(net, many, 4, threshold=1.0, twist=r).log_evidence.reshape(600, -1)
        gap = (bound - truth).mean(1)
        ruler.append((float(gap.mean()), float(gap.std()) / 600**0.5))
    (fivo, fivo_error), (sixo, sixo_error) = ruler
    assert sixo > fivo + 3 * (fivo_error**2 + sixo_error**2) ** 0.5
    assert sixo < 3 * sixo_error


@torch.no_grad()
def test_the_future_is_the_sequences_own_and_nothing_else() -> None:
    """b_t has read x_{t+1}, …, x_T: not x_t, no other sequence's, and no padding."""
    net, batch = equipped(make_net(), "sixo"), make_batch()
    assert batch.x is not None
    state = tuple(part.expand(batch.size, -1) for part in net.start(batch.size))
    before = torch.stack([lookahead(net, twist(net), batch)(t, state) for t in range(batch.steps)])
    x = batch.x.clone()
    x[4, 2] = 1 - x[4, 2]  # the last step of sequence 2
    x[5:, 2] = 7.0
    other = torch.stack([lookahead(net, twist(net), replace(batch, x=x))(t, state) for t in range(batch.steps)])
    changed = before != other
    assert changed[:4, 2].all()
    assert not changed[4, 2]
    changed[:, 2] = False
    assert not changed.any()


def test_sequences_are_drawn_from_the_model_without_dropout_and_as_it_would_be_without_them() -> None:
    net = equipped(make_net("model.dropout=0.5"), "sixo").train()
    torch.manual_seed(0)
    first = density_ratio(net, twist(net), make_batch()).detach()
    assert net.training
    torch.manual_seed(0)
    assert torch.equal(density_ratio(net.eval(), twist(net), make_batch()), first)


def test_one_sequence_has_another_to_be_told_from() -> None:
    net = equipped(make_net(), "sixo")
    loss = density_ratio(net, twist(net), make_batch([6]))
    loss.backward()
    assert float(twist(net).log_r.weight.grad.abs().max()) > 0
    assert not density_ratio(net, twist(net), make_batch([1, 1]))  # r_T is 1: nothing to tell


@torch.no_grad()
def test_what_is_drawn_has_the_same_entries_missing() -> None:
    net = Masked(make_net(), X).double().eval()
    batch = make_batch([5])
    observed = torch.ones_like(batch.x, dtype=torch.bool)
    observed[2, 0, :4] = False
    drawn, states = dream(net, replace(batch, observed=observed))
    assert drawn.x is not None
    assert drawn.observed is not None
    assert drawn.x.shape == (5, 2, X)
    assert not drawn.x[2, :, :4].any()
    assert torch.equal(drawn.observed[:, 1], observed[:, 0])
    assert all(part.shape[:2] == (5, 2) for part in states)


@pytest.mark.parametrize("model", ["vrae", "rnn"])
def test_a_model_without_a_z_for_every_step_is_refused(model: str) -> None:
    net = make_net(f"model.name={model}")
    for ask in (
        SixoObjective().check,
        SixoObjective().loss,
        lambda net: sequence_bounds(Stacked(net), make_batch(), SixoObjective()),
    ):
        with pytest.raises(ConfigError, match="no z for every step"):
            ask(net)


def test_a_network_without_a_twist_is_refused_and_it_is_said_what_to_do() -> None:
    net = make_net()
    for ask in (
        SixoObjective().check,
        SixoObjective().loss,
        lambda net: sequence_bounds(Stacked(net), make_batch(), SixoObjective()),
    ):
        with pytest.raises(ConfigError, match="no twist") as error:
            ask(net)
        assert "--init-from RUN --objective sixo" in error.value.hint


def test_settings_out_of_range() -> None:
    for settings in ({"twist_dim": 0}, {"particles": 1}, {"threshold": 2.0}):
        with pytest.raises(ConfigError):
            SixoObjective(**settings)  # type: ignore[arg-type]


@torch.no_grad()
def test_sequences_in_chunks_have_their_own_futures() -> None:
    """What bounds the memory: so few sequences at once that all particles' widest layer fits."""
    net, batch = equipped(make_net(), "sixo"), make_batch()
    objective = SixoObjective(particles=9)
    torch.manual_seed(0)
    chunks, _ = sequence_bounds(Stacked(net), batch, objective, values_at_once=1)
    torch.manual_seed(0)
    rows = [sequence_bounds(Stacked(net), batch.rows(slice(i, i + 1)), objective)[0] for i in range(batch.size)]
    torch.testing.assert_close(chunks, torch.cat(rows), rtol=1e-12, atol=0)


def test_unscored_first_steps() -> None:
    """Steps that are only read weigh nothing but p / q; the estimate is as far from the truth with r as without."""
    net, batch = LinearGaussian().double(), simulate([6])
    given = replace(wide(batch, 20_000), given=torch.full((20_000,), 2), scored_steps=-1)
    best = Messages(batch).twist
    with torch.no_grad(), pyro.get_param_store().scope():
        torch.manual_seed(0)
        plain = particle_filter(net, given, 8, threshold=1.0).log_evidence.exp()
        twisted = particle_filter(net, given, 8, threshold=1.0, twist=best).log_evidence.exp()
    error = float((plain.var() + twisted.var()).sqrt()) / 20_000**0.5
    assert abs(float(plain.mean() - twisted.mean())) < 4 * error


def test_the_classifiers_loss_is_not_drawn_as_a_bound() -> None:
    rows = [{"step": 1, "loss": 1.386, "nll": 5.0, "kl": 2.0}, {"step": 1, "valid_nll_per_step": 7.0}]
    assert SixoObjective(particles=4).drawn(rows) == rows
    assert SixoObjective(particles=4, twist_only=True).drawn(rows) == [
        {k: v for k, v in rows[0].items() if k != "loss"},
        rows[1],
    ]
