"""The rows of a table, some at a time. Lines without quotes, which are nearly all, need no CSV reader."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain, islice
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.data.sources.sniffing import Layout, not_utf8
from pyro_vrnn.system.errors import DataError


@dataclass(frozen=True)
class Chunk:
    """Some rows of a table.

    Attributes:
        numbers: of the lines where they end.
        delimiter: between cells.
        lines: as they are, where none has quotes.
        parsed: cells, where some have.
    """

    numbers: Sequence[int]
    delimiter: str
    lines: list[str] | None = None
    parsed: list[list[str]] | None = None

    @cached_property
    def rows(self) -> list[list[str]]:
        """The cells of each row."""
        if self.parsed is not None:
            return self.parsed
        assert self.lines is not None
        return [line.split(self.delimiter) for line in self.lines]

    @cached_property
    def widths(self) -> list[int]:
        """How many cells each row has."""
        if self.lines is None:
            return [len(row) for row in self.rows]
        return [line.count(self.delimiter) + 1 for line in self.lines]

    def column(self, j: int) -> list[str]:
        """One cell of each row, of rows that have it; IndexError if one has not."""
        if self.lines is None or "rows" in vars(self):
            return [row[j].strip() for row in self.rows]
        return [line.split(self.delimiter, j + 1)[j].strip() for line in self.lines]

    def numeric(self, columns: Sequence[int]) -> NDArray[np.float64]:
        """These columns as numbers, [N, X], by NumPy's own parser; ValueError if a cell is none."""
        if self.lines is None:
            flat = [float(row[j]) for row in self.rows for j in columns]
            return np.array(flat, np.float64).reshape(len(self.rows), len(columns))
        # Without comments and quotes; a cell that it cannot read is looked at by the caller.
        return np.loadtxt(
            self.lines, delimiter=self.delimiter, usecols=list(columns), ndmin=2, comments=None, dtype=np.float64
        )

    def taken(self, chosen: Sequence[int]) -> Chunk:
        """Some of the rows."""
        numbers = [self.numbers[i] for i in chosen]
        return Chunk(numbers, self.delimiter, parsed=[self.rows[i] for i in chosen])


def chunks_of(path: Path, layout: Layout, sizes: Iterable[int], told: Callable[[int], None]) -> Iterator[Chunk]:
    """The rows below the header; empty lines are passed over.

    Args:
        sizes: lines of the first chunk, the second, and so on.
        told: called with the bytes that were read so far.

    Raises:
        DataError: not text in this encoding, or no CSV; the line is named.
    """
    number = 0
    try:
        with open(path, encoding=layout.encoding, newline="") as file:
            headed = not layout.header
            for size in sizes:
                lines = list(islice(file, size))
                if not lines:
                    return
                told(os.lseek(file.fileno(), 0, os.SEEK_CUR))
                if any('"' in line for line in lines):
                    yield from _quoted(chain(lines, file), file, layout, headed, number, size, told)
                    return
                plain = [line.rstrip("\r\n") for line in lines]
                numbers: Sequence[int] = range(number + 1, number + 1 + len(plain))
                number += len(lines)
                if not all(plain):
                    there = [i for i, line in enumerate(plain) if line]
                    plain, numbers = [plain[i] for i in there], [numbers[i] for i in there]
                if not headed and plain:
                    headed, plain, numbers = True, plain[1:], numbers[1:]
                if plain:
                    yield Chunk(numbers, layout.delimiter, lines=plain)
    except UnicodeError as error:
        raise DataError(f"{path}: not in UTF-8 after line {number}", not_utf8(path.read_bytes(), path), path) from error
    except csv.Error as error:
        raise DataError(f"{path}: no CSV file after line {number}: {error}", "look at its quotes", path) from error


def _quoted(
    lines: Iterator[str],
    file: TextIO,
    layout: Layout,
    headed: bool,
    number: int,
    size: int,
    told: Callable[[int], None],
) -> Iterator[Chunk]:
    """The rest of a table in which there are quotes: a cell may hold delimiters and ends of lines."""
    reader = csv.reader(lines, delimiter=layout.delimiter, strict=True)
    if not headed:
        next((row for row in reader if row), None)
    while True:
        start = number + reader.line_num
        rows = list(islice(reader, size))
        if not rows:
            return
        told(os.lseek(file.fileno(), 0, os.SEEK_CUR))
        ends = accumulate((1 + sum(cell.count("\n") for cell in row) for row in rows), initial=start)
        kept = [(line, row) for line, row in zip([*ends][1:], rows, strict=True) if row]
        if kept:
            yield Chunk([line for line, _ in kept], layout.delimiter, parsed=[row for _, row in kept])
