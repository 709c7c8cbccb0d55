"""Run notebooks that are percent scripts, and write each with its outputs beside it, as .ipynb: `make notebooks`."""

from __future__ import annotations

import sys
from pathlib import Path

import jupytext
import nbclient


def run(script: Path, to: Path) -> None:
    """Run one in `to`, whose data and runs folders it then uses, and write it there.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell did not run through.
    """
    notebook = jupytext.read(script)
    nbclient.NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(to)}}).execute()
    jupytext.write(notebook, to / f"{script.stem}.ipynb")


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, flush=True)
        run(Path(name), Path(name).resolve().parent)
