"""Pen strokes as SVG drawings."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.media import pictures
from pyro_vrnn.media.medium import Array, Medium, Shown, beside
from pyro_vrnn.media.pages import drawn
from pyro_vrnn.media.pictures import Caption
from pyro_vrnn.system.files import write_bytes


class Drawings(Medium):
    """See the module's docstring."""

    def write(
        self, form: DataFormat, stored: Array, stem: Path, caption: Caption
    ) -> tuple[Path, Path | None, dict[str, Any]]:
        """Write an SVG of its lines, and the same as a PNG."""
        path, picture, lines = beside(stem, ".svg"), beside(stem, ".png"), polylines(stored)
        write_bytes(path, svg(lines, caption.title).encode())
        pictures.drawings([lines], picture, [caption.title])
        return path, picture, {"strokes": len(lines)}

    def overview(self, form: DataFormat, sequences: list[Array], path: Path, titles: list[str], given: int) -> bool:
        """Draw several drawings side by side."""
        pictures.drawings([polylines(stored) for stored in sequences], path, titles)
        return True

    def show(self, form: DataFormat, stored: Array, title: str, seconds: float) -> Shown:
        """Show the drawing."""
        return Shown(svg=drawn.drawing(title, polylines(stored)))


def polylines(stored: Array) -> list[Array]:
    """(dx, dy, pen) to the strokes of a drawing: lists of points [N, 2], y upwards. The pen is lifted after a 1."""
    points = np.concatenate([np.zeros((1, 2)), np.cumsum(np.asarray(stored[:, :2], np.float64), axis=0)])
    lifted = np.flatnonzero(stored[:, 2] > 0.5) + 1
    return [line for line in np.split(points, lifted + 1) if len(line) > 1]


def svg(lines: list[Array], title: str = "") -> str:
    """A drawing of strokes [N, 2], y upwards."""
    points = np.concatenate(lines) if lines else np.zeros((1, 2))
    low, high = points.min(0), points.max(0)
    unit = 1000 / max(float((high - low).max()), 1e-9)
    width, height = (high - low) * unit
    moved = [(line - [low[0], high[1]]) * [unit, -unit] for line in lines]
    paths = "\n".join('<polyline points="' + " ".join(f"{x:.2f},{y:.2f}" for x, y in line) + '"/>' for line in moved)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-50 -50 {width + 100:.2f} {height + 100:.2f}">\n'
        f"<title>{escape(title)}</title>\n"
        f'<g fill="none" stroke="black" stroke-width="12" stroke-linecap="round" stroke-linejoin="round">\n'
        f"{paths}\n</g>\n</svg>\n"
    )
