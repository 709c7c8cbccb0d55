"""What people see while an estimator is fitted: a bar on a terminal, a bar in a notebook, or a line now and then."""

from __future__ import annotations

import html
import time
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pyro_vrnn.training.observer import Observer

PLAIN_SECONDS = 10.0
"""Between two plain lines where there is neither a terminal nor a notebook."""
REDRAW_SECONDS = 0.2
"""Between two pictures of the bar in a notebook."""


class FitProgress(Observer):
    """Shows how far a fit is, with the bounds of training and validation, on stderr or in the notebook's cell.

    Notebooks get HTML's own progress element, which needs no widgets.

    Args:
        name: of the estimator.
        console: where to; stderr by default.
    """

    def __init__(self, name: str, console: Console | None = None) -> None:
        self.name, self.console = name, Console(stderr=True) if console is None else console
        self.bar: Progress | None = None
        self.cell: Any = None
        self.total, self.step, self.spoke = 0, 0, time.monotonic()
        self.note, self.valid = "", ""

    def begin(self, step: int, total: int) -> None:
        """Start the bar."""
        self.step, self.total = step, total
        if self.console.is_jupyter:
            from IPython.display import HTML, display  # a notebook is there, so this is too

            self.cell = display(HTML(self.picture()), display_id=True)
        elif self.console.is_terminal:
            columns = [TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn()]
            note = TextColumn("{task.fields[note]}")
            self.bar = Progress(*columns, TimeRemainingColumn(), note, console=self.console, transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.name, total=total, completed=step, note="")

    def stepped(self, step: int) -> None:
        """Move the bar."""
        self.step = step
        if self.bar is not None:
            self.bar.update(self.task, completed=step, note=escape(f"{self.note}  {self.valid}"))
        elif self.cell is not None:
            self.draw(REDRAW_SECONDS)

    def logged(self, row: dict[str, Any]) -> None:
        """Show a row of metrics.jsonl."""
        if "valid_nll_per_step" in row:
            self.valid = f"validation NLL {row['valid_nll_per_step']:.3f} nats per step"
        else:
            self.note = f"loss {row['loss']:.3f}"
        if self.bar is None and self.cell is None and time.monotonic() - self.spoke > PLAIN_SECONDS:
            self.spoke = time.monotonic()
            self.tell(f"step {self.step}/{self.total}  {self.note}  {self.valid}")

    def ended(self) -> None:
        """Take the bar away, and leave one line."""
        last = f"{self.step} updates  {self.note}  {self.valid}"
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        if self.cell is not None:
            self.draw(0.0)
        else:
            self.tell(last)

    def tell(self, line: str) -> None:
        """One line on the console."""
        self.console.print(escape(f"{self.name}: {line}"), soft_wrap=True, highlight=False)

    def draw(self, seconds: float) -> None:
        """The bar in the notebook anew, if the last one is so many seconds old."""
        from IPython.display import HTML

        if time.monotonic() - self.spoke >= seconds:
            self.spoke = time.monotonic()
            self.cell.update(HTML(self.picture()))

    def picture(self) -> str:
        """The bar as HTML."""
        label = html.escape(f"{self.step}/{self.total}  {self.note}  {self.valid}")
        bar = f'<progress value="{self.step}" max="{max(self.total, 1)}"></progress>'
        return f'<div style="font-family: monospace">{html.escape(self.name)} {bar} {label}</div>'
