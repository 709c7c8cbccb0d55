"""Curves over a training, as PNG files: one run's, and several runs' side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.media.figures import BLUE, GREEN, GREY, ORANGE, RED, headline, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
COLOURS = (BLUE, ORANGE, GREEN, RED, "#CC79A7", "#56B4E9", "#000000")


def training_curves(
    rows: Sequence[Mapping[str, Any]], path: str | Path, title: str = "", best: tuple[int, float] | None = None
) -> None:
    """Draw the rows of a run's `metrics.jsonl`: bound and reconstruction, KL, and KL weight.

    Values that are missing or None are left out. From 100 logged steps on, the bold curve of a training value
    is its moving average over a fiftieth of them. The first few steps, if far above the rest, leave the page.

    Args:
        rows: logged steps (`step`, `loss`, `nll`, `kl`, `beta`) and validations (`step`, `valid_nll_per_step`,
            `valid_kl_per_step`), nats per step of a sequence.
        path: the PNG to write.
        title: shown as it is.
        best: step and value of the best validation, if there is one; the row of a look at a stop may be gone.
    """
    figure = new_figure(9, 6.4)
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[3.4, 1.6, 0.9])
    _curve(top, rows, "loss", GREY, "training loss")
    _curve(top, rows, "nll", ORANGE, "reconstruction, training")
    _curve(top, rows, "valid_nll_per_step", BLUE, "bound, validation", marker="o")
    _curve(middle, rows, "kl", ORANGE, "training")
    _curve(middle, rows, "valid_kl_per_step", BLUE, "validation", marker="o")
    _curve(bottom, rows, "beta", GREEN, "", smooth=False)
    if best is not None:
        step, value = best
        for axes in (top, middle, bottom):
            axes.axvline(step, color=BLUE, linewidth=0.8, linestyle=":", zorder=1)
        label = f"best: {value:.3f} at step {step:,}"
        top.plot([step], [value], "*", markersize=14, color=BLUE, markeredgecolor="white", zorder=5, label=label)
    top.set_ylabel("nats per step")
    middle.set_ylabel("KL\n(nats per step)")
    bottom.set_ylabel("KL weight")
    bottom.set_xlabel("training step")
    bottom.set_ylim(0, 1.15 * max([1.0, *_values(rows, "beta")[1]]))
    middle.set_ylim(0, 1.4 * max([1e-3, *_values(rows, "kl")[1], *_values(rows, "valid_kl_per_step")[1]]))
    bottom.margins(x=0.01)
    _fit_to_most(top)
    for axes in (top, middle):
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8, loc="best", ncols=1 if axes is top else 2)
    headline(top, title)
    figure.align_ylabels()
    save(figure, path)


Group = Sequence[Sequence[Mapping[str, Any]]]
"""The validations of each run of a group: `metrics.jsonl`'s rows with `valid_nll_per_step`."""


def comparison(data: Mapping[str, Mapping[str, Group]], path: str | Path, axes: Mapping[str, str], ylabel: str) -> None:
    """Draw the validation bounds of groups of runs over each of several axes; a row of panels for each data set.

    A group of several runs is its mean, in a band of one standard deviation each way; where the runs were not
    looked at in the same places, between them on straight lines.

    Args:
        data: name of a data set -> name of a group -> its runs.
        path: the PNG to write.
        axes: row's key -> the label of its axis.
        ylabel: what the bound is.
    """
    figure = new_figure(4.2 * len(axes), 1.2 + 3.4 * len(data))
    rows = figure.subplots(len(data), len(axes), sharey="row", squeeze=False)
    styles = [(colour, style) for style in ("-", "--", ":") for colour in COLOURS]
    drawn = 0
    handles: list[Any] = []
    labels: list[str] = []
    for panels, (title, groups) in zip(rows, data.items(), strict=True):
        for name, runs in groups.items():
            for panel, key in zip(panels, axes, strict=True):
                _band(panel, runs, key, *styles[drawn % len(styles)], name)
            drawn += 1
        for panel in panels:
            panel.grid(axis="y", color="#E6E6E6", linewidth=0.7)
        headline(panels[0], title if len(data) > 1 else "")
        panels[0].set_ylabel(ylabel)
        _fit_to_most(panels[0])
        here = panels[0].get_legend_handles_labels()
        handles, labels = handles + here[0], labels + here[1]
    for panel, label in zip(rows[-1], axes.values(), strict=True):
        panel.set_xlabel(label)
    figure.legend(
        handles, labels, frameon=False, fontsize=8, loc="outside lower center", ncols=min(2, len(labels) or 1)
    )
    save(figure, path)


