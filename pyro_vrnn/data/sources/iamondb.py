"""Lines of handwriting from the IAM On-Line Handwriting Database (Liwicki, Bunke, ICDAR 2005).

One XML file a line, lineStrokes/a01/a01-000/a01-000u-01.xml: a StrokeSet of Strokes of Points with x, y and time, y
downwards, in units of the whiteboard's sensor. The times are not used: points are taken in the order of the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pyro_vrnn.data.schema import Array, DataInfo
from pyro_vrnn.data.sources.common import find_files, seeded_split
from pyro_vrnn.data.sources.drawings import Drawings, joined
from pyro_vrnn.data.sources.plain_xml import DoctypeError, parse
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.system.errors import DataError, at_least
from pyro_vrnn.system.files import read_plain_file

MAX_BYTES = 8 * 2**20  # of an XML file; the longest line is about 0.2 MB
LISTS = {"trainset.txt": "train", "testset_v.txt": "valid", "testset_t.txt": "test"}
LICENCE = "free for non-commercial research, after registration with the University of Bern; cite the paper"


@reads
def prepare(
    request: Request,
    *,
    clip: float = 10.0,
) -> DataInfo:
    """Write lines of handwriting to a data file, float32 [T, 3] = dx, dy, pen (strokes.py), dy upwards.

    If the folder has the database's own lists, trainset.txt is train, testset_v.txt valid and testset_t.txt test, and
    what is in none of them (the final test set, testset_f.txt) is left out and counted in the file (`left_out`).
    Without lists 90/5/5 of the forms are chosen by the seed: a form is by one writer, but a writer wrote several.

    Args:
        request: its source is the folder lineStrokes or the one that holds it; its progress counts files.
        clip: see strokes.py.

    Raises:
        DataError: no folder and no .xml file, a file with a DOCTYPE (that is, with entities), lists that are
            incomplete or overlap, or nothing is left to train on.
        ConfigError: the file exists, or clip is below 1.
    """
    at_least("clip", clip, 1)
    source = request.source
    root = source / "lineStrokes"
    files = find_files(root if root.is_dir() else source, [".xml"])
    listed = _listed(source)
    split_of = listed or seeded_split(map(_form, files), request.seed, (90, 5, 5))
    drawings = Drawings(request)
    left_out = 0
    for done, (name, file) in enumerate(files.items(), start=1):
        split = split_of.get(_form(name))
        if split is None:
            left_out += 1
        else:
            try:
                drawings.add(split, file.stem, read_line(read_plain_file(file, MAX_BYTES)))
            except DoctypeError as error:
                raise DataError(f"{file}: {error}", "the database's files have none; remove this one", file) from error
            except DataError as error:
                drawings.skips.add(name, error.message.removeprefix(f"{file}: "), "file")
            except ValueError as error:
                drawings.skips.add(name, str(error), "file")
        request.report(done, len(files))
    return drawings.write(
        clip=clip,
        options={"seed": request.seed, "lists": bool(listed)},
        extra={"left_out": left_out},
        source="IAM On-Line Handwriting Database, lineStrokes",
        licence=LICENCE,
    )


def read_line(data: bytes) -> Array:
    """The points of a line, [N, 3] = x, y, pen, y upwards.

    Raises:
        DoctypeError: it has a DOCTYPE; nothing in it is read.
        ValueError: not XML, or not strokes of points.
    """
    strokes: list[list[tuple[float, float]]] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if tag == "Stroke":
            strokes.append([])
        elif tag == "Point":
            strokes[-1].append((float(attributes["x"]), -float(attributes["y"])))

    parse(data, start)
    return joined(strokes)


def _form(name: str) -> str:
    """a01-000u of a01/a01-000/a01-000u-01.xml."""
    return name.rpartition("/")[2].rpartition("-")[0]


def _listed(folder: Path) -> dict[str, str]:
    """The split of each form by the database's lists; nothing if they are not there.

    Raises:
        DataError: some of them are not there, or a form is in two.
    """
    there = [name for name in LISTS if (folder / name).exists()]
    if there and len(there) < len(LISTS):
        missing = next(name for name in LISTS if name not in there)
        raise DataError(f"{folder}: {', '.join(there)}, but no {missing}", "give all three lists or none", folder)
    split_of: dict[str, str] = {}
    for name in there:
        forms: Iterable[str] = read_plain_file(folder / name, 2**20).decode("latin-1").split()
        for form in forms:
            if split_of.setdefault(form, LISTS[name]) != LISTS[name]:
                raise DataError(f"{folder / name}: {form} is in another list too", "check the lists", folder / name)
    return split_of
