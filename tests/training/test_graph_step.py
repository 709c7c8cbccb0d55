"""What a CUDA graph needs, without a GPU: updates that nothing waits for, few shapes, the same numbers as ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from graphs import CPU, graph_step, make_trainer, settings
from small import LENGTHS, make_batch, make_net, write_small
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyro_vrnn.config import RunConfig, resolve
from pyro_vrnn.data.batch import Batch, bucket, padded
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.models import MODELS
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.models.precision import lowered, products
from pyro_vrnn.objectives import OBJECTIVES, evaluation
from pyro_vrnn.programs import Stacked
from pyro_vrnn.programs.stacked import Path as Along
from pyro_vrnn.runs.run import build_net
from pyro_vrnn.system.errors import ConfigError, NumericsError
from pyro_vrnn.training.eager_step import fed
from pyro_vrnn.training.fit import fit
from pyro_vrnn.training.graph_step import ASK_EVERY, why_not
from pyro_vrnn.training.optimizer import TorchOptim
from pyro_vrnn.training.parallel import Ranks
from pyro_vrnn.training.trainer import Trainer
from pyro_vrnn.training.update import Update


@pytest.mark.parametrize(
    "sets",
    [
        *([f"model.name={m}"] for m in MODELS),
        *(settings(o) for o in OBJECTIVES),
        ["objective.kl_start=0.2", "objective.kl_steps=9", "training.average=0.8", "training.weight_decay=0.5"],
        ["training.decay=cosine", "training.decay_steps=10", "training.clip_norm=0.5", "model.dropout=0.3"],
        ["objective.free_bits=0.1", "model.cell=lstm"],
    ],
    ids="-".join,
)
def test_the_same_losses_as_step_by_step(sets: list[str]) -> None:
    """25 updates on batches of two shapes."""
    batches = [make_batch(dtype=torch.float32), make_batch([4, 9, 9, 2, 1], dtype=torch.float32, seed=2)]
    rows: list[list[Any]] = []
    for graphs in (False, True):
        trainer = make_trainer(*sets, "training.learning_rate=3e-3", graphs=graphs)
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            rows.append([trainer.step(batches[n % 2], log=n % 3 == 0) for n in range(25)])
            trainer.settle()
        rows[-1].append({k: v.detach().double().norm().item() for k, v in trainer.state.net.named_parameters()})
        rows[-1].append({k: v.detach().double().norm().item() for k, v in trainer.state.average.items()})
        assert trainer.state.at.step == 25
        assert not graphs or len(graph_step(trainer).shapes) == 2
    for a, b in zip(*rows, strict=True):
        assert (a is None) == (b is None)
        assert a is None or a == pytest.approx(b, rel=2e-4, abs=1e-5)


class OneDevice(TorchDispatchMode):
    """Notes what brings a tensor of the CPU to the device: a copy that a capture refuses. Numbers are arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **kwargs or {})
        given = [v for v in tree_leaves((args, kwargs)) if isinstance(v, Tensor)]
        here = [v for v in given if v.device.type == "cpu"]
        copied = func.__name__.startswith(("_to_copy", "copy_"))
        there = any(v.device.type != "cpu" for v in tree_leaves((given, out)) if isinstance(v, Tensor))
        if here and there and (copied or any(v.dim() for v in here)):
            self.found.append(func.__name__)
        return out


CASES = [
    *([f"model.name={m}"] for m in MODELS),
    *(settings(o) for o in OBJECTIVES),
    *([f"model.likelihood={name}"] for name in LIKELIHOODS),
]


