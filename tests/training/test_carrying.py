"""Truncated BPTT with carried state is the full forward pass; windows that overlap; what is replayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from fits import weights
from small import B, T, make_batch, make_net, variants, write_small

import pyro_vrnn as pv
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.batching import pieces
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.programs import PROGRAMS, Stacked, terms
from pyro_vrnn.system.errors import ConfigError, NumericsError
from pyro_vrnn.training import checkpoint, optimizer
from pyro_vrnn.training.replay import Replay

CUTTABLE = [v for v in variants() if v[0] != "model.name=vrae"]
FORWARD = [v for v in CUTTABLE if v[0] != "model.name=dmm" and "model.posterior=smoothing" not in v]


def ids(found: list[tuple[str, ...]]) -> list[Any]:
    return [pytest.param(v, id=",".join(s.partition(".")[2] for s in v)) for v in found]


def in_pieces(pair: Any, batch: Batch, cuts: list[int], z: torch.Tensor | None = None) -> list[Any]:
    """The terms of each piece, the state carried; with the guide's own draws, or at a given z [T, B, Z]."""
    found, memory = [], None
    for begin, end in zip([0, *cuts], [*cuts, T], strict=True):
        piece = Batch(torch.full((B,), end - begin), batch.x[begin:end], memory=memory)
        if z is None:
            found.append(terms(pair.model, pair.guide, piece, 1))
        else:
            part = z[begin:end]
            given = (
                {"z": part.movedim(0, -2)}
                if isinstance(pair, Stacked)
                else {f"z_{t + 1}": z_t for t, z_t in enumerate(part)}
            )
            pyro.poutine.condition(pair.guide, data=given)(piece)
            trace = pyro.poutine.trace(pyro.poutine.condition(pair.model, data=given)).get_trace(piece)
            trace.compute_log_prob()
            found.append(sum(site["log_prob"] for name, site in trace.nodes.items() if name[0] in "xz"))
        memory = pair.carry(piece)
    return found


@torch.no_grad()
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("sets", ids(FORWARD))
def test_pieces_with_carried_state_are_the_whole(sets: tuple[str, ...], program: str) -> None:
    """Same random numbers: where the guide only looks back, bound, NLL and KL of the pieces add up to the whole's."""
    net, batch = make_net(*sets), make_batch([T] * B)
    with pyro.get_param_store().scope():
        pair = PROGRAMS[program](net)
        torch.manual_seed(3)
        whole = terms(pair.model, pair.guide, batch, 1)
        torch.manual_seed(3)
        parts = in_pieces(pair, batch, [2, 5])
    for name in ("log_weights", "nll", "kl"):
        total = sum(getattr(part, name) for part in parts)
        torch.testing.assert_close(total, getattr(whole, name), rtol=1e-10, atol=1e-10)


@torch.no_grad()
@pytest.mark.parametrize("sets", ids([v for v in CUTTABLE if v not in FORWARD]))
def test_a_guide_that_looks_ahead_sees_its_piece_the_model_all(sets: tuple[str, ...]) -> None:
    """A smoothing guide knows no more than the piece; log p(x, z) at the same z is the whole's all the same."""
    net, batch = make_net(*sets), make_batch([T] * B)
    pair = PROGRAMS["markov"](net)
    torch.manual_seed(0)
    z = torch.randn(T, B, net.latent_dim, dtype=torch.float64)
    given = {f"z_{t + 1}": z_t for t, z_t in enumerate(z)}
    with pyro.get_param_store().scope():
        trace = pyro.poutine.trace(pyro.poutine.condition(pair.model, data=given)).get_trace(batch)
        trace.compute_log_prob()
        parts = in_pieces(pair, batch, [2, 5], z)
    whole = sum(site["log_prob"] for name, site in trace.nodes.items() if name[0] in "xz")
    torch.testing.assert_close(sum(parts), whole, rtol=1e-10, atol=1e-10)


@torch.no_grad()
def test_without_the_memory_it_is_another_number() -> None:
    net, batch = make_net(), make_batch([T] * B)
    with pyro.get_param_store().scope():
        pair = PROGRAMS["stacked"](net)
        torch.manual_seed(3)
        whole = terms(pair.model, pair.guide, batch, 1)
        torch.manual_seed(3)
        parts = [terms(pair.model, pair.guide, Batch(torch.full((B,), len(x)), x), 1) for x in batch.x.split(4)]
    assert not torch.allclose(parts[0].nll + parts[1].nll, whole.nll)


