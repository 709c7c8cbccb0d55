"""First steps that are only read: the SRNN authors' piano-rolls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyro
import pytest
import torch
from small import B, make_batch, make_net, write_small

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.data.baselines import baselines
from pyro_vrnn.data.batching import pieces
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.data.schema import read_info
from pyro_vrnn.data.sources import pianoroll
from pyro_vrnn.fast import loop_of
from pyro_vrnn.models import MODELS
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.programs import PROGRAMS
from pyro_vrnn.programs.particle_filter import particle_filter
from pyro_vrnn.programs.weights import terms
from pyro_vrnn.runs.posteriors import draws
from pyro_vrnn.system.errors import DataError

GIVEN = torch.tensor([1, 0, 1, 1, 0])


@torch.no_grad()
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("model", MODELS)
def test_what_is_given_has_no_score_and_all_else_has(model: str, program: str) -> None:
    net, batch = make_net(f"model.name={model}"), make_batch()
    found = []
    for seen in (batch, replace(batch, given=GIVEN)):
        torch.manual_seed(0)
        with pyro.get_param_store().scope():
            pair = PROGRAMS[program](net)
            found.append((terms(pair.model, pair.guide, seen, 1), pair))
    torch.manual_seed(0)
    features = net.features(batch.read)
    drawn = loop_of(net).infer(features, net.encode(batch, features), net.begin(batch), torch.Size([1, B]))
    first = net.p_x(tuple(part[0] for part in drawn.states), drawn.z[:, :, 0]).log_prob(batch.x[0])
    for name in ("kl", "log_q"):
        torch.testing.assert_close(getattr(found[1][0], name), getattr(found[0][0], name))
    torch.testing.assert_close(found[1][0].nll, found[0][0].nll + torch.where(GIVEN == 1, first, 0.0))
    torch.testing.assert_close(found[1][0].log_weights, found[0][0].log_weights - torch.where(GIVEN == 1, first, 0.0))


@torch.no_grad()
def test_the_particle_filter_too() -> None:
    """Without drawing anew it is IWAE."""
    net, batch = make_net(), replace(make_batch(), given=GIVEN)
    with pyro.get_param_store().scope():
        pair = PROGRAMS["stacked"](net)
        torch.manual_seed(0)
        loss = OBJECTIVES["iwae"](name="iwae", particles=7).loss(net).loss(pair.model, pair.guide, batch)
    torch.manual_seed(0)
    filtered = particle_filter(net, batch, 7, threshold=0.0)
    assert float(-filtered.log_evidence.sum()) == pytest.approx(loss, rel=1e-9)


def lanes(path: Path, chunks: int = 3, *, broken: bool = False) -> np.ndarray:
    """A file as the authors laid theirs out: 16 lanes of so many chunks of 4 steps."""
    rolls = (np.random.default_rng(0).random((16, 4 * chunks + 1, 88)) < 0.1).astype(np.uint8)
    x = np.concatenate([rolls[:, 1 + 4 * k : 5 + 4 * k] for k in range(chunks)])
    u = np.concatenate([rolls[:, 4 * k : 4 + 4 * k] for k in range(chunks)])
    if broken:
        u[20] = 1 - u[20]
    arrays = {f"{split}_chunks_{name}": part for split in ("train", "valid") for name, part in (("x", x), ("u", u))}
    np.savez(path, **arrays, test=rolls[0], test_len=np.array([6, 7]))
    return rolls


def test_lanes_are_put_end_to_end(tmp_path: Path) -> None:
    rolls = lanes(tmp_path / "jsb.npz")
    info = pianoroll.prepare(tmp_path / "d.h5", tmp_path / "jsb.npz")
    train, test = (SequenceDataset(info.path, split) for split in ("train", "test"))
    np.testing.assert_array_equal(np.stack([train[i] for i in range(16)]), rolls)
    assert train.given.tolist() == [1] * 16
    assert collate(test, [0, 1]).scored_steps == 11
    assert collate(train, [0, 1], 4, 4).given is None
    assert collate(train, [0, 1], 0, 4).scored[:, 0].tolist() == [False, True, True, True]
    cut = SequenceDataset(info.path, "train", 4)
    assert cut.given.tolist() == [1, 0, 0, 0] * 16


def test_the_first_piece_has_the_given_step_beside_its_own() -> None:
    """The authors' pieces: 100 steps each, of lanes of 1701."""
    found = pieces([list(range(16))], [1701] * 16, 100, [1] * 16)
    assert [(p.begin, p.steps) for p in found] == [(0, 101), *((101 + 100 * k, 100) for k in range(16))]
    assert [p.steps for p in pieces([[0]], [250], 100)] == [100, 100, 100]
    assert [(p.begin, p.indices) for p in pieces([[0, 1]], [150, 90], 50)] == [(0, [0, 1]), (50, [0, 1]), (100, [0])]


