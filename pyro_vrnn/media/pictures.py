"""Pictures of sound, of pen strokes and of plain columns, as PNG files (piano-rolls: figures.py)."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.media.figures import BLUE, ORANGE, PRIME, headline, mark, new_figure, plain, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[Any]
MOST_NAMES = 20
MOST_LINES = 8


@dataclass(frozen=True)
class Caption:
    """What a picture says of a sequence beside its values; places are numbers of values over time."""

    title: str = ""
    """Shown as it is."""
    given: int = 0
    """So many first values were not drawn by the model; a line marks their end."""
    hidden: tuple[int, int] | None = None
    """Values that the model was not given, from one to another; marked."""


def sound(wave: Array, rate: int, path: str | Path, caption: Caption) -> None:
    """Draw a waveform above its spectrogram.

    Args:
        wave: amplitudes in [-1, 1], [samples].
        rate: samples per second.
        path: the PNG to write.
        caption: its places are samples.
    """
    given, hidden = caption.given, caption.hidden
    figure = new_figure(10, 5)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.6])
    _wave(top, wave, rate, given)
    mark(top, None if hidden is None else (hidden[0] / rate, hidden[1] / rate))
    window = min(512, max(16, len(wave) // 4))
    if len(wave) >= window and np.abs(wave).max() > 0:
        quiet = float(np.abs(wave).max()) * 1e-5  # digital silence has no decibels
        noise = quiet * np.random.default_rng(0).standard_normal(len(wave))
        bottom.specgram(wave + noise, NFFT=window, Fs=rate, noverlap=window * 3 // 4, cmap="magma")
    if given:
        bottom.axvline(given / rate, color="white", linewidth=1)
    bottom.set_xlim(0, len(wave) / rate)
    bottom.set_ylabel("frequency (Hz)")
    bottom.set_xlabel("time (s)")
    headline(top, caption.title)
    save(figure, path)


def waves(sounds: Sequence[Array], path: str | Path, titles: Sequence[str], rate: int, given: int = 0) -> None:
    """Draw several waveforms one below the other, on one scale."""
    figure = new_figure(10, 1 + 1.3 * len(sounds))
    panels = figure.subplots(len(sounds), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for panel, wave, title in zip(panels, sounds, titles, strict=True):
        _wave(panel, wave, rate, given)
        headline(panel, title, size=9)
    panels[-1].set_xlabel("time (s)")
    save(figure, path)


def _wave(axes: Axes, wave: Array, rate: int, given: int) -> None:
    time = np.arange(len(wave)) / rate
    axes.plot(time[:given], wave[:given], color=PRIME, linewidth=0.5)
    axes.plot(time[given:], wave[given:], color=BLUE, linewidth=0.5)
    if given:
        axes.axvline(given / rate, color="black", linewidth=1)
    axes.set_ylabel("amplitude")
    axes.margins(x=0)


def drawings(sketches: Sequence[Sequence[Array]], path: str | Path, titles: Sequence[str]) -> None:
    """Draw pen drawings side by side, each a list of strokes [N, 2] with y upwards."""
    across = min(4, len(sketches))
    down = math.ceil(len(sketches) / across)
    figure = new_figure(3 * across if across > 1 else 5, 3 * down if across > 1 else 5)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, strokes, title in zip(panels, sketches, titles, strict=False):
        for stroke in strokes:
            panel.plot(stroke[:, 0], stroke[:, 1], color="black", linewidth=1.6, solid_capstyle="round")
        panel.set_aspect("equal", adjustable="datalim")
        headline(panel, title, size=9)
    save(figure, path)


def images(pixels: Sequence[Array], path: str | Path, titles: Sequence[str], *, marks: Sequence[int] = ()) -> None:
    """Draw images side by side, the first row above; 0 is black and 1 white. [T, X] each; a line above marked rows."""
    across = min(8, len(pixels))
    down = math.ceil(len(pixels) / across)
    figure = new_figure(1.6 * across if across > 1 else 4, 1.8 * down if across > 1 else 4)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for panel in panels:
        panel.set_axis_off()
    for panel, values, title in zip(panels, pixels, titles, strict=False):
        panel.imshow(values, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        for row in marks:
            panel.axhline(row - 0.5, color=ORANGE, linewidth=1.2)
        headline(panel, title, size=9)
    save(figure, path)


def lines(values: Array, path: str | Path, caption: Caption, *, names: Sequence[str] = ()) -> None:
    """Draw the columns of a table over time, each on a scale of its own. values [T, X], X at most `MOST_LINES`."""
    given, hidden = caption.given, caption.hidden
    figure = new_figure(10, 1.2 + 1.2 * values.shape[1])
    panels = figure.subplots(values.shape[1], 1, sharex=True, squeeze=False)[:, 0]
    steps = np.arange(len(values))
    for i, panel in enumerate(panels):
        panel.plot(steps[: given + 1], values[: given + 1, i], color=PRIME, linewidth=1.2)
        panel.plot(steps[given:], values[given:, i], color=BLUE, linewidth=1.2, marker="o" if len(values) == 1 else "")
        if given:
            panel.axvline(given - 0.5, color="black", linewidth=1)
        mark(panel, None if hidden is None else (hidden[0] - 0.5, hidden[1] - 0.5), legend=i == 0)
        panel.set_ylabel(plain(names[i]) if names else f"x{i + 1}", fontsize=8)
        panel.margins(x=0.01)
    panels[-1].set_xlabel("step")
    headline(panels[0], caption.title)
    figure.align_ylabels()
    save(figure, path)


def columns(values: Array, path: str | Path, caption: Caption, *, names: Sequence[str] = ()) -> None:
    """Draw the columns of a table over time, as shades. values [T, X]; up to `MOST_NAMES` columns are named."""
    figure = new_figure(10, 3.6)
    axes = figure.add_subplot()
    shades = axes.imshow(values.T, aspect="auto", origin="lower", cmap="viridis", interpolation="nearest")
    figure.colorbar(shades, ax=axes)
    if caption.given:
        axes.axvline(caption.given - 0.5, color="white", linewidth=1.2)
    for place in caption.hidden or ():
        axes.axvline(place - 0.5, color="white", linewidth=1.2, linestyle="--")
    axes.set_xlabel("step")
    if names and len(names) <= MOST_NAMES:
        axes.set_yticks(range(len(names)), [plain(name) for name in names])
    else:
        axes.set_ylabel("column")
    headline(axes, caption.title)
    save(figure, path)


def scatter(points: Array, groups: Sequence[str], path: str | Path, *, title: str = "") -> None:
    """Draw a map: points [N, 2], those of one group in one colour; up to ten groups are named."""
    import matplotlib

    names = sorted(set(groups))
    if len(names) == len(points):  # nothing is shared, so colours would say nothing
        names, groups = ["sequences"], ["sequences"] * len(points)
    figure = new_figure(7, 6)
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["tab10" if len(names) <= 10 else "turbo"]
    for n, name in enumerate(names):
        chosen = np.array([group == name for group in groups])
        colour = colours(n if len(names) <= 10 else n / (len(names) - 1))
        label = plain(name) if len(names) <= 10 else None
        axes.scatter(points[chosen, 0], points[chosen, 1], s=14, color=colour, label=label, linewidths=0)
    if len(names) <= 10:
        axes.legend(fontsize=8, frameon=False, loc="best")
    axes.set_xticks([])
    axes.set_yticks([])
    headline(axes, title)
    save(figure, path)


def pixels(values: Array, colours: str, low: float, high: float) -> bytes:
    """A PNG of one pixel for each value [rows, columns], from `low` to `high` in the colours of this map."""
    from matplotlib.image import imsave

    file = io.BytesIO()
    options: Any = {"metadata": {"Software": None}}  # without matplotlib's version: same values, same bytes
    imsave(file, values, cmap=colours, vmin=low, vmax=max(high, low + 1e-9), format="png", **options)
    return file.getvalue()
