"""A stop between validations is looked at: what it found is kept, and what is resumed does not depend on it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fits import fit, losses, weights
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.media import curves
from pyro_vrnn.runs.comparison import compare
from pyro_vrnn.runs.folder import read_metrics
from pyro_vrnn.runs.pages import scores
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.observer import Observer
from pyro_vrnn.training.trainer import Trainer

FOUND = {5: 4.0, 7: 1.0, 10: 3.0, 15: 2.0, 20: 2.5, 25: 2.6}
"""Validation NLL after so many updates; the stop after 7 is the best."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small data set whose validation bounds are FOUND, and other tests' 3."""

    def bound(self: Trainer, valid: Any, progress: Callable[[int, int], None]) -> SimpleNamespace:
        return SimpleNamespace(nll_per_step=FOUND.get(self.state.at.step, 3.0), kl_per_step=0.5)

    monkeypatch.setattr(Trainer, "validation_bound", bound)
    return write_small(tmp_path / "small.h5")


class Hears(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def said(self, message: str) -> None:
        self.heard.append(message)


def best(run: Path) -> str | None:
    return checkpoint.read_pointer(run / "checkpoints", "BEST")


def test_the_best_is_what_the_stop_found(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit(data, tmp_path / "a", max_steps=7)
    assert (first.result.best_step, first.result.best_nll) == (7, 1.0)
    watch = Hears()
    run = fit(data, tmp_path / "a", max_steps=15, observer=watch)
    assert (run.result.best_step, run.result.best_nll, best(run.folder)) == (7, 1.0, "step-00000007")
    assert (run.state["step"], run.state["best_step"], run.state["best_nll"]) == (7, 7, 1.0)
    assert "best on validation 1.0000 at step 7" in (run.folder / "log.txt").read_text().splitlines()[-1]
    assert [line for line in watch.heard if "BEST stays" in line] == [
        "BEST stays step 7, a stop between validations (1.0000)"
    ] * 2
    other = fit(data, tmp_path / "b", max_steps=5)
    told = compare([run.folder, other.folder], tmp_path)["runs"]
    assert [one["best"] for one in told] == [
        {"step": 7, "valid_nll_per_step": 1.0},
        {"step": 5, "valid_nll_per_step": 4.0},
    ]
    drawn: list[Any] = []
    monkeypatch.setattr(curves, "training_curves", lambda *given: drawn.append(given[-1]))
    assert cli._run(["train", "--resume", str(run.folder), "--json", "--quiet"]) == 0
    assert drawn == [(7, 1.0)]
    assert json.loads(capsys.readouterr().out)["best"] == {"step": 7, "valid_nll_per_step": 1.0}
    ((_, value, unit),) = scores.validated(run, read_metrics(run.folder))
    assert (value, unit.endswith("at update 7")) == ("1.0000", True)


def test_a_later_look_that_is_better_replaces_it(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FOUND, 10, 0.5)
    fit(data, tmp_path / "a", max_steps=7)
    run = fit(data, tmp_path / "a", max_steps=12)
    assert (run.result.best_step, run.result.best_nll, best(run.folder)) == (10, 0.5, "step-00000010")


def test_patience_and_rows_know_nothing_of_the_stop(data: Path, tmp_path: Path) -> None:
    """Neither ends earlier: the stop's look is better than all, and the best of the others is the third."""
    settings = {"training.patience": 2}
    whole = fit(data, tmp_path / "whole", epochs=100, settings=settings)
    fit(data, tmp_path / "a", epochs=100, max_steps=7, settings=settings)
    parts = fit(data, tmp_path / "a", epochs=100, settings=settings)
    assert whole.result.steps == parts.result.steps == 25
    assert whole.result.stopped == parts.result.stopped == "early-stopping"
    assert losses(whole.folder) == losses(parts.folder)
    assert [row["best"] for row in losses(parts.folder) if "best" in row] == [True, True, True, False, False]
    for name, value in weights(whole.folder).items():
        assert torch.equal(value, weights(parts.folder)[name])


def test_a_kill_before_the_stop_was_looked_at(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The checkpoint is saved first; that it is the best is saved with it when the same command comes again."""

    def killed(*given: Any) -> None:
        raise KeyboardInterrupt

    fit(data, tmp_path / "a", max_steps=5)
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "validation_bound", killed)
        with pytest.raises(KeyboardInterrupt):
            fit(data, tmp_path / "a", max_steps=7)
    assert checkpoint.read_state(tmp_path / "a" / "checkpoints" / "step-00000007")["best_step"] == 5
    run = fit(data, tmp_path / "a", max_steps=7)
    assert (run.result.best_step, best(run.folder)) == (7, "step-00000007")
    state = checkpoint.read_state(tmp_path / "a" / "checkpoints" / "step-00000007")
    assert (state["best_step"], state["best_nll"], state["scheduled_nll"]) == (7, 1.0, 4.0)
    assert (tmp_path / "a" / "checkpoints" / "step-00000005").is_dir()  # the one before LATEST stays
    assert pv.load(run.folder).state == state


class Fails(Observer):
    def logged(self, row: dict[str, Any]) -> None:
        if row["step"] == 10 and "valid_nll_per_step" in row:
            raise RuntimeError("no connection")


def test_an_observer_that_fails_at_the_best_validation_loses_nothing(data: Path, tmp_path: Path) -> None:
    """What is saved then says that it is the best, and so does BEST, also before anybody resumes it."""
    with pytest.raises(RuntimeError, match="no connection"):
        fit(data, tmp_path / "a", max_steps=12, observer=Fails())
    state = checkpoint.newest(tmp_path / "a")[1].state
    assert (state["step"], state["best_step"], state["best_nll"]) == (10, 10, 3.0)
    assert best(tmp_path / "a") == "step-00000010"