def test_a_sequence_with_nothing_to_score_is_refused(tmp_path: Path) -> None:
    lanes(tmp_path / "jsb.npz")
    arrays = dict(np.load(tmp_path / "jsb.npz"))
    np.savez(tmp_path / "jsb.npz", **(arrays | {"test_len": np.array([12, 1])}))
    info = pianoroll.prepare(tmp_path / "d.h5", tmp_path / "jsb.npz")
    with pytest.raises(DataError, match="a sequence of one step"):
        SequenceDataset(info.path, "test")
    with pytest.raises(DataError, match="a sequence of one step"):
        baselines(info.path)


def test_inspect_leaves_it_out_too(tmp_path: Path) -> None:
    lanes(tmp_path / "jsb.npz")
    data = pianoroll.prepare(tmp_path / "d.h5", tmp_path / "jsb.npz").path
    run = pv.train("jsb-vrnn", data=data, out=tmp_path / "r", max_steps=1, settings={"model.hidden_dim": 5})
    trace = draws.posterior(run, run.data()[0], given=1).model
    assert float(trace.nodes["x_1"]["log_prob"].sum()) == 0.0
    assert float(trace.nodes["x_2"]["log_prob"].sum()) != 0.0


def test_evaluate_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lanes(tmp_path / "jsb.npz")
    data = pianoroll.prepare(tmp_path / "d.h5", tmp_path / "jsb.npz").path
    pv.train("jsb-vrnn", data=data, out=tmp_path / "r", max_steps=1, settings={"model.hidden_dim": 5})
    assert cli._run(["evaluate", str(tmp_path / "r"), "--split", "valid"]) == 0
    assert "(16 first steps more are only read, and have no score)" in capsys.readouterr().out
    other = write_small(tmp_path / "small.h5")
    pv.train("jsb-vrnn", data=other, out=tmp_path / "s", max_steps=1, settings={"model.hidden_dim": 5})
    assert cli._run(["evaluate", str(tmp_path / "s"), "--split", "valid"]) == 0
    assert "only read" not in capsys.readouterr().out


def test_chunks_that_do_not_go_on_are_refused(tmp_path: Path) -> None:
    lanes(tmp_path / "jsb.npz", broken=True)
    with pytest.raises(DataError, match="is not train_chunks_x a step before"):
        pianoroll.prepare(tmp_path / "d.h5", tmp_path / "jsb.npz")
    assert not (tmp_path / "d.h5").exists()


@pytest.mark.parametrize(("name", "steps", "markov1"), [("jsb", 9396, 7.30), ("piano", 17328, 8.77)])
def test_the_authors_own_files(name: str, steps: int, markov1: float, shared: Path, tmp_path: Path) -> None:
    info = pianoroll.prepare(tmp_path / "d.h5", shared / "data" / "pianoroll" / "srnn_variant" / f"{name}.npz")
    test = SequenceDataset(info.path, "test")
    assert int((test.lengths - test.given).sum()) == steps
    assert baselines(info.path)["last"] == pytest.approx(markov1, abs=0.03)
    assert read_info(info.path).splits["train"].sequences == 16
