"""Direct connections: x_t starts at what x_{t-1} says, and the model continues from there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from small import X, make_batch, make_net, write_small

import pyro_vrnn as pv
from pyro_vrnn.config import resolve
from pyro_vrnn.data import baselines
from pyro_vrnn.data.baselines import Coins
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.data.schema import read_info
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.fast import loop_of
from pyro_vrnn.fast.direct import DirectLoop
from pyro_vrnn.models.direct import Direct
from pyro_vrnn.models.direct_line import DirectLine
from pyro_vrnn.models.loop import Loop
from pyro_vrnn.models.masked import Masked
from pyro_vrnn.programs import PROGRAMS
from pyro_vrnn.system.errors import ConfigError


@pytest.mark.parametrize("model", ["rnn", "vrnn", "srnn", "dmm", "storn", "vrae"])
def test_it_starts_at_the_score_of_the_last_value(model: str, tmp_path: Path) -> None:
    """Without logits of its own, the steps after the first score what `baselines` measures."""
    data = write_small(tmp_path / "small.h5")
    info, dataset = read_info(data), SequenceDataset(data, "test")
    net = make_net(f"model.name={model}", "model.direct=true")
    assert isinstance(net, Direct)
    train, test = (Coins.of(info, split) for split in ("train", "test"))
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net.fit_direct(*map(torch.from_numpy, train.after()))
        batch = collate(dataset, range(len(dataset)))
        x = batch.x.double()
        z = torch.zeros(batch.steps, batch.size, net.latent_dim, dtype=torch.float64)
        states = loop_of(net).states(net.features(x), z, net.start(batch.size))
        nll = -net.p_x(states, z).log_prob(x)[1:][batch.alive[1:]].sum()
    _, last = test.nll(train, firsts=False)
    assert float(nll) == pytest.approx(last, rel=1e-6)
    assert set(baselines.baselines(data)) >= {"last"}


def test_a_weight_a_column_and_no_other_way_for_it() -> None:
    """The logit of a bit depends directly on its own last value, by the weight that it has."""
    net, batch = make_net("model.direct=true"), make_batch()
    state = list(net.start(batch.size))
    z = torch.zeros(batch.size, net.latent_dim, dtype=torch.float64)
    off = net.p_x(tuple(state), z).base_dist.logits
    state[-1] = torch.zeros_like(state[-1])
    state[-1][:, 4] = 1.0
    moved = net.p_x(tuple(state), z).base_dist.logits - off
    weight = torch.zeros_like(net.hold)
    weight[4] = net.hold[4].detach()
    torch.testing.assert_close(moved, weight.expand_as(moved))


def test_a_run_keeps_where_it_started(tmp_path: Path) -> None:
    data = write_small(tmp_path / "small.h5")
    settings = {"model.direct": True, "model.hidden_dim": 8, "model.network_dims": [8], "model.latent_dim": 3}
    run = pv.train("chorales-vrnn", data=data, out=tmp_path / "run", device="cpu", settings=settings, max_steps=4)
    again = pv.load(tmp_path / "run")
    assert bool(again.net.one.any())
    for key, value in run.net.state_dict().items():
        assert torch.equal(value, again.net.state_dict()[key])
    assert run.sample(2, steps=8)


def test_it_is_for_independent_bits() -> None:
    with pytest.raises(ConfigError, match="independent bits"):
        resolve(sets=["model.direct=true", "model.likelihood=nade"])


def assert_programs_agree(net: DirectLine, batch: Batch) -> None:
    """The loss of both programs under one seed."""
    losses = []
    for program in PROGRAMS.values():
        pair: Any = program(net)
        torch.manual_seed(0)
        with pyro.get_param_store().scope():
            losses.append(Trace_ELBO().loss(pair.model, pair.guide, batch))
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)


def gaussian_net(name: str) -> DirectLine:
    """A model of real columns with direct connections, of random weights everywhere."""
    sets = [f"model.name={name}", "model.direct=true", "model.likelihood=gaussian"]
    net = make_net(*sets)
    assert isinstance(net, DirectLine)
    with torch.no_grad():
        net.around.copy_(0.1 + torch.rand_like(net.around))
        net.slope.copy_(torch.rand_like(net.slope))
        net.offset.normal_()
    return net


@pytest.mark.parametrize("model", ["rnn", "vrnn", "srnn", "dmm", "storn", "vrae"])
def test_real_columns_are_near_their_last_value(model: str) -> None:
    """The Gaussian lies around the line, the first one has the column's own deviation; both programs agree."""
    net, batch = gaussian_net(model), make_batch()
    x = torch.randn(batch.steps, batch.size, X, dtype=torch.float64) * batch.alive[..., None]
    batch = replace(batch, x=x)
    z = torch.randn(batch.steps, batch.size, net.latent_dim, dtype=torch.float64)
    loop = loop_of(net)
    assert isinstance(loop, DirectLoop)
    states = loop.states(net.features(x), z, net.start(batch.size))
    p_x, own = net.p_x(states, z).base_dist, net.net.p_x(states[:-2], z).base_dist
    line = net.offset + (net.slope + net.hold) * x[:-1]
    torch.testing.assert_close(p_x.loc[1:], own.loc[1:] + line)
    torch.testing.assert_close(p_x.scale[1:], own.scale[1:])
    torch.testing.assert_close(p_x.loc[0], own.loc[0])
    torch.testing.assert_close(p_x.scale[0], own.scale[0] / net.around)
    assert (states[-1][1:] == 1).all()
    readable = Loop(net).states(net.features(x), z, net.start(batch.size))
    for ours, theirs in zip(states[-2:], readable[-2:], strict=True):
        torch.testing.assert_close(ours, theirs.expand_as(ours))
    assert_programs_agree(net, batch)


