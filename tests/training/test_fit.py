"""Training: resume is exact, the best is the best, numbers that are not finite change nothing, signals save."""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyro
import pytest
import torch
from fits import CASES, fit, losses, start, weights
from small import make_batch, make_net, write_small

import pyro_vrnn as pv
from pyro_vrnn import runs
from pyro_vrnn.config import resolve
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.system.errors import CheckpointError, DataError, NumericsError
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training import fit as fit_module
from pyro_vrnn.training.diagnosis import guarded
from pyro_vrnn.training.observer import Observer
from pyro_vrnn.training.optimizer import TorchOptim
from pyro_vrnn.training.trainer import Trainer


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_small(tmp_path / "small.h5")


@pytest.mark.fault(1)
@pytest.mark.parametrize(("model", "objective", "average"), CASES)
def test_resuming_is_not_stopping(model: str, objective: str, average: float, data: Path, tmp_path: Path) -> None:
    """20 updates = 11 (in the middle of an epoch) + 9: parameters, optimiser, averages, all rows, to the last bit."""
    particles = 3 if OBJECTIVES[objective].weighted else 1
    options = {"objective": objective, "particles": particles, "model": model}
    dropout = 0.0 if OBJECTIVES[objective].scores_twice else 0.2
    options["settings"] = {"training.average": average, "model.dropout": dropout}
    fit(data, tmp_path / "whole", max_steps=20, **options)
    fit(data, tmp_path / "parts", max_steps=11, **options)
    torch.manual_seed(99)  # what happens in between must not matter
    fit(data, tmp_path / "parts", max_steps=20, **options)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for key, value in whole.items():
        assert torch.equal(value, parts[key]), key
    rows = [losses(tmp_path / side) for side in ("whole", "parts")]
    assert len([r for r in rows[0] if "loss" in r]) == 20
    assert [r["step"] for r in rows[0] if "best" in r] == [5, 10, 15, 20]
    assert rows[0] == rows[1]


@pytest.mark.fault(3)
def test_same_seed_same_losses_other_seed_other_losses(data: Path, tmp_path: Path) -> None:
    first = fit(data, tmp_path / "a", max_steps=6)
    assert first.folder == tmp_path / "a"
    fit(data, tmp_path / "b", max_steps=6)
    fit(data, tmp_path / "c", max_steps=6, seed=1)
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


def test_both_programs_train_alike(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=6, program="stacked")
    fit(data, tmp_path / "b", max_steps=6, program="markov")
    for a, b in zip(losses(tmp_path / "a"), losses(tmp_path / "b"), strict=True):
        for key in ("loss", "nll", "kl", "grad_norm"):
            if key in a:
                assert a[key] == pytest.approx(b[key], rel=1e-4), key


