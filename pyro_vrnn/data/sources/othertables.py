"""Tables that are not text, by pandas; and one sequence of a table, for a trained model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro_vrnn.data.sources.columns import Choice
from pyro_vrnn.data.sources.common import Skips
from pyro_vrnn.data.sources.sniffing import sniff
from pyro_vrnn.data.sources.store import Rows, Store
from pyro_vrnn.data.sources.tables import Tables
from pyro_vrnn.system.errors import DataError


def read_one(path: Path, columns: Sequence[str], width: int, missing: Sequence[str] = ()) -> Rows:
    """One sequence of a table, [T, width]: what a trained model is given to continue. NaN where a value is missing.

    Args:
        columns: their names, taken in this order from among others; of a table without a header, or for a model without
            names, all columns of numbers.
        width: how many there must be.
        missing: cells that say that nothing was observed, beside the usual ones.

    Raises:
        DataError: no such columns, other widths, or text.
    """
    layout = sniff(path)
    choice = Choice(columns=tuple(columns)) if layout.header and set(columns) <= set(layout.names) else Choice()
    with Store(Path(tempfile.gettempdir())) as store:
        tables = Tables(store, choice, missing, Skips(path, strict=True))
        tables.add(path)
        found = tables.found
        if not found.runs:
            raise DataError(f"{path}: no rows", f"give a table of {width} columns", path)
        found.sort()
        name = next(iter(found.runs))
        order = [found.columns.index(c) for c in columns] if choice.columns else slice(None)
        values: Rows = found.read(name, 0, found.steps[name])[:, order]
    if values.shape[1] != width:
        message = f"{path}: {values.shape[1]} columns of numbers ({', '.join(found.columns)[:80]}), not {width}"
        raise DataError(message, "a header with the model's columns chooses them from among others", path)
    return values


def by_pandas(path: Path, folder: Path) -> Path:
    """A workbook or a Parquet file as a CSV in this folder, by pandas.

    Raises:
        DataError: pandas, or what it needs for such files, is not installed; or the file cannot be read.
    """
    try:
        import pandas  # type: ignore[import-untyped]
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
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"{path}: cannot be read as a table: {why}", "save it as a CSV", path) from error
    return out
