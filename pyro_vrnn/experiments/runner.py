"""All runs of an experiment, in turn or several at once; whatever is done already stays done."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import torch

from pyro_vrnn.experiments import costs, figures, processes, table, work
from pyro_vrnn.experiments.costs import Cost
from pyro_vrnn.experiments.plan import FILE, Experiment
from pyro_vrnn.experiments.results import FILE as RESULTS
from pyro_vrnn.experiments.summary import summarise
from pyro_vrnn.experiments.tasks import Task, planned
from pyro_vrnn.runs.folder import read_metrics
from pyro_vrnn.system.errors import ConfigError
from pyro_vrnn.system.files import cannot_write, make_folder, write_bytes, write_json
from pyro_vrnn.training.observer import Observer

TELL_SECONDS = 0.2
"""Between two tellings of the progress."""

Outcome = dict[str, Any]


class Watch:
    """What a caller may watch of an experiment; this one watches nothing."""

    def begin(self, done: int, runs: int, seconds: float) -> None:
        """So many runs of all are done; the others are expected to take so many seconds."""

    def training(self, task: Task) -> Observer:
        """What watches the training of a run in this process, which begins now."""
        return Observer()

    def progressed(self, seconds: float) -> None:
        """So many of the expected seconds are done."""

    def finished(self, task: Task, outcome: Outcome) -> None:
        """A run has its outcome."""

    def said(self, message: str) -> None:
        """One line for people."""

    def counting(self, what: str) -> Callable[[int, int], None]:
        """Give what is called with (done, in all) of some work beside the runs."""
        return lambda done, total: None

    def ended(self) -> None:
        """No more calls."""


class Runner:
    """An experiment and its folder.

    Args:
        experiment: what is asked.
        device: auto, cpu, cuda or cuda:N.
        watch: watches.

    Raises:
        ConfigError, DataError, CheckpointError: an arm that cannot be trained, or a folder that is another's.
    """

    def __init__(self, experiment: Experiment, *, device: str = "auto", watch: Watch | None = None) -> None:
        self.experiment, self.device, self.watch = experiment, device, watch or Watch()
        out = experiment.out
        if out.exists() and not (out / FILE).is_file() and (not out.is_dir() or _holds_anything(out)):
            raise ConfigError(f"{out}: holds files that are no experiment", "choose another --out, or empty it", out)
        self.arms = planned(experiment, self.watch.said)
        self.tasks = [task for seed in experiment.seeds for one in self.arms for task in one.tasks if task.seed == seed]
        """Seed by seed, so that after the first one there is a table."""
        self.outcomes: dict[Task, Outcome | None] = {}
        self._read()
        self.signal: int | None = None
        """The signal that stopped it."""
        self._costs: list[Cost] = []

    def _read(self) -> None:
        """What became of each run, by the files."""
        self.outcomes = {}
        for task in self.tasks:  # each after the one that it starts from
            found = work.read_outcome(task)
            if found is None and self.carry(task) == "failed":
                found = work.not_started(task)
            self.outcomes[task] = found

    @property
    def costs(self) -> list[Cost]:
        """What an update of each arm costs; measured once, and kept in costs.json if the folder is there."""
        path, keys = self.experiment.out / "costs.json", [one.tasks[0].key for one in self.arms]
        if not self._costs:
            threads = torch.get_num_threads()
            here = self.device if threads == 1 else f"{self.device}, {threads} threads"
            known = _read_costs(path)
            try:
                self._costs = [Cost(**known[here][key]) for key in keys]
            except (KeyError, TypeError):  # not measured yet, or of other arms
                self._costs = costs.measure(self.arms, self.device, self.watch.counting("timing updates"))
                if path.parent.is_dir():
                    found = zip(keys, self._costs, strict=True)
                    write_json(path, {**known, here: {key: vars(cost) for key, cost in found}})
        return self._costs

    def expected(self) -> dict[Task, float]:
        """Seconds that each run takes, from its beginning."""
        return {
            task: seconds
            for one, cost in zip(self.arms, self.costs, strict=True)
            for task, seconds in zip(one.tasks, costs.expected_seconds(one, cost), strict=True)
        }

    def left(self) -> list[Task]:
        """The runs that are not done."""
        return [task for task in self.tasks if not work.is_done(task, self.outcomes[task])]

    def run(self, jobs: int = 1) -> dict[str, Any]:
        """Do what is left to do, with `jobs` runs at once, and write the results after each.

        Returns:
            What results.json holds, and the figures' paths.

        Raises:
            UserError: what a training raises, but for numbers that are not finite: such a run is told in the table.
        """
        try:
            with _owned(make_folder(self.experiment.out)):
                return self._run(jobs)
        except KeyboardInterrupt:  # while updates were timed or figures drawn, or it was asked for twice
            done = len(self.tasks) - len(self.left())
            again = shlex.join(["pyro-vrnn", "experiment", str(self.experiment.out)])
            raise KeyboardInterrupt(f"{done} of {len(self.tasks)} runs are done; {again} continues") from None

    def _run(self, jobs: int) -> dict[str, Any]:
        """Do it; see `run`."""
        out = self.experiment.out
        self._keep_plan()
        self._read()  # another process may have ended
        left = self.left()
        progress = _Progress(self, left)
        self._write()  # with the seeds and arms of now
        try:
            if left:
                seconds = sum(progress.expected[task] for task in left)
                self.watch.begin(len(self.tasks) - len(left), len(self.tasks), seconds)
            self.signal = (
                self._in_turn(left, progress)
                if jobs == 1
                else processes.together(left, jobs, self.device, self.carry, self.done, progress.poll)
            )
        finally:
            self.watch.ended()
        results = self._write()
        results["figures"] = [str(path) for path in figures.draw(self.arms, self.outcomes, results, out)]
        return results

    def _keep_plan(self) -> None:
        """Write experiment.toml; results of another plan go, since nobody could read them by this one."""
        path, text = self.experiment.out / FILE, self.experiment.to_toml().encode("utf-8", "surrogateescape")
        if path.is_file() and path.read_bytes() != text:
            with cannot_write(path):
                (self.experiment.out / RESULTS).unlink(missing_ok=True)
        write_bytes(path, text)

    def _write(self) -> dict[str, Any]:
        """The results so far."""
        done = {task: o if work.is_done(task, o) else None for task, o in self.outcomes.items()}
        results = summarise(self.experiment, self.arms, done, self.costs, costs.timing(self.device)[0])
        write_json(self.experiment.out / RESULTS, results)
        table.write(results, self.experiment.out)
        return results

    def done(self, task: Task, outcome: Outcome) -> None:
        """Take a run's outcome, and write the results."""
        self.outcomes[task] = outcome
        self.watch.finished(task, outcome)
        self._write()

    def carry(self, task: Task) -> str:
        """Whether a run can begin: "ready"; "waiting" for the run that it starts from; or "failed" with that one."""
        if task.origin is None:
            return "ready"
        outcome = self.outcomes[task.origin]
        if outcome is None:
            return "waiting"
        return "failed" if outcome["status"] == "failed" else "ready"

    def _in_turn(self, left: list[Task], progress: _Progress) -> int | None:
        """One run after another, in this process; the signal that stopped it."""
        for task in left:
            if self.carry(task) == "failed":
                outcome = work.not_started(task)
            else:
                watch = _Following(self.watch.training(task), progress, task)
                try:
                    outcome = work.carry_out(task, device=self.device, watch=watch)
                except work.Stopped as stopped:
                    return int(stopped.args[0])
            self.done(task, outcome)
        return None


