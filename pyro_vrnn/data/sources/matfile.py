"""Cell arrays of number arrays from MATLAB 5 files (what MATLAB saves with -v6 or -v7), and nothing else of them.

SciPy reads these files too, but believes what they claim: 2 billion cells in a file of 400 bytes take 16 GB. Here
nothing is made that the file does not hold. The format: MathWorks, "MAT-File Format", chapter 1.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15  # element types
STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CELL, FIRST_NUMBER, LAST_NUMBER = 1, 6, 15  # array classes; the last two are double and uint64
COMPLEX = 0x08

Part = tuple[int, memoryview]  # type, content


def read_cells(data: bytes, most_bytes: int) -> dict[str, list[NDArray[Any]]]:
    """The arrays in each cell array of a file, by its name; other variables are passed over.

    Args:
        data: the whole file.
        most_bytes: what it may unpack to.

    Raises:
        ValueError: damaged, larger than allowed, or cells that hold anything but arrays of real numbers.
    """
    order = {b"IM": "<", b"MI": ">"}.get(data[HEADER_BYTES - 2 : HEADER_BYTES])
    if order is None:
        raise ValueError("its header is damaged")
    found = {}
    for kind, content in _parts(memoryview(data)[HEADER_BYTES:], order):
        if kind == COMPRESSED:
            unpacker = zlib.decompressobj()
            unpacked = unpacker.decompress(content, most_bytes + 1)
            most_bytes -= len(unpacked)
            if most_bytes < 0:
                raise ValueError("it unpacks to too much")
            kind, content = next(_parts(memoryview(unpacked), order))
        if kind == MATRIX:
            matrix_class, size, name, rest = _matrix(content, order)
            if matrix_class == CELL:
                cells = [_numbers(inner, order) for _, inner in rest]
                if len(cells) != math.prod(size):
                    raise ValueError(f"{name} should have {math.prod(size)} cells and has {len(cells)}")
                found[name] = cells
    return found


def _parts(content: memoryview, order: str) -> Iterator[Part]:
    """The elements that lie one after another: each a type and a size, then that many bytes, padded to eight."""
    at = 0
    while at < len(content):
        kind, size = struct.unpack_from(order + "II", content, at)
        if kind >> 16:  # up to four bytes are packed into the tag
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
        else:
            start, end = at + 8, at + 8 + size + (0 if kind == COMPRESSED else -size % 8)
        if size > len(content) - start:
            raise ValueError("it is cut short")
        yield kind, content[start : start + size]
        at = end


def _matrix(content: memoryview, order: str) -> tuple[int, list[int], str, Iterator[Part]]:
    """The class, size and name of an array, and the parts that hold its values."""
    parts = _parts(content, order)
    try:
        (_, flags), (_, size), (_, name) = next(parts), next(parts), next(parts)
    except StopIteration:
        raise ValueError("an array without its description") from None
    [kind] = struct.unpack_from(order + "I", flags)
    if kind >> 8 & COMPLEX:
        raise ValueError("complex numbers")
    return kind & 0xFF, np.frombuffer(size, order + "i4").tolist(), bytes(name).decode("latin-1"), parts


def _numbers(content: memoryview, order: str) -> NDArray[Any]:
    """An array of real numbers, in the type it is stored in (MATLAB stores whole doubles as small integers)."""
    kind, size, _, parts = _matrix(content, order)
    if not FIRST_NUMBER <= kind <= LAST_NUMBER:
        raise ValueError(f"a cell holds class {kind}, not numbers")
    stored, values = next(parts, (0, memoryview(b"")))
    if stored not in STORED:
        raise ValueError(f"numbers of the unknown type {stored}")
    return np.frombuffer(values, order + STORED[stored]).reshape(size, order="F")
