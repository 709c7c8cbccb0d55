"""The figures of a page: values as charts and the words below them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyro_vrnn.media.pages import charts
from pyro_vrnn.media.pages.report import Figure
from pyro_vrnn.media.pages.svg import COLOURS, Floats, Line


def training_curves(rows: Sequence[Mapping[str, Any]], clip_norm: float, latent: bool) -> list[Figure]:
    """The charts of `metrics.jsonl`: loss, reconstruction, KL, KL weight, learning rate, gradient; without empty ones.

    Args:
        rows: logged updates and validations.
        clip_norm: of the gradient.
        latent: whether the model has latent variables, and with them a KL.
    """

    def line(name: str, key: str, dots: bool = False) -> Line:
        found = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        return Line(name, [x for x, _ in found], [y for _, y in found], dots)

    def chart(words: str, *lines: Line, **options: bool) -> Figure:
        return Figure(charts.curves(f"{words}, by update", lines, x_label="update", **options), words)

    constant = len({row["lr"] for row in rows if row.get("lr") is not None}) <= 1
    of_z = [
        chart("KL of the posterior from the prior, nats per step", line("training", "kl"),
              line("validation", "valid_kl_per_step", True), zero=True),
        chart("KL weight (beta)", line("", "beta"), zero=True),
    ]  # fmt: skip
    found = [
        chart("Training loss and validation bound, nats per step", line("training", "loss"),
              line("validation", "valid_nll_per_step", True)),
        chart("NLL of training (reconstruction, without the KL), nats per step", line("", "nll")),
        *(of_z if latent else []),
        chart("Learning rate", line("", "lr"), log=not constant, zero=constant),
        chart(f"Norm of the gradient before it is clipped to {clip_norm:g}", line("", "grad_norm"), log=True),
    ]  # fmt: skip
    return [figure for figure in found if figure.svg]


def posterior_curves(kl: Floats, per_step: bool, threshold: float) -> list[Figure]:
    """The KL of one sequence: by step, by unit, and of both, with how many units are active at each step.

    Args:
        kl: nats; of one z about the whole sequence, T = 1. [T, Z]
        per_step: whether there is a z for every step; if not, only what is about units is drawn.
        threshold: nats; a unit with more is active.
    """
    words = f"KL of each latent unit, {'nats per step' if per_step else 'nats'}; the largest first"
    units = Figure(charts.bars(words, kl.mean(0), threshold=threshold, x_label="latent units, by KL"), words)
    if not per_step:
        return [units]
    steps = range(1, len(kl) + 1)
    by_step = kl.sum(1)
    words = "KL of the posterior from the prior at each step, nats"
    line = Line("", steps, by_step.tolist())
    found = [
        Figure(charts.curves(words, [line], x_label="step", whole=True, zero=float(by_step.min()) >= 0), words),
        units,
    ]
    words = f"Active units at each step, of {kl.shape[1]}: those with a KL above {threshold:g} nats"
    line = Line("", steps, (kl > threshold).sum(1).tolist())
    found.append(Figure(charts.curves(words, [line], x_label="step", whole=True, zero=True), words))
    words = f"KL of each unit at each step, nats; where it is blank, the unit is not active (below {threshold:g})"
    if kl.shape[1] > charts.MOST_ROWS:
        words += f"; the {charts.MOST_ROWS} units with the greatest KL"
    levels = [threshold * share for share in (1, 3, 10, 30, 100)]
    return [*found, Figure(charts.heat(words, kl, levels, unit="nats"), words)]


def information_curves(parts: Mapping[str, Sequence[float]]) -> list[Figure]:
    """What z tells at each step, nats: name -> a value for each step."""
    words = "What z tells of the sequence at each step, nats"
    lines = [Line(name, range(1, len(values) + 1), values) for name, values in parts.items()]
    return [
        Figure(charts.curves(words, lines, x_label="step", whole=True, zero=min(map(min, parts.values())) >= 0), words)
    ]


def latent_map(places: Floats, names: Sequence[str], groups: Sequence[str], words: str) -> Figure:
    """A point for each sequence: places [N, 2], and what it and its group are called."""
    return Figure(charts.points(words, places, names, groups), words)


def compared_curves(runs: Mapping[str, Sequence[Mapping[str, Any]]], axes: Mapping[str, str], what: str, key: str,
                    order: Mapping[str, int]) -> list[Figure]:  # fmt: skip
    """Charts of one value of several runs over one another, one chart for each axis; runs without it are left out.

    Args:
        runs: a run's name -> its rows.
        axes: a row's key -> what is along the axis.
        what: the value in words.
        key: of the value in a row.
        order: a run's name -> its place among all runs of the page, which is its colour.
    """
    found = []
    for axis, label in axes.items():
        lines = [Line("", [], [])] * len(order)
        for name, rows in runs.items():
            both = [row for row in rows if row.get(axis) is not None and row.get(key) is not None]
            few = len(both) < 40 and key.startswith("valid")
            lines[order[name]] = Line(name, [row[axis] for row in both], [row[key] for row in both], few)
        words = f"{what}, by {label}"
        found.append(Figure(charts.curves(words, lines, x_label=label, legend=False), words))
    return [figure for figure in found if figure.svg]


def mark(order: int) -> str:
    """A short line as a run's curves are drawn, to stand before its name."""
    dash = f" dash{order // COLOURS % 3}" if order >= COLOURS else ""
    return f'<svg viewBox="0 0 28 8" aria-hidden="true"><path class="line c{order % COLOURS}{dash}" d="M1 4H27"/></svg>'
