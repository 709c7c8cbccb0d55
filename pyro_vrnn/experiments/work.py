"""One run of an experiment: trained to its end, or continued to it, then scored; what became of it lies beside it."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock

from pyro_vrnn.experiments.tasks import Task
from pyro_vrnn.runs.folder import read_environment, read_metrics
from pyro_vrnn.runs.run import load
from pyro_vrnn.runs.train import train
from pyro_vrnn.system.errors import CheckpointError, NumericsError
from pyro_vrnn.system.files import make_folder, write_json
from pyro_vrnn.system.run_files import OURS
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.observer import Observer
from pyro_vrnn.training.signals import Interrupted, Stop

WAIT_SECONDS = 120.0
"""For a process of a killed experiment that is still saving this run."""

NO_START = "the run that it was to start from failed"
BEGUN = "begun"
"""The status of a run that has no outcome yet; its file says for which task it was begun, and from which weights."""


class Stopped(Exception):
    """A signal, its only argument, stopped a run: it is saved, and the next call continues."""


def read_outcome(task: Task) -> dict[str, Any] | None:
    """What became of a run, if that is known, is of this very task, and its checkpoint is still there."""
    found = task.record()
    if found.get("key") != task.key or found["status"] == BEGUN:
        return None
    if found["status"] == "failed":  # files of before kept NO_START too, which holds only as long as the cause does
        return None if found["message"] == NO_START else found
    return found if _weights(task.folder / "checkpoints" / found["checkpoint"]) == found["weights"] else None


def is_done(task: Task, outcome: dict[str, Any] | None) -> bool:
    """Whether nothing is left to do for it."""
    if outcome is None:
        return False
    scored = outcome["bounds"].keys() | outcome.get("unscored", {}).keys()
    return outcome["status"] == "failed" or all(b.title in scored for b in task.bounds)


def carry_out(
    task: Task, *, device: str, watch: Observer | None = None, asked: Callable[[], bool] = lambda: False
) -> dict[str, Any]:
    """Do what is left to do for a run.

    Args:
        task: the run.
        device: auto, cpu, cuda or cuda:N.
        watch: watches the training.
        asked: whether it should stop; called now and then while it is scored.

    Returns:
        Its outcome.

    Raises:
        Stopped: by a signal, or because `asked` says so.
        UserError: what a training raises, but for numbers that are not finite: those are an outcome.
    """
    outcome = read_outcome(task)
    if outcome is not None and is_done(task, outcome):
        return outcome
    try:
        if outcome is None:
            outcome = _trained(task, device, watch)
            _write(task, outcome)
        return _scored(task, outcome, device, asked)
    except NumericsError as error:
        return failed(task, error.message)


def failed(task: Task, message: str) -> dict[str, Any]:
    """Note that a run has no result, and why: the same would happen again, so it is not tried again."""
    outcome = _without_result(task, message)
    _write(task, outcome)
    return outcome


def not_started(task: Task) -> dict[str, Any]:
    """The outcome of a run whose origin failed; not kept, since it can start once the origin was trained well."""
    return _without_result(task, NO_START)


def _without_result(task: Task, message: str) -> dict[str, Any]:
    steps = max((row["step"] for row in read_metrics(task.folder)), default=0)
    return {"schema": 1, "key": task.key, "status": "failed", "message": message, "steps": steps, "bounds": {}}


def _write(task: Task, outcome: dict[str, Any]) -> None:
    """Keep what became of a run, with the weights that it started from."""
    start = task.record().get("start")
    make_folder(task.outcome_path.parent)
    write_json(task.outcome_path, outcome | ({} if start is None else {"start": start}))


def _trained(task: Task, device: str, watch: Observer | None) -> dict[str, Any]:
    """Train it, from where it stands, to its end."""
    _wait_for(task.folder)
    begun = checkpoint.begun(task.folder)
    if not begun:
        _clear(task.folder)
    elif task.origin is not None:
        _check_origin(task, task.origin)
    record = task.record()
    if not begun or record.get("key") != task.key:
        start = record.get("start") if begun else None if task.origin is None else _weights(_best(task.origin))
        make_folder(task.outcome_path.parent)
        write_json(task.outcome_path, {"schema": 1, "key": task.key, "status": BEGUN, "start": start})
    seconds, before = task.seconds, 0.0
    if begun and seconds is not None:
        before = float(checkpoint.newest(task.folder)[1].state["seconds"])
    run = train(
        task.resolved,
        out=task.folder,
        init_from=None if begun or task.origin is None else task.origin.folder,
        device=device,
        max_seconds=None if seconds is None else max(seconds - before, 0.0),
        observer=watch,
    )
    result = run.result
    assert result is not None
    if result.stopped == "signal":
        raise Stopped(result.signal or signal.SIGTERM)
    return {
        "schema": 1,
        "key": task.key,
        "status": "done",
        "message": "",
        "stopped": result.stopped,
        "steps": result.steps,
        "seconds": result.seconds,
        "best": {"step": result.best_step, "valid_nll_per_step": result.best_nll},
        "checkpoint": run.step_folder.name,
        "weights": _weights(run.step_folder),
        "bounds": {},
    }


def _scored(task: Task, outcome: dict[str, Any], device: str, asked: Callable[[], bool]) -> dict[str, Any]:
    """Measure the bounds that are missing, at the best checkpoint, each once."""
    run = load(task.folder / "checkpoints" / outcome["checkpoint"], device=device)
    with Stop() as stop:

        def check(done: int, total: int) -> None:
            stop.check(done, total)
            if asked():
                raise Interrupted

        for bound in task.bounds:
            if bound.title not in outcome["bounds"].keys() | outcome.get("unscored", {}).keys():
                try:
                    found = run.evaluate(bound.split, bound.objective, bound.particles, progress=check)
                except Interrupted:
                    raise Stopped(stop.signal or signal.SIGTERM) from None
                except NumericsError as error:  # of this bound alone: the run stands, and so do the others
                    outcome.setdefault("unscored", {})[bound.title] = error.message
                else:
                    outcome["bounds"][bound.title] = found.as_dict()
                _write(task, outcome)
    return outcome


def _weights(step_folder: Path) -> str | None:
    """The sha256 of a checkpoint's weights, by its manifest; None if there is none."""
    try:
        found: str = json.loads((step_folder / checkpoint.MANIFEST).read_text("utf-8"))["files"]["model.safetensors"][
            "sha256"
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _wait_for(folder: Path) -> None:
    """Wait until no other process trains there; if one still does after a while, `train` says so."""
    if (folder / ".lock").exists():
        with contextlib.suppress(filelock.Timeout), filelock.FileLock(folder / ".lock").acquire(timeout=WAIT_SECONDS):
            pass


def _clear(folder: Path) -> None:
    """Remove what a run left that was killed before its first checkpoint; never anything that a run does not write."""
    if folder.is_dir() and all(child.name in (*OURS, ".lock") or child.suffix == ".tmp" for child in folder.iterdir()):
        shutil.rmtree(folder)


def _best(task: Task) -> Path:
    """The best checkpoint of a run."""
    return checkpoint.find(task.folder)[1]


def _check_origin(task: Task, origin: Task) -> None:
    """CheckpointError where the run that it started from has other best weights by now."""
    now, start = _best(origin), task.record().get("start")
    then = Path(read_environment(task.folder).get("init_from") or now).name  # runs of before are told by the name alone
    if then != now.name or (start is not None and start != _weights(now)):
        other = f"whose best is {now.name} now" if then != now.name else "which was trained anew since"
        raise CheckpointError(
            f"{task.folder}: started from {then} of {origin.folder}, {other}",
            f"remove {task.folder}, which is then trained anew",
            task.folder,
        )
