"""What comes from outside in the midst of a training: signals, a terminal that is gone, no memory, another device."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fits import fit, losses, start, weights
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.runs.folder import read_metrics
from pyro_vrnn.system.errors import CheckpointError, ConfigError
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.eager_step import EagerStep
from pyro_vrnn.training.trainer import Trainer

SMALL = ["--set", "model.hidden_dim=8", "--set", "model.latent_dim=3", "--set", "model.network_dims=8"]
SMALL += ["--batch-size", "5", "--set", "training.validate_every=1", "--set", "training.log_every=1", "--device", "cpu"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_small(tmp_path / "small.h5")


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Do something in the midst of an update."""
    step = Trainer.step

    def put(number: int, what: Callable[[], None]) -> None:
        def meanwhile(self: Trainer, *args: Any, **more: Any) -> Any:
            if self.state.at.step == number:
                what()
            return step(self, *args, **more)

        monkeypatch.setattr(Trainer, "step", meanwhile)

    return put


def interrupt_twice() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.fault(8)
def test_a_second_signal_stops_at_once(
    data: Path, tmp_path: Path, at: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the 9th update: it is not finished, and the checkpoint of the 5th stands; the run can be resumed."""
    fit(data, tmp_path / "whole", max_steps=12)
    with monkeypatch.context():
        at(8, interrupt_twice)
        command = ["train", "chorales-vrnn", "--data", str(data), "--out", str(tmp_path / "a"), *SMALL]
        assert cli._run([*command, "--max-steps", "12", "--quiet"]) == 130
    assert capsys.readouterr().err.splitlines() == ["interrupted"]
    assert checkpoint.newest(tmp_path / "a")[1].state["step"] == 5
    at(-1, interrupt_twice)
    fit(data, tmp_path / "a", max_steps=12)
    assert losses(tmp_path / "a") == losses(tmp_path / "whole")


@pytest.mark.fault(11)
def test_a_terminal_that_is_closed(data: Path, tmp_path: Path) -> None:
    """There is no stderr to write to, and SIGHUP comes: saved, with the code of the signal."""
    process = start(data, tmp_path / "a", preexec_fn=lambda: os.close(2))
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, "Traceback" in out) == (128 + signal.SIGHUP, False)
    assert "stopped by signal" in (tmp_path / "a" / "log.txt").read_text()
    assert checkpoint.newest(tmp_path / "a")[1].state["step"] > 0


@pytest.mark.fault(17)
@pytest.mark.parametrize("words", ["CUDA out of memory. Tried to allocate 2 GiB", "[enforce fail] can't allocate"])
def test_no_memory(words: str, data: Path, tmp_path: Path, at: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def fails() -> None:
        raise RuntimeError(words)

    at(7, fails)
    command = ["train", "chorales-vrnn", "--data", str(data), "--out", str(tmp_path / "a"), *SMALL, "--quiet"]
    assert cli._run(command) == 6
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: out of memory")
    assert "--batch-size" in hint
    assert checkpoint.newest(tmp_path / "a")[1].state["step"] == 7


@pytest.mark.fault(44)
def test_auto_says_what_it_picked(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "chorales-vrnn", "--data", str(data), "--out", str(tmp_path / "a"), *SMALL[:-1], "auto"]
    assert cli._run([*command, "--max-steps", "1"]) == 0
    picked = f"cuda:{torch.cuda.current_device()}" if torch.cuda.is_available() else "cpu"
    assert f"parameters, 24 sequences, {picked}; " in capsys.readouterr().err


@pytest.mark.fault(29)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_checkpoint_of_a_gpu_on_a_cpu(data: Path, tmp_path: Path) -> None:
    settings = {"model.hidden_dim": 8, "model.latent_dim": 3, "model.network_dims": [8]}
    made = pv.train("chorales-vrnn", data=data, out=tmp_path / "a", device="cuda", max_steps=5, settings=settings)
    here = pv.load(tmp_path / "a", device="cpu")
    assert here.device.type == "cpu"
    assert here.evaluate().nll_per_step == pytest.approx(made.evaluate().nll_per_step, rel=1e-3)


@pytest.mark.fault(5)
def test_a_kill_while_a_checkpoint_is_replaced(data: Path, tmp_path: Path) -> None:
    """The one that was put aside is put back; it may be the only one."""
    whole = fit(data, tmp_path / "whole", max_steps=7)
    fit(data, tmp_path / "a", max_steps=5)
    rows = losses(tmp_path / "a")
    folder = tmp_path / "a" / "checkpoints"
    (folder / "step-00000005").rename(folder / ".step-00000005.abcdef01.old.tmp")
    (folder / ".step-00000005.abcdef02.tmp").mkdir()
    fit(data, tmp_path / "a", max_steps=7)
    assert losses(tmp_path / "a")[:5] == rows[:5]
    assert losses(tmp_path / "a")[5:] == losses(whole.folder)[5:]  # it went on, and did not start anew
    assert not [*folder.glob(".*")]
    for name, value in weights(whole.folder).items():
        assert torch.equal(value, weights(tmp_path / "a")[name])


@pytest.mark.fault(57)
def test_a_row_that_a_kill_cut_off_is_not_continued(data: Path, tmp_path: Path) -> None:
    """Not even where the checkpoint counts on more rows than the file still has."""
    fit(data, tmp_path / "whole", max_steps=7)
    run = fit(data, tmp_path / "a", max_steps=5)
    path = run.folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    fit(data, tmp_path / "a", max_steps=7)
    rows = losses(tmp_path / "a")  # each line is a row
    assert rows[-2:] == losses(tmp_path / "whole")[-2:]


@pytest.mark.fault(17)
@pytest.mark.parametrize(("where", "made"), [("_loss_and_grads", 3), ("row", 4)])
def test_what_is_saved_after_an_error_draws_what_it_was_to_draw(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, made: int
) -> None:
    """The error comes after the update's random numbers, or after the update; the run goes on as if there were none.

    What was not logged is lost; no batch is trained on twice.
    """
    fit(data, tmp_path / "whole", max_steps=6)
    way, calls = getattr(EagerStep, where), []

    def fails(self: EagerStep, *given: Any, **more: Any) -> Any:
        found = way(self, *given, **more)
        calls.append(found)
        if len(calls) == 4:
            raise RuntimeError("out of memory")
        return found

    monkeypatch.setattr(EagerStep, where, fails)
    with pytest.raises(RuntimeError, match="out of memory"):
        fit(data, tmp_path / "a", max_steps=6)
    monkeypatch.undo()
    state = checkpoint.newest(tmp_path / "a")[1].state
    assert (state["step"], state["position"]) == (made, made)
    fit(data, tmp_path / "a", max_steps=6)
    whole = losses(tmp_path / "whole")
    assert losses(tmp_path / "a") == whole[:3] + whole[made:]


@pytest.mark.fault(5)
def test_a_kill_before_there_is_a_run(data: Path, tmp_path: Path) -> None:
    """The same command again makes it; without the lock of a training it is somebody else's folder."""
    (tmp_path / "a").mkdir()
    for name in (".lock", "config.toml", ".environment.json.0123abcd.tmp"):
        (tmp_path / "a" / name).touch()
    assert fit(data, tmp_path / "a", max_steps=1).result.steps == 1
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "config.toml").touch()
    with pytest.raises(ConfigError, match="no run"):
        fit(data, tmp_path / "b", max_steps=1)


