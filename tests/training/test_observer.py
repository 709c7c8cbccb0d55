"""What an observer is told and when, and that it can end a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fits import fit, losses, weights
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn.config import RunConfig
from pyro_vrnn.runs.folder import read_stop
from pyro_vrnn.training.observer import Observer, Observers, StopTraining

CALLS = ("opened", "begin", "stepped", "logged", "said", "ended")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("observer") / "small.h5")


class Notes(Observer):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []

    def opened(self, run: Path, settings: RunConfig) -> None:
        self.calls.append(("opened", (run, settings)))

    def begin(self, step: int, total: int) -> None:
        self.calls.append(("begin", (step, total)))

    def stepped(self, step: int) -> None:
        self.calls.append(("stepped", step))

    def logged(self, row: dict[str, Any]) -> None:
        self.calls.append(("logged", row["step"]))

    def said(self, message: str) -> None:
        self.calls.append(("said", message))

    def ended(self) -> None:
        self.calls.append(("ended", None))


class Stops(Observer):
    """Asks for a stop in a call, from a step on."""

    def __init__(self, call: str, step: int = 0) -> None:
        self.call, self.step = call, step

    def _ask(self, call: str, step: int) -> None:
        if call == self.call and step >= self.step:
            raise StopTraining("enough is enough")

    def opened(self, run: Path, settings: RunConfig) -> None:
        self._ask("opened", 0)

    def begin(self, step: int, total: int) -> None:
        self._ask("begin", 0)

    def stepped(self, step: int) -> None:
        self._ask("stepped", step)

    def logged(self, row: dict[str, Any]) -> None:
        self._ask("valid" if "best" in row else "logged", row["step"])


def test_calls_come_in_order(data: Path, tmp_path: Path) -> None:
    observer = Notes()
    run = fit(data, tmp_path / "a", max_steps=6, observer=observer)
    calls = [call for call in observer.calls if call[0] != "said"]
    assert calls[0] == ("opened", (tmp_path / "a", run.config))
    assert calls[1] == ("begin", (0, 6))
    assert calls[-1] == ("ended", None)
    assert [c for c in calls if c[0] == "stepped"] == [("stepped", n) for n in range(1, 7)]
    assert [c[1] for c in calls if c[0] == "logged"] == [1, 2, 3, 4, 5, 5, 6, 6]
    assert calls.index(("stepped", 3)) < calls.index(("logged", 3)) < calls.index(("stepped", 4))


def test_an_observer_of_before_knows_nothing_of_opened(data: Path, tmp_path: Path) -> None:
    class Old(Observer):
        def begin(self, step: int, total: int) -> None:
            self.total = total

    observer = Old()
    fit(data, tmp_path / "a", max_steps=2, observer=observer)
    assert observer.total == 2


@pytest.mark.parametrize(
    ("call", "at", "steps", "validated"),
    [
        ("opened", 0, 1, [1]),  # before the first update: after it, so that there is something to save
        ("begin", 0, 1, [1]),
        ("stepped", 3, 3, [3]),
        ("logged", 7, 7, [5, 7]),
        ("logged", 5, 5, [5]),  # the last of an epoch, which is validated as ever, and once
        ("valid", 1, 5, [5]),
    ],
)
def test_a_stop_is_after_the_update_at_hand_validated_and_saved(
    call: str, at: int, steps: int, validated: list[int], data: Path, tmp_path: Path
) -> None:
    run = fit(data, tmp_path / "a", max_steps=12, observer=Stops(call, at))
    assert run.result is not None
    assert (run.result.stopped, run.result.steps) == ("observer", steps)
    assert run.result.best_step in validated
    assert [r["step"] for r in losses(tmp_path / "a") if "best" in r] == validated
    assert read_stop(tmp_path / "a") == "observer"
    log = (tmp_path / "a" / "log.txt").read_text()
    assert log.count("the observer stops the training: enough is enough") == 1


def test_a_stopped_run_resumes_as_if_never_stopped(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "whole", max_steps=12)
    for observer in (Stops("stepped", 3), Stops("valid", 5), None):
        fit(data, tmp_path / "a", max_steps=12, observer=observer)
    assert losses(tmp_path / "a") == losses(tmp_path / "whole")
    mine, theirs = weights(tmp_path / "a"), weights(tmp_path / "whole")
    assert all(mine[key].equal(value) for key, value in theirs.items())


def test_a_stop_in_the_last_update_changes_nothing(data: Path, tmp_path: Path) -> None:
    run = fit(data, tmp_path / "a", epochs=1, observer=Stops("valid", 5))
    assert run.result is not None
    assert run.result.stopped == "epochs"


def test_of_several_all_are_told_and_one_may_stop(data: Path, tmp_path: Path) -> None:
    notes = Notes()
    several = Observers(Stops("stepped", 3), notes)
    run = fit(data, tmp_path / "a", max_steps=12, observer=several)
    assert run.result is not None
    assert run.result.stopped == "observer"
    assert ("stepped", 3) in notes.calls
    assert {call for call, _ in notes.calls} == {*CALLS}
    assert notes.calls[-1] == ("ended", None)


def test_an_error_at_the_end_does_not_keep_the_others_open(data: Path, tmp_path: Path) -> None:
    class Broken(Observer):
        def ended(self) -> None:
            raise KeyError("mine")

    notes = Notes()
    with pytest.raises(KeyError, match="mine"):
        fit(data, tmp_path / "a", max_steps=2, observer=Observers(Broken(), notes))
    assert notes.calls[-1] == ("ended", None)


@pytest.mark.fault(64)
def test_another_error_of_an_observer_ends_the_training_saved_and_closed(data: Path, tmp_path: Path) -> None:
    class Broken(Notes):
        def stepped(self, step: int) -> None:
            if step == 3:
                raise KeyError("mine")

    observer = Broken()
    with pytest.raises(KeyError, match="mine"):
        fit(data, tmp_path / "a", max_steps=12, observer=observer)
    assert observer.calls[-1] == ("ended", None)
    assert pv.load(tmp_path / "a").state["step"] == 3
