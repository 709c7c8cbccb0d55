"""Noise and the model's own draws as input: what is scored, validated and drawn knows nothing of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyro
import pytest
import torch
from pyro import poutine
from small import B, T, X, make_batch, make_net, variants, write_small

import pyro_vrnn as pv
from pyro_vrnn import runs
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.programs import PROGRAMS
from pyro_vrnn.system.errors import ConfigError
from pyro_vrnn.training.transition_inputs import feed, feeds_back, noisy, own_draws

VARIANTS = [pytest.param(v, id=",".join(s.partition(".")[2] for s in v)) for v in variants()]


def test_noise_stays_in_the_support() -> None:
    torch.manual_seed(0)
    bits = (torch.rand(50, 40, 10) < 0.3).double()
    flipped = noisy(bits, "binary", 0.1)
    assert set(flipped.unique().tolist()) == {0.0, 1.0}
    assert float((flipped != bits).double().mean()) == pytest.approx(0.1, abs=0.01)
    real = noisy(bits, "real", 0.5) - bits
    assert float(real.std()) == pytest.approx(0.5, rel=0.02)
    symbols = torch.nn.functional.one_hot(torch.randint(10, (50, 40)), 10).double()
    drawn = noisy(symbols, "categorical", 0.5)
    assert torch.equal(drawn.sum(-1), torch.ones(50, 40, dtype=torch.float64))
    assert float((drawn != symbols).any(-1).double().mean()) == pytest.approx(0.5 * 0.9, abs=0.03)


@pytest.mark.parametrize("sets", VARIANTS)
def test_programs_agree_on_what_is_read(sets: tuple[str, ...]) -> None:
    net, batch = make_net(*sets), make_batch()
    torch.manual_seed(4)
    batch = feed(net, batch, "binary", 0.2, 0.5)
    found = []
    for program in PROGRAMS.values():
        pair = program(net)
        torch.manual_seed(7)
        with pyro.get_param_store().scope():
            found.append(OBJECTIVES["elbo"](name="elbo").loss(net).loss(pair.model, pair.guide, batch, 1.0))
    assert found[1] == pytest.approx(found[0], rel=1e-9)
    plain = replace(batch, seen=None)
    torch.manual_seed(7)
    with pyro.get_param_store().scope():
        pair = PROGRAMS["stacked"](net)
        other = OBJECTIVES["elbo"](name="elbo").loss(net).loss(pair.model, pair.guide, plain, 1.0)
    assert (other != pytest.approx(found[0], rel=1e-6)) is feeds_back(net)


@pytest.mark.parametrize("sets", VARIANTS)
def test_the_guide_sees_x_whatever_the_transition_reads(sets: tuple[str, ...]) -> None:
    """At the first step nothing has been fed back yet: q(z_1) is that of x, and moves with x."""
    net, batch = make_net(*sets), make_batch([T] * B)
    if net.latent_dim == 0:
        return
    fed = replace(batch, seen=1 - batch.x)
    found = []
    for given in (batch, fed, replace(fed, x=1 - batch.x)):
        torch.manual_seed(0)
        with pyro.get_param_store().scope(), torch.no_grad():
            found.append(poutine.trace(PROGRAMS["markov"](net).guide).get_trace(given).nodes["z_1"]["value"])
    assert torch.equal(found[0], found[1]) or "model.posterior=smoothing" in sets or sets[0] == "model.name=srnn"
    assert not torch.equal(found[1], found[2])


def test_who_feeds_back() -> None:
    found = {v: feeds_back(make_net(*v)) for v in variants()}
    for sets, answer in found.items():
        deaf = (sets[0] == "model.name=dmm" and "model.direct=true" not in sets) or "model.free_running=true" in sets
        assert answer is not deaf, sets


def test_a_share_of_zero_reads_x_and_of_one_its_own_draws_alone() -> None:
    net, batch = make_net("model.name=rnn"), make_batch([T] * B)
    assert torch.equal(own_draws(net, batch, 0.0), batch.x)
    torch.manual_seed(0)
    first = own_draws(net, batch, 1.0)
    other = replace(batch, x=1 - batch.x)
    torch.manual_seed(0)
    assert torch.equal(own_draws(net, other, 1.0), first)  # without z, nothing of x is left
    torch.manual_seed(0)
    half = own_draws(net, batch, 0.5)
    own = (half != batch.x).any(-1)
    assert 0.2 < float(own.double().mean()) < 0.8


def test_own_draws_follow_the_model_as_it_runs_freely() -> None:
    """At a share of 1 a model without z is drawn exactly as `sample` draws it."""
    from pyro_vrnn.data.batch import Batch
    from pyro_vrnn.programs import Markov

    net, count = make_net("model.name=rnn"), 4000
    batch = make_batch([4] * count)
    torch.manual_seed(0)
    fed = own_draws(net, batch, 1.0).mean(1)
    with torch.no_grad(), pyro.get_param_store().scope():
        drawn = Markov(net).model(Batch(batch.lengths)).mean(1)
    assert float((fed - drawn).abs().max()) < 5 * 0.5 * (2 / count) ** 0.5
    assert fed.shape == (4, X)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_small(tmp_path / "small.h5")


SMALL = {"model.hidden_dim": 8, "model.network_dims": [8], "data.batch_size": 5, "training.log_every": 1}
FED = {"training.input_noise": 0.1, "training.scheduled_sampling": 0.5, "training.scheduled_steps": 4}


def test_training_reads_it_and_validation_does_not(data: Path, tmp_path: Path) -> None:
    same = SMALL | {"training.learning_rate": 1e-12}
    plain = pv.train("jsb-rnn", data=data, out=tmp_path / "a", epochs=1, settings=same)
    fed = pv.train("jsb-rnn", data=data, out=tmp_path / "b", epochs=1, settings=same | FED)
    rows = [[r for r in runs.read_metrics(run.folder) if "loss" in r] for run in (plain, fed)]
    assert all(a["loss"] != b["loss"] for a, b in zip(*rows, strict=True))
    bounds = [run.evaluate("valid").nll_per_step for run in (plain, fed)]
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-6)


@pytest.mark.fault(1)
@pytest.mark.parametrize("model", ["vrnn", "rnn"])
def test_resuming_is_not_stopping(model: str, data: Path, tmp_path: Path) -> None:
    whole = pv.train(f"jsb-{model}", data=data, out=tmp_path / "a", max_steps=9, settings=SMALL | FED)
    part = pv.train(f"jsb-{model}", data=data, out=tmp_path / "b", max_steps=4, settings=SMALL | FED)
    part = pv.train(f"jsb-{model}", data=data, out=tmp_path / "b", max_steps=9, settings=SMALL | FED)
    for a, b in zip(whole.net.parameters(), part.net.parameters(), strict=True):
        assert torch.equal(a, b)


def test_nothing_to_feed_is_refused(data: Path, tmp_path: Path) -> None:
    for key in ("scheduled_sampling", "input_noise"):
        with pytest.raises(ConfigError, match="nothing is fed back"):
            pv.train("jsb-dmm", data=data, out=tmp_path / "a", settings=SMALL | {f"training.{key}": 0.5})
    with pytest.raises(ConfigError, match="probability"):
        pv.train("jsb-rnn", data=data, out=tmp_path / "a", settings=SMALL | {"training.input_noise": 1.5})
    with pytest.raises(ConfigError, match="no share"):
        pv.train("jsb-rnn", data=data, out=tmp_path / "a", settings=SMALL | {"training.scheduled_steps": 5})
