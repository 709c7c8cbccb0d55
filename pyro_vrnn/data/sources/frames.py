"""Data frames in long form (of pandas, or alike): a row a step, a column that says whose row it is.

No such library is imported: a frame is what is called DataFrame, and is asked for its columns and their values alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from numbers import Real
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.columns import split_name
from pyro_vrnn.data.sources.held import Held
from pyro_vrnn.data.sources.sniffing import kind_of
from pyro_vrnn.data.sources.spacing import told
from pyro_vrnn.system.errors import DataError, choose

NO_NAME = {"", "nan", "none", "nat", "<na>"}


def is_frame(data: Any) -> bool:
    """Whether this is a data frame, by the name of its class."""
    return any(cls.__name__ == "DataFrame" for cls in type(data).__mro__)


def read_frame(
    frame: Any, *, columns: Sequence[str] = (), sequence: str | None = None, time: str | None = None, splits: str = ""
) -> Held:
    """The sequences of a data frame in long form.

    Args:
        frame: rows of a sequence need not lie together.
        columns: of numbers; by default all but the three below.
        sequence: the column that says whose row it is; `sequence` if there is one, else all rows are one sequence.
        time: the column by which the rows of a sequence are put in order; as they lie without it.
        splits: the column that says which split a row is in, if there is one.

    Raises:
        ConfigError: a column that was named is not there.
        DataError: no rows, two columns of one name, text where numbers are wanted, a row without a name or a time.
    """
    labels = {str(label): label for label in frame.columns}
    if len(labels) < len(list(frame.columns)):
        raise DataError("data: two columns have the same name", "rename one of them")
    sequence = "sequence" if sequence is None and "sequence" in labels else sequence
    for what, name in [("sequence", sequence), ("time", time), ("splits", splits), *(("columns", c) for c in columns)]:
        if name and name not in labels:
            raise choose(f"column in {what}=", name, labels)
    if not len(frame):
        raise DataError("data: a frame without rows", "a row a step")
    kept = list(columns) or [name for name in labels if name not in (sequence, time, splits)]
    if not kept:
        raise DataError("data: no column of numbers", "a column for each value of a step")
    x = np.stack([_numbers(frame[labels[name]], name) for name in kept], axis=1)
    names = ["0"] * len(x) if sequence is None else [_name(v, sequence) for v in np.asarray(frame[labels[sequence]])]
    number = {name: i for i, name in enumerate(dict.fromkeys(names))}
    owner = np.array([number[name] for name in names])
    when = None if time is None else _seconds(np.asarray(frame[labels[time]]), time)
    order = np.argsort(owner, kind="stable") if when is None else np.lexsort((when, owner))
    rows = np.split(order, np.cumsum(np.bincount(owner))[:-1])
    found = Held({name: x[rows[i]] for name, i in number.items()}, kept)
    if splits:
        cells = [str(cell) for cell in np.asarray(frame[labels[splits]])]
        found.splits = {name: _split({cells[j] for j in rows[i]}, name, splits) for name, i in number.items()}
    if time is not None and when is not None:
        dates = np.asarray(frame[labels[time]]).dtype.kind not in "biuf"
        every = np.concatenate([np.diff(when[part]) for part in rows])
        found.steps_per_second, found.extra["time"] = told(every, time, dates=dates, seconds=dates)
    return found


def _numbers(column: Any, name: str) -> Array:
    """The values of a column, NaN where there is none."""
    values = np.asarray(column)
    if values.dtype.kind in "biuf":
        return values
    if values.dtype.kind == "O":
        try:
            return np.array([_number(value) for value in values], np.float64)
        except TypeError:
            pass
    given = list(values)
    first = next((v for v in given if not isinstance(v, Real)), "")
    leave = f"data.drop(columns={name!r}) leaves it out"
    if values.dtype.kind == "M" or _is_date(first):
        what = f"data: column {name!r} holds dates, and no numbers: {str(first)[:40]!r}"
        hint = f"time={name!r} puts the rows in their order; or {leave}"
        raise DataError(what, hint)
    if isinstance(first, str) and kind_of(first) == "date":
        hint = f"pandas.to_datetime makes dates of them, and time={name!r} puts the rows in their order; or {leave}"
        raise DataError(f"data: column {name!r} holds texts of dates: {first[:40]!r}", hint)
    raise DataError(f"data: column {name!r} is no column of numbers: {first!r}", leave)


def _is_date(value: Any) -> bool:
    """Whether this is a date of Python or pandas, by what it can say of itself."""
    return isinstance(value, date | np.datetime64)


def _number(value: Any) -> float:
    """A number, or NaN for what pandas has where there is none; TypeError for anything else."""
    if value is None or type(value).__name__ == "NAType":
        return np.nan
    if not isinstance(value, Real):
        raise TypeError
    return float(value)


def _name(value: Any, column: str) -> str:
    """The name of a row's sequence."""
    if (name := str(value)).lower() in NO_NAME:
        raise DataError(f"data: column {column!r} has an empty cell", "every row says whose it is")
    return name


def _seconds(values: Array, column: str) -> Array:
    """Times as numbers: seconds since the first where they are dates."""
    if values.dtype.kind == "O":  # dates with a time zone
        try:
            values = np.array([np.nan if str(v).lower() in NO_NAME else v.timestamp() for v in values], np.float64)
        except AttributeError:
            raise DataError(f"data: column {column!r} is neither dates nor numbers", "pandas.to_datetime") from None
    if values.dtype.kind == "M":
        gone = np.isnat(values)
        values = (values - values[0]).astype("timedelta64[ns]").astype(np.float64) / 1e9
        values[gone] = np.nan
    if values.dtype.kind not in "biuf":
        raise DataError(f"data: column {column!r} is neither dates nor numbers", "pandas.to_datetime makes dates")
    if not np.isfinite(values.astype(np.float64)).all():
        raise DataError(f"data: column {column!r} has an empty cell", "every row has its time")
    return values


def _split(cells: set[str], name: str, column: str) -> str:
    """The split of a sequence."""
    if len(cells) > 1:
        raise DataError(f"data: sequence {name!r} is in the splits {', '.join(sorted(cells))}", "one for all its rows")
    try:
        return split_name(cells.pop())
    except ValueError as error:
        raise DataError(f"data: column {column!r}: {error}", "train, valid or test") from None
