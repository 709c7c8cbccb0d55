"""`--log csv`: RUN/metrics.csv, for spreadsheets and pandas."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from pyro_vrnn.config import RunConfig
from pyro_vrnn.loggers.rows import read_rows
from pyro_vrnn.system.files import cannot_write, write_bytes
from pyro_vrnn.training.observer import Observer

COLUMNS = (
    *("step", "epoch", "sequences", "seconds", "steps_per_second"),
    *("loss", "nll", "kl", "beta", "lr", "grad_norm"),
    *("valid_nll_per_step", "valid_kl_per_step", "best"),
)
"""The columns of every table; what else a row may have follows them."""


class CSVLogger(Observer):
    """One line for each step that was logged, whether an update, a validation or both; cells that it lacks are empty.

    The table is made of metrics.jsonl when the first row is logged (or at the end, if none is), so that a resumed
    run has every step once, also those from before `--log csv` was given; then each row is added as it comes.

    Args:
        say: takes one line for people.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.run: Path | None = None
        self.file: BinaryIO | None = None
        self.columns: tuple[str, ...] = ()
        self.last: dict[str, Any] = {}
        """The last line, and below where in the file it begins: a validation is added to the update of its step."""
        self.place = 0

    def opened(self, run: Path, settings: RunConfig) -> None:
        """Note where the table will be."""
        self.run = run

    def logged(self, row: dict[str, Any]) -> None:
        """Add a row.

        Raises:
            ResourceError: the disk is full.
            ConfigError: the file cannot be written.
        """
        if self.file is None or not row.keys() <= {*self.columns}:
            self._rebuild()  # with this row: it is in metrics.jsonl
            return
        if row["step"] == self.last.get("step"):
            row = self.last | row
        else:
            self.place = self.file.seek(0, io.SEEK_END)
        line = _lines(self.columns, [row])
        with cannot_write(self._path(), len(line)):
            self.file.seek(self.place)
            self.file.write(line)
            self.file.truncate()
            self.file.flush()
        self.last = row

    def ended(self) -> None:
        """Close the table; one that was resumed when there was nothing to do is made now."""
        if self.run is None:
            return
        if self.file is None:
            self._rebuild()
        if self.file is not None:
            self.file.close()

    def _path(self) -> Path:
        assert self.run is not None
        return self.run / "metrics.csv"

    def _rebuild(self) -> None:
        path = self._path()
        if self.file is not None:
            self.file.close()
            self.file = None
        merged: dict[int, dict[str, Any]] = {}
        for row in read_rows(path.parent):
            merged[row["step"]] = merged.get(row["step"], {}) | row
        if not merged:
            return
        others = dict.fromkeys(key for row in merged.values() for key in row if key not in COLUMNS)
        self.columns = (*COLUMNS, *others)
        rows = [*merged.values()]
        self.last = rows[-1]
        before = _lines(self.columns, rows[:-1], header=True)
        self.place = len(before)
        write_bytes(path, before + _lines(self.columns, rows[-1:]))
        with cannot_write(path):
            self.file = path.open("r+b")


def _lines(columns: tuple[str, ...], rows: list[dict[str, Any]], *, header: bool = False) -> bytes:
    """Lines of a table in UTF-8; empty cells for what a row lacks."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    if header:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
