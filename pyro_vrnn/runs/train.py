"""A run folder from settings and data: who owns it, what it goes on from, and one `fit`."""

from __future__ import annotations

import dataclasses
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from pyro_vrnn.config import Resolved, RunConfig
from pyro_vrnn.data import catalogue
from pyro_vrnn.data.baselines import Coins
from pyro_vrnn.data.dataset import SequenceDataset, moments
from pyro_vrnn.data.format import format_of
from pyro_vrnn.data.schema import DataInfo, read_info
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.models.direct import Direct
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.objectives import FivoObjective
from pyro_vrnn.runs.folder import check_folder, free_folder, owned, read_config, read_metrics, write_environment
from pyro_vrnn.runs.run import Run, build_net, load
from pyro_vrnn.system.errors import CheckpointError, ConfigError, DataError, UserError
from pyro_vrnn.system.files import cannot_write, write_bytes
from pyro_vrnn.training import checkpoint, parallel
from pyro_vrnn.training.fit import FitResult, Observer, fit
from pyro_vrnn.training.parallel import Ranks
from pyro_vrnn.training.trainer import Trainer
from pyro_vrnn.training.transition_inputs import feeds_back

FATAL = ("training.seed", "training.average", "training.valid_objective", "training.valid_particles")
"""Settings of training that a run cannot change when it goes on: what came before would mean something else."""

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
) -> Run:
    """Train (or go on training) a run.

    Args:
        resolved: the settings.
        out: the run folder; None takes a free name under runs/.
        resume: "auto" goes on with the run in `out` if there is one; "never" refuses it; else the path of a run or
            checkpoint to go on from, in its own folder.
        init_from: a run whose weights (only) this one starts from.
        device: auto, cpu, cuda or cuda:N.
        max_seconds: stop, saved, after so long.
        overwrite: remove a run in `out` first.
        observer: watches.

    Returns:
        The run, at its best checkpoint, with `result`.

    Raises:
        ConfigError, DataError, CheckpointError, DeviceError, NumericsError, ResourceError.
    """
    with parallel.joined(device) as ranks:
        watch = _Logged(Observer() if ranks.rank or observer is None else observer)
        return _checked(
            resolved,
            ranks,
            watch,
            ranks.first(lambda: _request(resolved, out, resume, init_from, overwrite, max_seconds)),
        )


@dataclasses.dataclass(frozen=True)
class _Request:
    """Where a run is made, from what, and for how long."""

    out: Path
    going_on: bool
    from_folder: Path | None
    """The checkpoint to go on from, if one was named."""
    init_from: str | Path | None
    overwrite: bool
    max_seconds: float | None


def _request(
    resolved: Resolved,
    out: Path | None,
    resume: str,
    init_from: str | Path | None,
    overwrite: bool,
    max_seconds: float | None,
) -> _Request:
    """With the run folder checked."""
    from_folder: Path | None = None
    if resume not in ("auto", "never"):
        folder, from_folder = checkpoint.find(Path(resume), "LATEST")
        if overwrite or (out is not None and out.resolve() != folder.resolve()):
            raise ConfigError(
                f"--resume {resume} goes on in {folder}, so --out and --overwrite make no sense with it",
                f"--init-from {resume} starts another run from its weights",
            )
        out = folder
    out = out if out is not None else free_folder(Path(resolved.recipe).stem)
    going_on = check_folder(out, resume=resume, overwrite=overwrite)
    if going_on and init_from is not None:
        raise ConfigError(
            f"--init-from: {out} already holds a run to go on with", "choose another --out, or --overwrite"
        )
    return _Request(out, going_on, from_folder, init_from, overwrite, max_seconds)


def _checked(
    resolved: Resolved,
    ranks: Ranks,
    watch: _Logged,
    request: _Request,
) -> Run:
    """Settings and data that fit each other, then the training."""
    settings, where = resolved.config, ranks.device
    _check_ranks(settings, ranks)
    path = ranks.first(lambda: catalogue.find(settings.data.path, say=watch.said))
    info = read_info(path)
    check_support(settings, info)
    settings = dataclasses.replace(
        settings,
        format=format_of(info),
        data=dataclasses.replace(settings.data, path=str(path.resolve())),
    )
    cut = settings.data.window if not settings.data.carry else 0
    dither = settings.data.dither
    if dither and info.kind != "audio":
        raise ConfigError(f"data.dither: {path} is {info.kind}", "it is for audio, whose samples are steps of 16 bits")
    training_set = SequenceDataset(path, "train", cut or None, settings.data.hop or None, dither=dither)
    valid = SequenceDataset(path, "valid", dither=dither)
    if len(valid) == 0:
        raise DataError(
            f"{path}: no validation sequences", "the best model is chosen on them; prepare with a split", path
        )
    # The caller's random numbers stay the caller's.
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        return _train(
            settings,
            info,
            training_set,
            valid,
            ranks,
            watch,
            request,
        )


