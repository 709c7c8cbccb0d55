"""The first updates of known recipes: their bounds and relative speeds must lie in the bands of regress.toml.

    python benchmarks/regress.py [--data FOLDER] [--only chorales-vrnn] [--write]      (make regress)

The bound is that of the first validation after so many updates, nats per step. Speed is told by ratios, which are much
the same on every machine: the time of an update against that of a fixed product of matrices, and of the program
`markov` against `stacked`; both times are of this process's own core. Data is taken from data/ or FOLDER/data; the
chorales are prepared if they are not there, and a recipe without its data is left out and named. `--write` makes the
bands anew.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

import reliability
import tomli_w
import torch

import pyro_vrnn as pv
from pyro_vrnn.data import catalogue
from pyro_vrnn.system.errors import DataError

BANDS = Path(__file__).with_name("regress.toml")
WIDTHS = {"valid_nll_per_step": 0.02, "update / product": 0.5, "markov / stacked": 0.35}
"""How far a number may lie from the one in the file, as a share of it."""
RATIOS = 12
"""Updates that are timed by the program `markov`."""


class Clock(pv.Observer):
    """Notes the time of each update, in seconds of this process."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.last = 0.0

    def begin(self, step: int, total: int) -> None:
        """Training begins."""
        self.last = time.process_time()

    def stepped(self, step: int) -> None:
        """An update is done."""
        now = time.process_time()
        self.times.append(now - self.last)
        self.last = now

    @property
    def typical(self) -> float:
        """Of the updates after the first few."""
        return statistics.median(self.times[3:])


def product() -> float:
    """Seconds of a product of matrices such as models have, the median of many."""
    a, b = torch.randn(512, 256), torch.randn(256, 512)
    times = []
    for _ in range(200):
        started = time.process_time()
        for _ in range(5):
            a @ b
        times.append(time.process_time() - started)
    return statistics.median(times) / 5


def measure(recipe: str, updates: int, data: str | None = None) -> dict[str, float]:
    """Train a recipe for so many updates, and a few by the program markov.

    Args:
        recipe: a shipped name or a file.
        updates: how many; a validation comes after the last.
        data: a data file in the place of the recipe's.

    Returns:
        The bound, and the two ratios.
    """
    given: dict[str, Any] = {"device": "cpu"} | ({} if data is None else {"data": data})
    unit = [product()]
    with tempfile.TemporaryDirectory() as folder:
        stacked, markov = Clock(), Clock()
        pv.train(recipe, out=Path(folder) / "a", max_steps=updates, observer=stacked, **given)
        unit.append(product())
        pv.train(recipe, out=Path(folder) / "b", max_steps=RATIOS, program="markov", observer=markov, **given)
        rows = pv.runs.read_metrics(Path(folder) / "a")
    bound = next(row["valid_nll_per_step"] for row in reversed(rows) if "valid_nll_per_step" in row)
    return {
        "valid_nll_per_step": bound,
        "update / product": stacked.typical / statistics.mean(unit),
        "markov / stacked": markov.typical / stacked.typical,
    }


def faulty(name: str, known: dict[str, float], found: dict[str, float]) -> list[str]:
    """What lies outside its band. A lower bound on the NLL, or a faster update, is a change as well."""
    wrong = []
    for key, value in found.items():
        low, high = known[key] * (1 - WIDTHS[key]), known[key] * (1 + WIDTHS[key])
        if not low <= value <= high:
            wrong.append(f"{name}: {key} is {value:.4g}, not from {low:.4g} to {high:.4g}")
    return wrong


def main() -> int:
    """Run it, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the folder that holds data/", default=Path())
    parser.add_argument("--only", default="", help="recipes whose names begin so")
    parser.add_argument("--write", action="store_true", help="make the bands anew")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.chdir(options.data)
    bands: dict[str, Any] = tomllib.loads(BANDS.read_text("utf-8"))
    rows, wrong = [], []
    for name, band in bands.items():
        if not name.startswith(options.only):
            continue
        try:
            catalogue.find(band["data"])
        except DataError as error:
            print(f"left out, {name}: {error.message}")
            continue
        found = measure(name, band["updates"])
        if options.write:
            band |= {key: float(f"{value:.5g}") for key, value in found.items()}
        new = faulty(name, band, found)
        wrong += new
        rows += [[name, band["updates"], key, f"{value:.4g}", f"{band[key]:.4g} ± {WIDTHS[key]:.0%}"]
                 for key, value in found.items()]  # fmt: skip
        print(*(f"{name}  {key}  {value:.5g}" for key, value in found.items()), *new, sep="\n", flush=True)
    if options.write:
        BANDS.write_text(tomli_w.dumps(bands), "utf-8")
    if rows and not options.only:
        head = ["recipe", "updates", "number", "found", "band"]
        said = f"{len(rows)} numbers, {len(wrong)} outside their bands."
        reliability.record("make regress", {"said": said, "tables": [[head, *rows]]})
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
