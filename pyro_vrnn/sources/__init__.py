"""Raw files to data files: one module per kind, each with a `prepare`."""

from __future__ import annotations

from collections.abc import Callable

from pyro_vrnn.errors import choose
from pyro_vrnn.sources import chorales, pianoroll
from pyro_vrnn.storage import DataInfo

SOURCES: dict[str, Callable[..., DataInfo]] = {
    "chorales": chorales.prepare,
    "pianoroll": pianoroll.prepare,
}


def source(kind: str) -> Callable[..., DataInfo]:
    """The `prepare` of this kind of source; ConfigError with the list for an unknown one."""
    if kind not in SOURCES:
        raise choose("kind of source", kind, SOURCES)
    return SOURCES[kind]