def _train(
    settings: RunConfig,
    info: DataInfo,
    training_set: SequenceDataset,
    valid: SequenceDataset,
    ranks: Ranks,
    watch: _Logged,
    request: _Request,
) -> Run:
    """What `train` does once all is checked."""
    out, where, leads = request.out, ranks.device, ranks.rank == 0
    torch.manual_seed(settings.training.seed)
    net = build_net(settings)
    _check_fit(settings, net)
    _set_units(net, settings)
    mean, std = moments(training_set)
    net.likelihood.fit_start(torch.from_numpy(mean), torch.from_numpy(std))
    if isinstance(net, Direct):
        net.fit_direct(*map(torch.from_numpy, Coins.of(info, "train").after()))
    source: Path | None = None
    if request.init_from is not None:
        origin, source = checkpoint.find(Path(request.init_from))
        _check_same_model(origin, settings)
        checkpoint.load_weights(net, checkpoint.load(source).model, source)
        _set_units(net, settings)  # the other run's came with its weights
    with owned(out, request.overwrite and not request.going_on) if leads else nullcontext():
        if leads:
            checkpoint.clean(out)
            watch.path = out / "log.txt"
        ranks.wait()
        trainer = Trainer(settings, net.to(where), where, ranks)
        ranks.same(trainer.optim.params)
        if request.going_on:
            _go_on(trainer, request, settings, watch)
        elif leads:  # a start that was killed before its first checkpoint may have left rows
            (out / "metrics.jsonl").unlink(missing_ok=True)
        if leads:
            write_bytes(out / "config.toml", settings.to_toml().encode("utf-8", "surrogateescape"))
        if leads and not request.going_on:
            write_environment(out, where, source)
            if source is not None:
                watch.said(f"weights from {source}")
        if not leads:  # the weights are the same, what is drawn is not
            torch.manual_seed(settings.training.seed + 1_000_003 * ranks.rank + trainer.at.step)
        count, what = sum(p.numel() for p in net.parameters()), "pieces" if training_set.cut else "sequences"
        watch.said(
            f"{settings.model.name} by {settings.objective.name} on {info.path.name}: "
            f"{count:,} parameters, {len(training_set)} {what}, {where}; {out}"
        )
        first = trainer.at.step
        try:
            result = fit(trainer, training_set, valid, out, max_seconds=request.max_seconds, observer=watch)
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


def _as_it_lies(result: FitResult, run: Path) -> FitResult:
    """The result of a run that had nothing to do, with the look it took when it stopped; resuming leaves that out."""
    rows = [row for row in read_metrics(run) if "valid_nll_per_step" in row]
    best = min(rows, key=lambda row: float(row["valid_nll_per_step"]), default=None)
    if best is None or best["valid_nll_per_step"] >= result.best_nll:
        return result
    return dataclasses.replace(result, best_nll=best["valid_nll_per_step"], best_step=best["step"])


def _check_same_model(origin: Path, settings: RunConfig) -> None:
    """CheckpointError naming the settings of the model that the other run has otherwise; dropout may differ."""
    theirs, ours = read_config(origin).to_dict()["model"], settings.to_dict()["model"]
    keys = sorted({*theirs, *ours} - {"dropout"})
    other = [f"model.{k}: {theirs.get(k)!r} there, {ours.get(k)!r} here" for k in keys if theirs.get(k) != ours.get(k)]
    if other:
        message = f"--init-from {origin}: its weights do not fit: {'; '.join(other)}"
        raise CheckpointError(message, "give this run the same model.* settings", origin)


def _set_units(net: SequenceModel, settings: RunConfig) -> None:
    """Tell the likelihood of audio in which units it reads amplitudes."""
    form = settings.format
    assert form is not None
    if form.kind == "audio":
        net.likelihood.set_units(torch.tensor(form.center) / FULL_SCALE, torch.tensor(form.scale) / FULL_SCALE)


def check_support(settings: RunConfig, info: DataInfo) -> None:
    """ConfigError unless the likelihood can score such data."""
    likelihood = settings.model.likelihood
    if LIKELIHOODS[likelihood].support != info.support:
        fitting = sorted(k for k, v in LIKELIHOODS.items() if v.support == info.support)
        raise ConfigError(
            f"likelihood {likelihood!r} is for {LIKELIHOODS[likelihood].support} data; {info.path} is {info.support}",
            f"choose from {', '.join(fitting)}" if fitting else "no likelihood for such data yet",
        )


