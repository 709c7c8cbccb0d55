"""Symbols as text files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.media.medium import Array, Medium, Say, Shown, beside, silent
from pyro_vrnn.media.pictures import Caption
from pyro_vrnn.system.errors import DataError
from pyro_vrnn.system.files import write_bytes

MOST_BYTES = 1 << 26
"""Of a text or table that is read as a beginning."""
MOST_SHOWN = 4000
"""Characters of a text within a page."""


class Texts(Medium):
    """See the module's docstring."""

    def write(
        self, form: DataFormat, stored: Array, stem: Path, caption: Caption
    ) -> tuple[Path, Path | None, dict[str, Any]]:
        """Write a text file; there is no picture."""
        path, text = beside(stem, ".txt"), spell(form, stored)
        write_bytes(path, text.encode("utf-8", "backslashreplace"))
        return path, None, {"symbols": len(stored)}

    def read(self, form: DataFormat, path: Path, say: Say = silent) -> Array:
        """Read a text in UTF-8 as the numbers of its symbols."""
        if path.suffix.lower() == ".pgn":
            hint = "write its moves in a text file, without numbers: e4 e5 Nf3"
            raise DataError(f"{path}: games in PGN are read by `prepare` alone", hint, path)
        text = read_text(path)
        if "\n" not in form.symbols:
            text = text.rstrip("\n")  # what editors put at the end
        parts = list(text) if form.level == "char" else text.split()
        numbers = {symbol: n for n, symbol in enumerate(form.symbols)}
        unknown = [part for part in parts if part not in numbers and "<unk>" not in numbers]
        if parts and not unknown and not any(part in numbers for part in parts):
            unknown = parts  # nothing but <unk>
        if unknown or not parts:
            what = f"{unknown[0]!r} is no symbol that the model knows" if unknown else "no symbols"
            raise DataError(f"{path}: {what}", f"it knows {' '.join(form.symbols[:20])} …", path)
        return np.array([[numbers.get(part, numbers.get("<unk>", 0))] for part in parts])

    def show(self, form: DataFormat, stored: Array, title: str, seconds: float) -> Shown:
        """Show the text itself."""
        text = spell(form, stored)
        note = f"The first {MOST_SHOWN} of {len(text)} characters." if len(text) > MOST_SHOWN else ""
        return Shown(text=text[:MOST_SHOWN], note=note)


def spell(form: DataFormat, stored: Array) -> str:
    """Numbers of symbols to text: characters side by side, words and other tokens with a space between."""
    between = "" if form.level == "char" else " "
    return between.join(form.symbols[int(n)] for n in stored[:, 0])


def read_text(path: Path) -> str:
    """The content of a text file of at most MOST_BYTES.

    Raises:
        DataError: missing, too large, or not UTF-8.
    """
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: not a regular file of at most {MOST_BYTES} bytes", "give a text file", path)
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: {error}", "give a text file in UTF-8", path) from None