def test_after_missing_values_the_last_one_that_was_seen_counts() -> None:
    """It is kept with its age, by which the Gaussian is wider; both programs agree."""
    inner = make_net("model.likelihood=gaussian")
    net = DirectLine(Masked(inner, X), X).double()
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn_like(p) * 0.4)
        net.around.copy_(0.1 + torch.rand_like(net.around))
    x = torch.randn(6, 2, X, dtype=torch.float64)
    x[2, 0, 3] = x[3, 0, 3] = x[0, 1, 5] = float("nan")
    batch = Batch.of(x)
    states = net.before(net.features(batch.read), net.start(2))
    assert states[1][:, 0, 3].tolist() == [0, 1, 1, 2, 3, 1]
    assert states[0][3:5, 0, 3].tolist() == [x[1, 0, 3].item()] * 2
    assert states[1][:2, 1, 5].tolist() == [0, 0]
    again = net.after(tuple(part[-1] for part in states), net.features(batch.read)[-1])  # a second piece continues
    carried = net.before(net.features(batch.read), (*net.start(2)[:-2], *again))
    assert carried[1][:2, 1, 5].tolist() == [1, 2]
    z = torch.zeros(6, 2, net.latent_dim, dtype=torch.float64)
    readable = Loop(net).states(net.features(batch.read), z, net.start(2))
    for ours, theirs in zip(states, readable[-2:], strict=True):
        torch.testing.assert_close(ours, theirs)
    assert_programs_agree(net, batch)


def test_a_run_of_real_columns_starts_at_the_last_values_score(tmp_path: Path) -> None:
    """Slow random walks: one update in, the bound is near the baseline that it starts at, and far below the other."""
    generator = np.random.default_rng(0)
    walks = [generator.normal(size=(60, 2)).cumsum(0).astype("f4") for _ in range(40)]
    parts = {"train": walks[:30], "valid": walks[30:35], "test": walks[35:]}
    ids = {split: [f"{split}-{i}" for i in range(len(part))] for split, part in parts.items()}
    made = {"kind": "vectors", "support": "real", "steps_per_second": None, "source": "walks", "licence": "none"}
    info = write_sequences(tmp_path / "walks.h5", parts, ids=ids, **made)  # type: ignore[arg-type]
    resolved = resolve(flags={"data.path": str(info.path)})
    assert resolved.config.model.direct
    run = pv.train(data=info.path, out=tmp_path / "run", device="cpu", max_steps=1)
    found = run.evaluate("test").nll_per_step
    low = baselines.baselines(info.path)
    assert low["last"] < low["independent"] - 1
    assert abs(found - low["last"]) < 0.4
    assert run.sample(2, steps=8)
