"""InkML (W3C, 2011), one drawing a file: the points of its traces.

    <ink xmlns="http://www.w3.org/2003/InkML"><trace>10 0, 9 14, 8 28</trace> ... </ink>

Values stand in the order of <traceFormat>, or X and Y come first. y points downwards unless a channel is turned round.
"""

from __future__ import annotations

import re

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.drawings import MOST_POINTS, joined
from pyro_vrnn.data.sources.plain_xml import parse

NAMESPACE = "http://www.w3.org/2003/InkML"
DIFFERENCES = re.compile("['\"!]")
TURNED = "-ve"


def read_ink(data: bytes) -> Array:
    """The points of an InkML file, [N, 3] = x, y, pen, y upwards. Traces of a pen in the air are left out.

    Raises:
        DoctypeError: it has a DOCTYPE; nothing in it is read.
        ValueError: not XML, or ink that is written in one of the ways that are not read.
    """
    ink = _Ink()
    parse(data, ink.start, ink.end, ink.text, namespaces=True, wanted="ink that is read")
    return joined(ink.strokes)


class _Ink:
    """What is known of a file so far."""

    def __init__(self) -> None:
        self.strokes: list[list[tuple[float, float]]] = []
        self.points = 0
        self.pieces: list[str] | None = None
        self.channels: list[tuple[str, float]] | None = None
        self.formats: list[list[tuple[str, float]]] = []

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = _local(tag)
        if name == "traceFormat":
            self.channels = []
        elif name == "channel" and self.channels is not None:
            self.channels.append((attributes["name"], -1.0 if attributes.get("orientation") == TURNED else 1.0))
        elif name == "trace":
            if "continuation" in attributes:
                raise ValueError("a trace that continues another")
            self.pieces = None if attributes.get("type") == "penUp" else []

    def text(self, text: str) -> None:
        if self.pieces is not None:
            self.pieces.append(text)

    def end(self, tag: str) -> None:
        name = _local(tag)
        if name == "traceFormat" and self.channels is not None:
            if self.formats and self.formats[0] != self.channels:
                raise ValueError("two different trace formats")
            self.formats.append(self.channels)
            self.channels = None
        elif name == "trace" and self.pieces is not None:
            self.add("".join(self.pieces))
            self.pieces = None

    def add(self, text: str) -> None:
        """A stroke from the text of a trace."""
        if DIFFERENCES.search(text):
            raise ValueError("values that are coded as differences (', \" or !)")
        places: dict[str, tuple[int, float]] = {"X": (0, 1.0), "Y": (1, 1.0)}
        if self.formats:
            places = {name: (i, sign) for i, (name, sign) in enumerate(self.formats[0])}
        (x, right), (y, down) = places["X"], places["Y"]
        stroke = []
        for point in text.split(","):
            if values := point.split():
                if len(values) <= max(x, y):
                    raise ValueError(f"a point of {len(values)} values: {point.strip()[:40]!r}")
                stroke.append((right * float(values[x]), -down * float(values[y])))
        self.points += len(stroke)
        if self.points > MOST_POINTS:
            raise ValueError(f"more than {MOST_POINTS} points")
        self.strokes.append(stroke)


def _local(tag: str) -> str:
    """The name of an element of InkML, or of no namespace at all; another namespace's has none."""
    namespace, _, name = tag.rpartition(" ")
    return name if namespace in ("", NAMESPACE) else ""
