"""Charts of what the runs of an experiment reached, and of differences with their intervals, as inline SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pyro_vrnn.media.pages.svg import COLOURS, RIGHT, WIDTH, Axis, picture, say

ROW, HEAD, FOOT = 20, 8, 36
"""Pixels of a row, above the first one, and below the last one."""
LONGEST = 24
"""Characters of a name; the whole one is told to who points at it."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arm: a value of each seed, their mean, and the ends of an interval."""

    name: str
    order: int
    """Of the arm among all of the page, which is its colour."""
    points: Sequence[float] = ()
    mean: float | None = None
    ends: tuple[float, float] | None = None


def spreads(title: str, rows: Sequence[Row], *, zero: bool = False, x_label: str) -> str:
    """Draw a row for each arm: its points, a tick at their mean, and a line from end to end of its interval.

    Args:
        title: what a reader who does not see it is told.
        rows: the arms, from the top; those without a value have an empty row.
        zero: whether 0 is on the axis, with a dashed line.
        x_label: below the axis.

    Returns:
        An SVG; empty where no arm has a value.
    """
    every = [v for row in rows for v in (*row.points, *(row.ends or ()), *([] if row.mean is None else [row.mean]))]
    if not every:
        return ""
    every += [0.0] if zero else []
    left = 12 + 6.1 * max(min(len(row.name), LONGEST) for row in rows)
    low, high = min(every), max(every)
    pad = 0.04 * (high - low)
    across, bottom = Axis(low - pad, high + pad, left, WIDTH - RIGHT), HEAD + ROW * len(rows)
    parts = []
    for value in across.ticks(5):
        x = across(value)
        parts.append(f'<path class="grid" d="M{x:.1f} {HEAD}V{bottom}"/>')
        kind = "end" if x > WIDTH - RIGHT - 14 else "middle"
        parts.append(f'<text class="{kind}" x="{x:.1f}" y="{bottom + 13}">{value:.6g}</text>')
    if zero:
        parts.append(f'<path class="rule" d="M{across(0):.1f} {HEAD}V{bottom}"/>')
    parts += [_row(row, across, HEAD + ROW * (n + 0.5), left) for n, row in enumerate(rows)]
    parts.append(f'<text class="end" x="{WIDTH - RIGHT}" y="{bottom + 29}">{say(x_label)}</text>')
    return picture(title, parts, bottom + FOOT)


def _row(row: Row, across: Axis, y: float, left: float) -> str:
    """One arm."""
    colour = f"c{row.order % COLOURS}"
    short = row.name if len(row.name) <= LONGEST else f"{row.name[: LONGEST - 1]}…"
    parts = [f'<text class="end" x="{left - 6:.1f}" y="{y + 4:.1f}">{say(short)}<title>{say(row.name)}</title></text>']
    if row.ends is not None:
        a, b = (across(v) for v in row.ends)
        ends = f"M{a:.1f} {y:.1f}H{b:.1f}M{a:.1f} {y - 4:.1f}v8M{b:.1f} {y - 4:.1f}v8"
        parts.append(f'<path class="line {colour}" d="{ends}"/>')
    parts += [f'<circle class="fill {colour}" cx="{across(v):.1f}" cy="{y:.1f}" r="2.6"/>' for v in row.points]
    if row.mean is not None:
        x = across(row.mean)
        shape = f"M{x:.1f} {y - 6:.1f}v12" if row.points else f"M{x:.1f} {y - 3.5:.1f}l3.5 3.5l-3.5 3.5l-3.5 -3.5z"
        parts.append(f'<path class="{"line" if row.points else "fill"} {colour}" d="{shape}"/>')
    return "".join(parts)
