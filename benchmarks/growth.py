"""How the time of a training step grows with T, B, H and K: a VRNN, one thing varied at a time; JSON and a figure.

    OMP_NUM_THREADS=1 python benchmarks/growth.py [--repeats 5] [--out docs/figures/growth]

From the small case of `pyro-vrnn bench` (B=16, T=64, X=88, Z=32, H=128, one particle, `elbo`; K > 1 is `iwae`). Loss
and gradients of the stacked program, medians, in milliseconds, beside what the arithmetic alone would take.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import torch

from pyro_vrnn.cli.bench import CASES, Case, time_case
from pyro_vrnn.system.devices import keep_memory

VARIED = {
    "T": (16, 32, 64, 128, 256, 512),
    "B": (4, 16, 64, 256),
    "H": (64, 128, 256, 512, 1024),
    "K": (1, 2, 5, 16, 50),
}


def setting(name: str, value: int) -> Case:
    """The small case with one thing changed; the networks are as wide as H."""
    base = CASES["vrnn-small"]
    if name == "K":
        return replace(base, particles=value, objective="iwae" if value > 1 else "elbo")
    return replace(base, H=value, dims=value) if name == "H" else replace(base, **{name: value})


def measure(repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Rows by what is varied."""
    keep_memory()  # as `train` and `bench` do
    rows: dict[str, list[dict[str, Any]]] = {}
    for name, values in VARIED.items():
        for value in values:
            found = time_case(f"{name}={value}", setting(name, value), repeats=repeats, programs=False)
            row = {name: value, "stacked_ms": found["stacked_ms"], "arithmetic_ms": found["arithmetic_ms"]}
            rows.setdefault(name, []).append(row)
            print(
                f"{name} = {value:4}  {row['stacked_ms']:9.1f} ms  arithmetic {row['arithmetic_ms']:8.1f}", flush=True
            )
    return rows


def draw(rows: dict[str, list[dict[str, Any]]], path: Path) -> None:
    """A panel for each, both axes logarithmic."""
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(rows), figsize=(12, 3), sharey=True, layout="constrained")
    for ax, (name, points) in zip(axes, rows.items(), strict=True):
        at = [p[name] for p in points]
        ax.loglog(at, [p["stacked_ms"] for p in points], "o-", label="step")
        ax.loglog(at, [p["arithmetic_ms"] for p in points], "--", color="0.5", label="arithmetic")
        ax.set_xticks(at, [str(v) for v in at], minor=False)
        ax.minorticks_off()
        ax.set_xlabel(name)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("ms")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("docs/figures/growth"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.repeats)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.with_suffix(".json").write_text(
        json.dumps({"schema": 1, "threads": 1, "growth": rows}, indent=1) + "\n"
    )
    draw(rows, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
