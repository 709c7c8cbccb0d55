"""Inline SVG for a page in the reader's own colours: axes, grid lines, curves; what charts.py and drawn.py share.

Colours are the page's classes (`c0` to `c4`, `rule`, `grid`), text is in the page's own colour, and nothing has an id,
so that any number stand on one page. Everything that is said is escaped.
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
LEFT, RIGHT, TOP, BOTTOM = 52, 6, 20, 30
"""Pixels around the place where a chart draws."""
COLOURS = 5
"""Of the page, `c0` to `c4`."""
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


class Axis:
    """Values to places between two ends, straight or logarithmic.

    Args:
        low, high: the values at the ends; if there is but one value, it stands in the middle.
        begin, end: their places, pixels.
        log: whether the scale is logarithmic; values are then above 0.
    """

    def __init__(self, low: float, high: float, begin: float, end: float, log: bool = False) -> None:
        if not high > low:
            pad = abs(low) * 0.05 or 1.0
            low, high = (low / 2, low * 2) if log else (low - pad, high + pad)
        self.low, self.high, self.begin, self.end, self.log = low, high, begin, end, log

    def __call__(self, value: float) -> float:
        """The place of a value, pixels."""
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


def thinned(line: Line, log: bool) -> tuple[Floats, Floats]:
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


def curve(across: Axis, up: Axis, x: Floats, y: Floats, order: int, dots: bool, name: str = "") -> str:
    """Draw one curve with gaps where y is NaN; its name is told to who points at it.

    Args:
        across, up: to places.
        x, y: the points, [N] each.
        order: of the curve among others: five colours, then the same ones dashed.
        dots: whether each point is marked.
        name: what it is called.
    """
    places = [(across(a), up(b)) if math.isfinite(b) else None for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    path, pen = [], "M"
    for place in places:
        if place is None:
            pen = "M"
            continue
        path.append(f"{pen}{place[0]:.1f} {place[1]:.1f}")
        pen = "L"
    kind = f"c{order % COLOURS}" + (f" dash{order // COLOURS % 3}" if order >= COLOURS else "")
    drawn = f'<path class="line {kind}" d="{"".join(path)}"'
    found = f"{drawn}><title>{say(name)}</title></path>" if name else f"{drawn}/>"
    alone = dots or sum(place is not None for place in places) == 1
    marks = [f'<circle class="fill c{order % COLOURS}" cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="2"/>' for p in places if p]
    return found + "".join(marks if alone else [])


def frame(across: Axis, up: Axis, x_label: str, ticks: bool = True) -> str:
    """Grid lines with their numbers, and what runs along the axis."""
    parts = []
    for value in up.ticks(4):
        parts.append(f'<path class="grid" d="M{LEFT} {up(value):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(number(value, LEFT - 4, up(value) + 4))
    for value in across.ticks(4) if ticks else []:
        if abs(value - round(value)) > 1e-6:
            continue  # there are no half updates or steps
        place = "start" if across(value) < LEFT + 12 else "end" if across(value) > WIDTH - RIGHT - 12 else "middle"
        parts.append(f'<text class="{place}" x="{across(value):.1f}" y="{HEIGHT - BOTTOM + 13}">{value:,.0f}</text>')
    parts.append(f'<text class="end" x="{WIDTH - RIGHT}" y="{HEIGHT - 4}">{say(x_label)}</text>')
    return "".join(parts)


def steps_axis(across: Axis, height: int) -> list[str]:
    """Numbers of steps below a picture, and the word."""
    count = max(5, round((across.end - across.begin) / 70))
    found = [
        f'<text class="middle" x="{across(v):.1f}" y="{height - BOTTOM + 13}">{v:g}</text>'
        for v in across.ticks(count)
        if across(v) < across.end - 34
    ]
    return [*found, f'<text class="end" x="{across.end:.1f}" y="{height - BOTTOM + 13}">step</text>']


def number(value: float, x: float, y: float) -> str:
    """A value at the axis, with its end at x."""
    short = f"{value:,.0f}" if 1000 <= abs(value) < 100_000 else f"{value:.3g}"
    if len(short) > 7:  # as 0.000995 is, which the margin does not hold
        short = f"{value:.2e}".replace("e-0", "e-")
    return f'<text class="end" x="{x:.1f}" y="{y:.1f}">{short}</text>'


def clipped(parts: Sequence[str]) -> str:
    """What lies within the axes: an SVG in an SVG shows nothing beyond its own edges, and needs no id for that."""
    x, y, width, height = LEFT, TOP - 4, WIDTH - RIGHT - LEFT, HEIGHT - BOTTOM - TOP + 8
    box = f'x="{x}" y="{y}" width="{width}" height="{height}" viewBox="{x} {y} {width} {height}"'
    return f"<svg {box}>{''.join(parts)}</svg>"


def cursor(start: float, speed: float, height: float) -> str:
    """Draw the line that the page's script moves as a sound plays; hidden until then.

    Args:
        start: where it is at the beginning, pixels.
        speed: pixels per second of sound.
        height: of the line, pixels.
    """
    return f'<path class="cursor" data-start="{start:.2f}" data-speed="{speed:.4f}" d="M0 0V{height:.0f}"/>'


def picture(title: str, parts: Sequence[str], height: float, width: float = WIDTH) -> str:
    """Put an SVG together: as wide as its place on the page, or, if wider than a chart, of its own size.

    Args:
        title: what a reader who does not see it is told.
        parts: of it, already escaped.
        height, width: pixels.
    """
    said = say(title)
    size = f' class="wide" width="{width:.0f}" height="{height:.0f}"' if width > WIDTH else ""
    head = f'<svg role="img" aria-label="{said}" viewBox="0 0 {width:.0f} {height:.0f}"{size}><title>{said}</title>'
    return f"{head}{''.join(parts)}</svg>"


def say(text: str) -> str:
    """Escape a text, without control characters and of at most 100 characters."""
    return escape(plain(text))
