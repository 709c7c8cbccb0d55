"""What a caller may watch of a training and how it may end one, and how a training ended (docs/observers.md)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vrnn.config import RunConfig


class StopTraining(Exception):
    """Raised by an observer to end the training after the update at hand, validated and saved.

    `raise StopTraining("the trial is pruned")`: the text goes into log.txt, and `run.result.stopped` is "observer".
    """


class Observer:
    """What a caller may watch of a run; this one watches nothing. The console draws a progress bar of it.

    Override what is needed. All calls come from the process that writes the run (rank 0 under torchrun), in the
    order `opened`, `begin`, then `stepped`, `logged` and `said` as they happen (`said` may come before `opened`),
    and last `ended`. The first four may raise StopTraining; another exception ends the training as an error, saved.
    """

    def opened(self, run: Path, settings: RunConfig) -> None:
        """The training is about to begin or to resume in the folder `run`, with these complete settings."""

    def begin(self, step: int, total: int) -> None:
        """Training goes from `step` updates to about `total`; `step` is 0 unless a run is resumed."""

    def stepped(self, step: int) -> None:
        """One more update is done, `step` in all."""

    def logged(self, row: dict[str, Any]) -> None:
        """A row went into metrics.jsonl: of an update ("loss" is in it) or a validation ("valid_nll_per_step")."""

    def said(self, message: str) -> None:
        """One line for people."""

    def ended(self) -> None:
        """No more calls; also comes after an error."""


class Observers(Observer):
    """Several observers as one, told in the order given.

    Args:
        observers: each is told everything, even where one before it asks for a stop.

    Raises:
        StopTraining: one of them asked for it; the last to do so is heard.
    """

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers

    def opened(self, run: Path, settings: RunConfig) -> None:
        """Tell all."""
        self._tell(lambda one: one.opened(run, settings))

    def begin(self, step: int, total: int) -> None:
        """Tell all."""
        self._tell(lambda one: one.begin(step, total))

    def stepped(self, step: int) -> None:
        """Tell all."""
        self._tell(lambda one: one.stepped(step))

    def logged(self, row: dict[str, Any]) -> None:
        """Tell all, each by a row of its own."""
        self._tell(lambda one: one.logged(dict(row)))

    def said(self, message: str) -> None:
        """Tell all."""
        self._tell(lambda one: one.said(message))

    def ended(self) -> None:
        """Tell all, whatever one of them does; the first error is raised then."""
        with ExitStack() as last:
            for one in reversed(self.observers):
                last.callback(one.ended)

    def _tell(self, call: Callable[[Observer], None]) -> None:
        asked: StopTraining | None = None
        for one in self.observers:
            try:
                call(one)
            except StopTraining as stop:
                asked = stop
        if asked is not None:
            raise asked


class Heeding(Observer):
    """Passes everything on to another observer, and remembers that it asked for a stop; `fit` looks when it can stop.

    Args:
        watch: the other observer.
    """

    def __init__(self, watch: Observer) -> None:
        self.watch = watch
        self.asked = False
        """Whether StopTraining was raised."""

    def opened(self, run: Path, settings: RunConfig) -> None:
        """Pass it on."""
        self._heed(lambda: self.watch.opened(run, settings))

    def begin(self, step: int, total: int) -> None:
        """Pass it on."""
        self._heed(lambda: self.watch.begin(step, total))

    def stepped(self, step: int) -> None:
        """Pass it on."""
        self._heed(lambda: self.watch.stepped(step))

    def logged(self, row: dict[str, Any]) -> None:
        """Pass it on."""
        self._heed(lambda: self.watch.logged(row))

    def said(self, message: str) -> None:
        """Pass it on."""
        self.watch.said(message)

    def ended(self) -> None:
        """Pass it on."""
        self.watch.ended()

    def _heed(self, call: Callable[[], None]) -> None:
        try:
            call()
        except StopTraining as stop:
            first, self.asked = not self.asked, True
            if first:
                self.said(
                    f"the observer stops the training: {stop}" if str(stop) else "the observer stops the training"
                )


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a training ended."""

    steps: int
    epochs: int
    stopped: str
    """epochs, max-steps, max-time, early-stopping, signal, or observer (StopTraining)."""
    best_step: int
    best_nll: float
    seconds: float
    signal: int | None = None
