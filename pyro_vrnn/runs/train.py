"""A run folder from settings and data: who owns it, what it continues from, and one `fit`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor

from pyro_vrnn import weights
from pyro_vrnn.config import Resolved, RunConfig
from pyro_vrnn.data.baselines import Coins, last_value_line
from pyro_vrnn.data.dataset import moments
from pyro_vrnn.data.schema import DataInfo
from pyro_vrnn.loggers import loggers
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.models.base import Statistics
from pyro_vrnn.programs.twist import size
from pyro_vrnn.runs.content import Content
from pyro_vrnn.runs.folder import (
    LoggingObserver,
    best_validation,
    check_folder,
    free_folder,
    owned,
    read_config,
    read_content,
    read_metrics,
    write_content,
    write_environment,
)
from pyro_vrnn.runs.plan import Plan, check_start, first_weights, plan
from pyro_vrnn.runs.run import Run, load
from pyro_vrnn.system.errors import CheckpointError, ConfigError, UserError
from pyro_vrnn.system.files import write_bytes
from pyro_vrnn.training import checkpoint, parallel
from pyro_vrnn.training.fit import fit
from pyro_vrnn.training.observer import FitResult, Observer, Observers
from pyro_vrnn.training.parallel import Ranks
from pyro_vrnn.training.trainer import Trainer

FATAL = ("training.seed", "training.average", "training.valid_objective", "training.valid_particles")
"""Settings of training that a run cannot change when it continues: what came before would mean something else."""

FULL_SCALE = 32768.0
"""16-bit steps in an amplitude of 1."""


def train(
    resolved: Resolved,
    *,
    out: Path | None = None,
    resume: str = "auto",
    init_from: str | Path | None = None,
    device: str = "auto",
    max_seconds: float | None = None,
    overwrite: bool = False,
    observer: Observer | None = None,
    log: Sequence[str] = (),
) -> Run:
    """Train (or resume training) a run.

    Args:
        resolved: the settings.
        out: the run folder; None takes a free name under runs/.
        resume: "auto" continues the run in `out` if there is one; "never" refuses it; else the path of a run or
            checkpoint to continue from, in its own folder.
        init_from: a run whose weights (only) this one starts from.
        device: auto, cpu, cuda or cuda:N.
        max_seconds: stop, saved, after so long.
        overwrite: remove a run in `out` first.
        observer: watches, and may stop the training (docs/observers.md).
        log: names of loggers that write what is logged into the run folder too: csv, tensorboard, wandb.

    Returns:
        The run, at its best checkpoint, with `result`.

    Raises:
        ConfigError, DataError, CheckpointError, DeviceError, NumericsError, ResourceError.
    """
    with parallel.joined(device) as ranks:
        watch = LoggingObserver(Observer())
        if ranks.rank == 0:
            watch.watch = Observers(observer or Observer(), *loggers(log, lambda line: watch.said(line)))
        request = ranks.first(lambda: _request(resolved, out, resume, init_from, overwrite, max_seconds))
        planned = plan(
            resolved.config,
            ranks=ranks,
            init_from=request.init_from,
            known=request.content,
            preparing=resolved.preparing,
            say=watch.said,
        )
        check_start(planned, started=request.resuming or request.init_from is not None)
        for note in resolved.notes:
            watch.said(f"note: {note}")
        # The caller's random numbers stay the caller's.
        with torch.random.fork_rng(devices=[ranks.device] if ranks.device.type == "cuda" else []):
            return _train(planned, ranks, watch, request)


def check(
    resolved: Resolved,
    *,
    out: Path | None = None,
    resume: str = "auto",
    init_from: str | Path | None = None,
    overwrite: bool = False,
    log: Sequence[str] = (),
    say: Callable[[str], None] = lambda message: None,
) -> Plan:
    """Refuse what `train` would refuse with these arguments before its first update, and change nothing.

    The number of processes is the one that torchrun says. Raises as `train`.
    """
    loggers(log, say)
    request = _request(resolved, out, resume, init_from, overwrite, None)
    ranks = Ranks(world=parallel.world())
    planned = plan(
        resolved.config,
        ranks=ranks,
        init_from=request.init_from,
        known=request.content,
        preparing=resolved.preparing,
        say=say,
    )
    check_start(planned, started=request.resuming or request.init_from is not None)
    if request.resuming:
        for change in _changes(request, planned):
            say(change)
    return planned


@dataclasses.dataclass(frozen=True)
class _Request:
    """Where a run is made, from what, and for how long."""

    out: Path
    resuming: bool
    from_folder: Path | None
    """The checkpoint to continue from, if one was named."""
    init_from: str | Path | None
    overwrite: bool
    max_seconds: float | None
    content: Content | None
    """What the data of the run to continue holds, if that was noted."""


def _request(
    resolved: Resolved,
    out: Path | None,
    resume: str,
    init_from: str | Path | None,
    overwrite: bool,
    max_seconds: float | None,
) -> _Request:
    """Check the run folder and what was asked of it, before any work."""
    from_folder: Path | None = None
    if resume not in ("auto", "never"):
        folder, from_folder = checkpoint.find(Path(resume), "LATEST")
        if (shipped := weights.name_of(folder)) is not None:
            hint = f"--init-from {shipped} starts a run of your own from its weights"
            raise ConfigError(f"--resume {resume}: a shipped model has no optimizer's state to continue from", hint)
        if overwrite or (out is not None and out.resolve() != folder.resolve()):
            raise ConfigError(
                f"--resume {resume} continues in {folder}, so --out and --overwrite make no sense with it",
                f"--init-from {resume} starts another run from its weights",
            )
        out = folder
    out = out if out is not None else free_folder(Path(resolved.recipe).stem)
    resuming = check_folder(out, resume=resume, overwrite=overwrite)
    if resuming and init_from is not None:
        raise ConfigError(f"--init-from: {out} already holds a run to continue", "choose another --out, or --overwrite")
    content = read_content(out) if resuming else None
    return _Request(out, resuming, from_folder, init_from, overwrite, max_seconds, content)


def _train(plan: Plan, ranks: Ranks, watch: LoggingObserver, request: _Request) -> Run:
    """Carry out a plan, on all ranks."""
    out, where, leads, settings = request.out, ranks.device, ranks.rank == 0, plan.settings
    net = plan.net
    torch.manual_seed(settings.training.seed)  # of the GPU too
    torch.set_rng_state(plan.random)
    _set_units(net, settings)
    mean, std = moments(plan.train)
    known = Statistics(
        torch.from_numpy(mean), torch.from_numpy(std), after=lambda: _after(plan.info), line=lambda: _line(plan.info)
    )
    net.fit_start(known)
    if plan.init_from is not None:
        checkpoint.load_weights(net, first_weights(net, plan.init_from), plan.init_from)
        _set_units(net, settings)  # the other run's came with its weights
    with owned(out, request.overwrite and not request.resuming) if leads else nullcontext():
        if leads:
            checkpoint.clean(out)
            watch.path = out / "log.txt"
        ranks.wait()
        trainer = Trainer(settings, net.to(where), where, ranks)
        ranks.same(trainer.state.optim.params)
        if request.resuming:
            _resume(trainer, request, plan, watch)
        elif leads:  # a start that was killed before its first checkpoint may have left rows
            (out / "metrics.jsonl").unlink(missing_ok=True)
        if leads:
            write_bytes(out / "config.toml", settings.to_toml().encode("utf-8", "surrogateescape"))
        if leads and not request.resuming:
            write_environment(out, where, plan.origin, plan.content)
            if plan.origin is not None:
                watch.said(f"weights from {plan.origin}")
        if leads and request.resuming and request.content is None:
            write_content(out, plan.content)
        what = "pieces" if plan.train.cut else "sequences"
        watch.said(
            f"{settings.model.name} by {settings.objective.name} on {plan.info.path.name}: "
            f"{size(plan.net)}, {len(plan.train)} {what}, {where}; {out}"
        )
        first = trainer.state.at.step
        try:
            result = fit(trainer, plan.train, plan.valid, out, max_seconds=request.max_seconds, observer=watch)
        except UserError as error:
            watch.note(f"error: {error.message}")
            raise
        if result.steps == first > 0:
            result = _as_it_lies(result, out)
        best = f"; best on validation {result.best_nll:.4f} at step {result.best_step}" if result.best_step else ""
        watch.note(f"stopped by {result.stopped} at step {result.steps}{best}")
        ranks.wait()  # for what rank 0 has saved
    run = load(out, device=str(where))
    run.result = result
    return run


def _after(info: DataInfo) -> tuple[Tensor, Tensor]:
    """The probability of a 1 after a 0 and after a 1 in the training split, [X] each."""
    zero, one = Coins.of(info, "train").after()
    return torch.from_numpy(zero), torch.from_numpy(one)


def _line(info: DataInfo) -> tuple[Tensor, Tensor, Tensor]:
    """The line from the value before in the training split: offset, slope, deviation around it, [X] each."""
    offset, slope, around = last_value_line(info)
    return torch.from_numpy(offset), torch.from_numpy(slope), torch.from_numpy(around)


def _as_it_lies(result: FitResult, run: Path) -> FitResult:
    """The result of a run that had nothing to do, with the look it took when it stopped; resuming leaves that out."""
    best = best_validation(read_metrics(run), {"best_nll": result.best_nll, "best_step": result.best_step})
    assert best is not None, "the result has one"
    return dataclasses.replace(result, best_nll=best["valid_nll_per_step"], best_step=best["step"])


def _set_units(net: SequenceModel, settings: RunConfig) -> None:
    """Tell the likelihood of audio in which units it reads amplitudes."""
    form = settings.format
    assert form is not None
    if form.traits.sampled:
        net.likelihood.set_units(torch.tensor(form.center) / FULL_SCALE, torch.tensor(form.scale) / FULL_SCALE)


def _changes(request: _Request, planned: Plan) -> list[str]:
    """What a resumed run has otherwise than before, a line each; CheckpointError if it cannot change."""
    out = request.out
    before = read_config(out).to_dict()
    now = planned.settings.to_dict()
    lines = []
    if request.content is not None:  # then the data is known by its content, and may lie anywhere
        _check_content(request.content, planned, out)
        if (here := now["data"].pop("path")) != before["data"].pop("path", None):
            lines.append(f"data: the same content, now at {here}")
    changed = [
        f"{section}.{key}: {before.get(section, {}).get(key)!r} -> {now.get(section, {}).get(key)!r}"
        for section in ("model", "objective", "data", "format", "training")
        for key in sorted({*before.get(section, {}), *now.get(section, {})})
        if before.get(section, {}).get(key) != now.get(section, {}).get(key)
    ]
    fatal = [c for c in changed if not c.startswith(("training.", "format.sequence_steps")) or c.startswith(FATAL)]
    if fatal:
        raise CheckpointError(
            f"{out}: holds a run with other settings: {'; '.join(fatal)}",
            "--overwrite starts anew, or choose another --out"
            + ("" if any(c.startswith("model.") for c in fatal) else f" (--init-from {out} takes its weights there)"),
            out,
        )
    return [*lines, *(f"resuming with {change}" for change in changed)]


def _check_content(known: Content, planned: Plan, out: Path) -> None:
    """CheckpointError unless the data is what the run was trained on; it says what is not."""
    if differences := known.differences(planned.content):
        path = planned.info.path
        raise CheckpointError(
            f"{path}: not the data that {out} was trained on: {'; '.join(differences)}",
            "--data says where it is now; --overwrite starts anew, or choose another --out "
            f"(--init-from {out} takes its weights there)",
            path,
        )


def _resume(trainer: Trainer, request: _Request, planned: Plan, watch: Observer) -> None:
    """Restore the newest whole checkpoint (or the chosen one), after checking that the settings still fit it."""
    out, chosen = request.out, request.from_folder
    for change in _changes(request, planned):
        watch.said(change)
    if chosen is None:
        chosen, saved, warnings = checkpoint.newest(out)
        for warning in warnings:
            watch.said(f"warning: {warning}")
    else:
        saved = checkpoint.load(chosen)
    trainer.state.restore(saved, chosen)
    trainer.state.ranks.wait()
    if trainer.state.ranks.rank == 0:
        checkpoint.rewind(out, chosen)
        if trainer.state.at.best_step == trainer.state.at.step > 0:  # it may have been killed before it said so
            checkpoint.point(out / "checkpoints", "BEST", trainer.state.at.step)
        checkpoint.trim(out)
    watch.said(f"resuming {out} at step {trainer.state.at.step}, epoch {trainer.state.at.epoch}")
