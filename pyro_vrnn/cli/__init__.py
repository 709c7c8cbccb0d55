"""pyro-vrnn on the command line: the commands put together. A command parses, calls one function, prints."""

from __future__ import annotations

import sys
from typing import NoReturn

from pyro_vrnn.cli import (  # noqa: F401  (each registers its commands)
    about,
    data,
    drawing,
    evaluating,
    experiment,
    fitting,
    prepare,
    reporting,
    series,
)
from pyro_vrnn.cli.app import app
from pyro_vrnn.cli.terminal import run


def _run(argv: list[str]) -> int:
    return run(app, argv)


def main() -> NoReturn:
    """The console script."""
    sys.exit(_run(sys.argv[1:]))
