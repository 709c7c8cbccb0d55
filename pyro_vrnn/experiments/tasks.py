"""The runs of an experiment: each arm resolved and checked against its data, before anything is trained."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vrnn import config
from pyro_vrnn.config import Resolved, RunConfig
from pyro_vrnn.data.batching import Piece, epoch_plan, pieces
from pyro_vrnn.experiments.plan import Arm, Bound, Experiment
from pyro_vrnn.objectives import make_objective
from pyro_vrnn.runs.folder import read_config
from pyro_vrnn.runs.plan import Plan, check_start, plan
from pyro_vrnn.system.errors import CheckpointError, ConfigError, DataError, UserError
from pyro_vrnn.system.files import unlinked
from pyro_vrnn.training import checkpoint

UNENDING = 1_000_000
"""Epochs of a run whose length is told otherwise."""
LEAST_PARTICLES = 16
"""Of the bound by which arms are validated whose own bounds differ."""
MAY_DIFFER = ("training.max_steps", "training.epochs", "data.path")
"""Settings that a run may have otherwise than when it was begun: a longer one continues it, and data may move."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One run of an experiment, with all that another process needs to carry it out."""

    arm: str
    seed: int
    folder: Path
    resolved: Resolved
    bounds: tuple[Bound, ...]
    content: str
    """sha256 of what its data holds."""
    seconds: float | None = None
    """Of its training loop, where that is its length."""
    origin: Task | None = None
    """The run whose weights it starts from."""

    @property
    def config(self) -> RunConfig:
        """Its settings."""
        return self.resolved.config

    @property
    def key(self) -> str:
        """What it is, hashed: its settings, length, data and start. An outcome with another key is not of this task."""
        settings = _chosen(self.config)
        del settings["data"]["path"]
        origin = None if self.origin is None else self.origin.key
        text = json.dumps([settings, self.content, self.seconds, origin], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def outcome_path(self) -> Path:
        """The file beside the run folder that says what became of it."""
        return self.folder.with_name(f"{self.folder.name}.json")

    def record(self) -> dict[str, Any]:
        """What that file says, of this task or of one that was in its place before; empty where there is none."""
        try:
            found = json.loads(self.outcome_path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Planned:
    """An arm that can be trained: its plan (of the first seed) and its runs."""

    arm: Arm
    plan: Plan
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()
    """What a user should be told of its settings, such as those that its model does not have."""


def planned(experiment: Experiment, say: Callable[[str], None] = lambda message: None) -> list[Planned]:
    """All arms of an experiment, checked.

    Raises:
        ConfigError, DataError: an arm that `train` would refuse, by the arm's name.
        CheckpointError: the folder holds a run of an arm with other settings, or a longer one.
    """
    found = [_by_name(experiment, arm, say) for arm in experiment.arms]
    for bound in experiment.evaluate:
        if not any(bound in task.bounds for one in found for task in one.tasks):
            with _named(found[0].arm):  # which tells why
                _check_bound(bound, found[0].plan)
    found = _validated_alike(experiment, found, say)
    models = {one.arm.name: one.plan.settings.to_dict()["model"] for one in found}
    for one in found:
        if one.arm.init_from is not None and (mine := models[one.arm.name]) != (theirs := models[one.arm.init_from]):
            keys = sorted(k for k in {*mine, *theirs} - {"dropout"} if mine.get(k) != theirs.get(k))
            if keys:
                message = f"arm {one.arm.name!r} starts from {one.arm.init_from!r}, whose model.{keys[0]} is another"
                raise ConfigError(message, "give both the same model.* settings")
    return _started(found)


def _started(found: list[Planned]) -> list[Planned]:
    """The arms with the run that each of their runs starts from, and their folders checked for that."""
    started: dict[str, Planned] = {}
    for one in found:
        tasks = one.tasks
        if one.arm.init_from is not None:
            origins = started[one.arm.init_from].tasks
            tasks = tuple(dataclasses.replace(t, origin=o) for t, o in zip(tasks, origins, strict=True))
        for task in tasks:
            with _named(one.arm):
                _check_run(task)
        started[one.arm.name] = dataclasses.replace(one, tasks=tasks)
    return list(started.values())


def _validated_alike(experiment: Experiment, found: list[Planned], say: Callable[[str], None]) -> list[Planned]:
    """Arms on the same data that would each be validated by its own objective are validated by one bound.

    Otherwise their validations could not be compared, nor would their best checkpoints be chosen alike.
    """
    alike: dict[tuple[str, str | None], list[Planned]] = {}
    for one in found:
        alike.setdefault((one.plan.content.sha256, one.arm.init_from), []).append(one)
    changed: dict[str, Planned] = {}
    for group in alike.values():
        settings = [one.plan.settings for one in group]
        bounds = {(s.validated.name, s.validated.particles) for s in settings}
        if len(bounds) < 2 or any(s.training.valid_objective != "own" for s in settings):
            continue
        particles = max(LEAST_PARTICLES, *(s.objective.particles for s in settings))
        say(
            f"arms are validated by iwae, K={particles}: their own bounds differ; training.valid_objective sets another"
        )
        common = {"training.valid_objective": "iwae", "training.valid_particles": particles}
        for one in group:
            arm = dataclasses.replace(one.arm, settings={**one.arm.settings, **common})
            changed[arm.name] = _by_name(experiment, arm, lambda message: None)  # its notes were said
    return [changed.get(one.arm.name, one) for one in found]


def _by_name(experiment: Experiment, arm: Arm, say: Callable[[str], None]) -> Planned:
    """One arm, without the runs that its runs start from."""
    with _named(arm):
        return _planned(experiment, arm, say)


@contextmanager
def _named(arm: Arm) -> Iterator[None]:
    """Errors tell the arm's name."""
    try:
        yield
    except (ConfigError, DataError, CheckpointError) as error:
        raise type(error)(f"arm {arm.name!r}: {error.message}", error.hint, error.path) from None


def _planned(experiment: Experiment, arm: Arm, say: Callable[[str], None]) -> Planned:
    """One arm."""
    length = experiment.length
    amount = None if length is None else length.amount * arm.times
    resolved = config.resolve(arm.recipe, flags=dict(arm.settings) | {"training.seed": experiment.seeds[0]})
    for note in resolved.notes:
        say(f"arm {arm.name!r}: {note}")
    first = plan(resolved.config, say=say)
    check_start(first, started=arm.init_from is not None)
    bounds, notes = [], list(resolved.notes)
    for bound in experiment.evaluate:
        try:
            _check_bound(bound, first)
        except ConfigError as error:  # what this one cannot be
            notes.append(f"is not scored by {bound.title}: {error.message}")
            say(f"arm {arm.name!r} {notes[-1]}")
        else:
            bounds.append(bound)
        if not first.info.splits[bound.split].sequences:
            raise DataError(f"{first.info.path}: the {bound.split} split is empty", "evaluate another split")
    tasks = []
    for seed in experiment.seeds:
        training = dataclasses.replace(resolved.config.training, seed=seed)
        if length is not None and amount is not None:
            count = updates_for(first, amount, seed) if length.unit == "sequences" else max(1, round(amount))
            if length.unit == "seconds":
                count = 0
            training = dataclasses.replace(training, max_steps=count, epochs=UNENDING)
        settings = dataclasses.replace(resolved.config, training=training)
        task = Task(
            arm=arm.name,
            seed=seed,
            folder=experiment.out / "runs" / arm.name / f"seed-{seed}",
            resolved=dataclasses.replace(resolved, config=settings, notes=()),
            bounds=tuple(bounds),
            content=first.content.sha256,
            seconds=amount if length is not None and length.unit == "seconds" else None,
        )
        tasks.append(task)
    return Planned(arm, first, tuple(tasks), tuple(notes))


def _check_bound(bound: Bound, of: Plan) -> None:
    """ConfigError where the runs of a plan cannot have this bound."""
    make_objective(bound.objective, bound.particles, of.settings.objective).check(of.net)


def epoch_pieces(plan: Plan, seed: int, epoch: int) -> list[Piece]:
    """What the updates of an epoch are made on."""
    data = plan.settings.data
    batches = epoch_plan(plan.train.lengths, data.batch_size, seed=seed, epoch=epoch)
    return pieces(batches, plan.train.lengths, data.window if data.carry else None, plan.train.given)


def updates_for(plan: Plan, sequences: float, seed: int) -> int:
    """The fewest updates that see so many sequences; those that are replayed beside a batch are not counted."""
    seen, updates, epoch = 0, 0, 0
    while True:
        for piece in epoch_pieces(plan, seed, epoch):
            seen, updates = seen + len(piece.indices), updates + 1
            if seen >= sequences:
                return updates
        epoch += 1


def expected_updates(task: Task, plan: Plan) -> int | None:
    """How many updates a run makes at most; None where seconds end it."""
    if task.seconds is not None:
        return None
    training = task.config.training
    if training.epochs == UNENDING:
        return training.max_steps
    whole = len(epoch_pieces(plan, task.seed, 0)) * training.epochs
    return min(whole, training.max_steps) if training.max_steps else whole


def _check_run(task: Task) -> None:
    """CheckpointError where the folder holds a run that is not this one; ConfigError where it leads elsewhere."""
    for name in ("config.toml", "metrics.jsonl", "checkpoints"):
        unlinked(task.folder.parents[2], task.folder / name)
    unlinked(task.folder.parents[2], task.outcome_path)
    if not (task.folder / "config.toml").is_file() or not checkpoint.begun(task.folder):
        return
    try:
        before = _flat(read_config(task.folder).to_dict())
    except UserError as error:
        raise CheckpointError(error.message, f"remove {task.folder}, which is then trained anew", task.folder) from None
    now = _flat(task.config.to_dict())
    other = [
        f"{key}: {before.get(key)!r} there, {now.get(key)!r} here"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key) and key not in MAY_DIFFER and not key.startswith("format.")
    ]
    if task.record().get("key") != task.key:  # else it is as long as was asked: seconds end with the update at hand
        other += _too_long(task)
    if other:
        hint = "choose another --out, give the arm another name, or remove that folder"
        raise CheckpointError(f"{task.folder}: holds a run with other settings: {'; '.join(other)}", hint, task.folder)


def _too_long(task: Task) -> list[str]:
    """What has been done of a run beyond what is asked for, in words."""
    try:
        state = json.loads((checkpoint.find(task.folder, "LATEST")[1] / "state.json").read_text("utf-8"))
    except (OSError, ValueError):  # damaged: resuming tells it, or passes it over
        return []
    training = task.config.training
    amounts = {
        "updates": (state.get("step", 0), training.max_steps),
        "epochs": (state.get("epoch", 0) + (state.get("position", 0) > 0), training.epochs),
        "seconds": (state.get("seconds", 0.0), task.seconds),
    }
    return [
        f"it is {done:.6g} {unit} long, and {asked:.6g} are asked for"
        for unit, (done, asked) in amounts.items()
        if asked and done > asked
    ]


def _chosen(config: RunConfig) -> dict[str, dict[str, Any]]:
    """The settings that are not at their default: a later version's new settings leave this as it is."""
    raw = config.to_dict()
    for section, held in raw.items():
        part = getattr(config, section)
        for field in dataclasses.fields(part):
            usual = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            if field.name not in ("name", "path") and getattr(part, field.name) == usual:
                held.pop(field.name, None)
    return raw


def _flat(raw: dict[str, Any]) -> dict[str, Any]:
    return {f"{a}.{b}": v for a, part in raw.items() for b, v in part.items()}
