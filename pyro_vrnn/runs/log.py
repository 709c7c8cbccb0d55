"""What is said to people during a training also goes into the run's log.txt, with the time."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyro_vrnn.system.files import cannot_write
from pyro_vrnn.training.observer import Observer


class LoggingObserver(Observer):
    """Passes everything on to another observer, and keeps what is said to people in a file.

    Args:
        watch: the other observer.
    """

    def __init__(self, watch: Observer) -> None:
        self.watch = watch
        self.path: Path | None = None
        """The file; what is said before it is known is kept for it."""
        self.early: list[str] = []

    def begin(self, step: int, total: int) -> None:
        """Pass it on."""
        self.watch.begin(step, total)

    def stepped(self, step: int) -> None:
        """Pass it on."""
        self.watch.stepped(step)

    def logged(self, row: dict[str, Any]) -> None:
        """Pass it on."""
        self.watch.logged(row)

    def ended(self) -> None:
        """Pass it on."""
        self.watch.ended()

    def said(self, message: str) -> None:
        """Pass it on, and write it down."""
        self.watch.said(message)
        self.note(message)

    def note(self, message: str) -> None:
        """Write a line into the file alone."""
        self.early.append(f"{datetime.now(UTC).isoformat(timespec='seconds')} {message}\n")
        if self.path is not None:
            text = "".join(self.early)
            with cannot_write(self.path, len(text)), self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
            self.early.clear()
