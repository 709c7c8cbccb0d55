"""fit(): SVI steps on batches until something says stop; validation, checkpoints, no lost run."""

from __future__ import annotations

import json
import os
import signal
import time
import warnings
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_vrnn.data.batch import Batch, padded, standardised
from pyro_vrnn.data.batching import Piece, epoch_plan, pieces
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.data.notes import Transposing
from pyro_vrnn.models.precision import products
from pyro_vrnn.system.errors import UserError
from pyro_vrnn.system.files import cannot_write, whole_lines
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.checkpoint import Checkpoint
from pyro_vrnn.training.diagnosis import guarded, settled
from pyro_vrnn.training.observer import FitResult, Heeding, Observer
from pyro_vrnn.training.signals import Interrupted, Stop
from pyro_vrnn.training.trainer import Trainer

CHECKPOINT_SECONDS = 300.0
"""A run that validates less often than this is saved in between."""


class _Fit:
    """One call of `fit`: the trainer, the files of the run, and the clock."""

    def __init__(
        self, trainer: Trainer, train: SequenceDataset, valid: SequenceDataset, run: Path, watch: Heeding
    ) -> None:
        self.trainer, self.train, self.valid, self.run, self.watch = trainer, train, valid, run, watch
        self.training, self.at = trainer.state.config.training, trainer.state.at
        self.before, self.first = trainer.state.at.seconds, trainer.state.at.step
        self.start_clock()
        self.metrics, self.wrote = (run / "metrics.jsonl").open("a", encoding="utf-8"), False
        self.units: tuple[Tensor, Tensor] | None = None
        if trainer.state.device.type == "cuda" and train.raw:  # whole numbers are copied, and standardised there
            center, scale = (torch.as_tensor(v, device=trainer.state.device) for v in train.encoding.constants)
            self.units = center, scale
        moved = trainer.state.config.data.transpose
        self.keys = Transposing(train.__getitem__, self.training.seed) if moved else None
        self.reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self.ahead: tuple[Piece, Future[Batch]] | None = None

    def plan(self, epoch: int) -> list[Piece]:
        """What the updates of an epoch are made on."""
        config = self.trainer.state.config
        batches = epoch_plan(self.train.lengths, config.data.batch_size, seed=config.training.seed, epoch=epoch)
        return pieces(batches, self.train.lengths, config.data.window if config.data.carry else None, self.train.given)

    def batch(self, piece: Piece, following: Piece | None) -> tuple[Batch | None, list[int]]:
        """What a piece of the plan is, with what is replayed beside it; and the indices of its sequences.

        Of several processes, this one's share of it. The following piece is read while this one is trained on.
        """
        share, replay = self.trainer.state.ranks.share, self.trainer.state.replay
        indices = share(piece.indices + replay.draw(self.at.step, piece.indices))
        if not indices:
            return None, []
        if self.ahead is not None and self.ahead[0] is piece:
            batch = self.ahead[1].result()
        else:
            batch = self.read(indices, piece)
        self.ahead = None
        if following is not None and replay.kind == "none" and (own := share(following.indices)):
            self.ahead = following, self.reader.submit(self.read, own, following)
        batch = batch.to(self.trainer.state.device)
        if self.units is not None:
            batch = standardised(batch, *self.units)
        return self.trainer.state.continuing(batch, piece.rows) if piece.rows else batch, indices

    def read(self, indices: list[int], piece: Piece) -> Batch:
        """Read a batch; for a GPU in one of few shapes, and into memory that it can copy from by itself."""
        batch = collate(self.train, indices, piece.begin, piece.steps, raw=self.units is not None)
        if self.keys is not None and batch.x is not None:
            self.keys.move(batch.x.numpy(), indices, self.at.epoch)
        if self.trainer.padded:
            data = self.trainer.state.config.data
            batch = padded(batch, data.batch_size, piece.steps if data.carry else None)
        return batch.pinned() if self.trainer.state.device.type == "cuda" else batch

    def close(self) -> None:
        """The files, and the thread that reads ahead."""
        self.reader.shutdown(cancel_futures=True)
        self.metrics.close()

    def start_clock(self) -> None:
        """Count seconds from now on."""
        self.began = time.monotonic()
        self.saved_at, self.last = self.began, (self.began, self.at.step)

    def seconds(self) -> float:
        """Seconds since this call began."""
        return time.monotonic() - self.began

    def write(self, row: dict[str, Any]) -> None:
        """One row of metrics.jsonl, from rank 0."""
        if self.trainer.state.ranks.rank:
            return
        text = json.dumps(row, allow_nan=False) + "\n"
        with cannot_write(self.run / "metrics.jsonl", len(text)):
            if not self.wrote:  # rows after the checkpoint that this continues from will be logged again
                # A shorter file is not the one that was written, and truncate would fill it with zeros.
                self.metrics.truncate(whole_lines(self.run / "metrics.jsonl", self.at.metrics_bytes))
                self.wrote = True
            self.metrics.write(text)
            self.metrics.flush()
        self.at.metrics_bytes = self.metrics.tell()
        self.watch.logged(row)

    def save(self, saved: Checkpoint | None = None, *, best: bool = False) -> Checkpoint:
        """Save all there is, or what was to be saved before with something changed; what was saved."""
        self.at.seconds = self.before + self.seconds()
        self.saved_at = time.monotonic()
        saved = saved or self.trainer.state.snapshot()
        if not self.trainer.state.ranks.rank:
            with cannot_write(self.run / "metrics.jsonl"):
                os.fsync(self.metrics.fileno())  # the checkpoint counts on as many bytes of it
            checkpoint.save(self.run / "checkpoints", saved, best=best)
        return saved

    def steps(self, stop: Stop, max_seconds: float | None) -> str:
        """Updates to the end of the epoch, or to a stop; its reason, or nothing."""
        stopped = self._steps(stop, max_seconds)
        settled(self.trainer, self.run)
        for note in self.trainer.notes():
            self.watch.said(note)
        if not stopped:
            self.at.epoch, self.at.position = self.at.epoch + 1, 0
        return stopped

    def _steps(self, stop: Stop, max_seconds: float | None) -> str:
        at, plan, ranks = self.at, self.plan(self.at.epoch), self.trainer.state.ranks
        while at.position < len(plan):
            if self.training.max_steps and at.step >= self.training.max_steps:
                return "max-steps"
            following = plan[at.position + 1] if at.position + 1 < len(plan) else None
            batch, indices = self.batch(plan[at.position], following)
            made, log = at.step, (at.step + 1) % self.training.log_every == 0
            try:
                # Pyro's checks cost up to 30% of a step: on for the very first, when a mistake would show.
                with pyro.validation_enabled(at.step == 0):
                    row = guarded(self.trainer, batch, self.run, log=log, indices=indices)
            finally:
                if at.step > made:  # it counts, though what is measured after it may have failed
                    at.position += 1
                    at.sequences += len(indices) if ranks.world == 1 else len(plan[at.position - 1].indices)
            self.watch.stepped(at.step)
            if row is not None:
                now = time.monotonic()
                row["sequences"] = at.sequences
                row["seconds"] = self.before + self.seconds()
                row["steps_per_second"] = (at.step - self.last[1]) / max(now - self.last[0], 1e-9)
                self.last = now, at.step
                self.write(row)
            over = max_seconds is not None and self.seconds() >= max_seconds
            asked, late, enough = ranks.add(stop.signal is not None, over, self.watch.asked)  # by any of them
            if asked:
                stop.signal = stop.signal or signal.SIGTERM
                return "signal"
            if late or enough:
                return "max-time" if late else "observer"
            if time.monotonic() - self.saved_at > CHECKPOINT_SECONDS:
                settled(self.trainer, self.run)
                self.save()
        return ""

    def validation_is_due(self) -> bool:
        """Whether this is the end of an epoch whose turn it is, and it has not been validated yet."""
        at, every = self.at, self.training.validate_every
        ended = at.position == 0 and at.epoch > at.validated
        return ended and (at.epoch % every == 0 or at.epoch >= self.training.epochs)

    def validate(self, stop: Stop, scheduled: bool) -> tuple[dict[str, Any], bool]:
        """The row of metrics, which says whether it is the best of its kind, and whether it is the best of all."""
        found, ranks = None, self.trainer.state.ranks
        with suppress(Interrupted):
            found = self.trainer.validation_bound(self.valid, stop.check)
        (stopped,) = ranks.add(found is None)
        if found is None or stopped:  # all together, or the next sums would be of different things
            stop.signal = stop.signal or signal.SIGTERM
            raise Interrupted
        measured = found
        nll, kl = ranks.first(lambda: (measured.nll_per_step, measured.kl_per_step))
        best, bound = nll < self.at.best_nll, {"valid_nll_per_step": nll, "valid_kl_per_step": kl}
        bound["best"] = nll < self.at.scheduled_nll if scheduled else best  # as if there had been no stop
        self.at.best_nll, self.at.best_step = min((self.at.best_nll, self.at.best_step), (nll, self.at.step))
        seen = {"sequences": self.at.sequences, "seconds": self.before + self.seconds()}
        return {"step": self.at.step, "epoch": self.at.epoch, **bound, **seen}, best

    def scheduled(self, stop: Stop) -> None:
        """Validate, count, write and save."""
        row, best = self.validate(stop, scheduled=True)
        at, at.validated = self.at, self.at.epoch
        at.stale = 0 if row["best"] else at.stale + 1
        at.scheduled_nll = min(at.scheduled_nll, row["valid_nll_per_step"])
        if row["best"] and not best:
            self.watch.said(f"BEST stays step {at.best_step}, a stop between validations ({at.best_nll:.4f})")
        self.write(row)
        self.save(best=best)

    def unscheduled(self, stop: Stop) -> None:
        """Stop between validations: save what a resumed run continues from, and only then validate.

        It may be the best: then the checkpoint is saved with that changed alone. The row is cut off on resume.
        """
        saved = self.save()
        row, best = self.validate(stop, scheduled=False)
        if best:
            found = {"best_nll": self.at.best_nll, "best_step": self.at.best_step}
            self.save(replace(saved, state=saved.state | found), best=True)
        self.write(row)  # last: where it stands, all of this is done

    def validated(self) -> bool:
        """Whether the state at hand has been validated; a process may have been killed after it had saved it."""
        at, behind = self.at, self.metrics.tell() > self.at.metrics_bytes
        return (at.position == 0 and at.validated == at.epoch) or (at.step == self.first and behind)

    def rescue(self) -> str:
        """After an error: save what was done, if it is worth continuing from. What to tell about it."""
        if self.at.step == self.first:
            return ""
        if not self.trainer.state.is_finite():
            return "the checkpoints before it stand"
        try:
            self.save(best=self.at.best_step == self.at.step)  # it may have been validated, and not yet saved as such
        except Exception as error:  # the one that brought us here is raised; this one is told beside it
            return f"the checkpoints before it stand (saving failed: {error})"
        return "the state before it is saved"


