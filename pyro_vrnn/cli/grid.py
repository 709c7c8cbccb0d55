"""What people see of an experiment while they wait: a bar over all runs, the time left, and the present run's line."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pyro_vrnn.cli.console import PLAIN_SECONDS
from pyro_vrnn.experiments.runner import Outcome, Watch
from pyro_vrnn.experiments.tasks import Task
from pyro_vrnn.system.durations import duration
from pyro_vrnn.training.observer import Observer


class GridConsole(Watch):
    """Shows an experiment on stderr."""

    def __init__(self, console: Console, *, quiet: bool) -> None:
        self.console, self.quiet = console, quiet
        self.progress: Progress | None = None
        self.runs = self.done = 0
        self.total = 0.0
        self.began = self.spoke = time.monotonic()

    def begin(self, done: int, runs: int, seconds: float) -> None:
        """Start the bar, whose unit is the expected second."""
        self.runs, self.done, self.total = runs, done, seconds
        self.began = self.spoke = time.monotonic()
        if done:
            self.said(f"{done} of {runs} runs are done already")
        if self.console.is_terminal and not self.quiet:
            columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TaskProgressColumn()
            note = TextColumn("{task.fields[note]}")
            self.progress = Progress(*columns, TimeRemainingColumn(), note, console=self.console, transient=True)
            self.progress.start()
            self.bar = self.progress.add_task(self._count(), total=max(seconds, 1e-9), note="")

    def training(self, task: Task) -> Observer:
        """Show the present run's line."""
        return _Line(self, f"{task.arm}, seed {task.seed}")

    def progressed(self, seconds: float) -> None:
        """Move the bar; without a terminal, a line now and then."""
        if self.progress is not None:
            self.progress.update(self.bar, completed=seconds)
        elif time.monotonic() - self.spoke > PLAIN_SECONDS:
            self.spoke = time.monotonic()
            passed = self.spoke - self.began
            left = passed / seconds * (self.total - seconds) if seconds > 0 else self.total
            self.said(f"{self._count()}, {100 * seconds / max(self.total, 1e-9):.0f}%, {duration(left)} left")

    def finished(self, task: Task, outcome: Outcome) -> None:
        """Tell what became of a run, in a line that stays."""
        self.done += 1
        said = [f"{title} {found['nll_per_step']:.3f}" for title, found in outcome["bounds"].items()]
        bounds = "  ".join([*said, *(f"{title} is not finite" for title in outcome.get("unscored", {}))])
        if outcome["status"] == "failed":
            bounds = f"failed after update {outcome['steps']}: {outcome['message']}"
        self.said(f"{self.done}/{self.runs}  {task.arm}, seed {task.seed}: {bounds}")
        if self.progress is not None:
            self.progress.update(self.bar, description=self._count(), note="")

    def said(self, message: str) -> None:
        """One line."""
        if not self.quiet:
            self.console.print(escape(message), soft_wrap=True, highlight=False)

    def counting(self, what: str) -> Callable[[int, int], None]:
        """Say once that this takes a moment."""
        self.said(f"{what} …")
        return lambda done, total: None

    def ended(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None

    def note(self, text: str) -> None:
        """Say something beside the bar."""
        if self.progress is not None:
            self.progress.update(self.bar, note=escape(text))

    def _count(self) -> str:
        return f"run {min(self.done + 1, self.runs)}/{self.runs}"


class _Line(Observer):
    """The present run, in a line beside the bar; what a training says is in its own log.txt."""

    def __init__(self, console: GridConsole, name: str) -> None:
        self.console, self.name, self.total = console, name, 0
        self.valid = ""

    def begin(self, step: int, total: int) -> None:
        """Show its name."""
        self.total = total
        self.console.note(self.name)

    def logged(self, row: dict[str, Any]) -> None:
        """Show a row of metrics.jsonl."""
        if "valid_nll_per_step" in row:
            self.valid = f"  valid {row['valid_nll_per_step']:.3f}"
        else:
            self.console.note(f"{self.name}: {row['step']}/{self.total}  loss {row['loss']:.3f}{self.valid}")
