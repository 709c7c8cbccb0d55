"""Arrays, lists of arrays and lists of symbols, as people have them in Python, to sequences by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import LONGEST_COLUMN, Array
from pyro_vrnn.data.sources.frames import is_frame, read_frame
from pyro_vrnn.data.sources.held import Held
from pyro_vrnn.system.errors import ConfigError, DataError


def numbers_of(part: Any, lengths: Any, columns: Sequence[str], of_frames: Mapping[str, Any]) -> Held:
    """The sequences of one split, of numbers."""
    if is_frame(part):
        if lengths is not None:
            raise ConfigError("lengths= is for an array", "a frame says by a column whose row it is: sequence=")
        return read_frame(part, columns=columns, **of_frames)
    if named := [name for name, column in of_frames.items() if column]:
        raise ConfigError(f"{named[0]}= names a column of a data frame", f"data is a {type(part).__name__}")
    if isinstance(part, Iterator):
        part = list(part)
    if not isinstance(part, list | tuple):
        part = np.asarray(part)  # a tensor too
    if lengths is not None:
        whole = _array(part, "data")
        ends = np.cumsum([int(n) for n in lengths])
        if not len(ends) or ends[-1] != len(whole):
            raise DataError(
                f"data: lengths= add up to {int(ends[-1]) if len(ends) else 0}, and it has {len(whole)} rows"
            )
        pieces: Iterable[Any] = np.split(whole, ends[:-1])
    else:
        pieces = [part] if isinstance(part, np.ndarray) and part.ndim < 3 and part.dtype.kind != "O" else part
    found = Held({str(i): _array(x, f"sequence {i}") for i, x in enumerate(pieces)}, [str(name) for name in columns])
    if not found.values:
        raise DataError("data: no sequences", "give a list of arrays [steps, columns]")
    if found.columns:
        width, names = next(iter(found.values.values())).shape[1], found.columns
        if len(names) != width or len(set(names)) < width or max(map(len, names)) > LONGEST_COLUMN:
            raise ConfigError(f"columns= {', '.join(names)[:80]}: {width} different names of columns are wanted")
    return found


def _array(x: Any, name: str) -> Array:
    """One sequence, [T, X]."""
    try:
        found = np.asarray(x)
    except ValueError:  # lists of different lengths
        found = np.empty(0, object)
    found = found[:, None] if found.ndim == 1 else found
    name = name if name == "data" else f"data: {name}"
    if found.dtype.kind not in "biuf":
        raise DataError(f"{name} is not an array of numbers ({found.dtype})", "[steps, columns], with NaN for gaps")
    if found.ndim != 2 or 0 in found.shape:
        raise DataError(f"{name} has shape {list(np.shape(x))}", "[steps, columns], one step at least; or [steps]")
    if found.dtype.kind == "f" and np.isinf(found).any():
        step = int(np.flatnonzero(np.isinf(found).any(axis=1))[0])
        raise DataError(f"{name}, step {step} is infinite", "NaN marks a value that is missing")
    return found


def usual_support(values: Iterable[Array]) -> str:
    """binary for bool, and for uint8 of 0 and 1; real for all else."""
    bits = all(x.dtype == bool or (x.dtype == np.uint8 and int(x.max()) <= 1) for x in values)
    return "binary" if bits else "real"


def is_text(part: Any) -> bool:
    """Whether these are sequences of texts: lists of them, or texts, whose symbols are their characters."""
    if not isinstance(part, Sequence) or not len(part):
        return False
    first = part[0]
    return isinstance(first, str) or (isinstance(first, Sequence) and len(first) > 0 and isinstance(first[0], str))


def symbols_of(part: Any) -> Held:
    """The sequences of one split, of symbols: all text, or all whole numbers."""
    sequences = [part] if isinstance(part, str) else list(part)
    found = Held(
        {str(i): np.asarray(s).tolist() if isinstance(s, np.ndarray) else list(s) for i, s in enumerate(sequences)}
    )
    for name, values in found.values.items():
        kinds = {str if isinstance(v, str) else int if isinstance(v, int | np.integer) else object for v in values}
        if len(kinds) != 1 or object in kinds:
            what = "is empty" if not values else "is not all text, or all whole numbers"
            raise DataError(f"data: sequence {name} {what}", "a list of symbols each, such as list('text')")
    found.extra["level"] = "char" if all(isinstance(s, str) for s in sequences) else "token"
    return found