def fit(
    trainer: Trainer,
    train: SequenceDataset,
    valid: SequenceDataset,
    run: Path,
    *,
    max_seconds: float | None = None,
    observer: Observer | None = None,
) -> FitResult:
    """Train until the epochs, updates, time or patience run out, a signal comes or the observer stops it; save always.

    Args:
        trainer: fresh, or restored from a checkpoint.
        train: training sequences.
        valid: validation sequences; the bound on them chooses BEST.
        run: the run folder; metrics.jsonl and checkpoints go there.
        max_seconds: of this call.
        observer: watches; StopTraining from it ends the training after the update at hand.

    Raises:
        NumericsError: a loss, gradient or bound is not finite; diagnostics/step-K.json says where.
    """
    watch = Heeding(observer or Observer())
    this = _Fit(trainer, train, valid, run, watch)
    training, at = trainer.state.config.training, trainer.state.at
    total = training.epochs * len(this.plan(0))
    trainer.state.net.train()
    stopped = ""
    try:
        watch.opened(run, trainer.state.config)
        watch.begin(at.step, min(total, training.max_steps) if training.max_steps else total)
        this.start_clock()  # what an observer opened took its time
        for note in trainer.beforehand():
            watch.said(note)
        with (
            pyro.get_param_store().scope(),
            products(training.precision, trainer.state.device),
            warnings.catch_warnings(),
            Stop() as stop,
        ):
            warnings.filterwarnings("ignore", message="Encountered NaN")  # Pyro's word for what we raise
            try:
                while not stopped:
                    if this.validation_is_due():
                        this.scheduled(stop)
                    if training.patience and at.stale >= training.patience:
                        stopped = "early-stopping"
                    elif at.epoch >= training.epochs:
                        stopped = "epochs"
                    elif at.step and trainer.state.ranks.add(watch.asked)[0]:  # by what was validated
                        stopped = "observer"
                    else:
                        stopped = this.steps(stop, max_seconds)
                if stopped == "signal":
                    this.save()
                elif at.step == this.first and (this.validated() or not at.step):
                    watch.said(f"nothing to do: already at step {at.step} ({stopped})")
                elif stopped in ("max-steps", "max-time", "observer") and not this.validated():
                    if this.validation_is_due():
                        this.scheduled(stop)
                    else:
                        this.unscheduled(stop)
            except Interrupted:
                stopped = "signal"
                this.save()
            except Exception as error:  # within Stop: torchrun ends the others by a signal as soon as one has failed
                word = this.rescue()
                if isinstance(error, UserError):
                    error.also(word)
                raise
    finally:
        this.close()
        watch.ended()
    at.seconds = this.before + this.seconds()
    place: dict[str, Any] = {"steps": at.step, "epochs": at.epoch, "best_step": at.best_step, "best_nll": at.best_nll}
    return FitResult(**place, stopped=stopped, seconds=at.seconds, signal=stop.signal)
