"""Pickles that hold nothing but dicts, lists, tuples, whole numbers and text, read without running anything.

A pickle is a program: `pickle.load` calls whatever it names. Here the program is read through first, and one
with any instruction that names, calls or builds something else is refused before it starts.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping, Set
from typing import Any, NoReturn

ALLOWED = frozenset(
    [
        "PROTO",
        "FRAME",
        "STOP",
        "MARK",
        "POP",
        "POP_MARK",
        "EMPTY_DICT",
        "DICT",
        "SETITEM",
        "SETITEMS",
        "EMPTY_LIST",
        "LIST",
        "APPEND",
        "APPENDS",
        "EMPTY_TUPLE",
        "TUPLE",
        "TUPLE1",
        "TUPLE2",
        "TUPLE3",
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "PUT",
        "BINPUT",
        "LONG_BINPUT",
        "MEMOIZE",
        "GET",
        "BINGET",
        "LONG_BINGET",
    ]
)


class PlainPickleError(ValueError):
    """Not a pickle, or one that asks for more than plain values."""


def load(data: bytes) -> Any:
    """The value that the pickle holds; PlainPickleError for any other bytes, without running them."""
    return run(data, ALLOWED, {})


def run(
    data: bytes,
    allowed: Set[str],
    names: Mapping[tuple[str, str], Callable[..., Any]],
    *,
    encoding: str = "ASCII",
    most: int | None = None,
) -> Any:
    """The value that a pickle of these instructions holds.

    Args:
        data: the pickle.
        allowed: the instructions that it may have.
        names: what stands for a name, (module, name), in the pickle: nothing is ever looked up by it. It should hold
            no value that an instruction can change.
        encoding: of Python 2's texts.
        most: instructions that are read.

    Raises:
        PlainPickleError: any other bytes.
    """
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
            if opcode.name not in allowed:
                what = f" of {argument}" if isinstance(argument, str) else ""
                raise PlainPickleError(f"it has the instruction {opcode.name}{what}")
            # The reader makes room for every number up to this one: 4 billion in five bytes.
            if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > count:
                raise PlainPickleError(f"it remembers a value under the number {argument}")
            if most is not None and count >= most:
                raise PlainPickleError(f"it has more than {most} instructions")
        return _Plain(data, names, encoding).load()
    except PlainPickleError:
        raise
    except Exception as error:  # the reader promises nothing about what it raises on damaged bytes
        raise PlainPickleError(f"damaged: {error or type(error).__name__}") from error


class _Plain(pickle.Unpickler):
    """The second lock: should the list of instructions ever let one through, only our own names can be named."""

    def __init__(self, data: bytes, names: Mapping[tuple[str, str], Callable[..., Any]], encoding: str) -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self.names = names

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.names:
            raise PlainPickleError(f"it names {module}.{name}")
        return self.names[module, name]

    def persistent_load(self, pid: Any) -> NoReturn:
        raise PlainPickleError("it refers to something outside")
