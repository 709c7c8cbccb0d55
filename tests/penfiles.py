"""Small files of pen drawings, for the tests of their sources."""

from __future__ import annotations

import codecs
import io
import json
import os
import pickle
import random
import struct
import sys
import time
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from stored import sequences

from pyro_vrnn.data.schema import Array, DataInfo
from pyro_vrnn.data.sources import drawings, strokes
from pyro_vrnn.data.sources.drawings import joined
from pyro_vrnn.system.errors import DataError

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
DRAWING = [[[0, 0], [1, 2], [3, 3]], [[3, 5], [7, 1]]]
STEPS = [[1, 2, 0], [2, 1, 1], [0, 2, 0], [4, -4, 1]]


def everything(info: DataInfo) -> dict[str, list[list[float]]]:
    return {name: x.tolist() for found in sequences(info).values() for name, x in found.items()}


def as_arrays(drawings: list[Any], part: str) -> dict[str, Array]:
    """x, y, pen end to end, and their lengths."""
    points = [joined(drawing) for drawing in drawings]
    return {part: np.concatenate(points).astype(np.int16), f"{part}_len": np.array([len(p) for p in points], np.int32)}


def moved(by: int) -> Any:
    return [[[x + by * i, y] for i, (x, y) in enumerate(stroke)] for stroke in DRAWING]


def digits(drawings: int = 12, tests: int = 3, **changes: Any) -> bytes:
    """A file like the pen digits', the training drawings by 6 writers."""
    arrays = as_arrays([moved(i) for i in range(drawings)], "train")
    arrays |= as_arrays([moved(i) for i in range(tests)], "test")
    arrays["train_writer"] = np.arange(drawings, dtype=np.int16) % 6 + 1
    file = io.BytesIO()
    np.savez_compressed(file, **{k: v for k, v in (arrays | changes).items() if v is not None})
    return file.getvalue()


def prepared(folder: Path, data: bytes, **options: Any) -> DataInfo:
    (folder / "source.bin").write_bytes(data)
    return strokes.prepare(folder / "x.h5", source=str(folder / "source.bin"), overwrite=True, **options)


def quick(drawings: int = 12) -> list[dict[str, Any]]:
    """Quick, Draw! objects, y downwards: the same drawings as `moved`."""
    found = []
    for i in range(drawings):
        strokes_ = [[[x for x, _ in stroke], [10 - y for _, y in stroke]] for stroke in moved(i)]
        found.append({"word": "cat", "key_id": str(5000 + i), "recognized": True, "drawing": strokes_})
    return found


def as_ndjson(objects: list[Any]) -> bytes:
    return b"".join(json.dumps(found).encode() + b"\n" for found in objects)


def as_moves(by: int, dtype: Any = np.int16) -> Array:
    """dx, dy, pen of `moved`, y downwards, as sketch-rnn has them."""
    points = joined(moved(by))
    moves = np.diff(points[:, :2], axis=0, prepend=0) * [1, -1]
    return np.column_stack([moves, points[:, 2]]).astype(dtype)


def objects(arrays: list[Any]) -> Array:
    """An array of objects."""
    found = np.empty(len(arrays), object)
    found[:] = [None] * len(arrays)
    for i, array in enumerate(arrays):
        found[i] = array
    return found


