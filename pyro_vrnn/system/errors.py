"""What can go wrong for a reason a user can act on, and the exit code that says which kind it was.

Each is a `ValueError` with a hint, so that Python callers can catch them as such: the hint is a note, which tracebacks
show below the message. The command line prints `error:` and `hint:` and exits with `exit_code`. Anything else that
escapes is a bug (exit code 1).
"""

from __future__ import annotations

import difflib
from pathlib import Path

LONGEST = 2500
"""Characters of a message, in whose middle more is left out: a damaged file may have one word of a megabyte."""


class UserError(ValueError):
    """Base: a message, what to do about it, and the file it is about.

    Args:
        message: what is wrong, with the offending value; control characters of a hostile file are escaped.
        hint: what to do instead (one line).
        path: the file or folder concerned, if any.
    """

    exit_code = 1
    kind = "bug"

    def __init__(self, message: str, hint: str = "", path: str | Path | None = None) -> None:
        self.message = one_line(message)
        if len(self.message) > LONGEST:
            self.message = f"{self.message[: LONGEST - 503]} … {self.message[-500:]}"
        super().__init__(self.message)
        self.hint = ""
        self.path = None if path is None else str(path)
        self.also(hint)

    def also(self, hint: str) -> None:
        """Add what else there is to say, behind the hint; nothing if it is empty."""
        if hint:
            self.hint = "; ".join(part for part in (self.hint, hint) if part)
            self.add_note(f"hint: {hint}")


class ConfigError(UserError):
    """Usage or configuration: an unknown name, a value out of range, settings that contradict each other."""

    exit_code, kind = 2, "config"


class DataError(UserError):
    """A data file or source that is missing, malformed, empty, non-finite or of the wrong kind."""

    exit_code, kind = 3, "data"


class CheckpointError(UserError):
    """A run or checkpoint that is missing, damaged, or of another model."""

    exit_code, kind = 4, "checkpoint"


class NumericsError(UserError):
    """NaN or infinity in a loss, gradient or sample."""

    exit_code, kind = 5, "numbers"


class ResourceError(UserError):
    """Out of disk or memory."""

    exit_code, kind = 6, "resources"


class DeviceError(UserError):
    """A device that is not there."""

    exit_code, kind = 7, "device"


def one_line(text: str) -> str:
    """Control characters escaped: a name with a newline stays one line, and a terminal is told nothing."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: BaseException) -> str:
    """What a library says is wrong, in one line; it may quote thousands of characters of a damaged file."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip()


def choose(what: str, name: str, known: object) -> ConfigError:
    """The error for an unknown name: `model 'lstm': choose from rnn, vrnn`."""
    names = sorted(str(k) for k in known)  # type: ignore[attr-defined]
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"did you mean {close[0]}?" if close else ""
    return ConfigError(f"{what} {name!r}: choose from {', '.join(names)}", hint)


def check_seed(seed: int) -> int:
    """The seed, if torch takes it; else ConfigError."""
    if not 0 <= seed < 1 << 63:
        raise ConfigError(f"--seed {seed}: must be from 0 to {(1 << 63) - 1}")
    return seed


def at_least(name: str, value: float, least: float) -> None:
    """ConfigError unless value >= least."""
    if not value >= least:
        raise ConfigError(f"{name}={value}: must be at least {least}", f"set {name} to {least} or more")
