"""fit(): SVI steps on batches until something says stop; validation, checkpoints, no lost run."""

from __future__ import annotations

import json
import signal
import threading
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pyro

from pyro_vrnn import checkpoint
from pyro_vrnn.errors import NumericsError
from pyro_vrnn.evaluation import Evaluation, evaluate
from pyro_vrnn.programs import Stacked
from pyro_vrnn.sequences import SequenceDataset, collate, epoch_plan
from pyro_vrnn.trainer import Trainer, guarded

CHECKPOINT_SECONDS = 300.0
"""A run that validates less often than this is saved in between."""


class Observer:
    """What a caller may watch of a run; this one watches nothing. The console draws a progress bar of it."""

    def begin(self, step: int, total: int) -> None:
        """Training goes from `step` updates to about `total`."""

    def stepped(self, step: int) -> None:
        """One more update is done."""

    def logged(self, row: dict[str, Any]) -> None:
        """A row went into metrics.jsonl."""

    def said(self, message: str) -> None:
        """One line for people."""

    def ended(self) -> None:
        """No more calls."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a training ended."""

    steps: int
    epochs: int
    stopped: str
    best_step: int
    best_nll: float
    seconds: float
    signal: int | None = None


class Stop:
    """SIGINT and SIGTERM ask for a stop after the step at hand; a second SIGINT stops at once.

    A SIGINT that the parent ignores (nohup, `&`) stays ignored. Only the main thread can set handlers.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


def fit(
    trainer: Trainer,
    train: SequenceDataset,
    valid: SequenceDataset,
    run: Path,
    *,
    max_seconds: float | None = None,
    observer: Observer | None = None,
) -> FitResult:
    """Train until the epochs, updates, time or patience run out, or a signal comes; save on every way out.

    Args:
        trainer: fresh, or restored from a checkpoint.
        train: training sequences.
        valid: validation sequences; the bound on them chooses BEST.
        run: the run folder; metrics.jsonl and checkpoints go there.
        max_seconds: of this call.
        observer: watches.

    Raises:
        NumericsError: with diagnostics/step-K.json written and the last good state saved.
    """
    watch = observer or Observer()
    training, at = trainer.config.training, trainer.at
    plan_length = len(epoch_plan(train.lengths, trainer.config.data.batch_size, seed=training.seed, epoch=0))
    total = training.epochs * plan_length
    if training.max_steps:
        total = min(total, training.max_steps)
    began, before, first = time.monotonic(), at.seconds, at.step
    stopped, saved_at, last = "", time.monotonic(), (time.monotonic(), at.step)
    validated = at.step
    watch.begin(at.step, total)

    metrics = (run / "metrics.jsonl").open("a", encoding="utf-8")

    def write(row: dict[str, Any]) -> None:
        metrics.write(json.dumps(row, allow_nan=False) + "\n")
        metrics.flush()
        at.metrics_bytes = metrics.tell()
        watch.logged(row)

    def save(best: bool = False) -> None:
        nonlocal saved_at
        at.seconds = before + time.monotonic() - began
        checkpoint.save(run / "checkpoints", trainer.snapshot(), best=best)
        saved_at = time.monotonic()

    def validate() -> None:
        nonlocal validated
        validated = at.step
        result = validation_bound(trainer, valid)
        best = result.nll_per_step < at.best_nll
        if best:
            at.best_nll, at.best_step, at.stale = result.nll_per_step, at.step, 0
        else:
            at.stale += 1
        write(
            {
                "step": at.step,
                "epoch": at.epoch,
                "valid_nll_per_step": result.nll_per_step,
                "valid_kl_per_step": result.kl_per_step,
                "best": best,
            }
        )
        save(best)

    trainer.net.train()
    try:
        with pyro.get_param_store().scope(), warnings.catch_warnings(), Stop() as stop:
            warnings.filterwarnings("ignore", message="Encountered NaN")  # Pyro's word for what we raise
            while not stopped:
                if at.epoch >= training.epochs:
                    stopped = "epochs"
                    break
                plan = epoch_plan(train.lengths, trainer.config.data.batch_size, seed=training.seed, epoch=at.epoch)
                while at.position < len(plan) and not stopped:
                    if training.max_steps and at.step >= training.max_steps:
                        stopped = "max-steps"
                        break
                    batch = collate(train, plan[at.position]).to(trainer.device)
                    # Pyro's checks cost up to 30% of a step: on for the first, when a mistake would show.
                    with pyro.validation_enabled(at.step == first):
                        row = guarded(trainer, batch, run, log=(at.step + 1) % training.log_every == 0)
                    at.position += 1
                    watch.stepped(at.step)
                    now = time.monotonic()
                    if row is not None:
                        row["seconds"] = before + now - began
                        row["steps_per_second"] = (at.step - last[1]) / max(now - last[0], 1e-9)
                        last = now, at.step
                        write(row)
                    if stop.signal is not None:
                        stopped = "signal"
                    elif max_seconds is not None and now - began >= max_seconds:
                        stopped = "max-time"
                    elif now - saved_at > CHECKPOINT_SECONDS:
                        save()
                if at.position == len(plan):
                    at.epoch, at.position = at.epoch + 1, 0
                    if stopped != "signal" and (at.epoch % training.validate_every == 0 or at.epoch == training.epochs):
                        validate()
                        if training.patience and at.stale >= training.patience and not stopped:
                            stopped = "early-stopping"
            if stopped == "signal":
                save()
            elif validated != at.step:
                validate()  # what came since the last one may be the best
    except NumericsError:
        save()
        raise
    finally:
        metrics.close()
        watch.ended()
    at.seconds = before + time.monotonic() - began
    return FitResult(
        steps=at.step,
        epochs=at.epoch,
        stopped=stopped,
        best_step=at.best_step,
        best_nll=at.best_nll,
        seconds=at.seconds,
        signal=stop.signal,
    )


def validation_bound(trainer: Trainer, valid: SequenceDataset) -> Evaluation:
    """The objective's own bound, at beta = 1, with the averaged weights and always the same random numbers."""
    with trainer.averaged():
        return evaluate(
            Stacked(trainer.net),
            valid,
            trainer.config.objective,
            split="valid",
            batch_size=max(trainer.config.data.batch_size, 32),
            seed=trainer.config.training.seed,
            device=trainer.device,
        )
