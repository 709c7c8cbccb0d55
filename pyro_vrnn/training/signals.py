"""Signals that ask a training to stop: it ends after the update at hand, and is saved."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any

SIGNALS = [signal.SIGINT, signal.SIGTERM]
if sys.platform != "win32":
    SIGNALS.append(signal.SIGHUP)


class Interrupted(Exception):
    """A signal came while something longer than a step was under way; nothing of it counts."""


class Stop:
    """SIGINT, SIGTERM and SIGHUP ask for a stop after the step at hand; a second one stops at once.

    A signal that the parent ignores (nohup, `&`) stays ignored. Only the main thread can set handlers.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self, done: int, total: int) -> None:
        """For callbacks of longer work.

        Raises:
            Interrupted: a stop was asked for.
        """
        if self.signal is not None:
            raise Interrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
