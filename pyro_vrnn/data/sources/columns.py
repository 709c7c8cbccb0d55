"""What the columns of a table are: numbers, the time, whose row it is, a row's number, or text.

What parses as a number is not data yet: a row index of pandas and a time stamp are numbers too. What is left out, and
why, is told in the summary; `columns`, `drop`, `one_hot` and `sequence` say it otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pyro_vrnn.data.schema import LONGEST_COLUMN, SPLITS, Array
from pyro_vrnn.data.sources.sniffing import Layout, iso, kind_of
from pyro_vrnn.system.errors import ConfigError, DataError, choose

TIME_NAMES = {"time", "date", "datetime", "timestamp", "ts", "epoch", "unix", "unixtime", "time_stamp", "date_time"}
INDEX_NAME = re.compile(
    r"(unnamed: ?\d+)?|index|idx|row(_?(id|number|names))?|__index_level_0__|t|(time_?)?step|frame", re.IGNORECASE
)
PLAIN = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{1,2})?")
"""A number with a point, if it has one."""
EPOCHS = ((1e8, 5e9, 1.0), (1e11, 5e12, 1e3), (1e14, 5e15, 1e6), (1e17, 5e18, 1e9))
"""Seconds since 1970 of the years 1973 to 2128: lowest, highest, and units in a second."""


@dataclass(frozen=True)
class Choice:
    """What was asked of the columns."""

    columns: tuple[str, ...] = ()
    """These alone; all that are numbers if empty."""
    drop: tuple[str, ...] = ()
    """Not these."""
    one_hot: tuple[str, ...] = ()
    """Texts that become a column for each of their values."""
    sequence: str | None = None
    """The column that says whose row it is; `sequence` if there is one."""


@dataclass(frozen=True)
class Roles:
    """What each column of a table is, by its place."""

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    """Columns of numbers, and of the texts that are counted out."""
    texts: tuple[int, ...] = ()
    """Which of these hold texts."""
    sequence: int | None = None
    split: int | None = None
    time: int | None = None
    dates: bool = False
    """Whether the time is written as dates; else as numbers."""
    unit: float = 0.0
    """Units of the time in a second; 0 where that is not known."""
    dropped: dict[str, str] = field(default_factory=dict)
    """Columns that are left out of themselves, and why."""

    @property
    def kept(self) -> list[str]:
        """Names of the columns of numbers."""
        return [self.names[j] for j in self.numbers]


def roles_of(path: Path, layout: Layout, rows: Sequence[Sequence[str]], choice: Choice) -> Roles:
    """Decide what the columns are, by their names and the first rows.

    Raises:
        DataError: the same name twice, no column of numbers, or text in a column that nobody asked to be left out.
        ConfigError: a column that was asked for is not there.
    """
    names = _named(path, layout)
    for option, asked in (("columns", choice.columns), ("drop", choice.drop), ("one_hot", choice.one_hot)):
        for name in asked:
            if name not in names:
                raise choose(f"column in --{option.replace('_', '-')}", name, names)
    if choice.sequence is not None and choice.sequence not in names:
        raise choose("column in --sequence", choice.sequence, names)
    key = choice.sequence or ("sequence" if "sequence" in names else None)
    sequence = None if key is None else names.index(key)
    split = names.index("split") if "split" in names and "split" not in choice.columns else None
    wanted = set(choice.columns) | set(choice.one_hot)
    free = [j for j, name in enumerate(names) if j not in (sequence, split) and name not in choice.drop]
    cells = {j: [row[j].strip() for row in rows if j < len(row)] for j in free}
    groups = {j: _grouped(rows, j, sequence) for j in free}
    dropped: dict[str, str] = {}
    time, dates, unit = None, False, 0.0
    for j in free:
        if names[j] in wanted or (choice.columns and names[j] not in TIME_NAMES):
            continue
        if _is_index(layout.names[j], groups[j]):
            dropped[names[j]] = "a row's number"
        elif time is None and (found := _time(names[j], groups[j], first=j == free[0])) is not None:
            time, (dates, unit) = j, found
    numbers = [j for j in free if j != time and names[j] not in dropped and (not choice.columns or names[j] in wanted)]
    texts = [j for j in numbers if names[j] in choice.one_hot]
    for j in numbers:
        if j not in texts:
            _refuse_text(path, layout, names[j], cells[j])
    if not numbers:
        raise DataError(f"{path}: no column of numbers", "its columns are " + ", ".join(names)[:200], path)
    return Roles(tuple(names), tuple(numbers), tuple(texts), sequence, split, time, dates, unit, dropped)


def _grouped(rows: Sequence[Sequence[str]], j: int, sequence: int | None) -> list[list[str]]:
    """The cells of a column, sequence by sequence."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if j < len(row) and (sequence is None or sequence < len(row)):
            found.setdefault("" if sequence is None else row[sequence], []).append(row[j].strip())
    return list(found.values())


