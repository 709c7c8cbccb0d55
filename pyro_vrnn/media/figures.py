"""Figures as PNG files: piano-rolls, the KL by step and by unit, a posterior. (Curves of trainings: curves.py.)

Drawn through matplotlib's objects on its Agg canvas, never through pyplot: no window and no global state. The
colours are Okabe and Ito's, told apart by colour-blind readers, and differ in lightness, so that they print.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pyro_vrnn.data.notes import LOWEST_NOTE, held_notes
from pyro_vrnn.system.files import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[Any]

BLUE, ORANGE, GREEN, RED, GREY, PRIME = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#8C8C8C", "#5A5A5A"
DOTS_PER_INCH = 130


def pianoroll(
    roll: Array,
    path: str | Path,
    *,
    lowest_pitch: int = LOWEST_NOTE,
    steps_per_second: float | None = None,
    title: str = "",
    prime_steps: int = 0,
    hidden: tuple[int, int] | None = None,
    probabilities: Array | None = None,
) -> None:
    """Draw one piano-roll, its notes as `rendering.held_notes` says.

    Args:
        roll: 0s and 1s, [T, X].
        path: the PNG to write.
        lowest_pitch: MIDI note number of column 0.
        steps_per_second: gives a second axis in seconds, above.
        title: shown as it is, without markup.
        prime_steps: the first so many steps were given; they are drawn in grey and marked.
        hidden: from one step to another the model was given nothing; marked.
        probabilities: the probability of each note at each step, shaded behind the notes, [T, X].
    """
    figure = new_figure(10, 4.2)
    axes = figure.add_subplot()
    shown = np.asarray(roll) if probabilities is None else np.asarray(roll).astype(bool) | (probabilities > 0.1)
    _pitch_axis(axes, _span([shown]), lowest_pitch)
    if probabilities is not None:
        _shade(figure, axes, probabilities)
    _notes(axes, roll, prime_steps, outlined=probabilities is not None)
    axes.set_xlim(0, len(roll))
    axes.set_xlabel("step")
    mark(axes, hidden)
    if prime_steps:
        axes.axvline(prime_steps, color="black", linewidth=1.2)
        for colour, text in ((PRIME, "given"), (BLUE, "drawn from the model")):
            axes.bar(0, 0, color=colour, label=text)
        axes.legend(loc="upper right", ncols=2, fontsize=8, framealpha=0.9, edgecolor="white", borderaxespad=0.2)
    if steps_per_second is not None:
        rate = float(steps_per_second)
        above = axes.secondary_xaxis("top", functions=(partial(np.multiply, 1 / rate), partial(np.multiply, rate)))
        above.set_xlabel("time (s)")
        above.tick_params(labelsize=8, color="#666666")
        above.spines["top"].set_color("#666666")
    headline(axes, title)
    save(figure, path)


def pianorolls(
    rolls: Sequence[Array],
    path: str | Path,
    titles: Sequence[str] = (),
    *,
    lowest_pitch: int = LOWEST_NOTE,
    prime_steps: int = 0,
) -> None:
    """Draw several piano-rolls on one page, all with the same axes.

    Args:
        rolls: 0s and 1s, [T, X] each; the lengths may differ.
        path: the PNG to write.
        titles: one a roll, or none.
        lowest_pitch: MIDI note number of column 0.
        prime_steps: the first so many steps of each were given; they are drawn in grey.
    """
    if not rolls:
        raise ValueError("no piano-rolls to draw")
    columns = 1 if len(rolls) <= 3 else 2 if len(rolls) <= 12 else 3
    rows = math.ceil(len(rolls) / columns)
    figure = new_figure(10, 0.6 + 1.7 * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    span, steps = _span([np.asarray(roll) for roll in rolls]), max(len(roll) for roll in rolls)
    for i, axes in enumerate(grid.flat):
        if i >= len(rolls):
            axes.set_visible(False)
            continue
        _pitch_axis(axes, span, lowest_pitch)
        _notes(axes, rolls[i], prime_steps)
        axes.axvspan(len(rolls[i]), steps, facecolor="#E2E2E2", edgecolor="none")  # after its end
        if prime_steps:
            axes.axvline(prime_steps, color="black", linewidth=1)
        axes.set_xlim(0, steps)
        axes.set_ylabel("")
        axes.tick_params(labelbottom=i + columns >= len(rolls))
        headline(axes, titles[i] if titles else "", size=9)
    figure.supxlabel("step", fontsize=10)
    figure.supylabel("pitch", fontsize=10)
    save(figure, path)


def mark(axes: Axes, hidden: tuple[float, float] | None, *, legend: bool = True) -> None:
    """Shade what was hidden from the model, between two places of the x axis."""
    if hidden is None:
        return
    axes.axvspan(*hidden, facecolor=ORANGE, edgecolor="none", alpha=0.22, zorder=0, label="hidden from the model")
    if legend:
        axes.legend(loc="upper right", fontsize=8, framealpha=0.9, edgecolor="white", borderaxespad=0.2)


def kl_by_step(kl: Array, path: str | Path, title: str = "") -> None:
    """Draw the KL of posterior from prior at each step of a sequence.

    Args:
        kl: nats, [T].
        path: the PNG to write.
        title: shown as it is.
    """
    figure = new_figure(10, 2.8)
    axes = figure.add_subplot()
    _kl_steps(axes, np.asarray(kl))
    axes.set_xlim(0, len(kl))
    axes.set_xlabel("step")
    headline(axes, title)
    save(figure, path)


def kl_by_unit(
    kl: Array, path: str | Path, active_threshold: float = 0.01, title: str = "", unit: str = "nats per step"
) -> None:
    """Draw the mean KL of each latent unit, the largest first; those above the threshold count as active.

    The axis is linear up to the threshold and logarithmic above it.

    Args:
        kl, active_threshold: in `unit`, [Z] and a number.
        path: the PNG to write.
        title: shown as it is.
    """
    kl = np.asarray(kl)
    order = np.argsort(-kl, kind="stable")
    active = kl[order] > active_threshold
    figure = new_figure(8, 3.4)
    axes = figure.add_subplot()
    axes.bar(np.arange(len(kl)), kl[order], color=np.where(active, BLUE, "#C4C4C4").tolist(), width=0.8)
    axes.axhline(active_threshold, color=RED, linewidth=1, linestyle="--")
    axes.annotate(
        f"active above {active_threshold:g}", (1, active_threshold), xycoords=("axes fraction", "data"), ha="right",
        xytext=(-4, 3), textcoords="offset points", va="bottom", fontsize=8, color=RED, backgroundcolor="#FFFFFFCC",
    )  # fmt: skip
    axes.set_yscale("symlog", linthresh=active_threshold, linscale=0.5)
    axes.set_ylim(0, 2 * max(float(kl.max()), 3 * active_threshold))
    axes.set_xlim(-0.7, len(kl) - 0.3)
    axes.yaxis.set_major_formatter("{x:g}")
    if len(kl) <= 40:
        axes.set_xticks(np.arange(len(kl)), [str(unit) for unit in order])
        axes.set_xlabel("latent unit, by KL")
    else:
        axes.set_xlabel("latent units, by KL (rank)")
    axes.set_ylabel(f"KL ({unit})")
    headline(axes, title or f"{int(active.sum())} of {len(kl)} latent units are active")
    save(figure, path)


def posterior_figure(
    roll: Array,
    kl_steps: Array,
    probabilities: Array,
    path: str | Path,
    *,
    lowest_pitch: int = LOWEST_NOTE,
    title: str = "",
) -> None:
    """Draw a sequence, what the model makes of it through its posterior, and what that cost, step by step.

    Args:
        roll: the sequence, 0s and 1s, [T, X].
        kl_steps: KL of posterior from prior at each step, nats, [T].
        probabilities: of each note at each step, given the drawn z and the steps before, [T, X].
        path: the PNG to write.
        lowest_pitch: MIDI note number of column 0.
        title: shown as it is.
    """
    figure = new_figure(10, 7.4)
    given, made, cost = figure.subplots(3, 1, sharex=True, height_ratios=[3, 3, 1.4])
    span = _span([np.asarray(roll).astype(bool) | (np.asarray(probabilities) > 0.1)])
    for axes, name in ((given, "the sequence"), (made, "its reconstruction, one step at a time")):
        _pitch_axis(axes, span, lowest_pitch)
        axes.set_title(name, fontsize=9, loc="left")
    _notes(given, roll, 0)
    _shade(figure, made, probabilities)
    _kl_steps(cost, np.asarray(kl_steps))
    cost.set_title("KL of posterior from prior", fontsize=9, loc="left")
    cost.set_xlim(0, len(roll))
    cost.set_xlabel("step")
    if title:
        figure.suptitle(plain(title), fontsize=11, parse_math=False)
    save(figure, path)


def new_figure(width: float, height: float) -> Figure:
    """Make an empty white figure of so many inches, drawn by Agg alone: no state of pyplot plays a part."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write the PNG, whole or not at all, and without matplotlib's version: same figure, same bytes."""
    for axes in figure.axes:
        if axes.get_label() != "<colorbar>":
            axes.spines[["top", "right"]].set_visible(False)
            axes.spines[["left", "bottom"]].set_color("#666666")
            axes.tick_params(labelsize=8, color="#666666")
            axes.set_axisbelow(True)
    file = io.BytesIO()
    with warnings.catch_warnings():
        # a title in a script that the font lacks is shown as boxes
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        figure.savefig(file, format="png", metadata={"Software": None})
    write_bytes(path, file.getvalue())


