"""Direct connections: x_t starts at what x_{t-1} says, and the model continues from there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small import make_batch, make_net, write_small

import pyro_vrnn as pv
from pyro_vrnn.config import resolve
from pyro_vrnn.data import baselines
from pyro_vrnn.data.baselines import Coins
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.data.schema import read_info
from pyro_vrnn.fast import loop_of
from pyro_vrnn.models.direct import Direct
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
