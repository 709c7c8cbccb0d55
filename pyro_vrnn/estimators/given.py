"""What people give estimators as X: lists of arrays, [N, T, X], [T, X] with or without lengths, data frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.utils.validation import validate_data

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.frames import is_frame, read_frame
from pyro_vrnn.system.errors import ConfigError, DataError

SHAPES = "a list of arrays [steps, columns], an array [sequences, steps, columns], one sequence [steps, columns]"


@dataclass
class Given:
    """Sequences that an estimator was given.

    Attributes:
        values: of each sequence, [T_i, X].
        names: of the columns, of a data frame.
        rows: whether X is two-dimensional, so that its rows are steps and not sequences.
        rate: steps per second, where a frame's dates say it.
        whole: what scikit-learn checks: X itself where its rows are steps, else all steps of all sequences.
    """

    values: list[Array]
    names: list[str] = field(default_factory=list)
    rows: bool = False
    rate: float | None = None
    whole: Any = None

    @property
    def steps(self) -> int:
        """All steps of all sequences."""
        return sum(map(len, self.values))


def read(
    estimator: Any,
    x: Any,
    lengths: Sequence[int] | None,
    *,
    sequence: str | None = None,
    time: str | None = None,
    fitting: bool = False,
) -> Given:
    """The sequences in X, after scikit-learn's own checks.

    Args:
        estimator: whose X it is. While it is fitted, `n_features_in_` and `feature_names_in_` are noted; later X must
            have as many columns, and a frame those columns, in any order and among others.
        x: see `SHAPES`; a list of [steps] are sequences of one column.
        lengths: of the sequences that lie end to end in a two-dimensional X.
        sequence, time: columns of a data frame, as those of `pyro_vrnn.dataset`.
        fitting: whether the estimator is fitted now.

    Raises:
        ValueError: scikit-learn's: nothing there, infinite, complex, sparse, or another number of columns.
        DataError: another shape, sequences that differ in their columns, or lengths that do not add up.
        ConfigError: lengths, sequence or time where they make no sense.
    """
    if is_frame(x):
        known = [] if fitting else [str(name) for name in getattr(estimator, "feature_names_in_", ())]
        found = _of_frame(x, known, lengths, sequence, time)
    else:
        if named := [word for word, column in (("sequence", sequence), ("time", time)) if column and fitting]:
            raise ConfigError(f"{named[0]}= names a column of a data frame", f"X is a {type(x).__name__}")
        found = _of_arrays(x, lengths)
    options = {"reset": fitting, "dtype": "numeric", "ensure_all_finite": "allow-nan"}
    checked = validate_data(estimator, found.whole, **options)
    if found.rows and not is_frame(x):  # as scikit-learn understood it: lists and arrays of objects are numbers now
        found.values = [checked] if lengths is None else _split(checked, lengths)
    return found


def check_targets(y: Any, found: Given) -> None:
    """DataError if y, which is not used, has an entry neither for each sequence nor for each step."""
    if y is None:
        return
    count = len(np.atleast_1d(np.asarray(y, dtype=object)))
    if count in (len(found.values), found.steps):
        return
    message = f"y has {count} entries for {len(found.values)} sequences of {found.steps} steps"
    raise DataError(message, "lengths= (by its name) says where the sequences of a two-dimensional X end")


def _of_frame(x: Any, known: list[str], lengths: Sequence[int] | None, sequence: str | None, time: str | None) -> Given:
    """The sequences of a data frame."""
    labels = {str(label): label for label in x.columns}
    if gone := [name for name in known if name not in labels]:
        raise DataError(f"X has no column {gone[0]!r}", f"the estimator was fitted on {', '.join(known)[:200]}")
    held = read_frame(x, columns=known, sequence=sequence, time=time)
    rows = sequence is None and "sequence" not in labels
    values = list(held.values.values())
    when = np.asarray(x[labels[time]]) if time is not None else np.empty(0)
    if rows and any(later < earlier for earlier, later in pairwise(when)):
        # The rows that come back are those that went in, so they are not put in order here.
        message = f"the rows of X are not in the order of its column {time!r}"
        raise ConfigError(message, f"X.sort_values({time!r}); or a column that says whose row each is: sequence=")
    if lengths is not None:
        if not rows:
            raise ConfigError("lengths= with a frame that says by a column whose row it is", "leave one of them out")
        if time is not None:
            hint = "sequence= names a column that says whose row each is"
            raise ConfigError("lengths= says where sequences end in X as it is, and time= would order all rows", hint)
        values = _split(values[0], lengths)
    return Given(values, held.columns, rows, held.steps_per_second, whole=x[[labels[name] for name in held.columns]])


def _of_arrays(x: Any, lengths: Sequence[int] | None) -> Given:
    """The sequences of a list or an array."""
    if isinstance(x, Iterator):
        x = list(x)
    listed = isinstance(x, list | tuple) or (isinstance(x, np.ndarray) and x.dtype.kind == "O" and x.ndim == 1)
    if not listed:
        array = np.asarray(x)
        if array.ndim > 3 or (array.ndim == 3 and 0 in array.shape):
            raise DataError(f"X has shape {list(array.shape)}", SHAPES)
        if array.ndim < 3:  # scikit-learn says what is wrong with it, if anything is
            values = [array] if lengths is None else _split(array, lengths)
            return Given(values, rows=True, whole=x)
        x = array
    if lengths is not None:
        raise ConfigError("lengths= is for a two-dimensional X", "a list and an array [N, T, X] have sequences already")
    if not len(x):
        raise DataError("X has 0 sequences", SHAPES)
    values = [_sequence(item, i) for i, item in enumerate(x)]
    for i, one in enumerate(values):
        if one.shape[1] != values[0].shape[1]:
            raise DataError(f"X: sequence {i} has {one.shape[1]} columns, and sequence 0 has {values[0].shape[1]}")
    return Given(values, whole=np.concatenate(values))


def _sequence(item: Any, i: int) -> Array:
    """One sequence of several, [T, X]."""
    try:
        found = np.asarray(item)
        found = found.astype(np.float64) if found.dtype.kind == "O" else found
    except (TypeError, ValueError) as error:
        raise DataError(f"X: sequence {i} is no array of numbers: {error}", SHAPES) from None
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2 or 0 in found.shape or found.dtype.kind not in "biufc":
        raise DataError(f"X: sequence {i} has shape {list(np.shape(item))} and type {found.dtype}", SHAPES)
    return found


def _split(x: Any, lengths: Sequence[int]) -> list[Array]:
    """The sequences that lie end to end in [sum of lengths, X]."""
    whole = np.asarray(x)
    steps = [int(n) for n in lengths]
    if not steps or min(steps) < 1 or sum(steps) != len(whole):
        message = f"lengths= are {len(steps)} that add up to {sum(steps)}, and X has {len(whole)} rows"
        raise DataError(message, "each at least 1")
    return np.split(whole, np.cumsum(steps)[:-1])
