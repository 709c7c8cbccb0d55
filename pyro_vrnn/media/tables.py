"""Vectors as CSV files, drawn as lines, shades or an image."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.media import pictures
from pyro_vrnn.media.medium import Array, Medium, Say, Shown, beside, silent
from pyro_vrnn.media.pages import drawn
from pyro_vrnn.media.pictures import Caption
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import write_bytes


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV; numbers with all of their digits."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_bytes(path, table.getvalue().encode())


class Tables(Medium):
    """See the module's docstring."""

    def write(
        self, form: DataFormat, stored: Array, stem: Path, caption: Caption
    ) -> tuple[Path, Path | None, dict[str, Any]]:
        """Write a CSV with the names of its columns, and a picture."""
        path, picture = beside(stem, ".csv"), beside(stem, ".png")
        rows = [["" if math.isnan(v) else v for v in row] for row in stored.astype(float).tolist()]
        write_rows(path, form.columns or [f"x{j + 1}" for j in range(stored.shape[1])], rows)
        if form.image:
            pictures.images(
                [stored], picture, [caption.title], marks=caption.hidden or ([caption.given] if caption.given else [])
            )
        else:
            draw = pictures.lines if form.x_dim <= pictures.MOST_LINES else pictures.columns
            draw(stored, picture, caption, names=form.columns)
        return path, picture, {"rows": len(stored)}

    def overview(self, form: DataFormat, sequences: list[Array], path: Path, titles: list[str], given: int) -> bool:
        """Draw several images side by side; of other tables there is no overview."""
        if not form.image:
            return False
        pictures.images(sequences, path, titles, marks=[given] if given else [])
        return True

    def read(self, form: DataFormat, path: Path, say: Say = silent) -> Array:
        """Read a table as `prepare vectors` does, NaN where a value is missing; of several sequences the first."""
        from pyro_vrnn.data.sources.othertables import read_one

        values = read_one(path, form.columns, form.x_dim, form.missing_cells, say)
        if np.isnan(values).any() and not form.missing:
            step = int(np.argmax(np.isnan(values).any(1)))
            hint = "the model was trained on data without missing values"
            raise DataError(f"{path}: a value is missing in row {step + 1}", hint, path)
        return values

    def show(self, form: DataFormat, stored: Array, title: str, seconds: float) -> Shown:
        """Show an image, a few columns as curves, or many as shades."""
        if form.image:
            return Shown(png=pictures.pixels(stored, "gray", 0.0, 1.0))
        if form.x_dim <= pictures.MOST_LINES:
            names = list(form.columns) or [f"x{j + 1}" for j in range(form.x_dim)]
            return Shown(svg=drawn.columns(title, names, np.asarray(stored, np.float64)))
        found = np.asarray(stored, np.float64).T
        note = f"A row for each of the {form.x_dim} columns, a pixel for each step; brighter is greater."
        return Shown(png=pictures.pixels(found, "viridis", float(np.nanmin(found)), float(np.nanmax(found))), note=note)