def plain(text: str) -> str:
    """A title without control characters, which fonts lack, of at most 100 characters."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= 100 else f"{text[:99]}…"


def headline(axes: Axes, text: str, size: float = 11) -> None:
    """Put a title above the left edge of the axes, in points of `size`, read as plain text; an empty one is none."""
    if text:
        axes.set_title(plain(text), fontsize=size, loc="left", parse_math=False)


def _span(rolls: Sequence[Array]) -> tuple[int, int]:
    """The columns to show: those that are used, an octave below and above, within the roll."""
    used = np.flatnonzero(np.any([roll.any(axis=0) for roll in rolls], axis=0))  # [columns]
    width = rolls[0].shape[1]
    return (max(0, int(used[0]) - 12), min(width, int(used[-1]) + 13)) if len(used) else (0, width)


def _pitch_axis(axes: Axes, span: tuple[int, int], lowest_pitch: int) -> None:
    """Name the Cs (C4 is middle C, MIDI note 60) and shade the black keys' rows. Column k is centred on k."""
    low, high = span
    pitches = range(lowest_pitch + low, lowest_pitch + high)
    for pitch in pitches:
        if pitch % 12 in (1, 3, 6, 8, 10):
            row = pitch - lowest_pitch
            axes.axhspan(row - 0.5, row + 0.5, facecolor="#F3F3F3", edgecolor="none", zorder=0)
    octaves = [pitch for pitch in pitches if pitch % 12 == 0]
    for pitch in octaves:
        axes.axhline(pitch - lowest_pitch - 0.5, color="#CCCCCC", linewidth=0.7, zorder=0.5)
    axes.set_yticks([pitch - lowest_pitch for pitch in octaves], [f"C{pitch // 12 - 1}" for pitch in octaves])
    axes.set_ylim(low - 0.5, high - 0.5)
    axes.set_ylabel("pitch")