def _named(path: Path, layout: Layout) -> list[str]:
    """Names of columns; one without a name gets its place."""
    names = [name or f"unnamed_{j + 1}" for j, name in enumerate(layout.names)]
    longest = max(names, key=len)
    if len(longest) > LONGEST_COLUMN:
        raise DataError(f"{path}: a column's name has {len(longest)} characters", "give it a shorter one", path)
    twice = next((name for j, name in enumerate(names) if name in names[:j]), None)
    if twice is not None:
        raise DataError(f"{path}: two columns are called {twice!r}", "no header of different names", path)
    return names


Groups = list[list[str]]
"""The cells of a column, sequence by sequence."""


def _steps(groups: Groups, *, ordered: bool) -> Array:
    """The differences of neighbouring values within each sequence, as they stand or in their order."""
    parts = [np.array([float(cell) for cell in cells]) for cells in groups]
    return np.concatenate([np.zeros(0), *(np.diff(np.sort(part) if ordered else part) for part in parts)])


def _is_index(name: str, groups: Groups) -> bool:
    """Whether a column counts its rows, from wherever, in the table or in each sequence."""
    cells = [cell for group in groups for cell in group]
    if not INDEX_NAME.fullmatch(name) or not cells or not all(re.fullmatch(r"\d{1,15}(\.0)?", cell) for cell in cells):
        return False
    return bool((_steps(groups, ordered=False) == 1).all())


def _time(name: str, groups: Groups, *, first: bool) -> tuple[bool, float] | None:
    """Whether a column is the time: (written as dates, units in a second), or None."""
    cells = [cell for group in groups for cell in group]
    kinds = {kind_of(cell) for cell in cells}
    named = name.strip().lower() in TIME_NAMES
    if kinds == {"date"} and not all(re.fullmatch(r"\d{6,8}", cell) for cell in cells):
        return (True, 1.0)
    if len(cells) < 2 or kinds - {"number", "date"} or not all(PLAIN.fullmatch(cell) for cell in cells):
        return None
    values = np.array([float(cell) for cell in cells])
    steps = _steps(groups, ordered=True)
    unit = next((unit for low, high, unit in EPOCHS if low <= values.min() and values.max() <= high), 0.0)
    if not len(steps):
        return None
    if named and (steps > 0).mean() > 0.5:
        return (False, unit)
    if not (steps > 0).all():
        return None
    whole = bool((values == np.floor(values)).all())
    even = len(steps) > 1 and bool((np.abs(steps - np.median(steps)) <= 0.5 * np.median(steps)).mean() > 0.9)
    return (False, unit) if unit and whole and first and even else None


def _refuse_text(path: Path, layout: Layout, name: str, cells: list[str]) -> None:
    """DataError if a column holds text, naming its first; a few cells that are none are told later, by line."""
    texts = [(i, cell) for i, cell in enumerate(cells) if kind_of(cell) in ("text", "date")]
    if len(texts) > 0.5 * len(cells):
        i, cell = texts[0]
        hint = f"leave it out with --drop {name}, or --one-hot {name} makes a column for each of its values"
        if re.search(r"\d\d[-/.]\w{2,3}[-/.]\d\d", cell):
            hint = f"if these are dates, write them as 2024-01-31; or leave the column out with --drop {name}"
        row = f"row {i + 1}{' below the header' if layout.header else ''}"
        raise DataError(f"{path}: column {name!r} holds text: {cell[:40]!r} in {row}", hint, path)


def seconds_of(cells: Sequence[str], roles: Roles) -> Array:
    """The time of rows in seconds (in its own units where these are not known), float64 [N].

    Raises:
        ValueError: a cell is no time.
    """
    if not roles.dates:
        return np.array([float(cell) for cell in cells], np.float64) / (roles.unit or 1.0)
    cells = [iso(cell.strip()) for cell in cells]
    plain = [cell.removesuffix("Z").removesuffix("+00:00").strip() for cell in cells]
    try:
        if any(re.search(r"[-+]\d\d:?\d\d$", cell[10:]) for cell in plain):
            raise ValueError("with time zones")
        return np.array(plain, "datetime64[us]").astype(np.int64) / 1e6
    except ValueError:
        found = [datetime.fromisoformat(cell.strip()) for cell in cells]
        zoned = [moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in found]
        return np.array([moment.timestamp() for moment in zoned], np.float64)


def split_name(cell: str, names: Sequence[str] = SPLITS) -> str:
    """A cell of the column `split`; ValueError for another word."""
    if cell not in names:
        raise ValueError(f"split {cell!r}, not {', '.join(names[:-1])} or {names[-1]}")
    return cell


def check_choice(choice: Choice) -> None:
    """ConfigError where the options contradict each other."""
    both = set(choice.columns) & set(choice.drop) | set(choice.one_hot) & set(choice.drop)
    if both:
        raise ConfigError(f"--drop {min(both)}: it is asked for too", "leave it out of one of the two options")