def _read_costs(path: Path) -> dict[str, Any]:
    """What costs.json has, by device; empty where it is not there or damaged."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _holds_anything(out: Path) -> bool:
    return any(child.name != ".lock" for child in out.iterdir())


@contextmanager
def _owned(out: Path) -> Iterator[None]:
    """The folder of an experiment, locked against a second process."""
    lock = filelock.FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        message = f"{out}: another process is running an experiment there"
        raise ConfigError(message, "wait for it, or choose another --out", out) from None
    try:
        yield
    finally:
        lock.release()


class _Progress:
    """How much of the expected time is done, by the updates that each run has made."""

    def __init__(self, runner: Runner, left: Sequence[Task]) -> None:
        self.runner, self.left = runner, left
        self.expected = runner.expected() if left else {}
        self.told = 0.0

    def tell(self, parts: dict[Task, float]) -> None:
        """These parts of these runs are done; those with an outcome are done."""
        if time.monotonic() - self.told > TELL_SECONDS:
            self.told = time.monotonic()
            whole = sum(self.expected[t] for t in self.left if work.is_done(t, self.runner.outcomes[t]))
            self.runner.watch.progressed(whole + sum(self.expected[t] * part for t, part in parts.items()))

    def part(self, task: Task, step: int, seconds: float) -> float:
        """How much of a run is done."""
        steps = task.config.training.max_steps
        return min(1.0, seconds / task.seconds if task.seconds else step / steps if steps else 0.0)

    def poll(self, running: Sequence[Task]) -> None:
        """Ask the files of runs in other processes how far they are."""
        last = {task: rows[-1] for task in running if (rows := read_metrics(task.folder))}
        self.tell({task: self.part(task, row["step"], row.get("seconds", 0.0)) for task, row in last.items()})


class _Following(Observer):
    """Passes a training on to another observer, and tells the experiment's progress."""

    def __init__(self, watch: Observer, progress: _Progress, task: Task) -> None:
        self.watch, self.progress, self.task = watch, progress, task
        self.seconds = 0.0

    def begin(self, step: int, total: int) -> None:
        """Pass it on."""
        self.watch.begin(step, total)

    def stepped(self, step: int) -> None:
        """Pass it on, and tell how far the experiment is."""
        self.watch.stepped(step)
        self.progress.tell({self.task: self.progress.part(self.task, step, self.seconds)})

    def logged(self, row: dict[str, Any]) -> None:
        """Pass it on."""
        self.seconds = row.get("seconds", self.seconds)
        self.watch.logged(row)

    def said(self, message: str) -> None:
        """Pass it on."""
        self.watch.said(message)

    def ended(self) -> None:
        """Pass it on."""
        self.watch.ended()
