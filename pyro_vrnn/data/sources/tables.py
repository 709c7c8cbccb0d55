"""Tables as text, read a chunk at a time: one that holds many sequences, or a folder with one in each file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import chain, groupby, repeat
from pathlib import Path

import numpy as np

from pyro_vrnn.data.sources.collected import Collected
from pyro_vrnn.data.sources.columns import Choice, Roles, roles_of, seconds_of, split_name
from pyro_vrnn.data.sources.common import Skips
from pyro_vrnn.data.sources.lines import Chunk, chunks_of
from pyro_vrnn.data.sources.sniffing import MISSING, THOUSANDS, Layout, sniff
from pyro_vrnn.data.sources.store import Rows, Runs, Store
from pyro_vrnn.system.errors import DataError

CHUNK_ROWS = 4096
SWAPPED = str.maketrans(",.", ".,")
SNIFFED_ROWS = 2000
MOST_CATEGORIES = 256
SUFFIXES = (".csv", ".tsv", ".tab", ".txt")


class Tables:
    """Reads tables into one store.

    Args:
        store: for the rows.
        choice: what was asked of the columns.
        missing: cells that say that nothing was observed, beside the usual ones.
        skips: what is left out.
        report: told the bytes that were read so far.
    """

    def __init__(
        self,
        store: Store,
        choice: Choice,
        missing: Sequence[str],
        skips: Skips,
        report: Callable[[int], None] = lambda done: None,
    ) -> None:
        self.found, self.choice, self.skips, self.report = Collected(store), choice, skips, report
        self.missing = MISSING | {token.strip().lower() for token in missing}
        self.read_before = 0

    def add(self, path: Path, name: str | None = None) -> None:
        """Read a table: one sequence of this name, or as many as its column of sequences says.

        Raises:
            DataError: it is none, or has other columns than the tables before.
        """
        layout = sniff(path)
        chunks = chunks_of(
            path, layout, chain([SNIFFED_ROWS], repeat(CHUNK_ROWS)), lambda done: self.report(self.read_before + done)
        )
        head = next(chunks, Chunk([], layout.delimiter, parsed=[]))
        roles = self._as_before(path, roles_of(path, layout, head.rows, self.choice))
        if name is None and roles.sequence is None:
            name = path.stem
        part = _Part(self, path, layout, roles, name)
        for chunk in chain([head], chunks):
            part.add(chunk)
        self.read_before += path.stat().st_size
        part.finish()

    def _as_before(self, path: Path, roles: Roles) -> Roles:
        """The roles in the order of the first table's columns."""
        first = self.found.roles
        if first is None:
            self.found.roles = roles
            return roles
        if set(roles.kept) != set(first.kept) or (roles.time is None) != (first.time is None):
            theirs, ours = (", ".join(r.kept)[:80] for r in (roles, first))
            raise DataError(f"{path}: its columns are {theirs!r}, and {ours!r} before", "tables with the same columns")
        if (roles.split is None) != (first.split is None):
            raise DataError(f"{path}: only some of the tables have a column `split`", "all of them, or none", path)
        place = {roles.names[j]: j for j in roles.numbers}
        numbers = tuple(place[name] for name in first.kept)
        return Roles(**{**vars(roles), "numbers": numbers})