def npz_of(pickles: dict[str, bytes], counts: dict[str, int], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An npz of arrays of objects, of pickles that somebody else made."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for part, data in pickles.items():
            header = f"{{'descr': '|O', 'fortran_order': False, 'shape': ({counts[part]},), }}".ljust(117) + "\n"
            archive.writestr(f"{part}.npy", b"\x93NUMPY\x01\x00v\x00" + header.encode() + data)
    return file.getvalue()


def sketches(protocol: int = 4, *, train: int = 12, others: int = 3, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A file like sketch-rnn's."""
    counts = {"train": train, "valid": others, "test": others}
    return npz_of(
        {part: pickle.dumps(objects([as_moves(i) for i in range(n)]), protocol) for part, n in counts.items()},
        counts,
        method,
    )


def by_python_2(arrays: list[Array]) -> bytes:
    """The pickle that Python 2 makes of an array of objects, of arrays of int16: bytes are its texts."""

    def text(data: bytes) -> bytes:
        return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<I", len(data)) + data

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    def dtype(name: bytes, order: bytes, flags: int) -> bytes:
        made = b"cnumpy\ndtype\n" + text(name) + number(0) + number(1) + b"\x87R"
        return made + b"(" + number(3) + text(order) + b"NNN" + number(-1) + number(-1) + number(flags) + b"tb"

    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + number(0) + b"\x85" + text(b"b") + b"\x87R"
    items = b""
    for array in arrays:
        shape = number(array.shape[0]) + number(array.shape[1]) + b"\x86"
        content = text(array.astype("<i2").tobytes())
        items += empty + b"(" + number(1) + shape + dtype(b"i2", b"<", 0) + b"\x89" + content + b"tb"
    shape = number(len(arrays)) + b"\x85"
    state = b"(" + number(1) + shape + dtype(b"O8", b"|", 63) + b"\x89](" + items + b"etb"
    return b"\x80\x02" + empty + state + b"."


class Evil:
    """Unpickled with pickle.load, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def mutants(content: bytes, seed: int, count: int = 1000) -> Iterator[bytes]:
    """Damaged copies: bytes changed, taken out, put in, said twice, or an end that is cut off."""
    chance = random.Random(seed)
    for _ in range(count):
        data = bytearray(content)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(data)) if data else 0
            what = chance.randrange(5)
            if what == 0 and data:
                data[at] = chance.randrange(256)
            elif what == 1:
                del data[at : at + chance.randint(1, 9)]
            elif what == 2:
                data[at:at] = bytes(chance.choices(range(256), k=chance.randint(1, 5)))
            elif what == 3:
                data[at:at] = data[at : at + chance.randint(1, 60)]
            elif chance.random() < 0.3:
                del data[at:]
        yield bytes(data)


DANGEROUS = ("open", "os.system", "subprocess.Popen", "os.exec", "os.remove", "os.mkdir", "socket.connect", "exec")
_watched: list[tuple[str, str]] | None = None
_hooked = False


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched is not None and (event in DANGEROUS or event == "pickle.find_class"):
        _watched.append((event, str(arguments[0])))


@contextmanager
def watching() -> Iterator[list[tuple[str, str]]]:
    """Whatever Python opens, runs or looks up meanwhile: (event, its first argument)."""
    global _watched, _hooked
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked = True
    for name in ("raw_unicode_escape", "unicode_escape", "latin-1"):
        codecs.lookup(name)  # Python reads a codec's own file when it is first asked for
    _watched = []
    try:
        yield _watched
    finally:
        _watched = None


def _accept(path: Any, splits: Any, *, ids: Any, extra: Any, **_: Any) -> None:
    """Stand for the writer, which takes 20 ms: the sequences are such as it writes."""
    json.dumps(extra, allow_nan=False)
    for split, found in splits.items():
        assert len({*ids[split]}) == len(ids[split]) == len(found)
        assert all(1 <= len(name.encode()) <= 1024 and "\0" not in name for name in ids[split])
        for steps in found:
            assert (steps.dtype, steps.ndim, steps.shape[1]) == (np.float32, 2, 3)
            assert len(steps)
            assert np.isfinite(steps).all()


def check_mutants(folder: Path, name: str, damaged: Iterable[bytes]) -> tuple[int, int]:
    """Prepare each: a data set or one DataError, at once, and nothing opened elsewhere; how many of either.

    One in 20 is really written.
    """
    source, made = folder / name, folder / "x.h5"
    read = refused = 0
    ours = (str(folder), sys.base_prefix)  # the other: Python imports a codec when a file names one of its own
    for i, data in enumerate(damaged):
        source.write_bytes(data)
        started = time.monotonic()
        with pytest.MonkeyPatch.context() as patch, watching() as seen:
            if i % 20:
                patch.setattr(drawings, "write_sequences", _accept)
            try:
                strokes.prepare(made, source=str(source), overwrite=True)
                read += 1
            except DataError:
                refused += 1
        assert time.monotonic() - started < 1
        outside = [found for found in seen if not found[1].startswith(ours)]
        assert outside == []
    return read, refused
