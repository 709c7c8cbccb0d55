"""Charts as inline SVG for a page in the reader's own colours: curves, bars, columns, waveforms, notes, drawings.

Colours are the page's classes (`c0` to `c4`, `area`, `rule`, `grid`), text is in the page's own colour, and nothing has
an id, so that any number stand on one page. Everything that is said is escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.media.figures import plain

Floats = NDArray[np.float64]
WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 46, 6, 20, 30
"""Pixels around the place where a chart draws."""
MOST_POINTS = 400
"""Of a curve; of more, the least and the greatest of each of half as many parts."""


@dataclass(frozen=True)
class Line:
    """One curve: its name and its points; NaN is a gap."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dots: bool = False
    """Whether each point is marked: for few of them."""


class _Axis:
    """Values to places between two ends, straight or logarithmic."""

    def __init__(self, low: float, high: float, begin: float, end: float, log: bool = False) -> None:
        if not high > low:
            pad = abs(low) * 0.05 or 1.0
            low, high = (low / 2, low * 2) if log else (low - pad, high + pad)
        self.low, self.high, self.begin, self.end, self.log = low, high, begin, end, log

    def __call__(self, value: float) -> float:
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)

    def ticks(self, most: int) -> list[float]:
        """At most about so many round numbers."""
        if self.log:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            if last - first >= 1:
                return [10.0**n for n in range(first, last + 1, max(1, (last - first) // most + 1))]
        size = (self.high - self.low) / most
        unit = 10.0 ** math.floor(math.log10(size))
        step = next(unit * n for n in (1, 2, 5, 10) if unit * n >= size * 0.999)
        count = range(math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9) + 1)
        return [n * step for n in count]


def curves(title: str, lines: Sequence[Line], *, x_label: str, log: bool = False, zero: bool = False) -> str:
    """Draw curves on one pair of axes; a first few values far above the rest leave the page.

    Args:
        title: what a reader who does not see it is told.
        lines: those without points are left out.
        x_label: below the axis.
        log: whether the values are on a logarithmic scale; those not above 0 are then left out.
        zero: whether the axis begins at 0.
    """
    kept = [(i, line, *_thinned(line, log)) for i, line in enumerate(lines)]
    kept = [(i, line, x, y) for i, line, x, y in kept if np.isfinite(y).any()]
    if not kept:
        return ""
    every = np.concatenate([y[np.isfinite(y)] for _, _, _, y in kept])
    places = np.concatenate([x for _, _, x, _ in kept])
    low, high = (0.0 if zero else float(every.min())), float(every.max())
    most = float(np.quantile(every, 0.95))
    if len(every) > 8 and not log and high > most + (most - low) > low:
        high = most + 0.35 * (most - low)
    across = _Axis(float(places.min()), float(places.max()), LEFT, WIDTH - RIGHT)
    up = _Axis(low, high, HEIGHT - BOTTOM, TOP, log)
    parts = [_frame(across, up, x_label)]
    inner = [_curve(across, up, x, y, i, line.dots) for i, line, x, y in kept]
    parts.append(_clipped(inner))
    named = [(i, line.name) for i, line, _, _ in kept if line.name]
    place = float(LEFT)
    for i, name in named:
        parts.append(f'<rect class="fill c{i % 5}" x="{place:.0f}" y="6" width="12" height="4"/>')
        parts.append(f'<text x="{place + 16:.0f}" y="12">{_say(name)}</text>')
        place += 30 + 6.2 * len(name)
    return _svg(title, parts, HEIGHT)


def bars(title: str, values: Sequence[float], *, threshold: float, x_label: str) -> str:
    """Draw values, the largest first, as bars on a logarithmic scale; those below the threshold are pale."""
    found = np.sort(np.nan_to_num(np.asarray(values, np.float64)))[::-1][:MOST_POINTS]
    least = threshold / 100
    up = _Axis(least, 2 * max(float(found.max()), 2 * threshold), HEIGHT - BOTTOM, TOP, log=True)
    across = _Axis(0, len(found), LEFT, WIDTH - RIGHT)
    parts = [_frame(across, up, x_label, ticks=False)]
    for n, value in enumerate(found):
        top, kind = up(max(float(value), least * 1.15)), "c0" if value > threshold else "pale"
        width = max(0.5, (across(1) - across(0)) * 0.8)
        parts.append(
            f'<rect class="fill {kind}" x="{across(n + 0.1):.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{up.begin - top:.1f}"/>'
        )
    y = up(threshold)
    parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text class="end" x="{WIDTH - RIGHT}" y="{y - 3:.1f}">active above {threshold:g}</text>')
    return _svg(title, parts, HEIGHT)


def columns(title: str, names: Sequence[str], values: Floats) -> str:
    """Draw the columns of a table [T, X] one below the other, each on a scale of its own, with its least and most."""
    each, parts = 64, []
    across = _Axis(0, max(1, len(values) - 1), LEFT, WIDTH - RIGHT)
    for j, name in enumerate(names):
        x, y = _thinned(Line(name, range(len(values)), values[:, j].tolist()), False)
        top, found = j * each, y[np.isfinite(y)]
        parts.append(f'<text x="{LEFT}" y="{top + 12}">{_say(name)}</text>')
        if len(found):
            up = _Axis(float(found.min()), float(found.max()), top + each - 6, top + 18)
            parts += [_number(v, LEFT - 4, up(v) + 4) for v in (float(found.min()), float(found.max()))]
            parts.append(_curve(across, up, x, y, 0, dots=False))
    return _svg(title, parts, each * len(names))


def waveform(title: str, wave: Floats) -> str:
    """Draw amplitudes [samples]: a few as a line, many as the band between the least and the greatest of each part."""
    height, peak = 80, max(float(np.abs(wave).max()), 1e-9)
    if len(wave) <= MOST_POINTS:
        along, up = _Axis(0, max(1, len(wave) - 1), 1, WIDTH - 1), _Axis(-peak, peak, height - 4, 4)
        line = _curve(along, up, np.arange(len(wave), dtype=np.float64), np.asarray(wave, np.float64), 0, dots=False)
        return _svg(title, [line], height)
    parts = np.array_split(np.asarray(wave, np.float64), WIDTH - 2)
    parts = [np.append(part, following[:1]) for part, following in zip(parts, [*parts[1:], parts[-1]], strict=True)]
    across = _Axis(0, max(1, len(parts) - 1), 1, WIDTH - 1)
    tops = [(across(n), height / 2 - 36 * float(part.max()) / peak - 0.3) for n, part in enumerate(parts)]
    ends = [(across(n), height / 2 - 36 * float(part.min()) / peak + 0.3) for n, part in enumerate(parts)]
    outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*tops, *reversed(ends)])
    return _svg(title, [f'<polygon class="fill c0" points="{outline}"/>'], height)


