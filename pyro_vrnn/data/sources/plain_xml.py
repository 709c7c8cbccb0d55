"""XML without a DOCTYPE: there entities are declared, which can grow without bound or read other files."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn
from xml.parsers import expat


class DoctypeError(ValueError):
    """A DOCTYPE; nothing after it is read."""


def parse(
    data: bytes,
    start: Callable[[str, dict[str, str]], None],
    end: Callable[[str], None] | None = None,
    text: Callable[[str], None] | None = None,
    *,
    namespaces: bool = False,
    wanted: str = "strokes of points",
) -> None:
    """Tell of the elements of a document as they begin and end, and of the text in them.

    Args:
        data: the document.
        start: called with the name of an element and its attributes.
        end: called with its name.
        text: called with pieces of text.
        namespaces: whether a name is "NAMESPACE NAME" where there is a namespace.
        wanted: what the document should hold, for the error.

    Raises:
        DoctypeError: it has a DOCTYPE.
        ValueError: it is not XML, or what is called raised a ValueError or LookupError; with the number of the line.
    """

    def doctype(*_: object) -> NoReturn:
        raise DoctypeError("it has a DOCTYPE, which is not read")

    parser = expat.ParserCreate(namespace_separator=" " if namespaces else None)
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = doctype
    try:
        parser.Parse(data, True)
    except DoctypeError:
        raise
    except (expat.ExpatError, LookupError, ValueError) as error:  # LookupError: no such attribute, unknown encoding
        raise ValueError(f"line {parser.CurrentLineNumber}: not {wanted}: {error}") from error