NO_ROWS = ["{", "[1]", "nonsense", '{"loss": 1}', '{"step": "1"}', '{"step": 1, "loss": NaN}', "[" * 5000, "\0" * 50]
NO_ROWS += ['{"step": 1, "loss": 1e999}', '{"step": 1, "nll": null}', '{"step": 1, "kl": [1]}', ""]


@pytest.mark.fault(57)
def test_damaged_rows_of_metrics(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(data, tmp_path / "a", max_steps=3)
    rows, path = read_metrics(run.folder), run.folder / "metrics.jsonl"
    whole = path.read_text()
    for line in NO_ROWS:
        path.write_text(whole + line)
        assert read_metrics(run.folder) == rows  # a last line that was not finished
        path.write_text(whole + line + "\n" + whole)
        with pytest.raises(CheckpointError, match=rf"metrics.jsonl, line {len(rows) + 1}: not "):
            read_metrics(run.folder)
    assert cli._run(["report", str(run.folder)]) == 4
    assert f"line {len(rows) + 1}" in capsys.readouterr().err


@pytest.mark.fault(57)
def test_a_run_without_its_notes(data: Path, tmp_path: Path) -> None:
    """What is said beside the weights may be gone or garbage; no row is made of zeros."""
    fit(data, tmp_path / "whole", max_steps=9)
    fit(data, tmp_path / "a", max_steps=6)
    (tmp_path / "a" / "metrics.jsonl").unlink()
    (tmp_path / "a" / "log.txt").write_bytes(b"\xff\0garbage")
    (tmp_path / "a" / "environment.json").write_text("[" * 3000)
    run = fit(data, tmp_path / "a", max_steps=9)
    wanted = [row for row in losses(tmp_path / "whole") if row["step"] > 6]
    assert losses(tmp_path / "a")[-len(wanted) :] == wanted
    assert json.loads((tmp_path / "a" / "metrics.jsonl").read_text().splitlines()[0])["step"] > 0
    assert run.report(tmp_path / "page.html").stat().st_size > 1000


@pytest.mark.fault(56)
def test_a_report_opens_nothing_that_lies_in_the_run(data: Path, tmp_path: Path) -> None:
    """Somebody else's SVG, wav and HTML in the folders of samples and figures play no part."""
    run = fit(data, tmp_path / "a", max_steps=3)
    before = run.report(tmp_path / "before.html").read_bytes()
    evil = b'<svg onload="alert(1)"><script src="http://evil.example/x.js"></script></svg>'
    for name in ("samples", "figures", "latents", "reconstructions"):
        (run.folder / name).mkdir(exist_ok=True)
        for suffix in ("svg", "wav", "html", "png", "mid", "json", "txt"):
            (run.folder / name / f"sample-0-00.{suffix}").write_bytes(evil)
        os.mkfifo(run.folder / name / "sample-0-01.wav")  # opening it would hang
    (run.folder / "report.html").write_bytes(evil)
    assert run.report(tmp_path / "after.html").read_bytes() == before
    assert b"evil.example" not in run.report().read_bytes()
