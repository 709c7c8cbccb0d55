"""The drift of every run of an experiment on sound, as a table and a figure, and the curves of its errors.

    pyro-vrnn experiment audio-drift --jobs 2
    OMP_NUM_THREADS=1 python benchmarks/audio_drift.py runs/audio-drift [--seconds 60] [--out docs/figures]

`evaluate RUN --drift` for each run of each arm; means over seeds. The error is the mean square of the difference
between a sample and its prediction, over the variance of the training split, so 1 is what the mean predicts; of
training as the model was trained, with noise and dropout, and of validation without.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

import pyro_vrnn as pv
from pyro_vrnn.media.curves import COLOURS, drift_by_second
from pyro_vrnn.media.figures import headline, new_figure, save
from pyro_vrnn.runs.drift import Drift
from pyro_vrnn.runs.folder import read_metrics
from pyro_vrnn.system.files import write_json

COLUMNS = ("energy_db", "distance_db", "real_energy_db", "real_distance_db")
Curves = dict[str, list[list[tuple[int, float]]]]


def errors(run: pv.Run, key: str) -> list[tuple[int, float]]:
    """Update and error of each row of metrics.jsonl that has this NLL of a Gaussian of deviation 1."""
    data = run.data(split="train")
    variance = float(np.mean([np.var(data[i]) for i in range(0, len(data), 10)]))
    rows = [(row["step"], row[key] / run.format.frame_length) for row in read_metrics(run.folder) if key in row]
    return [(step, 2 * (nll - 0.5 * math.log(2 * math.pi)) / variance) for step, nll in rows]


def measured(run: pv.Run, seconds: int) -> Drift:
    """The drift of a run, from RUN/drift-SECONDS.json if it was measured before."""
    path = run.folder / f"drift-{seconds}.json"
    if not path.exists():
        write_json(path, run.drift(seconds).as_dict())
    return Drift(**json.loads(path.read_text("utf-8")))


def draw_errors(training: Curves, validation: Curves, path: Path) -> None:
    """Training and validation error over updates, side by side; means over seeds."""
    figure = new_figure(9, 3.4)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, title, curves in zip(panels, ("training", "validation"), (training, validation), strict=True):
        for (name, runs), colour in zip(curves.items(), COLOURS, strict=False):
            steps = [step for step, _ in runs[0]]
            panel.plot(steps, np.mean([[v for _, v in run] for run in runs], axis=0), color=colour, label=name)
        panel.set_xlabel("update")
        panel.grid(axis="y", color="#E6E6E6", linewidth=0.7)
        panel.set_ylim(0, 1.05)
        headline(panel, title, size=9)
    panels[0].set_ylabel("squared error / variance")
    figure.legend(
        *panels[1].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=6
    )
    save(figure, path)


def main() -> None:
    """Measure, print the table, and draw two figures."""
    arguments: Any = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("folder", type=Path, help="what `pyro-vrnn experiment` wrote")
    arguments.add_argument("--seconds", type=int, default=60)
    arguments.add_argument("--out", type=Path, default=Path("docs/figures"))
    arguments.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    given = arguments.parse_args()
    names = [
        arm["arm"] for s in json.loads((given.folder / "results.json").read_text())["sections"] for arm in s["arms"]
    ]
    found: dict[str, list[Drift]] = {}
    training, validation = {}, {}
    for name in names:
        runs = [pv.load(given.folder / "runs" / name / f"seed-{seed}") for seed in given.seeds]
        found[name] = [measured(run, given.seconds) for run in runs]
        training[name] = [errors(run, "nll") for run in runs]
        validation[name] = [errors(run, "valid_nll_per_step") for run in runs]
    told = [s for s in (1, 2, 10, 60) if s <= given.seconds]
    print("arm | validation error | energy, dB, at " + ", ".join(f"{s} s" for s in told) + " | spectral distance, dB")
    for name in names:
        best = [min(v for _, v in curve) for curve in validation[name]]
        at = [" · ".join(spread([vars(d)[key][s - 1] for d in found[name]]) for s in told) for key in COLUMNS[:2]]
        print(f"{name} | {spread(best, 3)} | {at[0]} | {at[1]}")
    means = {
        name: [np.mean([vars(d)[key] for d in runs], axis=0).tolist() for key in COLUMNS]
        for name, runs in found.items()
    }
    real = means[names[0]][2:]
    print("real sound |  | " + " | ".join(" · ".join(f"{column[s - 1]:.1f}" for s in told) for column in real))
    title = f"Continuations of real sound, {found[names[0]][0].num} for each run, {len(found[names[0]])} runs each"
    own = {name: (columns[0], columns[1]) for name, columns in means.items()}
    drift_by_second(own, (real[0], real[1]), given.out / f"{given.folder.name}.png", title)
    draw_errors(training, validation, given.out / f"{given.folder.name}-errors.png")


def spread(values: list[float], digits: int = 1) -> str:
    """Mean and deviation over seeds."""
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


if __name__ == "__main__":
    main()