def test_of_several_particles_the_first_goes_on() -> None:
    net, batch = make_net(), make_batch()
    with pyro.get_param_store().scope(), torch.no_grad():
        pair = PROGRAMS["stacked"](net)
        terms(pair.model, pair.guide, batch, 3)
        state, own = pair.carry(batch)
    assert [part.shape for part in state] == [(B, 13)]
    assert own == ()
    assert not any(part.requires_grad for part in state)


def test_every_step_is_in_one_piece() -> None:
    lengths = np.array([7, 3, 5, 1, 6])
    found = pieces([[0, 4, 2], [1, 3]], lengths, 3)
    assert [(p.indices, p.begin, p.rows) for p in found] == [
        ([0, 4, 2], 0, ()),
        ([0, 4, 2], 3, (0, 1, 2)),
        ([0], 6, (0,)),
        ([1, 3], 0, ()),
    ]
    assert sum(min(3, lengths[i] - p.begin) for p in found for i in p.indices) == lengths.sum()
    assert [p.indices for p in pieces([[0, 1], [2]], lengths, None)] == [[0, 1], [2]]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_small(tmp_path / "small.h5")


def test_windows_overlap(data: Path) -> None:
    whole = SequenceDataset(data, "train")
    for window, hop in [(4, 1), (4, 3), (4, 4), (5, 2), (100, 1)]:
        cut = SequenceDataset(data, "train", window, hop)
        at = 0
        for i in range(len(whole)):
            x, starts = whole[i], [0]
            while starts[-1] + window < len(x):
                starts.append(starts[-1] + hop)
            for k, start in enumerate(starts):
                assert np.array_equal(cut[at], x[start : start + window])
                assert cut.ids[at] == f"{whole.ids[i]}#{k}"
                at += 1
            if hop == 1:  # one at every step at which a whole window fits
                assert len(starts) == max(1, len(x) - window + 1)
        assert at == len(cut)
    with pytest.raises(ConfigError, match="hop"):
        SequenceDataset(data, "train", 4, 5)


def test_a_piece_is_read_alone(data: Path) -> None:
    dataset = SequenceDataset(data, "train")
    lengths = dataset.lengths.tolist()
    longest = int(np.argmax(lengths))
    piece = collate(dataset, [longest], 2, 3)
    assert np.array_equal(piece.x[:, 0].numpy(), dataset[longest][2:5])
    assert piece.lengths.tolist() == [3]


SMALL = {
    "model.hidden_dim": 8,
    "model.network_dims": [8],
    "data.batch_size": 5,
    "training.log_every": 1,
}
CARRY = SMALL | {"data.window": 4, "data.carry": True}
REPLAY = SMALL | {"training.replay": "hard", "training.replay_share": 0.5, "training.replay_size": 6}


@pytest.mark.fault(49)
@pytest.mark.parametrize(
    ("recipe", "settings"),
    [
        *[(f"jsb-{model}", CARRY) for model in ("vrnn", "storn", "srnn", "dmm", "rnn")],
        *[("jsb-vrnn", REPLAY | {"training.replay": kind}) for kind in ("hard", "recent")],
    ],
)
def test_resuming_is_not_stopping(recipe: str, settings: dict[str, Any], data: Path, tmp_path: Path) -> None:
    """Stopped in the midst of a sequence's pieces, or with sequences to replay; BEST may be one of the stops."""
    pv.train(recipe, data=data, out=tmp_path / "a", max_steps=12, settings=settings)
    for steps in (2, 7, 12):
        pv.train(recipe, data=data, out=tmp_path / "b", max_steps=steps, settings=settings)
    whole, parts = (weights(tmp_path / side) for side in ("a", "b"))
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key


def test_carrying_runs_on_both_programs_alike(data: Path, tmp_path: Path) -> None:
    found = [
        pv.train("jsb-vrnn", data=data, out=tmp_path / name, max_steps=8, settings=CARRY | {"training.program": name})
        for name in PROGRAMS
    ]
    assert found[0].result.best_nll == pytest.approx(found[1].result.best_nll, rel=1e-4)


