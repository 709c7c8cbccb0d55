"""UNIPEN files (Guyon et al. 1994) that are one drawing: points between .PEN_DOWN and .PEN_UP.

    .COORD X Y T
    .PEN_DOWN
    707 561 0
    710 563 10
    .PEN_UP

y points upwards. Files that say which points belong to which of many drawings, or where else to look, are refused.
"""

from __future__ import annotations

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.drawings import MOST_POINTS, joined

REFUSED = (".SEGMENT", ".INCLUDE", ".START_SET", ".START_BOX")
"""Keywords of files that are more than one drawing."""


def read_ink(data: bytes) -> Array:
    """The points of a UNIPEN file, [N, 3] = x, y, pen, y upwards. Points of a pen in the air are left out.

    Raises:
        ValueError: no .PEN_DOWN, one of the keywords REFUSED, or points that are not numbers.
    """
    strokes: list[list[tuple[float, float]]] = []
    x, y = 0, 1
    down = False
    points = 0
    for number, line in enumerate(data.decode("latin-1").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        if words[0].startswith("."):
            keyword = words[0].upper()
            if keyword in REFUSED:
                raise ValueError(f"line {number}: {keyword}: only UNIPEN files of one drawing are read")
            if keyword == ".COORD":
                names = [word.upper() for word in words[1:]]
                if "X" not in names or "Y" not in names:
                    raise ValueError(f"line {number}: .COORD without X and Y")
                x, y = names.index("X"), names.index("Y")
            if keyword == ".PEN_DOWN":
                strokes.append([])
            down = keyword == ".PEN_DOWN" or (down and keyword != ".PEN_UP")
        elif down:
            if len(words) <= max(x, y):
                raise ValueError(f"line {number} has {len(words)} values, not x and y")
            try:
                strokes[-1].append((float(words[x]), float(words[y])))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            points += 1
            if points > MOST_POINTS:
                raise ValueError(f"more than {MOST_POINTS} points")
    if not strokes:
        raise ValueError("no .PEN_DOWN: only UNIPEN files of points between .PEN_DOWN and .PEN_UP are read")
    return joined(strokes)