Reached = Mapping[str, Mapping[str, float]]
"""Name of a group -> seed -> value."""


def reached(data: Mapping[str, Mapping[str, Reached]], path: str | Path, xlabel: str) -> None:
    """Draw what each run of several groups reached: a point for each seed, and a bar at their mean.

    The points of one seed are joined by a thin line, since the runs of a seed are pairs. A group has one colour.

    Args:
        data: title of a row of panels -> title of a panel -> name of a group -> seed -> value.
        path: the PNG to write.
        xlabel: what the values are.
    """
    columns = max(len(panels) for panels in data.values())
    heights = [1.0 + 0.36 * max(len(groups) for groups in panels.values()) for panels in data.values()]
    names = list(dict.fromkeys(name for panels in data.values() for groups in panels.values() for name in groups))
    figure = new_figure(4.2 * columns, sum(heights))
    rows = figure.subplots(len(data), columns, squeeze=False, height_ratios=heights)
    for every, (row, panels) in zip(rows, data.items(), strict=True):
        for axes, (title, groups) in zip(every, panels.items(), strict=False):
            _points(axes, groups, names)
            headline(axes, f"{row}: {title}" if len(data) > 1 else title, size=9)
            axes.set_xlabel(xlabel, fontsize=9)
        for axes in every[len(panels) :]:
            axes.set_visible(False)
    save(figure, path)


def _points(axes: Axes, groups: Reached, names: Sequence[str]) -> None:
    """One panel of `reached`."""
    for seed in sorted({seed for values in groups.values() for seed in values}):
        line = [(values[seed], y) for y, values in enumerate(groups.values()) if seed in values]
        axes.plot([x for x, _ in line], [y for _, y in line], color="#CCCCCC", linewidth=0.8, zorder=1)
    for y, (name, values) in enumerate(groups.items()):
        found, colour = list(values.values()), COLOURS[names.index(name) % len(COLOURS)]
        axes.plot(found, [y] * len(found), "o", color=colour, markersize=4.5, alpha=0.7, zorder=2)
        if found:
            axes.plot([sum(found) / len(found)], [y], "|", color=colour, markersize=16, markeredgewidth=2, zorder=3)
    axes.set_yticks(range(len(groups)), [plain(name) for name in groups], fontsize=8)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_ylim(len(groups) - 0.5, -0.5)
    axes.grid(axis="x", color="#E6E6E6", linewidth=0.7)


def _band(panel: Axes, runs: Group, key: str, colour: str, style: str, name: str) -> None:
    """A group's mean and deviation over one axis; nothing if no run has that axis."""
    curves = [
        ([row[key] for row in rows if key in row], [row["valid_nll_per_step"] for row in rows if key in row])
        for rows in runs
    ]
    curves = [curve for curve in curves if curve[0]]
    if not curves:
        return
    at, values = together(curves)
    mean = values.mean(0)
    count = f" ({len(curves)} runs)" if len(curves) > 1 else ""
    marker = "o" if len(at) == 1 else ""
    panel.plot(at, mean, style, marker=marker, color=colour, linewidth=1.6, label=plain(name) + count)
    if len(curves) > 1:
        spread = values.std(0, ddof=1)
        panel.fill_between(at, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)


def together(curves: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[Floats, Floats]:
    """Curves where all of them are: at each place of any of them, between their points on straight lines.

    Args:
        curves: places, ascending, and values of each; at least one point each.

    Returns:
        The places, [N], and the values there, [curves, N].
    """
    low, high = max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves)
    if low > high:  # one was over before another was looked at for the first time: where they were looked at last
        return np.array([np.mean([x[-1] for x, _ in curves])]), np.array([[y[-1]] for _, y in curves], np.float64)
    at = np.unique([v for x, _ in curves for v in x if low <= v <= high]).astype(np.float64)
    return at, np.stack([np.interp(at, x, y) for x, y in curves])


def _values(rows: Sequence[Mapping[str, Any]], key: str) -> tuple[list[int], list[float]]:
    found = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
    return [step for step, _ in found], [value for _, value in found]