def test_rows_have_what_scripts_read(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", epochs=2, settings={"objective.kl_start": 0.5, "objective.kl_steps": 4})
    rows = runs.read_metrics(tmp_path / "a")
    train = [r for r in rows if "loss" in r]
    valid = [r for r in rows if "valid_nll_per_step" in r]
    names = {"step", "epoch", "seconds", "loss", "nll", "kl", "beta", "lr", "grad_norm", "steps_per_second"}
    assert all(r.keys() == names | {"sequences"} for r in train)
    told = {"step", "epoch", "valid_nll_per_step", "valid_kl_per_step", "best"}
    assert all(r.keys() == told | {"sequences", "seconds"} for r in valid)
    assert [r["sequences"] for r in valid] == [24, 48]
    assert [r["beta"] for r in train[:5]] == pytest.approx([0.5, 0.625, 0.75, 0.875, 1.0])
    for r in train:
        assert r["loss"] == pytest.approx(r["nll"] + r["beta"] * r["kl"], rel=1e-5)


@pytest.mark.fault(1)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_logs_its_parts_and_resumes(objective: str, data: Path, tmp_path: Path) -> None:
    """loss = nll + KL where the bound is a sum; for all, both parts are there and of the size they must have."""
    particles = 3 if OBJECTIVES[objective].weighted else 2
    options = {"objective": objective, "particles": particles}
    replayed = {"training.replay": "hard", "training.replay_share": 0.4}
    whole = fit(data, tmp_path / "a", max_steps=9, settings=replayed, **options)
    for steps in (4, 9):
        part = fit(data, tmp_path / "b", max_steps=steps, settings=replayed, **options)
    for a, b in zip(whole.net.parameters(), part.net.parameters(), strict=True):
        assert torch.equal(a, b)
    for row in (r for r in losses(tmp_path / "a") if "loss" in r):
        assert row["kl"] > 0
        assert row["nll"] > 0
        assert row["nll"] + row["kl"] == pytest.approx(row["loss"], rel=0.25)


def test_training_learns_and_best_is_the_best_on_validation(data: Path, tmp_path: Path) -> None:
    run = fit(data, tmp_path / "a", epochs=12, lr=2e-2)
    valid = [r for r in runs.read_metrics(tmp_path / "a") if "valid_nll_per_step" in r]
    best = min(valid, key=lambda r: r["valid_nll_per_step"])
    assert valid[0]["best"] is True
    assert run.state["step"] == best["step"] == run.result.best_step
    assert checkpoint.read_pointer(tmp_path / "a" / "checkpoints", "BEST") == f"step-{best['step']:08d}"
    assert valid[-1]["step"] == run.result.steps
    again = run.evaluate("valid", "elbo", seed=0)
    assert again.nll_per_step == pytest.approx(best["valid_nll_per_step"], rel=1e-6)
    assert best["valid_nll_per_step"] < valid[0]["valid_nll_per_step"] - 0.3


def test_early_stopping(data: Path, tmp_path: Path) -> None:
    settings = {"training.learning_rate": 1e-12, "training.weight_decay": 0.0, "training.patience": 3}
    run = fit(data, tmp_path / "a", epochs=100, settings=settings)
    assert run.result.stopped == "early-stopping"
    assert run.result.epochs < 20


def test_stops_by_time_and_by_steps(data: Path, tmp_path: Path) -> None:
    assert fit(data, tmp_path / "a", max_steps=3).result.stopped == "max-steps"
    run = fit(data, tmp_path / "b", epochs=10**6, max_seconds=0.5)
    assert run.result.stopped == "max-time"
    assert run.result.best_step > 0


@pytest.mark.fault(4)
def test_training_leaves_the_callers_store_alone(data: Path, tmp_path: Path) -> None:
    pyro.param("mine", torch.tensor(1.0))
    fit(data, tmp_path / "a", max_steps=2)
    assert list(pyro.get_param_store().keys()) == ["mine"]


@pytest.mark.fault(4)
def test_two_models_in_one_process_both_train(data: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        fit(data, tmp_path / name, max_steps=3, seed=ord(name))
        rows = [r for r in losses(tmp_path / name) if "loss" in r]
        assert len({r["loss"] for r in rows}) == 3


@pytest.mark.fault(15)
@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_loss_that_is_not_finite_changes_nothing(tmp_path: Path) -> None:
    net, config = make_net(dtype=torch.float32), resolve().config
    trainer = Trainer(config, net, torch.device("cpu"))
    batch = make_batch(dtype=torch.float32)
    trainer.step(batch, log=False)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    bad = Batch(batch.lengths, batch.x * float("nan"))
    with pytest.raises(NumericsError) as error, pyro.validation_enabled(False):
        guarded(trainer, bad, tmp_path, log=False)
    assert error.value.exit_code == 5
    assert trainer.state.at.step == 1
    for key, value in net.state_dict().items():
        assert torch.equal(value, before[key])
    found = json.loads((tmp_path / "diagnostics" / "step-2.json").read_text())
    assert found["first_site"] == "guide:z_1"
    trainer.step(batch, log=False)  # and it can continue


@pytest.mark.fault(15)
def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    net = torch.nn.Linear(2, 1)
    optim = TorchOptim(net, lambda p: torch.optim.AdamW(p, lr=0.1), clip_norm=1.0)
    for p in net.parameters():
        p.grad = torch.full_like(p, float("inf"))
    before = [p.clone() for p in net.parameters()]
    with pytest.raises(NumericsError):
        optim(net.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, net.parameters(), strict=True))


@pytest.mark.fault(16)
def test_the_gradient_is_clipped_by_its_global_norm_and_logged_before() -> None:
    net = torch.nn.Linear(3, 2)
    optim = TorchOptim(net, lambda p: torch.optim.SGD(p, lr=1.0), clip_norm=2.0)
    optim.divide_by = 10.0
    before = torch.cat([p.detach().flatten() for p in net.parameters()])
    for p in net.parameters():
        p.grad = torch.full_like(p, 1e12)
    optim(net.parameters())
    after = torch.cat([p.detach().flatten() for p in net.parameters()])
    assert optim.grad_norm == pytest.approx(1e11 * math.sqrt(8), rel=1e-6)
    assert float((after - before).norm()) == pytest.approx(2.0, rel=1e-5)


def test_parameters_that_svi_does_not_see_are_a_bug_not_a_silence() -> None:
    optim = TorchOptim(torch.nn.Linear(2, 1), lambda p: torch.optim.SGD(p, lr=1.0), clip_norm=1.0)
    with pytest.raises(RuntimeError, match="parameters"):
        optim(torch.nn.Linear(2, 1).parameters())


class At(Observer):
    """Does something when so many updates are done."""

    def __init__(self, step: int, what: Callable[[], None]) -> None:
        self.step, self.what = step, what

    def stepped(self, step: int) -> None:
        if step == self.step:
            self.what()


@pytest.mark.fault(9)
def test_a_validation_that_a_signal_put_off_is_made_up_for(data: Path, tmp_path: Path) -> None:
    """SIGTERM in the last update of an epoch: the validation comes on resume, as if nothing had happened."""
    stopped = fit(data, tmp_path / "a", epochs=1, observer=At(5, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert (stopped.result.stopped, stopped.result.steps) == ("signal", 5)
    assert not any("best" in row for row in losses(tmp_path / "a"))
    resumed = fit(data, tmp_path / "a", epochs=1)
    assert (resumed.result.stopped, resumed.result.best_step) == ("epochs", 5)


@pytest.mark.fault(17)
def test_an_error_saves_the_last_step(data: Path, tmp_path: Path) -> None:
    def out_of_memory() -> None:
        raise RuntimeError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        fit(data, tmp_path / "a", epochs=3, observer=At(8, out_of_memory))
    assert checkpoint.newest(tmp_path / "a")[1].state["step"] == 8
    fit(data, tmp_path / "a", max_steps=12)
    fit(data, tmp_path / "whole", max_steps=12)
    # The 9th row is written once more than saved: what is resumed is the 8th update's state without its row.
    assert [r["loss"] for r in losses(tmp_path / "a") if "loss" in r][-4:] == [
        r["loss"] for r in losses(tmp_path / "whole") if "loss" in r
    ][-4:]


@pytest.mark.fault(15)
@pytest.mark.parametrize("settings", [{"training.learning_rate": 1e30}, {"training.learning_rate": 1e19}])
def test_divergence_is_exit_5_and_leaves_no_bad_checkpoint(
    settings: dict[str, float], data: Path, tmp_path: Path
) -> None:
    for _ in range(2):  # the same command again ends the same way
        with pytest.raises(NumericsError) as error:
            fit(
                data,
                tmp_path / "a",
                epochs=30,
                settings=settings | {"training.weight_decay": 1e20, "training.log_every": 1000},
            )
        if error.value.path is not None:
            assert Path(error.value.path).is_file()  # what the hint says is there
        for folder in (tmp_path / "a" / "checkpoints").glob("step-*"):
            assert all(torch.isfinite(v).all() for v in checkpoint.load(folder).model.values())


def damage(run: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> None:
    """Change the newest checkpoint's optimiser tensors and state, with a manifest that vouches for them."""
    folder, saved, _ = checkpoint.newest(run)
    change(saved.optimizer, saved.state)
    state = {k: v for k, v in saved.state.items() if k != "schema"}
    checkpoint.save(folder.parent, checkpoint.Checkpoint(saved.model, saved.optimizer, state | {"step": 6}), best=False)
    content = json.dumps(saved.state).encode()
    (folder / "state.json").write_bytes(content)
    manifest = json.loads((folder / checkpoint.MANIFEST).read_text())
    manifest["files"]["state.json"] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    "change",
    [
        lambda optimizer, state: optimizer.pop("0.exp_avg"),
        lambda optimizer, state: optimizer.update({"0.exp_avg": torch.zeros(2)}),
        lambda optimizer, state: optimizer.update({"99.exp_avg": torch.zeros(2)}),
        lambda optimizer, state: optimizer["0.exp_avg"].fill_(float("nan")),
        lambda optimizer, state: optimizer.pop("random.cpu"),
        lambda optimizer, state: state.pop("epoch"),
        lambda optimizer, state: state.update({"epoch": "6"}),
        lambda optimizer, state: state.update({"position": -1}),
        lambda optimizer, state: state.update({"stale": True}),
    ],
)
def test_a_damaged_training_state_is_a_checkpoint_error(change: Any, data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=6)
    damage(tmp_path / "a", change)
    with pytest.raises(CheckpointError):
        fit(data, tmp_path / "a", max_steps=8)


def test_no_windows_are_dropped(data: Path, tmp_path: Path) -> None:
    from pyro_vrnn.data.dataset import SequenceDataset

    run = fit(data, tmp_path / "a", epochs=1, settings={"data.window": 5, "data.batch_size": 1})
    assert run.result.steps == len(SequenceDataset(data, "train", 5)) > 24


@pytest.mark.fault(7, 9)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_so(number: signal.Signals, code: int, data: Path, tmp_path: Path) -> None:
    # A background job's children ignore SIGINT; this one must not, wherever the tests run.
    process = start(data, tmp_path / "a", "--json", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code, stderr
    result = json.loads(stdout)
    assert result["stopped"] == "signal"
    _, saved, _ = checkpoint.newest(tmp_path / "a")
    assert saved.state["step"] == result["steps"]
    assert "Traceback" not in stderr


@pytest.mark.fault(10)
def test_an_ignored_sigint_stays_ignored(data: Path, tmp_path: Path) -> None:
    process = start(data, tmp_path / "a", preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143


@pytest.mark.fault(5, 14)
def test_kill_9_loses_nothing_that_was_saved(data: Path, tmp_path: Path) -> None:
    process = start(data, tmp_path / "a")
    process.kill()
    process.communicate(timeout=30)
    half = tmp_path / "a" / "checkpoints" / ".step-99999999.abc.tmp"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    step = checkpoint.newest(tmp_path / "a")[1].state["step"]
    run = fit(data, tmp_path / "a", epochs=10**6, max_steps=step + 3)
    assert run.result.steps == step + 3
    assert not half.exists()


def test_training_in_a_thread_works(data: Path, tmp_path: Path) -> None:
    """Only the main thread may set signal handlers."""
    results: list[runs.Run] = []
    thread = threading.Thread(target=lambda: results.append(fit(data, tmp_path / "a", max_steps=2)))
    thread.start()
    thread.join(60)
    assert results[0].result.steps == 2


@pytest.mark.fault(2, 18)
def test_the_next_batch_is_read_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another thread, each once and in order; damage that it meets is told by the run."""
    read: list[tuple[str, tuple[int, ...]]] = []
    real = fit_module.collate

    def collate(dataset: SequenceDataset, indices: list[int], *more: Any, **options: Any) -> Batch:
        read.append((threading.current_thread().name, tuple(indices)))
        if len(read) == 6:
            raise DataError("a damaged file")
        return real(dataset, indices, *more, **options)

    monkeypatch.setattr(fit_module, "collate", collate)
    write_small(tmp_path / "d.h5")
    with pytest.raises(DataError, match="a damaged file"):
        pv.train(
            "jsb-vrnn", data=tmp_path / "d.h5", out=tmp_path / "run", batch_size=2, settings={"model.hidden_dim": 3}
        )
    mine = threading.current_thread().name
    assert {name != mine for name, _ in read[1:4]} == {True}
    assert not [t for t in threading.enumerate() if t.name.startswith("reader")]
