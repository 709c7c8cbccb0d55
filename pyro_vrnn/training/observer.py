"""What a caller may watch of a training, and how a training ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
