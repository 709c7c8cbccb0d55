"""Quick, Draw!'s drawings (github.com/googlecreativelab/quickdraw-dataset): .ndjson, raw or simplified, one a line.

    {"word": "cat", "key_id": "5", "recognized": true, "drawing": [[[x, ...], [y, ...], [t, ...]], ...]}

A drawing is a list of strokes; times may be absent and are not used. y points downwards.
"""

from __future__ import annotations

import json
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.common import MAX_BYTES, SHARES
from pyro_vrnn.data.sources.drawings import Drawings, joined, offsets
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import reason

ENDING = ".ndjson"
MAX_LINE_BYTES = 2**20
MAX_FOLDER_BYTES = 4 * MAX_BYTES  # of all files together, which are held at once as steps
PATIENCE = 1000  # lines without a drawing at the beginning of a file, after which it is something else
LONGEST_TEXT = 100  # characters of a key_id or a word
MOST_WORDS = 1000


def read(files: Mapping[str, Path], drawings: Drawings) -> None:
    """Add the drawings of these files, called by their key_id, after their file's stem where it is a folder's.

    Lines that hold no drawing are skipped. 80/10/10 of the drawings are dealt out by the seed. The data file is told
    how many there are of each word (`words`), and how many of them the game did not recognise (`unrecognized`).

    Raises:
        DataError: a file is missing, no plain file or too large, begins with 1,000 lines that hold no drawing; or all
            files together are too large.
    """
    words: Counter[str] = Counter()
    unrecognized = 0
    taken: Counter[str] = Counter()
    sizes = sum(_size(file) for file in files.values())
    if sizes > MAX_FOLDER_BYTES:
        what = f"{sizes} bytes in {len(files)} files; at most {MAX_FOLDER_BYTES} are read"
        raise DataError(f"{drawings.request.source}: {what}", "give fewer of them", drawings.request.source)
    for done, (name, file) in enumerate(files.items(), start=1):
        of_folder = drawings.request.source.is_dir()
        good = 0
        for number, line in _lines(file):
            try:
                found = parse(line)
                steps = offsets(points(found["drawing"]))
                identity = _text(found.get("key_id", f"line-{number}"), "key_id")
                word = _text(found.get("word", ""), "word")
            except ValueError as error:
                drawings.skips.add(f"{name}, line {number}" if of_folder else f"line {number}", str(error))
                if good == 0 and number >= PATIENCE:
                    hint = "a line is a JSON object with a drawing; see docs/data.md"
                    raise DataError(f"{file}: no drawing in {number} lines", hint, file) from error
                continue
            good += 1
            drawings.add_steps("train", _unique(f"{file.stem}-{identity}" if of_folder else identity, taken), steps)
            unrecognized += found.get("recognized") is False
            if word in words or len(words) < MOST_WORDS:
                words[word] += 1
        drawings.request.report(done, len(files))
    drawings.found |= {"words": dict(sorted(words.items())), "unrecognized": unrecognized}
    drawings.deal(drawings.request.seed, SHARES)


def parse(line: bytes | None) -> dict[str, Any]:
    """The JSON object of a line.

    Raises:
        ValueError: it is something else, or has no drawing.
    """
    if line is None:
        raise ValueError(f"more than {MAX_LINE_BYTES} bytes")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {str(error).splitlines()[0]}") from error
    if not isinstance(found, dict) or "drawing" not in found:
        raise ValueError("not a JSON object with a drawing")
    return found


def points(drawing: Any) -> Array:
    """Strokes [xs, ys] or [xs, ys, ts], y downwards, as points [N, 3] = x, y, pen, y upwards.

    Raises:
        ValueError: they are something else.
    """
    if not isinstance(drawing, list):
        raise ValueError("the drawing is not a list of strokes")
    strokes = []
    for i, stroke in enumerate(drawing):
        if not isinstance(stroke, list) or len(stroke) not in (2, 3):
            raise ValueError(f"stroke {i} is not [xs, ys] or [xs, ys, ts]")
        for column in stroke:
            if not isinstance(column, list) or not {*map(type, column)} <= {int, float}:
                raise ValueError(f"stroke {i} has something else than lists of numbers")
        lengths = sorted({len(column) for column in stroke})
        if len(lengths) > 1:
            raise ValueError(f"stroke {i} has lists of {' and '.join(map(str, lengths))} numbers")
        try:
            x, y = np.array(stroke[0], np.float64), np.array(stroke[1], np.float64)
        except OverflowError as error:
            raise ValueError(f"stroke {i} has a number that is too large") from error
        strokes.append(np.column_stack([x, -y]))
    return joined(strokes)


def _size(file: Path) -> int:
    """The bytes of a plain file; DataError if it is none or has more than MAX_BYTES."""
    try:
        status = file.stat()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise DataError(f"{file}: cannot be read: {reason(error)}", "check the path", file) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"{file}: not a plain file", "give the path of a file", file)
    if status.st_size > MAX_BYTES:
        raise DataError(f"{file}: {status.st_size} bytes; at most {MAX_BYTES} are read", "give a smaller file", file)
    return status.st_size


def _lines(file: Path) -> Iterator[tuple[int, bytes | None]]:
    """The lines of a file and their numbers, one held at a time; None for one that is too long. Empty ones are none."""
    try:
        with file.open("rb") as stream:
            number = 0
            while line := stream.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    _pass_line(stream, line)
                    yield number, None
                elif line.strip():
                    yield number, line
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {reason(error)}", "check the path", file) from error


def _pass_line(stream: BinaryIO, line: bytes) -> None:
    """Read to the end of a line of which a piece was read."""
    while line and not line.endswith(b"\n"):
        line = stream.readline(MAX_LINE_BYTES)


def _text(value: Any, what: str) -> str:
    """A word or a key_id, which may be a number; ValueError if it is something else, or of no use as a name."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else "\0"
    if len(text) > LONGEST_TEXT or not text.isprintable() or (what == "key_id" and not text):
        raise ValueError(f"the {what} is not a short text")
    return text


def _unique(name: str, taken: Counter[str]) -> str:
    """The name, with a number after it if there is such a one already."""
    found = name
    while taken[found]:
        taken[name] += 1
        found = f"{name}-{taken[name]}"
    taken[found] += 1
    return found
