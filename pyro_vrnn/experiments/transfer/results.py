"""The table and the figure of a transfer, and its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.experiments.table import grid
from pyro_vrnn.experiments.transfer.comparison import ARMS, COLD
from pyro_vrnn.media.curves import COLOURS
from pyro_vrnn.media.figures import GREY, headline, new_figure, save
from pyro_vrnn.media.tables import write_rows
from pyro_vrnn.system.files import make_folder, write_bytes, write_json

NAMES = ("results.json", "table.md", "results.csv", "transfer.png")
NUMBERS = ("mean", "deviation")
DIFFERENCES = ("mean", "low", "high", "wins")


def write(found: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write all files of a transfer: results.json, table.md, results.csv and transfer.png."""
    folder = make_folder(folder)
    numbers, table, rows, figure = files = [folder / name for name in NAMES]
    # The numbers first: they took the time, and all else can be made from them.
    write_json(numbers, {**found, "files": [str(file) for file in files]})
    write_bytes(table, ("\n".join(markdown(found)) + "\n").encode())
    write_rows(rows, ["share", "arm", "labelled", "seed", "accuracy", "log_loss", "updates"], _rows(found))
    draw(found, figure)
    return files


def _rows(found: Mapping[str, Any]) -> list[list[object]]:
    keys = ("share", "arm", "labelled", "seed", "accuracy", "log_loss", "updates")
    return [[score[key] for key in keys] for score in found["scores"]]


def markdown(found: Mapping[str, Any]) -> list[str]:
    """The lines of table.md."""
    counts, seeds, chance = found["sequences"], found["seeds"], found["frequencies"]
    what = "windows" if found["window"] else "sequences"
    lines = [
        f"# Transfer of {found['run']} ({found['model']})",
        "",
        f"{len(found['classes'])} classes ({found['labels']}); {counts['train']} {what} for training, "
        f"{counts['valid']} for validation, all labels of which are used, {counts['test']} for test.",
    ]
    if gone := {split: n for split, n in found["left_out"].items() if n}:
        lines += [f"Left out, for want of a label that train has: {', '.join(f'{n} of {s}' for s, n in gone.items())}."]
    lines += [
        f"The frequencies of the training labels alone: accuracy {chance['accuracy']:.3f}, "
        f"log-loss {chance['log_loss']:.3f}.",
        f"On test, {'mean ± standard deviation over' if len(seeds) > 1 else 'with'} {len(seeds)} "
        f"seed{'s' if len(seeds) > 1 else ''}; log-loss in nats a sequence.",
    ]
    if len(seeds) > 1:
        lines += [
            f"In brackets: the difference from {COLD}, paired by seed, its 95% interval (Student's t), and in how many "
            "seeds it is better.",
        ]
    rows = []
    for share in found["shares"]:
        for i, arm in enumerate(share["arms"]):
            label = f"{share['share']:g}%: {share['labelled']}" if i == 0 else ""
            cells = [_cell(arm, "accuracy"), _cell(arm, "log_loss")]
            rows.append([label, arm["arm"], *cells, f"{arm['updates']:.0f}" if arm["updates"] else "-"])
    lines += ["", *grid(["labels", "classifier", "accuracy", "log-loss", "best update"], rows), ""]
    return [*lines, *(f"- {arm}: {words}" for arm, words in ARMS.items())]


def _cell(arm: Mapping[str, Any], measure: str) -> str:
    """A mean with its deviation, and the difference from the cold network."""
    own, other = arm[measure], (arm["difference"] or {}).get(measure)
    text = f"{own['mean']:.3f}" + ("" if own["deviation"] is None else f" ± {own['deviation']:.3f}")
    if other is None:
        return text
    if other["low"] is None:
        return f"{text} ({other['mean']:+.3f})"
    return (
        f"{text} ({other['mean']:+.3f} [{other['low']:+.3f}, {other['high']:+.3f}], {other['wins']}/{other['seeds']})"
    )


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Draw accuracy and log-loss by the share of labels, and the learning curves of the networks on validation."""
    shares = found["shares"]
    figure = new_figure(10, 7.2)
    (top,), (bottom,) = figure.subfigures(2, 1, squeeze=False)
    panels = top.subplots(1, 2, squeeze=False)[0]
    for panel, measure, title in zip(panels, ("accuracy", "log_loss"), ("accuracy", "log-loss, nats"), strict=True):
        for (i, arm), colour in zip(enumerate(ARMS), COLOURS, strict=False):
            own = [share["arms"][i][measure] for share in shares]
            # Side by side, so that bars can be told apart.
            at = [share["labelled"] * 1.03 ** (i - 2) for share in shares]
            means, bars = [v["mean"] for v in own], [v["deviation"] or 0.0 for v in own]
            panel.errorbar(at, means, yerr=bars, fmt="o-", color=colour, capsize=2.5, markersize=4, label=arm)
        panel.axhline(found["frequencies"][measure], color=GREY, linestyle=":", label="label frequencies alone")
        panel.set_xscale("log")
        panel.set_xticks([s["labelled"] for s in shares], [f"{s['labelled']}\n{s['share']:g}%" for s in shares])
        panel.minorticks_off()
        panel.set_xlabel("labelled sequences")
        panel.set_ylabel(f"{title}, test")
        panel.grid(axis="y", color="#E6E6E6", linewidth=0.7)
    panels[0].set_ylim(0, 1.02)
    _limit(panels[1], [s["arms"][i]["log_loss"]["mean"] for s in shares for i in range(len(ARMS))], found)
    top.legend(*panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=6)
    curves = bottom.subplots(1, len(shares), sharey=True, squeeze=False)[0]
    for panel, share in zip(curves, shares, strict=True):
        for arm, colour in zip(ARMS, COLOURS, strict=False):
            runs = [s["curve"] for s in found["scores"] if s["arm"] == arm and s["share"] == share["share"]]
            _curves(panel, [run for run in runs if run], colour, arm)
        panel.set_xlabel("update")
        panel.grid(axis="y", color="#E6E6E6", linewidth=0.7)
        headline(panel, f"{share['labelled']} labels, {share['share']:g}%", size=9)
    curves[0].set_ylabel("accuracy, validation")
    curves[0].set_ylim(0, 1.02)
    curves[0].legend(frameon=False, fontsize=8, loc="best")
    save(figure, path)


def _limit(panel: Any, values: Sequence[float], found: Mapping[str, Any]) -> None:
    """Let log-losses that are far worse than the label frequencies leave the page."""
    panel.set_ylim(0, min(1.1 * max(values), 2.0 * found["frequencies"]["log_loss"]))


def _curves(panel: Any, runs: Sequence[Sequence[Sequence[float]]], colour: str, name: str) -> None:
    """A thin line for each seed, and their mean as far as all of them go."""
    if not runs:
        return
    for run in runs:
        panel.plot([row[0] for row in run], [row[1] for row in run], color=colour, linewidth=0.6, alpha=0.4)
    shortest = min(len(run) for run in runs)
    mean = np.mean([[row[1] for row in run[:shortest]] for run in runs], axis=0)
    panel.plot([row[0] for row in runs[0][:shortest]], mean, color=colour, linewidth=1.8, label=name)
