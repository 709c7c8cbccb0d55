"""Charts of a run as inline SVG: curves, bars, a heat map, a map of points."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pyro_vrnn.media.pages.svg import (
    BOTTOM,
    COLOURS,
    HEIGHT,
    LEFT,
    MOST_POINTS,
    RIGHT,
    TOP,
    WIDTH,
    Axis,
    Floats,
    Line,
    clipped,
    curve,
    frame,
    picture,
    say,
    steps_axis,
    thinned,
)

MOST_ROWS = 40
"""Of a heat map."""


def curves(
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    log: bool = False,
    zero: bool = False,
    whole: bool = False,
    legend: bool = True,
) -> str:
    """Draw curves on one pair of axes; a few values far above the rest, as at the start of a training, leave the page.

    Args:
        title: what a reader who does not see it is told.
        lines: those without points are left out.
        x_label: below the axis.
        log: whether the values are on a logarithmic scale; those not above 0 are then left out.
        zero: whether the axis begins at 0.
        whole: whether no value leaves the page.
        legend: whether the names stand above; if not, they are told to who points at a curve.
    """
    kept = [(i, line, *thinned(line, log)) for i, line in enumerate(lines)]
    kept = [(i, line, x, y) for i, line, x, y in kept if np.isfinite(y).any()]
    if not kept:
        return ""
    every = np.concatenate([y[np.isfinite(y)] for _, _, _, y in kept])
    places = np.concatenate([x for _, _, x, _ in kept])
    low, high = (0.0 if zero else float(every.min())), float(every.max())
    high = 1.0 if zero and high <= 0 else high
    most = float(np.quantile(every, 0.95))
    if len(every) > 8 and not log and not whole and high > most + (most - low) > low:
        high = most + 0.35 * (most - low)
    across = Axis(float(places.min()), float(places.max()), LEFT, WIDTH - RIGHT)
    up = Axis(low, high, HEIGHT - BOTTOM, TOP, log)
    parts = [frame(across, up, x_label)]
    inner = [curve(across, up, x, y, i, line.dots, line.name) for i, line, x, y in kept]
    parts.append(clipped(inner))
    named = [(i, line.name) for i, line, _, _ in kept if line.name and legend]
    place = float(LEFT)
    for i, name in named:
        parts.append(f'<rect class="fill c{i % COLOURS}" x="{place:.0f}" y="6" width="12" height="4"/>')
        parts.append(f'<text x="{place + 16:.0f}" y="12">{say(name)}</text>')
        place += 30 + 6.2 * len(name)
    return picture(title, parts, HEIGHT)


def bars(title: str, values: Sequence[float], *, threshold: float, x_label: str) -> str:
    """Draw values, the largest first, as bars on a logarithmic scale; those below the threshold are pale."""
    found = np.sort(np.nan_to_num(np.asarray(values, np.float64)))[::-1][:MOST_POINTS]
    least = threshold / 100
    up = Axis(least, 2 * max(float(found.max()), 2 * threshold), HEIGHT - BOTTOM, TOP, log=True)
    across = Axis(0, len(found), LEFT, WIDTH - RIGHT)
    parts = [frame(across, up, x_label, ticks=False)]
    for n, value in enumerate(found):
        top, kind = up(max(float(value), least * 1.15)), "c0" if value > threshold else "pale"
        width = max(0.5, (across(1) - across(0)) * 0.8)
        parts.append(
            f'<rect class="fill {kind}" x="{across(n + 0.1):.1f}" y="{top:.1f}" width="{width:.1f}" '
            f'height="{up.begin - top:.1f}"/>'
        )
    y = up(threshold)
    parts.append(f'<path class="rule" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
    words = f"active above {threshold:g}, the dashed line"
    parts.append(f'<text class="end" x="{WIDTH - RIGHT}" y="12">{words}</text>')
    return picture(title, parts, HEIGHT)


def heat(title: str, values: Floats, levels: Sequence[float], *, unit: str) -> str:
    """Draw values [T, Z] as shades, a row for each unit with the greatest mean on top, blank below the first level.

    Args:
        title: what a reader who does not see it is told.
        values: [T, Z], T at least 1; of more than MOST_ROWS units those with the greatest means.
        levels: where each of the shades begins, from the palest, at most five.
        unit: of the values.
    """
    order = np.argsort(-values.mean(0), kind="stable")[:MOST_ROWS]
    shade = np.searchsorted(np.asarray(levels), values[:, order], side="right").T  # [rows, T]
    each = max(5.0, min(16.0, 160 / len(order)))
    bottom = TOP + each * len(order)
    across = Axis(0, len(values), LEFT, WIDTH - RIGHT)
    parts = [
        f'<rect class="box" x="{LEFT}" y="{TOP}" width="{WIDTH - RIGHT - LEFT}" height="{each * len(order):.1f}"/>'
    ]
    drawn: dict[int, list[str]] = {}
    for row, of_row in enumerate(shade.tolist()):
        begin = 0
        for end in range(1, len(of_row) + 1):
            if end == len(of_row) or of_row[end] != of_row[begin]:
                if of_row[begin]:
                    x, wide = across(begin), across(end) - across(begin)
                    path = f"M{x:.1f} {TOP + row * each:.1f}h{wide:.1f}v{each - 0.6:.1f}h{-wide:.1f}z"
                    drawn.setdefault(of_row[begin], []).append(path)
                begin = end
    parts += [f'<path class="fill c0 shade{n}" d="{"".join(paths)}"/>' for n, paths in sorted(drawn.items())]
    parts += [
        f'<text class="end" x="{LEFT - 4}" y="{TOP + row * each + each / 2 + 4:.1f}">{order[row] + 1}</text>'
        for row in range(0, len(order), math.ceil(12 / each))
    ]
    parts += [f'<text class="end" x="{LEFT - 4}" y="{TOP - 6}">unit</text>']
    place = float(LEFT)
    for n, level in enumerate(levels, start=1):
        parts.append(f'<rect class="fill c0 shade{n}" x="{place:.0f}" y="5" width="14" height="9"/>')
        parts.append(f'<text x="{place + 18:.0f}" y="13">{level:g}</text>')
        place += 48
    parts.append(f'<text x="{place:.0f}" y="13">{say(unit)}</text>')
    return picture(title, [*parts, *steps_axis(across, round(bottom) + BOTTOM)], round(bottom) + BOTTOM - 10)


def points(title: str, places: Floats, names: Sequence[str], groups: Sequence[str]) -> str:
    """Draw a map: a point for each sequence, its name told to who points at it, groups by colour and filling.

    Args:
        title: what a reader who does not see it is told.
        places: [N, 2], N at least 1.
        names: of the points, [N].
        groups: which group each is of, [N]; beyond the largest ten, and where empty, points are pale.
    """
    counted = Counter(group for group in groups if group)
    largest = sorted(name for name, _ in counted.most_common(2 * COLOURS))
    kinds = {name: f"c{n % COLOURS}" + (" hollow" if n >= COLOURS else "") for n, name in enumerate(largest)}
    low, high = places.min(0), places.max(0)
    wide, tall = (max(float(extent), 1e-9) for extent in high - low)
    side = min(300.0, max(100.0, 16 + (WIDTH - 16) * tall / wide))  # as tall as the points need
    scale = min((WIDTH - 16) / wide, (side - 16) / tall)
    middle = (low + high) / 2
    parts = []
    for (x, y), name, group in zip(places, names, groups, strict=True):
        kind = kinds.get(group, "c0" if not counted else "pale")
        at = f'cx="{WIDTH / 2 + scale * (x - middle[0]):.1f}" cy="{side / 2 - scale * (y - middle[1]):.1f}"'
        parts.append(f'<circle class="fill {kind}" {at} r="3"><title>{say(name)}</title></circle>')
    for n, name in enumerate(largest):
        x, y = 10 + 175 * (n % 2), round(side) + 14 + 16 * (n // 2)
        short = name if len(name) <= 24 else f"{name[:23]}…"
        parts.append(f'<circle class="fill {kinds[name]}" cx="{x}" cy="{y - 4}" r="4"/>')
        parts.append(f'<text x="{x + 9}" y="{y}">{say(short)} ({counted[name]})</text>')
    return picture(title, parts, side + 16 * math.ceil(len(largest) / 2) + (6 if largest else 0))
