"""What a table is like, told by its first lines: encoding, delimiter, decimal sign, and whether it has a header."""

from __future__ import annotations

import csv
import io
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from pyro_vrnn.data.sources.textfile import encoding_of
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import check_plain_file

HEAD_BYTES = 1 << 16
DELIMITERS = (",", ";", "\t", "|")
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>", "#n/a", "-nan", "."})
"""Cells that say that nothing was observed, in small letters."""
NUMBER = re.compile(r"[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?|[-+]?inf(inity)?", re.IGNORECASE)
DATE = re.compile(r"\d{4}-?\d\d(-?\d\d)?([T ]\d\d(:?\d\d(:?\d\d([.,]\d+)?)?)?)?\s*(Z|[-+]\d\d(:?\d\d)?)?")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")
"""A number whose thousands are apart."""
BOMS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True)
class Layout:
    """How a table is written.

    Attributes:
        encoding: of its text.
        delimiter: between cells.
        comma: whether 1,5 is a number.
        header: whether its first line names the columns.
        names: of its columns; x1, x2, … without a header.
    """

    encoding: str
    delimiter: str
    comma: bool
    header: bool
    names: tuple[str, ...]


def kind_of(cell: str) -> str:
    """What a cell is by its looks: missing, number, date or text."""
    cell = cell.strip()
    if cell.lower() in MISSING:
        return "missing"
    if NUMBER.fullmatch(cell):
        return "number"
    return "date" if DATE.fullmatch(iso(cell)) and len(cell) >= 7 else "text"


def iso(cell: str) -> str:
    """A date as ISO 8601 writes it, of 2024/01/31 and 31.1.2024; anything else as it is."""
    if found := re.match(r"(\d{4})/(\d\d?)/(\d\d?)(?=\D|$)", cell):
        year, month, day = found.groups()
    elif found := re.match(r"(\d\d?)\.(\d\d?)\.(\d{4})(?=\D|$)", cell):
        day, month, year = found.groups()
    else:
        return cell
    return f"{year}-{month:0>2}-{day:0>2}{cell[found.end() :]}"


def sniff(path: Path) -> Layout:
    """The layout of a table.

    Raises:
        DataError: no plain file, empty, not text, or no line that can be read.
    """
    check_plain_file(path)
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if not head.strip():
        raise DataError(f"{path}: an empty file", "give a table of numbers", path)
    encoding = next((name for bom, name in BOMS.items() if head.startswith(bom)), "utf-8")
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8" or error.start < len(head) - 3:  # else a character that the head cuts in two
            line = head[: error.start].count(b"\n") + 1
            raise DataError(f"{path}: line {line} is not in UTF-8", not_utf8(head, path), path) from error
        text = head[: error.start].decode(encoding)
    if "\0" in text:
        raise DataError(f"{path}: not a table: it holds NUL bytes", "give a CSV, TSV, npy or npz", path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if len(head) == HEAD_BYTES:
        text = text[: text.rfind("\n") + 1] or text
    best = max((_parsed(text, delimiter) for delimiter in DELIMITERS), key=lambda found: found[0])
    (_, delimiter, rows) = best
    if not rows:
        raise DataError(f"{path}: not a CSV file: no line of it can be read", "look at its quotes", path)
    first, body = rows[0], rows[1:] or rows[:1]
    header = _is_header(first, rows[1:])
    names = tuple(cell.strip() if header else f"x{j + 1}" for j, cell in enumerate(first))
    cells = [cell.strip() for row in body for cell in row]
    return Layout(encoding, delimiter, delimiter != "," and _has_decimal_commas(path, delimiter, cells), header, names)


def _has_decimal_commas(path: Path, delimiter: str, cells: list[str]) -> bool:
    """Whether 1,5 is a number of a table; DataError where 1,234 may be one or a thousand and more."""
    commas = [cell for cell in cells if re.fullmatch(r"[-+]?\d*,\d+([eE][-+]?\d+)?", cell)]
    if not commas:
        return False
    if any(not THOUSANDS.fullmatch(cell) for cell in commas):
        return True
    if any(re.fullmatch(r"[-+]?[\d,]*\.\d+([eE][-+]?\d+)?", cell) for cell in cells):
        return False
    if delimiter == ";":
        return True
    raise DataError(
        f"{path}: {commas[0]!r} may be a number with a decimal comma, or one with thousands apart",
        "write numbers with a point, and nothing between thousands",
        path,
    )


def not_utf8(data: bytes, path: Path) -> str:
    """The hint for bytes that are no UTF-8: what they look like."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        encoding = encoding_of(data, error.start)
        if encoding is not None:
            return f"convert it: iconv -f {encoding} -t UTF-8 {shlex.quote(str(path))} > table.csv"
    return "give a table in UTF-8"


def _parsed(text: str, delimiter: str) -> tuple[tuple[float, float, int], str, list[list[str]]]:
    """How well a delimiter fits, the delimiter, and the first rows."""
    try:
        found = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        rows = [row for row, _ in zip((row for row in found if row), range(200), strict=False)]
    except csv.Error:
        return (-1.0, 0.0, 0), delimiter, []
    if not rows:
        return (-1.0, 0.0, 0), delimiter, []
    width = len(rows[0])
    even = sum(len(row) == width for row in rows) / len(rows)
    cells = [cell for row in rows[1:] or rows for cell in row]
    readable = sum(kind_of(cell) != "text" for cell in cells) / len(cells)
    return (even if width > 1 else 0.5 * (readable == 1), readable, width), delimiter, rows


def _is_header(first: list[str], rest: list[list[str]]) -> bool:
    """Whether a first line names columns: a line of numbers is data, and so is one that is like those below it."""
    kinds = [kind_of(cell) for cell in first]
    if "number" not in kinds and "date" not in kinds:
        return "text" in kinds
    below = [{kind_of(row[j]) for row in rest if j < len(row)} - {"missing"} for j in range(len(first))]
    return any(kind == "text" and found and "text" not in found for kind, found in zip(kinds, below, strict=True))
