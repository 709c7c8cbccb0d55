"""Data sets by name: where `prepare` puts them, and the one that is made without being asked (no download)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pyro_vrnn.system.errors import DataError

FOLDER = Path("data")
"""Where `prepare` writes by default, below the current folder."""

NAMES = {
    "chorales": "chorales.h5",
    "jsb": "jsb_chorales.h5",
    "nottingham": "nottingham.h5",
    "muse": "muse_data.h5",
    "piano": "piano_midi.h5",
}


def prepared(data: str) -> Path | None:
    """The data file that `find` would give, if it is there already; nothing is prepared."""
    path, named = Path(data), FOLDER / NAMES.get(data, data if data.endswith(".h5") else f"{data}.h5")
    if data not in NAMES and (path.is_file() or path.name != data):
        return path if path.exists() else None
    return named if named.exists() else None


def find(data: str, *, preparing: str = "", say: Callable[[str], None] = lambda message: None) -> Path:
    """A file's path, or a data set's name, to an existing file: `speech` is data/speech.h5, where `prepare` puts it.

    "chorales" is prepared on the spot if need be: it comes from a package's own corpus.

    Args:
        data: a path or a name.
        preparing: the command that prepares it, if it is known: the error's hint.
        say: told when the chorales are prepared.

    Raises:
        DataError: neither a file nor a known name, or a known one that is not prepared yet.
    """
    if data not in NAMES:
        path, prepared = Path(data), FOLDER / (data if data.endswith(".h5") else f"{data}.h5")
        if path.name == data and prepared.exists() and not path.is_file():  # a raw folder may have its name
            return prepared
        if path.exists():
            return path
        raise DataError(
            f"{data}: no such data file" + (f", and no {prepared}" if path.name == data else ""),
            preparing
            or f"a file that `pyro-vrnn prepare` wrote, the name of one below {FOLDER}/, or one of "
            f"{', '.join(sorted(NAMES))}",
            path,
        )
    path = FOLDER / NAMES[data]
    if path.exists():
        return path
    if data == "chorales":
        from pyro_vrnn.data.sources import chorales

        say(f"preparing Bach's chorales from music21's corpus: {path} (once)")
        chorales.prepare(path)
        return path
    raise DataError(
        f"{path}: not prepared yet",
        f"pyro-vrnn prepare pianoroll {path.stem}.npz --out {path} (or the .pickle or .mat; {data} alone downloads it)",
        path,
    )
