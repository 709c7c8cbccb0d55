"""What `pyro_vrnn.dataset` does: sequences that are in memory to a data file, which can be given to `train`."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data import catalogue
from pyro_vrnn.data.description import describe
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo, read_info
from pyro_vrnn.data.sources.arrays import is_text, numbers_of, symbols_of, usual_support
from pyro_vrnn.data.sources.common import SHARES
from pyro_vrnn.data.sources.finishing import Cut, Sequences, deal, ids_of, write_vectors
from pyro_vrnn.data.sources.held import Held, by_split, together
from pyro_vrnn.data.sources.request import Request
from pyro_vrnn.data.sources.text import numbered
from pyro_vrnn.data.supports import SUPPORTS, check_support
from pyro_vrnn.data.writer import check_free, write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError, choose

HERE = Path("data")
"""What errors call the arrays: the argument's name."""
ORIGIN = "sequences in memory"
MOST_NAMED = 8
"""Columns that a summary names."""


@dataclass(frozen=True, repr=False)
class Dataset:
    """A data file, to be given to `train(data=...)` and `run.evaluate(data=...)`, or to anything that takes a path.

    Attributes:
        path: the file.
    """

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def info(self) -> DataInfo:
        """What the file says of itself."""
        return read_info(self.path)

    def describe(self) -> dict[str, Any]:
        """What is in it, in numbers, with the scores of simple baselines and what to know before training."""
        return describe(self.path)

    def __repr__(self) -> str:
        try:
            info = self.info
        except DataError as error:
            return f"<Dataset {error.message}>"
        parts = [f"{name} {s.sequences} sequences of {s.steps} steps" for name, s in info.splits.items() if s.sequences]
        names = [str(name) for name in info.extra.get("columns", [])]
        what = f"{info.x_dim} {info.support} column{'' if info.x_dim == 1 else 's'}"
        if info.support == "categorical":
            what = f"{len(info.extra.get('symbols', []))} symbols"
        if names:
            what += f" {', '.join(names[:MOST_NAMED])}{', …' if len(names) > MOST_NAMED else ''}"
        told = [("missing_values", "values missing"), ("skipped_count", "sequences left out")]
        what += "".join(f", {info.extra[key]} {words}" for key, words in told if info.extra.get(key))
        return f"<Dataset {self.path}: {', '.join(parts)}; {what}>"