def _curve(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    key: str,
    colour: str,
    label: str,
    marker: str = "",
    smooth: bool = True,
) -> None:
    steps, values = _values(rows, key)
    window = 2 * (len(steps) // 100) + 1
    if window > 1 and smooth and not marker:
        label = f"{label} (moving average)"
        axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.35)
        middles = slice(window // 2, len(steps) - window // 2)
        steps, values = steps[middles], np.convolve(values, np.full(window, 1 / window), "valid").tolist()
    if steps:
        axes.plot(steps, values, color=colour, label=label, linewidth=1.6, marker=marker, markersize=3.5)
    axes.grid(axis="y", color="#E6E6E6", linewidth=0.7)


def _fit_to_most(axes: Axes) -> None:
    """Let a first few values far above the rest leave the page, so that the rest can be told apart."""
    lines = [np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()]
    every = np.concatenate([np.empty(0), *(line for line in lines if len(line) > 2)])
    every = every[np.isfinite(every)]
    if len(every) == 0:
        return
    low, most, high = (float(q) for q in np.quantile(every, (0, 0.95, 1)))
    if high > most + (most - low):
        axes.set_ylim(low - 0.08 * (most - low), most + 0.35 * (most - low))


def bound_by_particles(
    points: Sequence[tuple[float, float]],
    path: str | Path,
    title: str = "",
    *,
    errors: Sequence[float | None] = (),
    limit: float | None = None,
) -> None:
    """Draw an upper bound on the NLL over the number of particles that it is estimated with.

    Args:
        points: (K, nats per step).
        path: the PNG to write.
        title: shown as it is.
        errors: standard error of each over repeats, drawn where there is one.
        limit: an extrapolation, drawn as a line of dashes.
    """
    figure = new_figure(6, 3.6)
    panel = figure.subplots()
    counts, values = zip(*points, strict=True)
    known = [error or 0.0 for error in errors] or None
    panel.errorbar(counts, values, yerr=known, fmt="o-", color=BLUE, linewidth=1.6, capsize=3, label="bound")
    for count, value in points:
        panel.annotate(f"{value:.3f}", (count, value), (4, 6), textcoords="offset points", fontsize=8)
    if limit is not None:
        panel.axhline(limit, color=ORANGE, linestyle="--", linewidth=1, label=f"extrapolated: {limit:.3f} (no bound)")
    panel.set_xscale("log")
    panel.margins(x=0.12, y=0.18)
    panel.set_xlabel("particles K")
    panel.set_ylabel("NLL, nats per step")
    panel.grid(axis="y", color="#E6E6E6", linewidth=0.7)
    panel.legend(frameon=False, fontsize=8)
    headline(panel, title)
    save(figure, path)


def drift_by_second(
    drifts: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    real: tuple[Sequence[float], Sequence[float]],
    path: str | Path,
    title: str = "",
) -> None:
    """Draw energy and spectral distance of continuations over their seconds, and of real sound beside.

    Args:
        drifts: name -> energy and distance, dB, [S] each.
        real: the same two of real sound.
        path: the PNG to write.
        title: shown as it is.
    """
    figure = new_figure(9, 5)
    panels = figure.subplots(2, 1, sharex=True)
    for n, (panel, label) in enumerate(zip(panels, ("energy (dB)", "spectral distance (dB)"), strict=True)):
        panel.fill_between(
            [0.5, len(real[n]) + 0.5], min(real[n]), max(real[n]), color=GREY, alpha=0.18, linewidth=0,
            label="real sound, lowest to highest",
        )  # fmt: skip
        mark = "o" if len(real[n]) == 1 else ""  # one second is a point
        panel.plot(range(1, len(real[n]) + 1), real[n], color=GREY, marker=mark, linewidth=1.2, label="real sound")
        styles = [(colour, style) for style in ("-", "--") for colour in COLOURS]
        for (name, values), (colour, style) in zip(drifts.items(), styles, strict=False):
            marker = "o" if len(values[n]) == 1 else ""
            seconds = range(1, len(values[n]) + 1)
            panel.plot(seconds, values[n], style, marker=marker, color=colour, linewidth=1.6, label=plain(name))
        panel.set_ylabel(label)
        panel.grid(axis="y", color="#E6E6E6", linewidth=0.7)
        panel.set_xlim(0.5, len(real[n]) + 0.5)
    panels[1].set_ylim(bottom=0)
    panels[1].set_xlabel("second of the continuation")
    figure.legend(
        *panels[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=4
    )
    headline(panels[0], title)
    figure.align_ylabels()
    save(figure, path)
