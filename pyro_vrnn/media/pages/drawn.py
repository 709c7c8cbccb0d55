"""Sequences as inline SVG: columns of a table, waveforms, notes, drawings."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.media.pages.svg import (
    BOTTOM,
    LEFT,
    MOST_POINTS,
    RIGHT,
    WIDTH,
    Axis,
    Floats,
    Line,
    cursor,
    curve,
    number,
    picture,
    say,
    steps_axis,
    thinned,
)

STEP_WIDTH = 3.5
"""Pixels of a step of a piano-roll, at least: a longer one scrolls."""


def columns(title: str, names: Sequence[str], values: Floats) -> str:
    """Draw the columns of a table [T, X] one below the other, each on a scale of its own, with its least and most."""
    each, parts = 64, []
    across = Axis(0, max(1, len(values) - 1), LEFT, WIDTH - RIGHT)
    for j, name in enumerate(names):
        x, y = thinned(Line(name, range(len(values)), values[:, j].tolist()), False)
        top, found = j * each, y[np.isfinite(y)]
        parts.append(f'<text x="{LEFT}" y="{top + 12}">{say(name)}</text>')
        if len(found):
            up = Axis(float(found.min()), float(found.max()), top + each - 6, top + 18)
            parts += [number(v, LEFT - 4, up(v) + 4) for v in (float(found.min()), float(found.max()))]
            parts.append(curve(across, up, x, y, 0, dots=False))
    return picture(title, parts, each * len(names))


def waveform(title: str, wave: Floats, rate: float | None = None) -> str:
    """Draw amplitudes [samples]: a few as a line, many as the band between the least and the greatest of each part.

    With a rate, in hertz, a cursor follows the sound.
    """
    height, peak = 80, max(float(np.abs(wave).max()), 1e-9)
    follow = [] if rate is None else [cursor(1, (WIDTH - 2) * rate / len(wave), height)]
    if len(wave) <= MOST_POINTS:
        along, up = Axis(0, max(1, len(wave) - 1), 1, WIDTH - 1), Axis(-peak, peak, height - 4, 4)
        line = curve(along, up, np.arange(len(wave), dtype=np.float64), np.asarray(wave, np.float64), 0, dots=False)
        return picture(title, [line, *follow], height)
    parts = np.array_split(np.asarray(wave, np.float64), WIDTH - 2)
    parts = [np.append(part, following[:1]) for part, following in zip(parts, [*parts[1:], parts[-1]], strict=True)]
    across = Axis(0, max(1, len(parts) - 1), 1, WIDTH - 1)
    tops = [(across(n), height / 2 - 36 * float(part.max()) / peak - 0.3) for n, part in enumerate(parts)]
    ends = [(across(n), height / 2 - 36 * float(part.min()) / peak + 0.3) for n, part in enumerate(parts)]
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*tops, *reversed(ends)])
    return picture(title, [f'<polygon class="fill c0" points="{outline}"/>', *follow], height)


def notes(
    title: str, held: NDArray[np.int64], steps: int, lowest_pitch: int, steps_per_second: float | None = None
) -> str:
    """Draw a piano-roll, as wide as its steps need, with lines at the Cs.

    Args:
        title: what a reader who does not see it is told.
        held: the notes: column, first step, step after the last. [N, 3]
        steps: T.
        lowest_pitch: the MIDI note of column 0.
        steps_per_second: so that a cursor follows the sound.
    """
    height, width = 150, math.ceil(LEFT + RIGHT + steps * STEP_WIDTH) if wide(steps) else WIDTH
    used = held[:, 0] if len(held) else np.array([39])
    low, high = int(used.min()) - 2, int(used.max()) + 3
    across, up = Axis(0, steps, LEFT, width - RIGHT), Axis(low, high, height - BOTTOM, 6)
    parts = []
    for column in range(low, high):
        if (column + lowest_pitch) % 12 == 0:
            y = up(column)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{width - RIGHT}"/>')
            octave = (column + lowest_pitch) // 12 - 1
            parts.append(f'<text class="end" x="{LEFT - 4}" y="{y + 2:.1f}">C{octave}</text>')
    thick = 0.85 * (up(0) - up(1))
    drawn = []
    for column, first, stop in held.tolist():
        x, y, long = across(first), up(column + 1), across(stop) - across(first) - 0.3
        drawn.append(f"M{x:.1f} {y:.1f}h{long:.1f}v{thick:.1f}H{x:.1f}z")
    parts.append(f'<path class="fill c0" d="{"".join(drawn)}"/>')
    parts += steps_axis(across, height)
    if steps_per_second is not None:
        parts.append(cursor(across(0), (across(1) - across(0)) * steps_per_second, height - BOTTOM))
    return picture(title, parts, height, width)


def wide(steps: int) -> bool:
    """Whether a piano-roll of so many steps is wider than a chart."""
    return LEFT + RIGHT + steps * STEP_WIDTH > WIDTH


def drawing(title: str, strokes: Sequence[Floats]) -> str:
    """Draw strokes [N, 2], y upwards, in a square."""
    points = np.concatenate(strokes) if strokes else np.zeros((1, 2))
    low, high = points.min(0), points.max(0)
    unit = 220 / max(float((high - low).max()), 1e-9)
    margin = [(240 - unit * (high - low)[0]) / 2, (240 - unit * (high - low)[1]) / 2]
    moved = [(line - [low[0], high[1]]) * [unit, -unit] + margin for line in strokes]
    paths = ["M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line) for line in moved]
    return picture(title, [f'<path class="pen" d="{"".join(paths)}"/>'], 240, width=240)
