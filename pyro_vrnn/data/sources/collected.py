"""What was read of tables: where the rows of each sequence lie, and how they are given back."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pyro_vrnn.data.sources.columns import Roles
from pyro_vrnn.data.sources.store import Rows, Runs, Store


@dataclass
class Collected:
    """What was read: where the rows of each sequence lie in the store, whose last column is the time if there is one.

    Attributes:
        store: the rows.
        runs: of each sequence.
        splits: of each sequence, where the source says.
        roles: what the columns of the first table are, which all others share.
        categories: the values of columns of text, by name.
        files: of sequences that are a file each, its name.
        unsorted: sequences whose rows were not in the order of time, until `sort`.
    """

    store: Store
    runs: dict[str, Runs] = field(default_factory=dict)
    splits: dict[str, str] = field(default_factory=dict)
    roles: Roles | None = None
    categories: dict[str, dict[str, int]] = field(default_factory=dict)
    unsorted: set[str] = field(default_factory=set)
    files: dict[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Names of the columns that `read` gives."""
        assert self.roles is not None
        names = []
        for name in self.roles.kept:
            names += [f"{name}={value}" for value in self.categories[name]] if name in self.categories else [name]
        return names

    @property
    def steps(self) -> dict[str, int]:
        """Rows of each sequence."""
        return {name: sum(stop - start for start, stop in runs) for name, runs in self.runs.items()}

    def read(self, name: str, first: int, stop: int) -> Rows:
        """Steps of a sequence in the order of time, [T, X]; NaN where a value is missing."""
        return self._spread(self._rows(name, first, stop)[0])

    def times(self, name: str, first: int, stop: int) -> Rows:
        """The time of these steps in seconds, [T]."""
        found = self._rows(name, first, stop)[1]
        assert found is not None, "there is no column of time"
        return found

    def sort(self) -> None:
        """Put the rows of each sequence in the order of time, once: pieces are then read as they lie."""
        for name in self.unsorted & set(self.runs):
            rows = self.store.read(self.runs[name])
            start = self.store.add(rows[np.argsort(rows[:, -1], kind="stable")])
            self.runs[name] = [(start, start + len(rows))]

    def _rows(self, name: str, first: int, stop: int) -> tuple[Rows, Rows | None]:
        assert self.roles is not None
        rows = self.store.read(between(self.runs[name], first, stop))
        return (rows, None) if self.roles.time is None else (rows[:, :-1], rows[:, -1])

    def _spread(self, rows: Rows) -> Rows:
        """Columns of text as a column for each value."""
        assert self.roles is not None
        if not self.categories:
            return rows
        parts = []
        for j, name in enumerate(self.roles.kept):
            column = rows[:, j : j + 1]
            if name in self.categories:
                codes = np.arange(len(self.categories[name]))
                column = np.where(np.isnan(column), np.nan, (column == codes).astype(np.float64))
            parts.append(column)
        return np.concatenate(parts, axis=1)


def between(runs: Runs, first: int, stop: int) -> Runs:
    """The runs of some rows of a sequence, from the row `first` on and before `stop`."""
    found, at = [], 0
    for begin, end in runs:
        a, b = max(first - at, 0), min(stop - at, end - begin)
        if a < b:
            found.append((begin + a, begin + b))
        at += end - begin
    return found
