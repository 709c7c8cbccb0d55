"""Pickled NumPy arrays, of numbers or of other arrays, read without running anything or making an array of the file's.

NumPy refuses such files unless it may run what they say. Here the five names that arrays of numbers need stand for
functions of ours; what they make can be seen by nothing in the file, and is an array of numbers or nothing.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.plain_pickle import ALLOWED, PlainPickleError, run

INSTRUCTIONS = ALLOWED | {
    "NONE",
    "NEWTRUE",
    "NEWFALSE",
    "BINUNICODE8",
    "SHORT_BINBYTES",
    "BINBYTES",
    "BINBYTES8",
    "BYTEARRAY8",
    "GLOBAL",
    "STACK_GLOBAL",
    "REDUCE",
    "BUILD",
}
MOST_INSTRUCTIONS = 10_000_000  # an array of a few numbers takes about 30
NUMBERS = re.compile(r"b1|[iu][1248]|f[248]")
OBJECTS = re.compile(r"O[48]?")
MOST_AXES = 4


def load(data: bytes) -> Array | list[Array]:
    """The array of numbers that is pickled, or the arrays of numbers of a pickled array [N] of objects.

    Arrays of numbers are views of what was read, and cannot be written to.

    Raises:
        PlainPickleError: any other bytes, without running them.
    """
    found = run(data, INSTRUCTIONS, _names(len(data)), encoding="latin1", most=MOST_INSTRUCTIONS)
    if not isinstance(found, _Pickled):
        raise PlainPickleError(f"it holds a {type(found).__name__.strip('_')}, not an array")
    if found.numbers is not None:
        return found.numbers
    arrays = []
    for i, item in enumerate(found.items):
        if not isinstance(item, _Pickled) or item.numbers is None:
            raise PlainPickleError(f"item {i} is no array of numbers")
        arrays.append(item.numbers)
    return arrays


class _Budget:
    """How many bytes may still be made of a pickle; all that is made lies in it once."""

    def __init__(self, most: int) -> None:
        self.left = most

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise PlainPickleError("it makes more of its bytes than it has")


class _Name:
    """What a name in the file stands for: a function of ours. The file can call it, and cannot change it."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> NoReturn:
        raise PlainPickleError("it changes what a name means")


class _Dtype:
    """The dtype of numbers, such as "i2", or of objects; and its byte order."""

    __slots__ = ("name", "order")

    def __init__(self, name: Any, *_: Any) -> None:
        if not isinstance(name, str) or not (NUMBERS.fullmatch(name) or OBJECTS.fullmatch(name)):
            raise PlainPickleError(f"an array of {str(name)[:40]!r}, not of numbers")
        self.name = name
        self.order = "="

    def __setstate__(self, state: Any) -> None:
        fits = isinstance(state, tuple) and len(state) in (8, 9) and state[1] in ("<", ">", "|", "=")
        if not fits or state[2:5] != (None, None, None):
            raise PlainPickleError("the dtype of an array is not one of plain numbers")
        self.order = state[1]

    @property
    def holds_objects(self) -> bool:
        return self.name.startswith("O")


class _Pickled:
    """An array that the file describes: numbers, or a list of objects."""

    __slots__ = ("budget", "items", "numbers")

    def __init__(self, budget: _Budget) -> None:
        self.budget = budget
        self.numbers: Array | None = None
        self.items: list[Any] = []

    def __setstate__(self, state: Any) -> None:
        """Take (version, shape, dtype, in Fortran's order, bytes or list), as ndarray.__reduce__ gives it."""
        if not isinstance(state, tuple) or len(state) != 5:
            raise PlainPickleError("an array is described in another way")
        self.describe(*state[1:])

    def describe(self, shape: Any, dtype: Any, fortran: Any, content: Any) -> None:
        """Become an array of these parts, if they fit each other."""
        if not isinstance(dtype, _Dtype):
            raise PlainPickleError("an array without a dtype")
        if not isinstance(shape, tuple) or len(shape) > MOST_AXES or not all(type(n) is int and n >= 0 for n in shape):
            raise PlainPickleError(f"an array of shape {str(shape)[:60]}")
        count = math.prod(shape)
        if dtype.holds_objects:
            if len(shape) != 1 or not isinstance(content, list) or len(content) != count:
                raise PlainPickleError(f"an array of objects of shape {str(list(shape))[:60]}, and other contents")
            self.numbers, self.items = None, content
            return
        numbers = np.dtype(("=" if dtype.order == "|" else dtype.order) + dtype.name)
        if not isinstance(content, bytes | bytearray | str) or len(content) != count * numbers.itemsize:
            held = f"{len(content)} bytes" if isinstance(content, bytes | bytearray | str) else "something else"
            raise PlainPickleError(f"an array of {count} numbers {dtype.name} in {held}")
        self.budget.spend(len(content))
        fixed = content.encode("latin1") if isinstance(content, str) else bytes(content)  # str: Python 2's bytes
        self.numbers = np.frombuffer(fixed, numbers).reshape(shape, order="F" if fortran else "C")


def _names(size: int) -> dict[tuple[str, str], Callable[..., Any]]:
    """What the names of pickled arrays stand for, in a pickle of this many bytes."""
    budget = _Budget(2 * size)  # text becomes bytes, and bytes an array: each once

    def encode(text: Any, encoding: Any) -> bytes:
        """Bytes that an old protocol keeps as text."""
        if not isinstance(text, str) or encoding != "latin1":
            raise PlainPickleError("it encodes something else than bytes")
        budget.spend(len(text))
        return text.encode("latin1")

    def reconstruct(kind: Any, *_: Any) -> _Pickled:
        if kind is not ndarray:
            raise PlainPickleError("it makes an array of another class")
        return _Pickled(budget)

    def from_buffer(content: Any, dtype: Any, shape: Any, order: Any) -> _Pickled:
        found = _Pickled(budget)
        found.describe(shape, dtype, order == "F", content)
        return found

    def refuse(*_: Any) -> NoReturn:
        raise PlainPickleError("it calls numpy.ndarray")

    ndarray = _Name(refuse)
    names = {("numpy", "ndarray"): ndarray, ("numpy", "dtype"): _Name(_Dtype), ("_codecs", "encode"): _Name(encode)}
    for core in ("core", "_core"):
        names["numpy." + core + ".multiarray", "_reconstruct"] = _Name(reconstruct)
        names["numpy." + core + ".numeric", "_frombuffer"] = _Name(from_buffer)
    return {**names}
