"""A logger whose failures end itself and not the training: a full disk, a network that is gone, a bug of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyro_vrnn.config import RunConfig
from pyro_vrnn.system.errors import UserError
from pyro_vrnn.training.observer import Observer


class Harmless(Observer):
    """Passes everything on to a logger until it fails; that is said once, and metrics.jsonl has what it has not.

    Args:
        name: of the logger, for what is said.
        logger: the logger.
        say: takes one line for people.
    """

    def __init__(self, name: str, logger: Observer, say: Callable[[str], None]) -> None:
        self.name, self.logger, self.say = name, logger, say
        self.on = True

    def opened(self, run: Path, settings: RunConfig) -> None:
        """Pass it on."""
        self._try(lambda: self.logger.opened(run, settings))

    def begin(self, step: int, total: int) -> None:
        """Pass it on."""
        self._try(lambda: self.logger.begin(step, total))

    def stepped(self, step: int) -> None:
        """Pass it on."""
        self._try(lambda: self.logger.stepped(step))

    def logged(self, row: dict[str, Any]) -> None:
        """Pass it on."""
        self._try(lambda: self.logger.logged(row))

    def said(self, message: str) -> None:
        """Pass it on."""
        self._try(lambda: self.logger.said(message))

    def ended(self) -> None:
        """Pass it on."""
        self._try(self.logger.ended)

    def _try(self, call: Callable[[], None]) -> None:
        if not self.on:
            return
        try:
            call()
        except Exception as error:  # whatever it is, it is told, and the training is worth more than its log
            self.on = False
            with contextlib.suppress(Exception):  # of a logger that has failed already, which is told below
                self.logger.ended()
            what = error.message if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
            line = " ".join(what.split())
            self.say(
                f"warning: --log {self.name} has stopped ({line}); the training continues, and metrics.jsonl is whole"
            )