@pytest.mark.parametrize(
    ("recipe", "settings", "message"),
    [
        ("jsb-vrnn", {"data.hop": 2}, "cuts none"),
        ("jsb-vrnn", {"data.carry": True}, "cuts none"),
        ("jsb-vrnn", {"data.window": 4, "data.hop": 5}, "left out"),
        ("jsb-vrnn", {"data.window": 4, "data.hop": 2, "data.carry": True}, "do not overlap"),
        ("jsb-vrnn", CARRY | {"training.replay": "hard"}, "state before"),
        ("jsb-vrnn", CARRY | {"model.name": "vrae"}, "one z per sequence"),
        ("jsb-vrnn", CARRY | {"objective.name": "fivo"}, "are not carried"),
    ],
)
def test_what_makes_no_sense_is_refused(
    recipe: str, settings: dict[str, Any], message: str, data: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        pv.train(recipe, data=data, out=tmp_path / "a", settings=settings)
    assert not (tmp_path / "a").exists()


def test_replay_draws_what_it_says() -> None:
    hard, recent = Replay("hard", 0.5, 2, 0), Replay("recent", 0.5, 2, 0)
    for replay in (hard, recent):
        assert replay.draw(0, [0, 1, 2, 3]) == []
        replay.saw([0, 1, 2, 3], torch.tensor([1.0, 9.0, 8.0, 2.0]))
        replay.saw([4, 5], torch.tensor([0.5, 0.1]))
    assert set(hard.draw(7, [6, 7, 8, 9])) == {1, 2}
    assert set(recent.draw(7, [6, 7, 8, 9])) == {4, 5}
    assert hard.draw(7, [1, 6, 8, 9]) == [2]  # no sequence twice in a batch
    hard.saw([1], torch.tensor([0.0]))
    assert set(hard.draw(7, [6, 7, 8, 9])) == {2, 3}
    again = Replay("hard", 0.5, 2, 0)
    again.restore(hard.state())
    assert again.scores == hard.scores
    wide = Replay("hard", 0.5, 100, 0)
    wide.saw(range(50), torch.rand(50))
    assert wide.draw(1, [60, 61, 62, 63]) == wide.draw(1, [60, 61, 62, 63])
    assert len({tuple(wide.draw(step, [60, 61, 62, 63])) for step in range(20)}) > 10
    assert Replay("none", 0.5, 2, 0).state() == {}


@pytest.mark.fault(50)
def test_a_gradient_that_is_not_finite_leaves_the_memory_alone(data: Path, tmp_path: Path) -> None:
    """Rescued at a piece that continues from another, and resumed: as if nothing had been."""
    whole = pv.train("jsb-vrnn", data=data, out=tmp_path / "a", max_steps=8, settings=CARRY)
    clip = optimizer.clip_grad_norm_
    for at in range(2, 7):
        folder, calls = tmp_path / f"b{at}", [0]

        def breaks(*args: Any, calls: list[int] = calls, at: int = at, **kwargs: Any) -> torch.Tensor:
            calls[0] += 1
            return torch.tensor(float("nan")) if calls[0] == at else clip(*args, **kwargs)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(optimizer, "clip_grad_norm_", breaks)
            with pytest.raises(NumericsError):
                pv.train("jsb-vrnn", data=data, out=folder, max_steps=8, settings=CARRY)
        part = pv.train("jsb-vrnn", data=data, out=folder, max_steps=8, settings=CARRY)
        for a, b in zip(whole.net.parameters(), part.net.parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.fault(49)
def test_all_of_the_state_is_resumed(data: Path, tmp_path: Path) -> None:
    """The newest checkpoints are the same tensors: weights, optimiser, random state, memory, replay."""
    for settings in (CARRY, REPLAY):
        name = "carry" if settings is CARRY else "replay"
        pv.train("jsb-vrnn", data=data, out=tmp_path / f"{name}-a", max_steps=7, settings=settings)
        for steps in (3, 7):
            pv.train("jsb-vrnn", data=data, out=tmp_path / f"{name}-b", max_steps=steps, settings=settings)
        one, two = (checkpoint.load(checkpoint.find(tmp_path / f"{name}-{x}", "LATEST")[1]) for x in ("a", "b"))
        assert one.model.keys() == two.model.keys()
        assert one.optimizer.keys() == two.optimizer.keys()
        assert any(key.startswith(("memory.", "replay.")) for key in one.optimizer)
        for key, value in (one.model | one.optimizer).items():
            assert torch.equal(value, (two.model | two.optimizer)[key]), key


def test_replay_may_be_turned_on_and_off_between_stops(data: Path, tmp_path: Path) -> None:
    for settings in (SMALL, REPLAY, SMALL):
        steps = 3 + pv.load(tmp_path / "a").state["step"] if (tmp_path / "a").exists() else 3
        run = pv.train("jsb-vrnn", data=data, out=tmp_path / "a", max_steps=steps, settings=settings)
    assert run.result is not None
    assert run.result.steps == 9
