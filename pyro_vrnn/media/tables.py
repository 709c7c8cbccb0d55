"""Vectors as CSV files, drawn as lines, shades or an image."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.media import pictures
from pyro_vrnn.media.medium import Array, Medium, beside
from pyro_vrnn.media.pictures import Caption
from pyro_vrnn.media.texts import read_text
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import write_bytes


class Tables(Medium):
    """See the module's docstring."""

    def write(
        self, form: DataFormat, stored: Array, stem: Path, caption: Caption
    ) -> tuple[Path, Path | None, dict[str, Any]]:
        """Write a CSV with the names of its columns, and a picture."""
        path, picture = beside(stem, ".csv"), beside(stem, ".png")
        table = io.StringIO()
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(form.columns or [f"x{j + 1}" for j in range(stored.shape[1])])
        writer.writerows([[repr(float(v)) for v in row] for row in stored])
        write_bytes(path, table.getvalue().encode())
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

    def read(self, form: DataFormat, path: Path) -> Array:
        """Read a CSV with a header, as `prepare vectors` does."""
        try:
            names, *rows = [*csv.reader(io.StringIO(read_text(path).removeprefix("\ufeff")))] or [[]]
            names, rows = [name.strip() for name in names], [row for row in rows if row]
            if _numbers(names):
                raise ValueError("its first line is numbers, not the names of columns")
            if "sequence" in names:  # as `prepare vectors` reads it: of several the first
                key = names.index("sequence")
                rows = [row for row in rows if row[key] == rows[0][key]]
            if form.columns and set(form.columns) <= set(names):  # in any order, among others
                rows = [[row[names.index(name)] for name in form.columns] for row in rows]
            values = np.array([[float(cell) for cell in row] for row in rows], np.float64)
        except (ValueError, IndexError, csv.Error) as error:
            raise DataError(f"{path}: {error}", f"give a CSV of {form.x_dim} columns with a header", path) from None
        if values.ndim != 2 or values.shape[1] != form.x_dim or not np.isfinite(values).all():
            raise DataError(f"{path}: not {form.x_dim} columns of finite numbers under a header", "", path)
        return values


def _numbers(cells: list[str]) -> bool:
    try:
        return bool(cells) and all(math.isfinite(float(cell)) for cell in cells)
    except ValueError:
        return False