def dataset(
    data: Any = None,
    *,
    splits: Any = SHARES,
    lengths: Sequence[int] | None = None,
    columns: Sequence[str] = (),
    sequence: str | None = None,
    time: str | None = None,
    support: str | None = None,
    symbols: Sequence[str] = (),
    steps_per_second: float | None = None,
    window: int | None = None,
    hop: int | None = None,
    split_by: str = "sequence",
    drop_outliers: bool = False,
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Dataset:
    """Write sequences that are in memory to a data file, as `prepare vectors` (or `symbols`) does those of files.

    Args:
        data: a list of arrays [T_i, X] or [T_i]; an array [N, T, X]; an array [T, X], which is one sequence, or N with
            `lengths`; a data frame with a row a step; a list of lists of symbols; or a dict of such, by split.
            NaN marks a value that is missing.
        splits: percentages of train, valid and test; or the split of each sequence, a list of names; or of a frame
            the name of a column; or a dict of data, by split, beside or instead of `data`, which is then train.
        lengths: of the sequences that lie end to end in `data`.
        columns: names of the columns; of a frame, those that are kept (all that are left, by default).
        sequence: the frame's column that says whose row it is; `sequence` by default, if there is one.
        time: the frame's column by which rows are put in order.
        support: "real", "binary" or "categorical"; by default bool, and uint8 of 0 and 1, are binary, and text is
            categorical.
        symbols: the names of whole numbers 0, 1, …, or of all symbols that there are.
        steps_per_second: if time has a unit; of a frame with dates it follows from them.
        window, hop, split_by, drop_outliers: as those of `prepare vectors`.
        seed: deals sequences out to the splits.
        path: the file; by default one named by what it holds, data/dataset-….h5. If it holds the same already, it
            stays as it is.
        overwrite: replace a file that holds something else.

    Raises:
        DataError: nothing there, not numbers, columns that differ, or nothing left to train on.
        ConfigError: arguments that contradict each other, an unknown split, or a file in the way.
    """
    columns, splits = [columns] if isinstance(columns, str) else list(columns), _listed(splits)
    symbols = list(symbols)
    how = Cut(window=window, hop=hop, split_by=split_by, splits=_shares(splits))
    if support is not None and support not in SUPPORTS:
        raise choose("support", support, SUPPORTS)
    parts = by_split(data, splits)
    discrete = support == "categorical" or len(symbols) > 0 or is_text(next(iter(parts.values())))
    if discrete:
        if support not in (None, "categorical") or len(columns) or drop_outliers:
            raise ConfigError("symbols have no columns, no outliers and no other support", "leave these arguments out")
        if isinstance(splits, str) or sequence or time or lengths is not None:
            raise ConfigError("lists of symbols are a sequence each", "leave sequence=, time= and lengths= out")
        found = together({split: symbols_of(part) for split, part in parts.items()}, splits)
    else:
        of_frames = {"sequence": sequence, "time": time, "splits": splits if isinstance(splits, str) else ""}
        found = together({s: numbers_of(part, lengths, columns, of_frames) for s, part in parts.items()}, splits)
        support = support or usual_support(found.values.values())
    if len(found.values) == 1 and not found.splits and split_by == "sequence":
        [x] = found.values.values()
        raise DataError(
            f"data: one sequence of {len(x)} steps, to be dealt out to three splits",
            'split_by="time" holds its end out (with window=N in pieces of N steps); lengths= says where others begin',
        )
    rate = found.steps_per_second if steps_per_second is None else float(steps_per_second)
    options = {"seed": seed, "support": support or "categorical", "drop_outliers": drop_outliers}
    asked = {**options, **how.options(), "rate": rate, "symbols": symbols}
    options["digest"] = digest = _digest(found, asked)
    place = catalogue.FOLDER / f"dataset-{digest[:12]}.h5" if path is None else Path(path)
    if place.exists() and not overwrite:
        if not _holds(place, digest):
            hint = "overwrite=True replaces it, or name another file by path="
            raise ConfigError(f"{place}: it is there already, and holds something else", hint, place)
        return Dataset(place)
    check_free(place, overwrite)
    request = Request(path=place, source=HERE, overwrite=overwrite, seed=seed)
    if discrete or support == "binary":
        _write_discrete(request, found, how, rate, options, symbols if discrete else None)
        return Dataset(place)
    write_vectors(
        request,
        Sequences.of(found.values, splits=found.splits, columns=found.columns),
        request.skips(),
        cut=how,
        drop_outliers=drop_outliers,
        steps_per_second=rate,
        options=options,
        extra=found.extra,
        source=ORIGIN,
    )
    return Dataset(place)


def _listed(splits: Any) -> Any:
    """The argument `splits` as a text, a dict, or a list that is all text or all numbers; else ConfigError."""
    if isinstance(splits, str | Mapping):
        return splits
    try:
        listed = list(splits)
        return listed if listed and all(isinstance(one, str) for one in listed) else [float(one) for one in listed]
    except (TypeError, ValueError):
        hint = 'percentages such as (80, 10, 10), a list of "train", "valid" and "test", or a dict of data'
        raise ConfigError(f"splits={splits!r}", hint) from None


def _shares(splits: Any) -> Sequence[float]:
    """The percentages, or the usual ones where `splits` are something else."""
    named = isinstance(splits, str | Mapping) or isinstance(next(iter(splits), None), str)
    return SHARES if named else tuple(splits)


def _write_discrete(
    request: Request,
    found: Held,
    how: Cut,
    rate: float | None,
    options: Mapping[str, Any],
    symbols: Sequence[str] | None,
) -> None:
    """Write symbols, or bits if `symbols` is None."""
    skips = request.skips()
    pieces, dealing = deal({n: len(x) for n, x in found.values.items()}, found.splits, how, request.seed, skips)
    extra = {**found.extra, **dealing, **skips.extra()}
    values: Mapping[str, Sequence[Any]] = {s: [found.values[n][a:b] for n, a, b in pieces[s]] for s in SPLITS}
    if symbols is not None:
        values, named, unknown = _numbered(values, symbols)
        extra |= {"symbols": named, "unknown": unknown}
    else:
        for name, x in found.values.items():
            check_support(x, "binary", f"data: sequence {name!r}")
        values = {split: [x.astype(np.uint8) for x in part] for split, part in values.items()}
        extra |= {"columns": found.columns} if found.columns else {}
    write_sequences(
        request.path,
        values,
        ids=ids_of(pieces, how),
        kind="vectors" if symbols is None else "symbols",
        support="binary" if symbols is None else "categorical",
        steps_per_second=rate,
        source=ORIGIN,
        licence="unknown",
        options={**options, **how.options()},
        extra=extra,
        overwrite=request.overwrite,
    )


def _numbered(
    values: Mapping[str, Sequence[Any]], symbols: Sequence[str]
) -> tuple[dict[str, list[Array]], list[str], dict[str, int]]:
    """What text.py's `numbered` gives, by the symbols that are named, if they are."""
    every = [value for part in values.values() for sequence in part for value in sequence]
    if not symbols:
        if not all(isinstance(value, str) for value in every):
            raise ConfigError("data: numbers of symbols without symbols=", "symbols= names them, 0 first")
        return numbered(values)
    names = [str(symbol) for symbol in symbols]
    number: dict[Any, int] = {name: i for i, name in enumerate(names)}
    if len(number) < len(names):
        raise ConfigError("symbols=: the same name twice", "each symbol once")
    number |= {i: i for i in range(len(names))}
    for value in every:
        if value not in number:
            raise DataError(f"data: {value!r} is none of the {len(names)} symbols", "symbols= names all that there are")
    dtype = np.uint8 if len(names) <= 256 else np.int16
    coded = {
        split: [np.array([[number[value]] for value in sequence], dtype) for sequence in part]
        for split, part in values.items()
    }
    return coded, names, dict.fromkeys(SPLITS, 0)


def _digest(found: Held, asked: Mapping[str, Any]) -> str:
    """A sha256 of all that the file is made of."""
    about = [asked, found.columns, found.splits, found.extra, [*found.values]]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode("utf-8", "backslashreplace"))
    for x in found.values.values():
        if isinstance(x, np.ndarray):
            digest.update(f"{x.dtype.str} {x.shape}".encode())
            digest.update(np.ascontiguousarray(x).data)
        else:
            digest.update(json.dumps([str(v) if isinstance(v, str) else int(v) for v in x]).encode())
    return digest.hexdigest()


def _holds(path: Path, digest: str) -> bool:
    """Whether a file was made of this."""
    try:
        return read_info(path).options.get("digest") == digest
    except DataError:
        return False