class _Part:
    """One table while it is read."""

    def __init__(self, tables: Tables, path: Path, layout: Layout, roles: Roles, name: str | None) -> None:
        self.tables, self.path, self.layout, self.roles, self.name = tables, path, layout, roles, name
        self.found = tables.found
        self.first = "the header" if layout.header else "the first line"
        self.runs: dict[str, Runs] = {}
        self.splits: dict[str, str] = {}
        self.bad: dict[str, str] = {}
        self.latest: dict[str, float] = {}
        """The time of the last row of each sequence so far."""
        self.number = _number(tables.missing, comma=layout.comma)
        self.others = [float(token) for token in tables.missing if _plain(token)]
        """Numbers that say that nothing was observed, such as -999."""

    def add(self, chunk: Chunk) -> None:
        """Take in some rows."""
        roles, width = self.roles, len(self.roles.names)
        keys = self._keys(chunk)
        if set(chunk.widths) - {width}:
            for key, line, found in zip(keys, chunk.numbers, chunk.widths, strict=True):
                if found != width:
                    self._mark(key, f"line {line}: {found} columns, {self.first} {width}")
            good = [i for i, found in enumerate(chunk.widths) if found == width]
            keys, chunk = [keys[i] for i in good], chunk.taken(good)
        try:
            values = self._values(chunk)
        except ValueError as error:
            if isinstance(error, DataError):
                raise
            good, values = self._one_by_one(keys, chunk)
            keys, chunk = [keys[i] for i in good], chunk.taken(good)
        if not keys:
            return
        start, at = self.found.store.add(values), 0
        for key, group in groupby(keys):
            end = at + sum(1 for _ in group)
            if roles.time is not None:
                self._look_at_order(key, values[at:end, -1])
            self.runs.setdefault(key, []).append((start + at, start + end))
            at = end
        if roles.split is not None:
            for key, cell, line in zip(keys, chunk.column(roles.split), chunk.numbers, strict=True):
                self._note_split(key, cell, line)

    def _mark(self, key: str, why: str) -> None:
        """Leave a sequence out."""
        self.bad.setdefault(key, why)
        self.runs.setdefault(key, [])

    def _look_at_order(self, key: str, when: Rows) -> None:
        """Note a sequence whose rows go back in time."""
        if (np.diff(when) < 0).any() or when[0] < self.latest.get(key, -np.inf):
            self.found.unsorted.add(key)
        self.latest[key] = float(when[-1])

    def _keys(self, chunk: Chunk) -> list[str]:
        """Whose each row is."""
        at = self.roles.sequence
        if at is None:
            assert self.name is not None
            return [self.name] * len(chunk.numbers)
        try:
            keys = chunk.column(at)
            if "" in keys:
                line = chunk.numbers[keys.index("")]
                raise DataError(f"{self.path}: line {line} does not say whose it is", "fill its cell", self.path)
            return keys if self.name is None else [f"{self.name}/{key}" for key in keys]
        except IndexError:
            line, found = next(pair for pair in zip(chunk.numbers, chunk.widths, strict=True) if at >= pair[1])
            message = f"{self.path}: line {line} has {found} columns, {self.first} {len(self.roles.names)}"
            raise DataError(message, "every row says whose it is", self.path) from None

    def _note_split(self, key: str, cell: str, line: int) -> None:
        try:
            split = split_name(cell)
        except ValueError as error:
            raise DataError(f"{self.path}: line {line}: sequence {key!r} is in {error}", path=self.path) from error
        if self.splits.setdefault(key, split) != split:
            why = f"sequence {key!r} is in split {split!r}, and in {self.splits[key]!r}"
            raise DataError(f"{self.path}: line {line}: {why}", path=self.path)

    def _values(self, chunk: Chunk) -> Rows:
        """The numbers of rows, and their time; ValueError if a cell is none. [N, X] or [N, X + 1]."""
        roles = self.roles
        try:
            if self.layout.comma or roles.texts:
                raise ValueError("each cell has to be looked at")
            values = chunk.numeric(roles.numbers)
        except ValueError:
            flat = [
                self._code(row, j) if j in roles.texts else self.number(row[j])
                for row in chunk.rows
                for j in roles.numbers
            ]
            values = np.array(flat, np.float64).reshape(len(chunk.rows), len(roles.numbers))
        for other in self.others:
            values[values == other] = np.nan
        if np.isinf(values).any():
            raise ValueError("not finite")
        if roles.time is None:
            return values
        when = seconds_of(chunk.column(roles.time), roles)
        if not np.isfinite(when).all():
            raise ValueError("no time")
        return np.concatenate([values, when[:, None]], axis=1)

    def _one_by_one(self, keys: list[str], chunk: Chunk) -> tuple[list[int], Rows]:
        """Which rows can be read, and their values; the sequences of the others are left out."""
        good, parts = [], []
        for i, (key, line) in enumerate(zip(keys, chunk.numbers, strict=True)):
            try:
                parts.append(self._values(chunk.taken([i])))
            except ValueError:
                self._mark(key, f"line {line}: {self._why(chunk.rows[i])}")
            else:
                good.append(i)
        return good, np.concatenate(parts) if parts else np.empty((0, 0))

    def _why(self, row: list[str]) -> str:
        """What is wrong with a row, by its first cell that is."""
        for j in self.roles.numbers:
            if j in self.roles.texts:
                continue
            try:
                if not np.isinf(self.number(row[j])):
                    continue
            except ValueError:
                return f"column {self.roles.names[j]!r}: {row[j].strip()[:40]!r} is no number (see --missing)"
            return f"column {self.roles.names[j]!r}: {row[j].strip()[:40]!r} is not finite"
        assert self.roles.time is not None
        return f"column {self.roles.names[self.roles.time]!r}: {row[self.roles.time].strip()[:40]!r} is no time"

    def _code(self, row: list[str], j: int) -> float:
        """The number of a text."""
        text = row[j].strip()
        if text.lower() in self.tables.missing:
            return np.nan
        known = self.found.categories.setdefault(self.roles.names[j], {})
        if text not in known and len(known) == MOST_CATEGORIES:
            name = self.roles.names[j]
            hint = f"leave it out with --drop {name}"
            raise DataError(f"{self.path}: column {name!r} has more than {MOST_CATEGORIES} values", hint, self.path)
        return float(known.setdefault(text, len(known)))

    def finish(self) -> None:
        """Hand over the sequences that could be read whole."""
        if self.name is not None and not self.runs:
            self.tables.skips.add(self.name, "no rows")
        if self.name is not None and self.roles.sequence is not None and len(self.runs) == 1:
            [only] = self.runs  # a file that is one sequence is called by its name
            self.runs = {self.name: self.runs[only]}
            self.bad = {self.name: self.bad[only]} if only in self.bad else {}
            self.splits = {self.name: self.splits[only]} if only in self.splits else {}
            self.found.unsorted = {self.name if key == only else key for key in self.found.unsorted}
        for key, runs in self.runs.items():
            if key in self.bad:
                whole = self.name is not None and key == self.name
                self.tables.skips.add(
                    f"{key}{self.path.suffix}" if whole else key, self.bad[key], "file" if whole else "id"
                )
                continue
            if key in self.found.runs:
                raise DataError(f"{self.path}: sequence {key!r} is in another file too", "give it one name a sequence")
            self.found.runs[key] = runs
            if key == self.name:
                self.found.files[key] = f"{key}{self.path.suffix}"
            if key in self.splits:
                self.found.splits[key] = self.splits[key]


def _number(missing: frozenset[str] | set[str], *, comma: bool) -> Callable[[str], float]:
    """From a cell to a number; NaN where nothing was observed; ValueError for anything else."""

    def number(cell: str) -> float:
        text = cell.strip()
        if comma:  # and so a point can only be between thousands: 1.234,5
            text = text.translate(SWAPPED)
        if "," in text and THOUSANDS.fullmatch(text):
            text = text.replace(",", "")
        try:
            return float(text)
        except ValueError:
            if cell.strip().lower() in missing:
                return np.nan
            raise

    return number


def _plain(token: str) -> bool:
    """Whether a token is a number, such as -999."""
    try:
        return bool(np.isfinite(float(token)))
    except ValueError:
        return False


def size_of(paths: Sequence[Path]) -> int:
    """Bytes of these files together."""
    return sum(os.path.getsize(path) for path in paths)
