"""Figures of time series: holes filled, with their intervals; and what comes after a series, as a fan."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyro_vrnn.media.figures import BLUE, ORANGE, PRIME, headline, new_figure, plain, save
from pyro_vrnn.media.medium import Array
from pyro_vrnn.media.pictures import MOST_LINES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_BEFORE = 4
"""A fan is drawn with so many times its own steps before it; but at least SOME."""
SOME = 60


def imputed(
    mean: Array, low: Array, high: Array, missing: Array, path: str | Path, *, names: Sequence[str], title: str
) -> None:
    """Draw what was observed as lines with gaps, and the means and intervals of what was not; the first columns.

    Args:
        mean, low, high: without holes, [T, X].
        missing: where holes were, [T, X] bool.
        path: the PNG to write.
        names: of the columns.
        title: shown as it is.
    """
    holed = np.argsort(~missing.any(0), kind="stable")[:MOST_LINES]  # columns with holes first
    figure, panels = _panels(sorted(holed.tolist()), names, title)
    steps = np.arange(1, len(mean) + 1)
    for j, panel in panels.items():
        hole = missing[:, j]
        panel.plot(steps, np.where(hole, np.nan, mean[:, j]), color=PRIME, linewidth=1.1, label="observed")
        _alone(panel, steps, np.where(hole, np.nan, mean[:, j]))
        edge = hole | np.r_[hole[1:], False] | np.r_[False, hole[:-1]]  # the band reaches what is around the hole
        panel.fill_between(
            steps, low[:, j], high[:, j], where=edge, color=ORANGE, alpha=0.35, linewidth=0, label="80% interval"
        )
        panel.plot(steps, np.where(edge, mean[:, j], np.nan), color=BLUE, linewidth=0.9, linestyle="--")
        panel.plot(steps[hole], mean[hole, j], ".", color=BLUE, markersize=4, label="mean of what is missing")
    _finish(figure, panels, path)


def fan(
    given: Array,
    levels: Array,
    quantiles: Sequence[float],
    mean: Array,
    path: str | Path,
    *,
    names: Sequence[str],
    title: str,
) -> None:
    """Draw the end of a series, and the forecast after it: its mean, and a band between each pair of quantiles.

    Args:
        given: the series, NaN where a value is missing, [T, X].
        levels: [quantiles, N, X].
        quantiles: which they are, rising.
        mean: [N, X].
        path: the PNG to write.
        names: of the columns.
        title: shown as it is.
    """
    figure, panels = _panels(list(range(min(given.shape[1], MOST_LINES))), names, title)
    first = max(0, len(given) - max(SOME, MOST_BEFORE * len(mean)))
    before, after = np.arange(first, len(given)) + 1, np.arange(len(given), len(given) + len(mean)) + 1
    pairs = len(quantiles) // 2
    for j, panel in panels.items():
        panel.plot(before, given[first:, j], color=PRIME, linewidth=1.1, label="given")
        _alone(panel, before, given[first:, j])
        for k in range(pairs):
            share = quantiles[-1 - k] - quantiles[k]
            panel.fill_between(
                after, levels[k, :, j], levels[-1 - k, :, j], color=ORANGE, linewidth=0,
                alpha=min(0.6, 0.35 / pairs * (1 + k) + 0.1), label=f"{share:.0%} interval",
            )  # fmt: skip
        marker = "o" if len(mean) == 1 else ""
        panel.plot(after, mean[:, j], color=BLUE, linewidth=1.3, marker=marker, markersize=3, label="mean")
        panel.axvline(len(given) + 0.5, color="black", linewidth=0.8)
    _finish(figure, panels, path)


def _panels(chosen: list[int], names: Sequence[str], title: str) -> tuple[Figure, dict[int, Axes]]:
    """One panel a column, by its number."""
    figure = new_figure(10, 1.4 + 1.4 * len(chosen))
    found = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    more = f" ({len(chosen)} of {len(names)} columns)" if len(chosen) < len(names) else ""
    headline(found[0], title + more)
    for j, panel in zip(chosen, found, strict=True):
        panel.set_ylabel(plain(names[j]), fontsize=8, parse_math=False)
        panel.margins(x=0.01)
    found[-1].set_xlabel("step")
    return figure, dict(zip(chosen, found, strict=True))


def _alone(axes: Axes, steps: Array, values: Array) -> None:
    """Draw points that have nothing on either side, which no line shows."""
    hole = np.isnan(values)
    alone = ~hole & np.r_[True, hole[:-1]] & np.r_[hole[1:], True]
    axes.plot(steps[alone], values[alone], ".", color=PRIME, markersize=4)


def _finish(figure: Figure, panels: dict[int, Axes], path: str | Path) -> None:
    handles, labels = next(iter(panels.values())).get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), fontsize=8, frameon=False)
    figure.align_ylabels()
    save(figure, path)
