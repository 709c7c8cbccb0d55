"""fit(): SVI steps on batches until something says stop; validation, checkpoints, exact resume, no lost run."""

from __future__ import annotations

import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import pyro
import torch
from pyro.infer import SVI

from pyro_vrnn import checkpoint
from pyro_vrnn.annealing import decayed
from pyro_vrnn.checkpoint import Checkpoint
from pyro_vrnn.config import RunConfig
from pyro_vrnn.errors import NumericsError
from pyro_vrnn.evaluation import Evaluation, Recorder, evaluate
from pyro_vrnn.files import write_json
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.optimizer import TorchOptim, flatten, unflatten
from pyro_vrnn.programs import PROGRAMS, Markov, Stacked
from pyro_vrnn.sequences import Batch, SequenceDataset, collate, epoch_plan

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


@dataclass
class Progress:
    """Where a run stands: all of it is saved, all of it comes back on resume."""

    step: int = 0
    epoch: int = 0
    position: int = 0
    """Batches of this epoch that are done."""
    best_step: int = 0
    best_nll: float = math.inf
    stale: int = 0
    """Validations since the best."""
    seconds: float = 0.0
    metrics_bytes: int = 0


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


class Trainer:
    """One run's network, program, optimiser and place, and the guarded step."""

    def __init__(self, config: RunConfig, net: SequenceModel, device: torch.device) -> None:
        self.config, self.net, self.device = config, net, device
        training = config.training
        self.program: Markov | Stacked = PROGRAMS[training.program](net)
        self.optim = TorchOptim(
            net,
            lambda params: torch.optim.AdamW(
                params,
                lr=training.learning_rate,
                betas=training.adam_betas,
                weight_decay=training.weight_decay,
            ),
            training.clip_norm,
        )
        self.loss = config.objective.loss()
        self.svi = SVI(
            self.program.model,
            self.program.guide,
            self.optim,
            self.loss.loss,
            loss_and_grads=self._loss_and_grads,
        )
        self.average = {k: v.detach().clone() for k, v in net.named_parameters()} if training.average else {}
        self.at = Progress()

    def step(self, batch: Batch, *, log: bool) -> dict[str, Any] | None:
        """One SVI update; the row of metrics if asked for.

        Raises:
            NumericsError: loss or gradient is not finite; parameters and optimiser are as before the step.
        """
        training, at = self.config.training, self.at
        beta = self.config.objective.beta(at.step)
        learning_rate = decayed(
            at.step,
            training.learning_rate,
            training.learning_rate * training.decay_to,
            training.decay,
            training.decay_begin,
            training.decay_steps,
        )
        steps = int(batch.lengths.sum())
        self.optim.divide_by = steps
        self.optim.set_learning_rate(learning_rate)
        recorder = Recorder() if log else None
        if recorder is None:
            loss = self.svi.step(batch, beta)
        else:
            with recorder:
                loss = self.svi.step(batch, beta)
        at.step += 1
        if self.average:
            weight = 1.0 - min(training.average, (1 + at.step) / (10 + at.step))
            with torch.no_grad():
                for name, value in self.net.named_parameters():
                    self.average[name].lerp_(value, weight)
        if recorder is None:
            return None
        return {
            "step": at.step,
            "epoch": at.epoch,
            "loss": loss / steps,
            "nll": recorder.nll / steps,
            "kl": recorder.kl / steps,
            "beta": beta,
            "lr": learning_rate,
            "grad_norm": self.optim.grad_norm,
        }

    def _loss_and_grads(self, model: Any, guide: Any, *args: Any) -> float:
        loss = float(self.loss.loss_and_grads(model, guide, *args))
        if not math.isfinite(loss):
            raise NumericsError(f"the loss is {loss}")
        return loss

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The running average in the place of the weights, for validation and saving."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.net.named_parameters():
            if name in self.average:
                held = value.clone()
                value.copy_(self.average[name])
                self.average[name].copy_(held)

    def snapshot(self) -> Checkpoint:
        """All of the state, copied."""
        extra = flatten(self.optim.get_state())
        extra["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            extra["random.cuda"] = torch.cuda.get_rng_state(self.device)
        if self.average:
            extra |= {f"raw.{k}": v.detach().clone() for k, v in self.net.state_dict().items()}
        with self.averaged():
            model = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        best = {"best_nll": None if math.isinf(self.at.best_nll) else self.at.best_nll}
        return Checkpoint(model, extra, vars(self.at) | best)

    def restore(self, saved: Checkpoint, path: Path) -> None:
        """Back to a snapshot, exactly."""
        own = dict(saved.optimizer)
        random = {k: own.pop(k) for k in list(own) if k.startswith("random.")}
        raw = {k.removeprefix("raw."): own.pop(k) for k in list(own) if k.startswith("raw.")}
        checkpoint.load_weights(self.net, saved.model, path)
        if self.average:
            self.average = {k: v.detach().clone() for k, v in self.net.named_parameters()}
            checkpoint.load_weights(self.net, raw, path)
        self.optim.set_state(unflatten(own, self.optim.get_state()))
        torch.set_rng_state(random["random.cpu"].cpu())
        if self.device.type == "cuda" and "random.cuda" in random:
            torch.cuda.set_rng_state(random["random.cuda"].cpu(), self.device)
        state = {k: v for k, v in saved.state.items() if k in vars(self.at)}
        if state["best_nll"] is None:
            state["best_nll"] = math.inf
        self.at = Progress(**state)


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


def guarded(trainer: Trainer, batch: Batch, run: Path, *, log: bool) -> dict[str, Any] | None:
    """One step; if its numbers are not finite, say in diagnostics/ which site's are not, and raise."""
    random = torch.get_rng_state()
    try:
        return trainer.step(batch, log=log)
    except NumericsError as error:
        for p in trainer.net.parameters():
            p.grad = None
        torch.set_rng_state(random)
        path = run / "diagnostics" / f"step-{trainer.at.step + 1}.json"
        path.parent.mkdir(exist_ok=True)
        found = diagnose(trainer, batch) | {"step": trainer.at.step + 1, "what": error.message}
        write_json(path, found)
        raise NumericsError(
            f"{error.message} at step {trainer.at.step + 1}; first at {found['first_site'] or 'the gradient'}",
            f"see {path}; try a smaller training.learning_rate or training.clip_norm. The state before it is saved",
            path,
        ) from error


@torch.no_grad()
def diagnose(trainer: Trainer, batch: Batch) -> dict[str, Any]:
    """The first site, in time, with a log-probability that is not finite; parameters that are not."""
    program = Markov(trainer.net)
    guide = pyro.poutine.trace(program.guide).get_trace(batch)
    model = pyro.poutine.trace(pyro.poutine.replay(program.model, trace=guide)).get_trace(batch)
    bad = []
    with pyro.validation_enabled(False):
        for side, trace in (("guide", guide), ("model", model)):
            for name, site in trace.nodes.items():
                if site["type"] == "sample" and not pyro.poutine.util.site_is_subsample(site):
                    log_prob = site["fn"].log_prob(site["value"])
                    if not bool(torch.isfinite(log_prob).all()):
                        bad.append(f"{side}:{name}")
    return {
        "first_site": bad[0] if bad else None,
        "sites": bad[:100],
        "parameters": [k for k, v in trainer.net.named_parameters() if not bool(torch.isfinite(v).all())],
        "lengths": batch.lengths.tolist(),
    }


def with_settings(config: RunConfig, **training: Any) -> RunConfig:
    """A copy with other `training.*` settings."""
    return replace(config, training=replace(config.training, **training))
