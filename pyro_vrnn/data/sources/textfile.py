"""Text files: read whole, in UTF-8; what is not is refused, with what it looks like and how to convert it."""

from __future__ import annotations

import codecs
import shlex
from collections.abc import Sequence
from pathlib import Path

from pyro_vrnn.data.sources.common import read_file
from pyro_vrnn.system.errors import DataError

MAX_BYTES = 128 * 2**20  # as Python objects it is ten times as much
LOOKED_AT = 2**20  # bytes on either side of the first one that is wrong
MOST_CONTROLS = 0.02  # of bytes; text has none but tabs and ends of lines, random bytes have a tenth
CONTROLS = bytes({*range(32), 127} - {*b"\a\b\t\n\v\f\r\x1a\x1b"})  # \x1a ended files of DOS, \x1b colours terminals
MARKS = {
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),  # first: UTF-32's begins with UTF-16's
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
WIDE = {"UTF-32LE": (4, (0,)), "UTF-32BE": (4, (3,)), "UTF-16LE": (2, (0,)), "UTF-16BE": (2, (1,))}
"""Bytes of a character, and which of them is not 0 in English."""
C1 = bytes(range(0x80, 0xA0))  # control characters in Latin-1, letters and quotation marks in Windows' code pages
NOT_IN_CP1252 = bytes((0x81, 0x8D, 0x8F, 0x90, 0x9D))


def read_text(path: Path, wanted: str, endings: Sequence[str]) -> str:
    r"""The text of a file in UTF-8, without a byte order mark, each end of a line (\n, \r\n or \r) as \n.

    Args:
        path: the file.
        wanted: what file is wanted, for the hint.
        endings: of such files, as in `common.read_file`.

    Raises:
        DataError: it cannot be read, is larger than 128 MiB, is not UTF-8, or is not text.
    """
    data = read_file(path, MAX_BYTES, wanted, endings)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _refusal(data, error.start, path, wanted) from error
    if (place := data.find(0)) >= 0:
        raise _refusal(data, place, path, wanted)
    return lines_ended(text.removeprefix("\ufeff"))


def lines_ended(text: str) -> str:
    r"""The text with \n for each \r\n, and for each other \r."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _refusal(data: bytes, place: int, path: Path, wanted: str) -> DataError:
    """The error for bytes of which the one at `place` is the first that is wrong."""
    line = 1 + lines_ended(data[:place].decode("latin-1")).count("\n")
    where = f"byte {place} is 0x{data[place]:02x}, in line {line}"
    encoding = encoding_of(data, place)
    if encoding is None:
        return DataError(f"{path}: not text: {where}", f"give {wanted}", path)
    name, copy = shlex.quote(str(path)), shlex.quote(f"{path}.utf8")

    def command(encoding: str) -> str:
        return f"iconv -f {encoding} -t UTF-8 {name} > {copy}"

    if encoding == "UTF-8":
        hint = f"it is damaged UTF-8; without the damaged bytes: {command('UTF-8 -c')}"
    elif encoding == "":
        hint = f"find out its encoding (`iconv -l` lists them) and convert it: {command('ENCODING')}"
    elif encoding == "latin1":
        hint = f"if its language is of Western Europe, convert it: {command(encoding)}"
    else:
        hint = f"convert it: {command(encoding)}"
    return DataError(f"{path}: not UTF-8: {where}", hint, path)


def encoding_of(data: bytes, place: int) -> str | None:
    """What iconv calls the encoding that these bytes look like, of which the one at `place` is not UTF-8.

    UTF-32 and UTF-16 by their byte order marks or where the zero bytes are; UTF-8 if more of its characters are whole
    than are not; cp1252 if there are bytes from 0x80 to 0x9F, and only those that it has; latin1 if there are none.
    Empty if it is some other encoding, None if it is no text.
    """
    head = data[: 2 * LOOKED_AT]
    for encoding, marks in MARKS.items():
        if head.startswith(marks) and _is_in(head, encoding):
            return encoding
    if 0 in data:
        return next((encoding for encoding in WIDE if _has_zeros_of(head, encoding) and _is_in(head, encoding)), None)
    near = data[max(0, place - LOOKED_AT) : place + LOOKED_AT]
    if len(near) - len(near.translate(None, CONTROLS)) > MOST_CONTROLS * len(near):
        return None
    if _is_damaged(near):
        return "UTF-8"
    found = [byte for byte in C1 if byte in data]
    if not found:
        return "latin1"
    return "" if any(byte in NOT_IN_CP1252 for byte in found) else "cp1252"


def _is_in(data: bytes, encoding: str) -> bool:
    """Whether bytes, the last character of which may be cut, are text in a wide encoding."""
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeDecodeError:
        return False
    controls = sum(map(text.count, CONTROLS.decode("latin-1")))
    return len(text) > 0 and controls <= MOST_CONTROLS * len(text)


def _has_zeros_of(data: bytes, encoding: str) -> bool:
    """Whether an eighth or more of the characters are as in English, and zeros are where such characters have them."""
    width, filled = WIDE[encoding]
    whole = data[: len(data) // width * width]
    zeros = [whole[k::width].count(0) for k in range(width)]
    least = min(zeros[k] for k in range(width) if k not in filled)
    characters = len(whole) // width
    return least >= min(characters, max(4, characters / 8)) > 0 and all(zeros[k] <= characters / 100 for k in filled)


def _is_damaged(data: bytes) -> bool:
    """Whether more characters beyond ASCII are whole in UTF-8 than are not."""
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    whole = len(text) - len(data.translate(None, bytes(range(0x80, 0x100)))) - wrong
    return whole > wrong
