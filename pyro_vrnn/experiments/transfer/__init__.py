"""From a trained model to a supervised network: what was learned without labels, when few sequences have one.

Fabius & van Amersfoort (2014, arXiv:1412.6581) propose to start a supervised recurrent network from the weights and
the state of a trained VRAE's encoder. `transfer` measures it: `labelled` finds the labels, `classifiers` fits one,
`comparison` fits all of them, `results` writes what they say.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyro_vrnn.experiments.transfer import results
from pyro_vrnn.experiments.transfer.comparison import compare
from pyro_vrnn.runs.trained import Trained


def transfer(run: Trained, *, out: str | Path | None = None, **options: Any) -> dict[str, Any]:
    """Compare a supervised network that starts from a run with one that starts cold, and write what comes of it.

    Args:
        run: as `pyro_vrnn.load` gives it.
        out: the folder for results.json, table.md, results.csv and transfer.png; RUN/transfer by default.
        options: those of `comparison.compare`, which says what they are and what is raised.

    Returns:
        What results.json holds.
    """
    folder = run.output("transfer") if out is None else Path(out)
    found = compare(run, **options)
    return {**found, "files": [str(file) for file in results.write(found, folder)]}
