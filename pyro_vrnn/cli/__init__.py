"""pyro-vrnn on the command line: the commands put together. A command parses, calls one function, prints."""

from __future__ import annotations

import sys
from typing import NoReturn

from pyro_vrnn.cli import about, data, drawing, fitting  # noqa: F401  (each registers its commands)
from pyro_vrnn.cli.app import app
from pyro_vrnn.cli.terminal import run

ORDER = (
    *("train", "evaluate", "sample", "inspect", "reconstruct", "interpolate", "encode", "compare"),
    *("prepare", "data", "recipes", "config", "bench", "doctor"),
)
"""In which `--help` lists them."""

app.registered_commands.sort(key=lambda c: ORDER.index(getattr(c.callback, "__name__", "")))


def _run(argv: list[str]) -> int:
    return run(app, argv)


def main() -> NoReturn:
    """The console script."""
    sys.exit(_run(sys.argv[1:]))
