"""Tables that are not text, by pandas; and one sequence of a table, for a trained model."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.sources import uea
from pyro_vrnn.data.sources.columns import Choice, roles_of, seconds_of
from pyro_vrnn.data.sources.common import Skips
from pyro_vrnn.data.sources.lines import chunks_of
from pyro_vrnn.data.sources.sniffing import sniff
from pyro_vrnn.data.sources.store import Rows, Store
from pyro_vrnn.data.sources.tables import CHUNK_ROWS, SNIFFED_ROWS, Tables
from pyro_vrnn.system.errors import DataError, first_line

PLACE = re.compile(r"x\d+")
"""What a column is called that has no name of its own."""


def read_one(
    path: Path,
    columns: Sequence[str],
    width: int,
    missing: Sequence[str] = (),
    say: Callable[[str], None] = lambda message: None,
) -> Rows:
    """One sequence of a table, [T, width]: what a trained model is given to continue. NaN where a value is missing.

    Args:
        columns: their names, taken in this order from among others; of a table without a header, or for a model without
            names, all columns of numbers.
        width: how many there must be.
        missing: cells that say that nothing was observed, beside the usual ones.
        say: told which sequence is read, where the table has several.

    Raises:
        DataError: no such columns, other widths, or text.
    """
    if path.suffix.lower() in (".ts", ".arff") and (files := uea.find(path)) is not None:
        return _first_case(path, files, width, say)
    layout = sniff(path)
    ours = all(PLACE.fullmatch(name) for name in layout.names)
    if layout.header and columns and not ours and (gone := [name for name in columns if name not in layout.names]):
        hint = f"the model's columns are {', '.join(columns)[:200]}; without a header they are taken by their place"
        raise DataError(f"{path}: no column {gone[0]!r}", hint, path)
    choice = Choice(columns=tuple(columns)) if layout.header and set(columns) <= set(layout.names) else Choice()
    with Store(Path(tempfile.gettempdir())) as store:
        tables = Tables(store, choice, missing, Skips(path, strict=True))
        try:
            tables.add(path)
        except DataError as error:
            raise DataError(error.message, f"give a table of {width} columns of numbers", path) from error
        found = tables.found
        if not found.runs:
            raise DataError(f"{path}: no rows", f"give a table of {width} columns", path)
        found.sort()
        name = _first(path, list(found.runs), say)
        order = [found.columns.index(c) for c in columns] if choice.columns else slice(None)
        values: Rows = found.read(name, 0, found.steps[name])[:, order]
    if values.shape[1] != width:
        message = f"{path}: {values.shape[1]} columns of numbers ({', '.join(found.columns)[:80]}), not {width}"
        raise DataError(message, "a header with the model's columns chooses them from among others", path)
    return values


def labels(path: Path, columns: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """What stands beside the numbers of `read_one`, as it is written: whose row it is, when, and whatever else.

    Args:
        path: a table that `read_one` has read.
        columns: as `read_one` has them.

    Returns:
        The names of the file's other columns, and their cells at each step of the sequence.
    """
    if path.suffix.lower() in (".ts", ".arff"):
        return [], []
    layout = sniff(path)
    choice = Choice(columns=tuple(columns)) if layout.header and set(columns) <= set(layout.names) else Choice()
    chunks = list(chunks_of(path, layout, chain([SNIFFED_ROWS], repeat(CHUNK_ROWS)), lambda done: None))
    roles = roles_of(path, layout, chunks[0].rows, choice)
    rows = [row for chunk in chunks for row in chunk.rows]
    if (whose := roles.sequence) is not None:
        rows = [row for row in rows if row[whose].strip() == rows[0][whose].strip()]
    if (when := roles.time) is not None:
        order = np.argsort(seconds_of([row[when].strip() for row in rows], roles), kind="stable")
        rows = [rows[i] for i in order]
    kept = [j for j in range(len(roles.names)) if j not in roles.numbers]
    return [roles.names[j] for j in kept], [[row[j].strip() for j in kept] for row in rows]


def _first(path: Path, names: Sequence[str], say: Callable[[str], None]) -> str:
    """The first of several sequences, which is told."""
    if len(names) > 1:
        say(f"note: {path}: of its {len(names)} sequences the first, {names[0]!r}, is read")
    return names[0]


def _first_case(path: Path, files: dict[str, Path], width: int, say: Callable[[str], None]) -> Rows:
    """The first time series of a UEA collection."""
    found = uea.read({"": next(file for file in files.values() if file == path)}, Skips(path, strict=False))
    if not found.steps:
        raise DataError(f"{path}: no case that can be read", "give a table, or a .ts or .arff file", path)
    name = _first(path, list(found.steps), say)
    values: Rows = found.read(name, 0, found.steps[name])
    if values.shape[1] != width:
        raise DataError(f"{path}: {values.shape[1]} dimensions, not {width}", "give data of the model's columns", path)
    return values


def by_pandas(path: Path, folder: Path) -> Path:
    """A workbook or a Parquet file as a CSV in this folder, by pandas.

    Raises:
        DataError: pandas, or what it needs for such files, is not installed; or the file cannot be read.
    """
    try:
        import pandas
    except ImportError as error:
        raise DataError(
            f"{path}: Excel and Parquet need pandas", "pip install pandas openpyxl pyarrow", path
        ) from error
    read: Any = pandas.read_parquet if path.suffix.lower() == ".parquet" else pandas.read_excel
    try:
        table = read(path)
        out = folder / f"{path.stem}.csv"
        named = any(name is not None for name in table.index.names)  # whose rows they are, or their time
        (table.reset_index() if named else table).to_csv(out, index=False)
    except ImportError as error:
        raise DataError(f"{path}: {error}", "pip install openpyxl pyarrow", path) from error
    except Exception as error:  # the readers promise nothing about what they raise on damaged bytes
        why = first_line(error)
        raise DataError(f"{path}: cannot be read as a table: {why}", "save it as a CSV", path) from error
    return out
