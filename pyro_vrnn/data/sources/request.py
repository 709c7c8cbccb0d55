"""The arguments that sources of one file or folder share, stated once.

A source is a function `prepare(request, *, own options)` under the decorator `reads`. Callers see one signature:
`prepare(path, *, source, overwrite, progress, seed, strict, own options)`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Concatenate

from pyro_vrnn.data.schema import DataInfo
from pyro_vrnn.data.sources.common import Progress, Skips
from pyro_vrnn.data.writer import check_free


@dataclass(frozen=True, kw_only=True)
class Request:
    """One data file that is asked for."""

    path: Path
    """The file to make."""
    source: Path
    """The file or folder to read."""
    overwrite: bool = False
    """Whether to replace an existing file."""
    progress: Progress | None = None
    """Told how far the reading is."""
    seed: int = 0
    """Seed of the split into train, valid and test, where the source does not give one."""
    strict: bool = False
    """Whether something that would be skipped is a DataError."""

    @property
    def origin(self) -> str:
        """The source in words, for the data file's `source`."""
        return f"the {'folder' if self.source.is_dir() else 'file'} {self.source.name}"

    def skips(self) -> Skips:
        """An empty list of what is left out of this source."""
        return Skips(self.source, self.strict)

    def report(self, done: int, total: int) -> None:
        """Tell the progress, if somebody asked for it."""
        if self.progress is not None:
            self.progress(done, total)


def reads(prepare: Callable[Concatenate[Request, ...], DataInfo]) -> Callable[..., DataInfo]:
    """Make a function of a request the `prepare` of a source, whose arguments are the request's fields and its own.

    The new function raises ConfigError, before anything is read, if `path` exists and `overwrite` is not given.
    """
    _, *own = inspect.signature(prepare).parameters.values()
    shared = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.POSITIONAL_OR_KEYWORD if field.name == "path" else inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=field.type,
        )
        for field in fields(Request)
    ]
    signature = inspect.Signature([*shared, *own], return_annotation=DataInfo)
    names = [field.name for field in fields(Request)]

    @functools.wraps(prepare)
    def prepared(*args: Any, **given: Any) -> DataInfo:
        asked = signature.bind(*args, **given).arguments
        common = {name: asked.pop(name) for name in names if name in asked}
        request = Request(**common | {"path": Path(common["path"]), "source": Path(common["source"])})
        check_free(request.path, request.overwrite)
        return prepare(request, **asked)

    prepared.__signature__ = signature  # type: ignore[attr-defined]
    return prepared