@pytest.mark.parametrize("sets", CASES, ids="-".join)
def test_nothing_is_copied_to_the_device(sets: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss and gradients on another device, whose stand-in is `meta`: it has shapes and no values."""
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda device, *args, **kwargs: autocast("cpu", *args, **kwargs))
    config = resolve(sets=["model.hidden_dim=8", "model.network_dims=8", *sets]).config
    x_dim = 3 if "pen" in sets[0] else 20
    support = LIKELIHOODS[config.model.likelihood](3, x_dim).support
    form = DataFormat(kind="vectors", support=support, x_dim=x_dim)
    meta, x = torch.device("meta"), torch.zeros(6, 5, x_dim, device="meta")
    net = build_net(replace(config, format=form)).to(meta)
    batch = Batch(torch.ones(5, dtype=torch.int64, device=meta), x, steps=6, scored_steps=5)
    make: Any = lambda params: torch.optim.SGD(params, lr=0.1)  # noqa: E731
    update = Update(
        Stacked(net), config.objective.tensor_loss(net), TorchOptim(net, make, 5.0), {}, carry=False, precision=""
    )
    with pyro.get_param_store().scope(), pyro.validation_enabled(False), OneDevice() as seen:
        update.loss_and_grads(batch)
    assert seen.found == []


def test_warming_up_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it forget what went wrong before; and where it fails itself, updates still count."""
    trainer, batch = make_trainer("training.average=0.9", graphs=True), make_batch(dtype=torch.float32)
    graphs = graph_step(trainer)

    def everything() -> list[Tensor]:
        state = [v for s in trainer.state.optim.inner.state.values() for v in s.values()]
        update = graphs.update
        return [
            *trainer.state.net.parameters(),
            *state,
            *trainer.state.average.values(),
            update.bad,
            update.done,
            update.report,
        ]

    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for _ in range(3):
            trainer.step(batch, log=False)
        for bad in (0.0, 1.0):
            graphs.update.bad.fill_(bad)
            before = [v.detach().clone() for v in everything()]
            graphs._warm_up(lambda: graphs.update(batch))
            assert all(torch.equal(a, b) for a, b in zip(everything(), before, strict=True))
        graphs.update.bad.zero_()
        monkeypatch.setattr(graphs.update, "loss_and_grads", lambda batch: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            graphs._warm_up(lambda: graphs.update(batch))
        assert float(graphs.update.bad) == 0


def test_the_device_is_asked_now_and_then() -> None:
    trainer = make_trainer(graphs=True)
    batch = make_batch(dtype=torch.float32)
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for _ in range(ASK_EVERY):
            trainer.step(batch, log=False)
        assert len(graph_step(trainer).pending) == ASK_EVERY - 1  # all but the first one, which is never a graph
        trainer.step(batch, log=False)
        assert graph_step(trainer).pending == []


@pytest.mark.parametrize("model", MODELS)
def test_padding_to_a_bucket_changes_nothing(model: str) -> None:
    """Loss and gradients along the same z, with two more sequences and five more steps of nothing."""
    lengths = [17, 3, 20, 1, 18]
    few = make_batch(lengths)
    many = padded(few, 7)
    assert many.x is not None
    assert many.x.shape[:2] == (20, 7)
    many = Batch(many.lengths, torch.nn.functional.pad(many.x, (0, 0, 0, 0, 0, 5)), steps=25)
    net = make_net(f"model.name={model}")
    z = torch.randn(7, 25, net.latent_dim, dtype=torch.float64)
    found = []
    for batch, path in [(few, z[:5, :20]), (many, z)]:
        net.zero_grad()
        along = Along(net, batch, path)
        v = path.movedim(1, 0)
        total = along.p_x.log_prob(batch.x) + along.p_z.log_prob(v) - along.q_z.log_prob(v)
        loss = torch.where(batch.alive, total, torch.zeros_like(total)).sum()
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in net.parameters() if p.grad is not None)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_buckets() -> None:
    for steps in range(1, 3000):
        assert steps <= bucket(steps) <= max(steps + 1, 1.125 * steps)
        assert bucket(bucket(steps)) == bucket(steps)
    assert len({bucket(steps) for steps in range(1, 1025)}) <= 16 + 8 * 6
    batch = padded(make_batch(), 8)
    assert (batch.size, batch.steps, batch.scored_steps) == (8, 7, sum(LENGTHS))
    given = padded(Batch(torch.tensor([3, 2]), torch.zeros(3, 2, 4), given=torch.tensor([1, 1])), 4)
    assert given.scored_steps == 3
    assert not given.scored[:, 2:].any()


def test_a_padded_batch_keeps_its_steps_when_it_gets_other_parts() -> None:
    """A carried state, noise: the number of steps is the bucket's, which no length says."""
    trainer = make_trainer("training.input_noise=0.1", graphs=False)
    batch = padded(make_batch([17, 3], dtype=torch.float32), 2).to(CPU)
    assert (batch.steps, batch.scored_steps) == (18, 20)
    with pyro.get_param_store().scope():
        trainer.step(make_batch(dtype=torch.float32), log=False)
        assert fed(trainer.state, batch).steps == 18
        trainer.state.memory = (trainer.state.net.start(2), ())
        more = trainer.state.continuing(batch, [1])
        assert (more.steps, more.scored_steps) == (18, 20)
        trainer.step(more, log=False)


@pytest.mark.parametrize("model", [m for m in MODELS if MODELS[m].per_step])
def test_bf16_with_a_carried_state(model: str) -> None:
    trainer = make_trainer(
        f"model.name={model}", "training.precision=bf16", "data.window=4", "data.carry=true", graphs=True
    )
    batch = make_batch(dtype=torch.float32)
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for _ in range(3):
            trainer.step(batch, log=False)
            assert trainer.state.memory is not None
            assert all(v.dtype == torch.float32 for side in trainer.state.memory for v in side)
            batch = trainer.state.continuing(make_batch(dtype=torch.float32), range(batch.size))


@pytest.mark.parametrize("carry", [False, True])
def test_a_run_with_padding_and_carried_state(carry: bool, tmp_path: Path) -> None:
    """`fit` end to end, twice: updates one by one and as graphs, on the same padded batches."""
    data = write_small(tmp_path / "small.h5")
    rows = []
    for graphs in (False, True):
        sets = ["data.window=4", f"data.carry={str(carry).lower()}", "training.log_every=2", "training.epochs=2"]
        trainer = make_trainer(*sets, graphs=graphs)
        trainer.padded = True
        run = tmp_path / f"run-{graphs}"
        run.mkdir()
        window = None if carry else 4
        fit(trainer, SequenceDataset(data, "train", window), SequenceDataset(data, "valid"), run)
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        rows.append([{k: v for k, v in row.items() if "second" not in k} for row in lines])
        if graphs:
            assert graph_step(trainer).shapes
            assert trainer.state.at.step > 10
    for a, b in zip(*rows, strict=True):
        assert a == pytest.approx(b, rel=2e-4, abs=1e-5)


def test_what_goes_on_has_not_gone_through_padding(tmp_path: Path) -> None:
    """Pieces of 17 steps, whose bucket is 18: a model without noise trains the same, padded and not."""
    data = write_small(tmp_path / "long.h5", longest=60)
    found = []
    for pads in (False, True):
        sets = ["model.name=rnn", "data.window=17", "data.carry=true", "training.epochs=2", "training.log_every=1"]
        trainer = make_trainer(*sets, graphs=False)
        trainer.padded = pads
        run = tmp_path / f"run-{pads}"
        run.mkdir()
        fit(trainer, SequenceDataset(data, "train"), SequenceDataset(data, "valid"), run)
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        found.append([row["loss"] for row in rows if "loss" in row])
    assert len(found[0]) > 20
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_a_resumed_run_moves_its_average() -> None:
    """As one that was never stopped."""
    batch = make_batch(dtype=torch.float32)
    whole, first, second = (make_trainer("training.average=0.9", graphs=True) for _ in range(3))
    with pyro.validation_enabled(False):
        for trainer, steps in ((whole, 9), (first, 4)):
            torch.manual_seed(5)
            with pyro.get_param_store().scope():
                for _ in range(steps):
                    trainer.step(batch, log=False)
                trainer.settle()
        saved = first.state.snapshot()
        second.state.restore(saved, Path("nowhere"))
        with pyro.get_param_store().scope():
            for _ in range(5):
                second.step(batch, log=False)
            second.settle()
    for key, value in whole.state.average.items():
        torch.testing.assert_close(second.state.average[key], value)
        assert not torch.equal(first.state.average[key], value)


@pytest.mark.fault(49)
def test_carried_state_is_put_back_too() -> None:
    trainer = make_trainer("data.carry=true", "data.window=7", graphs=True)
    good = make_batch([7] * 5, dtype=torch.float32)
    bad = Batch(good.lengths, good.x * float("nan"))
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for _ in range(3):
            trainer.step(good, log=False)
        assert trainer.state.memory is not None
        before = [part.clone() for side in trainer.state.memory for part in side]
        trainer.step(bad, log=False)
        assert not trainer.state.is_finite()
        with pytest.raises(NumericsError):
            trainer.settle()
        assert trainer.state.is_finite()
        assert all(torch.equal(a, b) for a, b in zip(before, (p for s in trainer.state.memory for p in s), strict=True))


@pytest.mark.fault(47)
def test_a_fault_is_found_before_an_ordinary_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a shape too many: neither weights nor average move."""
    monkeypatch.setattr("pyro_vrnn.training.graph_step.MOST_SHAPES", 1)
    trainer = make_trainer("training.average=0.9", graphs=True)
    good, other = make_batch(dtype=torch.float32), make_batch([3, 2, 2], dtype=torch.float32)
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for batch in (good, good, other, good):
            trainer.step(batch, log=False)
        assert len(graph_step(trainer).shapes) == 1
        assert graph_step(trainer).notes == ["1 shapes are CUDA graphs; others go one launch at a time"]
        trainer.settle()
        before = [v.clone() for v in (*trainer.state.net.state_dict().values(), *trainer.state.average.values())]
        trainer.step(Batch(good.lengths, good.x * float("nan")), log=False)
        with pytest.raises(NumericsError):
            trainer.step(other, log=False)
        now = [*trainer.state.net.state_dict().values(), *trainer.state.average.values()]
        assert all(torch.equal(a, b) for a, b in zip(before, now, strict=True))
        assert trainer.state.at.step == 4


@pytest.mark.parametrize(
    "sets", [settings("fivo"), settings("sixo"), settings("stl"), settings("dreg"), ["training.program=markov"]]
)
def test_bf16_is_refused_where_networks_run_step_by_step(sets: list[str]) -> None:
    with pytest.raises(ConfigError, match="bf16"):
        resolve(sets=[*sets, "training.precision=bf16"])


@pytest.mark.fault(46)
@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        ([], ""),
        (["training.program=markov"], "markov"),
        (["training.replay=recent"], "replay"),
        (["training.input_noise=0.1"], "input_noise"),
        (["training.scheduled_sampling=0.1"], "scheduled_sampling"),
        (["objective.name=ciwae", "objective.particles=3", "objective.mix_start=0.1", "objective.mix_steps=5"], "mix"),
        (["objective.name=fivo", "objective.particles=3", "objective.resampling=multinomial"], "multinomial"),
        (settings("sixo"), "sixo"),
    ],
    ids=lambda v: "-".join(v) if isinstance(v, list) else "",
)
def test_what_a_graph_cannot_hold_is_said(sets: list[str], reason: str) -> None:
    config: RunConfig = resolve(sets=sets).config
    found = why_not(config, Ranks())
    assert (reason in found) if reason else not found
    assert "processes" in why_not(config, Ranks(world=2))


@pytest.mark.fault(46)
def test_what_goes_wrong_while_capturing_is_kept_and_the_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make_trainer(graphs=True)

    def fail(batch: Batch) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing\nCUDA kernel errors might be …")

    monkeypatch.setattr(graph_step(trainer), "_captured", fail)
    batch = make_batch(dtype=torch.float32)
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        rows = [trainer.step(batch, log=True) for _ in range(3)]
    assert [row["step"] for row in rows if row] == [1, 2, 3]
    assert graph_step(trainer).reason == "operation not permitted when stream is capturing"


class Driver:
    """Stands in for CUDA's part of a capture: what is captured changes nothing, and is run when it is replayed.

    The generator is the CPU's; all streams are this object.
    """

    def __init__(self, trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.graphs, self.trainer, self.fails, self.modes, self.renewed = graph_step(trainer), trainer, False, [], 0
        self.graphs.capture, trainer.state.device, update = True, torch.device("cuda", 0), Update.__call__
        one = {name: lambda *args: self for name in ("Stream", "current_stream", "CUDAGraph")}
        still = {name: lambda *args: nullcontext() for name in ("device", "stream")}
        random = {
            "get_rng_state": lambda device: torch.get_rng_state(),
            "set_rng_state": lambda state, device: torch.set_rng_state(state),
        }
        for name, value in (one | still | random | {"graph": self.capturing, "default_generators": [self]}).items():
            monkeypatch.setattr(torch.cuda, name, value)

        def noted(own: Update, batch: Batch) -> Any:
            self.batch, self.update = batch, update
            if self.fails and self.modes:
                raise RuntimeError("operation not permitted when stream is capturing")
            return update(own, batch)

        monkeypatch.setattr(Update, "__call__", noted)

    @contextmanager
    def capturing(self, graph: Any, pool: Any, stream: Any, capture_error_mode: str) -> Iterator[None]:
        assert graph is stream is self
        assert pool is None
        self.modes.append(capture_error_mode)
        self.graphs.update.bad.fill_(1)
        try:
            yield
        finally:
            self.graphs.update.bad.zero_()

    def pool(self) -> None:
        """Where memory comes from."""

    def wait_stream(self, stream: Driver) -> None:
        assert stream is self

    def replay(self) -> None:
        self.update(self.graphs.update, replace(self.batch))

    def clone_state(self) -> Driver:
        return self

    def graphsafe_set_state(self, state: Driver) -> None:
        self.renewed += 1


def test_the_steps_of_a_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same losses as without; random numbers continue as if nothing had run."""
    batch, rows = make_batch(dtype=torch.float32), []
    for driven in (False, True):
        trainer = make_trainer("training.average=0.9", graphs=True)
        with monkeypatch.context() as patched, pyro.get_param_store().scope(), pyro.validation_enabled(False):
            driver = Driver(trainer, patched) if driven else None
            rows.append([trainer.step(batch, log=True) for _ in range(6)])
        assert driver is None or (driver.modes, driver.renewed) == (["thread_local"], 0)
    assert rows[0] == rows[1]


@pytest.mark.fault(46)
def test_a_capture_that_breaks_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run continues one launch at a time, with the same numbers, and a generator that draws."""
    batch, rows = make_batch(dtype=torch.float32), []
    for driven in (False, True):
        trainer = make_trainer(graphs=True)
        with monkeypatch.context() as patched, pyro.get_param_store().scope(), pyro.validation_enabled(False):
            if driven:
                driver = Driver(trainer, patched)
                driver.fails = True
            rows.append([trainer.step(batch, log=True) for _ in range(4)])
    assert graph_step(trainer).reason == "operation not permitted when stream is capturing"
    assert driver.renewed == 1
    assert float(graph_step(trainer).update.bad) == 0
    for a, b in zip(*rows, strict=True):
        assert a == pytest.approx(b, rel=1e-5)


@pytest.mark.parametrize("model", MODELS)
def test_bf16_is_for_networks_alone(model: str) -> None:
    """Loss and gradients are near float32's, parameters of distributions are float32, the update is made."""
    found = []
    for precision in ("float32", "bf16"):
        trainer = make_trainer(f"model.name={model}", f"training.precision={precision}", graphs=True)
        batch = make_batch(dtype=torch.float32)
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            rows = [trainer.step(batch, log=True) for _ in range(3)]  # step by step, then as graphs
        found.append([row["loss"] for row in rows if row])
        with pyro.get_param_store().scope(), lowered(precision, CPU), torch.no_grad():
            program = Stacked(trainer.state.net)
            trace = pyro.poutine.trace(program.guide).get_trace(batch)
            along = program.path(batch, trace.nodes["z"]["value"])
            for side in (along.p_z, along.q_z):
                assert side.base_dist.loc.dtype == side.base_dist.scale.dtype == torch.float32
            assert along.p_x.log_prob(batch.x).dtype == torch.float32
    assert found[0] != found[1]
    assert found[1] == pytest.approx(found[0], rel=0.02)


def test_bounds_are_in_one_precision_whatever_the_run_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Validation in a tf32 run is of float32 products."""
    asked: list[str] = []

    def noted(precision: str, device: torch.device) -> Any:
        asked.append(precision)
        return products(precision, device)

    monkeypatch.setattr(evaluation, "products", noted)
    trainer = make_trainer("training.precision=tf32", "training.epochs=1", graphs=False)
    data = write_small(tmp_path / "small.h5")
    fit(trainer, SequenceDataset(data, "train"), SequenceDataset(data, "valid"), tmp_path)
    assert asked == ["float32"]


def test_padding_keeps_what_was_observed() -> None:
    batch = make_batch()
    assert batch.x is not None
    observed = (torch.rand(batch.x.shape) < 0.7) & batch.alive[..., None]
    found = padded(replace(batch, observed=observed), 8, 12)
    assert found.observed is not None
    assert found.observed.shape == (12, 8, batch.x.shape[2])
    assert torch.equal(found.observed[: len(observed), : batch.size], observed)
    assert int(found.observed.sum()) == int(observed.sum())
