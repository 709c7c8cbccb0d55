"""The drawings of sketch-rnn (Ha, Eck 2018), an npz of train, valid and test, each a pickled array of drawings.

A drawing is an array [N, 3] = dx, dy, and whether the pen is lifted after this point; y downwards. Files by Python 2
are read as well as newer ones, and none is run (array_pickle.py).
"""

from __future__ import annotations

import io
import shutil
import warnings
import zipfile
from typing import IO, Any

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array
from pyro_vrnn.data.sources import array_pickle
from pyro_vrnn.data.sources.common import MAX_BYTES
from pyro_vrnn.data.sources.drawings import Drawings
from pyro_vrnn.system.errors import DataError, first_line

PIECE = 2**20
MOST_DRAWINGS = 1_000_000
MOST_POINTS = MAX_BYTES // 12  # of all drawings together: as steps they take 12 bytes each


def holds_objects(data: bytes) -> bool:
    """Whether an npz file with this content has a split that is an array of objects; False for a damaged one."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for part in SPLITS:
                if f"{part}.npy" in archive.namelist():
                    with archive.open(f"{part}.npy") as member:
                        if _header(member)[1].hasobject:
                            return True
    except Exception:  # the readers promise nothing about what they raise; who reads all of it says what is wrong
        return False
    return False


def read(data: bytes, drawings: Drawings) -> None:
    """Add the drawings of an npz with this content, in the splits that it names, called train-0, train-1, ...

    Without valid, 5% of train become validation.

    Raises:
        DataError: damaged, hostile, or more than MAX_BYTES when unpacked; no drawings of train.
    """
    source = drawings.request.source
    try:
        parts = _unpacked(data)
    except Exception as error:  # as above
        why = first_line(error)
        raise DataError(f"{source}: an npz that cannot be read: {why}", "give sketch-rnn's own file", source) from error
    if "train" not in parts:
        raise DataError(f"{source}: array 'train' is missing", "sketch-rnn's files have train, valid, test", source)
    for part, found in parts.items():
        for i, steps in enumerate(found):
            if steps.ndim != 2 or steps.shape[1] != 3 or steps.dtype.kind not in "biuf":
                what = f"an array {steps.dtype} {list(steps.shape)}, not [N, 3] of dx, dy, pen"
                drawings.skips.add(f"{part}-{i}", what)
            else:
                drawings.add(part, f"{part}-{i}", as_points(steps))
    if not parts.get("valid"):
        drawings.carve(drawings.request.seed)


def as_points(steps: Array) -> Array:
    """Moves dx, dy, pen with y downwards as points [N, 3] = x, y, pen with y upwards."""
    moves = steps.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is told of by who takes the points
        return np.column_stack([moves[:, 0].cumsum(), -moves[:, 1].cumsum(), moves[:, 2]])


def _unpacked(data: bytes) -> dict[str, list[Array]]:
    """The drawings of each split that is there; ValueError and others if they cannot be read."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        claimed = sum(member.file_size for member in archive.infolist())  # more than that is not unpacked either
        if claimed > MAX_BYTES:
            raise ValueError(f"it unpacks to {claimed} bytes; at most {MAX_BYTES} are read")
        parts = {}
        for part in SPLITS:
            if f"{part}.npy" in archive.namelist():
                whole = io.BytesIO()
                with archive.open(f"{part}.npy") as member:
                    shutil.copyfileobj(member, whole, PIECE)
                whole.seek(0)
                parts[part] = _drawings(whole, part)
    held = sum(map(len, parts.values()))
    points = sum(steps.size // 3 for found in parts.values() for steps in found)
    if held > MOST_DRAWINGS or points > MOST_POINTS:
        most = f"{MOST_DRAWINGS} of {MOST_POINTS} points"
        raise ValueError(f"{held} drawings of {points} points in all; at most {most} are read")
    return parts


def _drawings(file: io.BytesIO, part: str) -> list[Array]:
    """The arrays of an npy file of objects."""
    shape, dtype = _header(file)
    if not dtype.hasobject:
        if shape[:1] == (0,):
            return []
        raise ValueError(f"{part} has no drawings, but numbers {list(shape)}")
    if dtype != np.dtype(object) or len(shape) != 1:
        raise ValueError(f"{part} is an array {dtype} {list(shape)}, not a list of drawings")
    found = array_pickle.load(file.read())
    if not isinstance(found, list) or len(found) != shape[0]:
        raise ValueError(f"{part} is not {shape[0]} drawings")
    return found


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an npy file, which is read so far."""
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"an npy file of version {version}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy remarks on headers by Python 2
        shape, _, dtype = read_header(file)
    return shape, dtype