def notes(title: str, held: NDArray[np.int64], steps: int, lowest_pitch: int) -> str:
    """Draw held notes (column, first step, step after the last), with lines at the Cs; column 0 is `lowest_pitch`."""
    height = 150
    used = held[:, 0] if len(held) else np.array([39])
    low, high = int(used.min()) - 2, int(used.max()) + 3
    across, up = _Axis(0, steps, LEFT, WIDTH - RIGHT), _Axis(low, high, height - BOTTOM, 6)
    parts = []
    for column in range(low, high):
        if (column + lowest_pitch) % 12 == 0:
            y = up(column)
            parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
            octave = (column + lowest_pitch) // 12 - 1
            parts.append(f'<text class="end" x="{LEFT - 4}" y="{y + 2:.1f}">C{octave}</text>')
    thick = 0.85 * (up(0) - up(1))
    drawn = []
    for column, first, stop in held.tolist():
        x, y, width = across(first), up(column + 1), across(stop) - across(first) - 0.3
        drawn.append(f"M{x:.1f} {y:.1f}h{width:.1f}v{thick:.1f}H{x:.1f}z")
    parts.append(f'<path class="fill c0" d="{"".join(drawn)}"/>')
    parts += _steps(across, height)
    return _svg(title, parts, height)


def drawing(title: str, strokes: Sequence[Floats]) -> str:
    """Draw strokes [N, 2], y upwards, in a square."""
    points = np.concatenate(strokes) if strokes else np.zeros((1, 2))
    low, high = points.min(0), points.max(0)
    unit = 220 / max(float((high - low).max()), 1e-9)
    margin = [(240 - unit * (high - low)[0]) / 2, (240 - unit * (high - low)[1]) / 2]
    moved = [(line - [low[0], high[1]]) * [unit, -unit] + margin for line in strokes]
    paths = ["M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line) for line in moved]
    return _svg(title, [f'<path class="pen" d="{"".join(paths)}"/>'], 240, width=240)


def _thinned(line: Line, log: bool) -> tuple[Floats, Floats]:
    """Points of a curve, at most about MOST_POINTS, with all of its peaks."""
    x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
    y = np.where(np.isfinite(y) & ((y > 0) | (not log)), y, np.nan)
    if len(y) <= MOST_POINTS:
        return x, y
    kept: list[int] = []
    for part in np.array_split(np.arange(len(y)), MOST_POINTS // 2):
        inside = part[np.isfinite(y[part])]
        kept += (
            sorted({int(inside[y[inside].argmin()]), int(inside[y[inside].argmax()])})
            if len(inside)
            else part[:1].tolist()
        )
    return x[kept], y[kept]


def _curve(across: _Axis, up: _Axis, x: Floats, y: Floats, colour: int, dots: bool) -> str:
    places = [(across(a), up(b)) if math.isfinite(b) else None for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    path, pen = [], "M"
    for place in places:
        if place is None:
            pen = "M"
            continue
        path.append(f"{pen}{place[0]:.1f} {place[1]:.1f}")
        pen = "L"
    found = f'<path class="line c{colour % 5}" d="{"".join(path)}"/>'
    alone = dots or sum(place is not None for place in places) == 1
    marks = [f'<circle class="fill c{colour % 5}" cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="2"/>' for p in places if p]
    return found + "".join(marks if alone else [])


def _frame(across: _Axis, up: _Axis, x_label: str, ticks: bool = True) -> str:
    """Grid lines with their numbers, and what runs along the axis."""
    parts = []
    for value in up.ticks(4):
        parts.append(f'<path class="grid" d="M{LEFT} {up(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_number(value, LEFT - 4, up(value) + 4))
    for value in across.ticks(4) if ticks else []:
        if abs(value - round(value)) > 1e-6:
            continue  # there are no half updates or steps
        place = "start" if across(value) < LEFT + 12 else "end" if across(value) > WIDTH - RIGHT - 12 else "middle"
        parts.append(f'<text class="{place}" x="{across(value):.1f}" y="{HEIGHT - BOTTOM + 13}">{value:,.4g}</text>')
    parts.append(f'<text class="end" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}">{_say(x_label)}</text>')
    return "".join(parts)


def _steps(across: _Axis, height: int) -> list[str]:
    found = [
        f'<text class="middle" x="{across(v):.1f}" y="{height - BOTTOM + 13}">{v:g}</text>'
        for v in across.ticks(5)[:-1]
    ]
    return [*found, f'<text class="end" x="{WIDTH - RIGHT}" y="{height - BOTTOM + 13}">step</text>']


def _number(value: float, x: float, y: float) -> str:
    return f'<text class="end" x="{x:.1f}" y="{y:.1f}">{value:.3g}</text>'


def _clipped(parts: Sequence[str]) -> str:
    """What lies within the axes: an SVG in an SVG shows nothing beyond its own edges, and needs no id for that."""
    x, y, width, height = LEFT, TOP - 4, WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM - TOP + 8
    box = f'x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}"'
    return f"<svg {box}>{''.join(parts)}</svg>"


def _svg(title: str, parts: Sequence[str], height: int, width: int = WIDTH) -> str:
    said = _say(title)
    head = f'<svg role="img" aria-label="{said}" viewBox="0 0 {width} {height}"><title>{said}</title>'
    return f"{head}{''.join(parts)}</svg>"


def _say(text: str) -> str:
    return escape(plain(text))