def _notes(axes: Axes, roll: Array, prime_steps: int, outlined: bool = False) -> None:
    """Bars for the held notes, cut at the end of the prime; step k fills the axis from k to k + 1."""
    from matplotlib.collections import PolyCollection

    parts = [
        (np.asarray(roll)[:prime_steps], 0, PRIME),
        (np.asarray(roll)[prime_steps:], prime_steps, BLUE),
    ]
    for part, start, colour in parts:
        column, first, stop = held_notes(part).T
        left, right, low, high = first + start + 0.06, stop + start - 0.06, column - 0.4, column + 0.4
        corners = np.stack([left, low, left, high, right, high, right, low], axis=1).reshape(-1, 4, 2)
        bars = PolyCollection(list(corners), facecolors="none" if outlined else colour, zorder=3)
        bars.set_edgecolor(colour)
        bars.set_linewidth(0.9 if outlined else 0)
        axes.add_collection(bars)


def _shade(figure: Figure, axes: Axes, probabilities: Array) -> None:
    steps, columns = np.shape(probabilities)
    image = axes.imshow(
        np.ma.masked_less(probabilities, 0.02).T, origin="lower", aspect="auto", interpolation="nearest",
        cmap="Oranges", vmin=0, vmax=1, extent=(0, steps, -0.5, columns - 0.5), zorder=1, alpha=0.9,
    )  # fmt: skip
    bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03, ticks=[0, 0.5, 1])
    bar.set_label("probability", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)


def _kl_steps(axes: Axes, kl: Array) -> None:
    axes.stairs(kl, np.arange(len(kl) + 1), fill=True, color=BLUE, alpha=0.25)
    axes.stairs(kl, np.arange(len(kl) + 1), color=BLUE, linewidth=1.2, baseline=None)
    mean = float(np.mean(kl))
    axes.axhline(mean, color=RED, linewidth=1, linestyle="--", label=f"mean {mean:.3g}")
    axes.set_ylim(bottom=min(0.0, float(np.min(kl))))
    axes.set_ylabel("KL (nats)")
    axes.legend(frameon=False, fontsize=8, loc="upper right")
