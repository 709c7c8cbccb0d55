"""What people see while they wait: rich bars on a terminal, one plain line now and then elsewhere. All on stderr."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from pyro_vrnn.system.durations import duration
from pyro_vrnn.training.observer import Observer

PLAIN_SECONDS = 10.0
"""Between two plain lines where there is no terminal."""


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text("" if task.speed is None else f"{task.speed:.1f}/s", style="progress.data.speed")


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )


class _Careful(Console):
    """A console that falls silent when whoever read it has gone: a training does not end with its terminal."""

    def on_broken_pipe(self) -> None:
        """Rich would end the program here."""
        self.quiet = True
        self.file = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def stderr_console() -> Console:
    """stderr, for people."""
    return _Careful(stderr=True)


class ConsoleObserver(Observer):
    """Shows a training: loss, -log p(x|z), KL, beta, updates per second, time left, and each validation."""

    def __init__(self, console: Console, *, quiet: bool = False, max_seconds: float | None = None) -> None:
        self.console, self.quiet = console, quiet
        self.max_seconds, self.began = max_seconds, time.monotonic()
        self.progress: Progress | None = None
        self.total, self.spoke = 0, 0.0
        self.valid = ""

    def begin(self, step: int, total: int) -> None:
        """Start the bar."""
        self.total, self.began = total, time.monotonic()
        if self.console.is_terminal and not self.quiet:
            self.progress = _bar(self.console)
            self.progress.start()
            self.task = self.progress.add_task("training", total=total, completed=step, note="")

    def stepped(self, step: int) -> None:
        """Move the bar."""
        if self.progress is not None:
            self.progress.update(self.task, completed=step)

    def logged(self, row: dict[str, Any]) -> None:
        """Show a row of metrics.jsonl."""
        if "valid_nll_per_step" in row:
            star = " (best)" if row["best"] else ""
            self.valid = f"valid {row['valid_nll_per_step']:.3f}{star}"
            return
        text = f"loss {row['loss']:.3f}  -log p(x|z) {row['nll']:.3f}  kl {row['kl']:.3f}  beta {row['beta']:.2f}"
        text += f"  {self.valid}"
        if self.progress is not None:
            self.progress.update(self.task, note=text)
        elif not self.quiet and time.monotonic() - self.spoke > PLAIN_SECONDS:
            self.spoke = time.monotonic()
            left = (self.total - row["step"]) / max(row["steps_per_second"], 1e-9)
            if self.max_seconds is not None:
                left = min(left, max(0.0, self.max_seconds - (time.monotonic() - self.began)))
            rate = f"{row['steps_per_second']:.1f}/s, {duration(left)} left"
            self.console.print(escape(f"step {row['step']}/{self.total}  {text}  {rate}"), soft_wrap=True)

    def said(self, message: str) -> None:
        """One line."""
        if not self.quiet:
            self.console.print(escape(message), soft_wrap=True, highlight=False)

    def ended(self) -> None:
        """Take the bar away."""
        if self.progress is not None:
            self.progress.stop()
            self.progress = None


@contextmanager
def counting(console: Console, what: str, *, quiet: bool = False) -> Iterator[Any]:
    """A bar for anything that calls back with (done, in all); the callback is what is yielded."""
    if quiet:
        yield lambda done, total: None
    elif console.is_terminal:
        with _bar(console) as progress:
            task = progress.add_task(what, total=None, note="")
            yield lambda done, total: progress.update(task, completed=done, total=total)
    else:
        spoke = time.monotonic()

        def plainly(done: int, total: int) -> None:
            nonlocal spoke
            if time.monotonic() - spoke > PLAIN_SECONDS:
                spoke = time.monotonic()
                console.print(escape(f"{what}: {done}/{total}"), soft_wrap=True)

        yield plainly
