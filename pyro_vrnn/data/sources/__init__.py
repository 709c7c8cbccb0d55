"""Raw files to data files: one module per kind, each with a `prepare`."""

from __future__ import annotations

from collections.abc import Callable

from pyro_vrnn.data.schema import DataInfo
from pyro_vrnn.data.sources import audio, chorales, iamondb, midi, pianoroll, strokes, symbols, text, timit, vectors
from pyro_vrnn.system.errors import choose

SOURCES: dict[str, Callable[..., DataInfo]] = {
    "audio": audio.prepare,
    "chorales": chorales.prepare,
    "iamondb": iamondb.prepare,
    "midi": midi.prepare,
    "pianoroll": pianoroll.prepare,
    "strokes": strokes.prepare,
    "symbols": symbols.prepare,
    "text": text.prepare,
    "timit": timit.prepare,
    "vectors": vectors.prepare,
}


def source(kind: str) -> Callable[..., DataInfo]:
    """The `prepare` of this kind of source; ConfigError with the list for an unknown one."""
    if kind not in SOURCES:
        raise choose("kind of source", kind, SOURCES)
    return SOURCES[kind]