def _check_ranks(settings: RunConfig, ranks: Ranks) -> None:
    """Whether several processes can share this training.

    Raises:
        ConfigError: what one update leaves for the next lies with one of them.
    """
    if ranks.world == 1:
        return
    if settings.data.carry:
        raise ConfigError("data.carry with several processes: a piece's state would lie with another process")
    if settings.training.replay != "none":
        raise ConfigError("training.replay with several processes: each would replay other sequences")


def _check_fit(settings: RunConfig, net: SequenceModel) -> None:
    """Whether this model can be trained this way.

    Raises:
        ConfigError: it has nothing that the setting is about.
    """
    name, training = settings.model.name, settings.training
    if settings.data.carry and not net.per_step:
        raise ConfigError(
            f"data.carry: {name!r} has one z a sequence, so nothing can be carried from one piece to the next",
            "leave data.carry out: each window is then a sequence of its own",
        )
    if settings.data.carry and training.replay != "none":
        raise ConfigError(
            "training.replay with data.carry: a replayed piece would need the state before it",
            "leave one of the two out",
        )
    if settings.data.carry and isinstance(settings.objective, FivoObjective):
        raise ConfigError(
            "data.carry with objective 'fivo': a filter's particles are not carried from one piece to the next",
            "leave data.carry out: each window is then a sequence of its own",
        )
    for key in ("scheduled_sampling", "input_noise"):
        if getattr(training, key) and not feeds_back(net):
            raise ConfigError(
                f"training.{key}: what {name!r} draws at t does not depend on the x before t, so nothing is fed back",
                "choose a model that reads x_{t-1}: vrnn, srnn, storn, rnn",
            )
    if training.input_noise > 1 and net.likelihood.support != "real":
        raise ConfigError(
            f"training.input_noise={training.input_noise}: for {net.likelihood.support} data a probability"
        )
    if settings.data.dither and net.likelihood.quantised:
        raise ConfigError(
            f"data.dither with likelihood {settings.model.likelihood!r}: it gives 16-bit steps a probability already",
            "leave data.dither out, or choose a density such as gaussian or gmm",
        )
    if getattr(settings.objective, "free_bits", 0) and not (net.per_step and net.latent_dim):
        raise ConfigError(
            f"objective.free_bits: {name!r} has no z for every step, so it would only add a constant",
            "leave it out, or choose another model",
        )


class _Logged(Observer):
    """Passes everything on, and keeps what is said to people in log.txt, with the time."""

    def __init__(self, watch: Observer) -> None:
        self.watch = watch
        self.path: Path | None = None
        self.early: list[str] = []

    def begin(self, step: int, total: int) -> None:
        """On to the observer."""
        self.watch.begin(step, total)

    def stepped(self, step: int) -> None:
        """On to the observer."""
        self.watch.stepped(step)

    def logged(self, row: dict[str, Any]) -> None:
        """On to the observer."""
        self.watch.logged(row)

    def ended(self) -> None:
        """On to the observer."""
        self.watch.ended()

    def said(self, message: str) -> None:
        """On to the observer, and into the file."""
        self.watch.said(message)
        self.note(message)

    def note(self, message: str) -> None:
        """Into the file alone, once there is one."""
        self.early.append(f"{datetime.now(UTC).isoformat(timespec='seconds')} {message}\n")
        if self.path is not None:
            text = "".join(self.early)
            with cannot_write(self.path, len(text)), self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
            self.early.clear()


def _go_on(trainer: Trainer, request: _Request, settings: RunConfig, watch: Observer) -> None:
    """Restore the newest whole checkpoint (or the chosen one), after checking that the settings still fit it."""
    out, chosen = request.out, request.from_folder
    before = read_config(out).to_dict()
    now = settings.to_dict()
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
    for change in changed:
        watch.said(f"resuming with {change}")
    if chosen is None:
        chosen, saved, warnings = checkpoint.newest(out)
        for warning in warnings:
            watch.said(f"warning: {warning}")
    else:
        saved = checkpoint.load(chosen)
    trainer.restore(saved, chosen)
    trainer.ranks.wait()
    if trainer.ranks.rank == 0:
        checkpoint.rewind(out, chosen)
    watch.said(f"resuming {out} at step {trainer.at.step}, epoch {trainer.at.epoch}")
