"""The arguments that sources share: one signature for callers, one request for the source."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from pyro_vrnn.data.schema import DataInfo
from pyro_vrnn.data.sources import SOURCES
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.system.errors import ConfigError, DataError

SHARED = ("path", "source", "overwrite", "progress", "seed", "strict")
SEVEN = ("iamondb", "midi", "strokes", "symbols", "text", "timit", "vectors")


def recording(seen: list[Any]) -> Any:
    """A source that reads nothing and keeps what it is given."""

    @reads
    def prepare(request: Request, *, width: int = 3) -> DataInfo:
        """Keep the request."""
        seen.append((request, width))
        raise DataError("nothing is read")

    return prepare


@pytest.mark.parametrize("kind", SEVEN)
def test_sources_share_one_signature(kind: str) -> None:
    parameters = inspect.signature(SOURCES[kind]).parameters
    assert tuple(parameters)[: len(SHARED)] == SHARED
    assert [parameters[name].default for name in SHARED[2:]] == [False, None, 0, False]
    assert not {"request", "args", "given"} & {*parameters}


def test_a_request_is_what_the_caller_gave(tmp_path: Path) -> None:
    seen: list[Any] = []
    prepare = recording(seen)
    assert prepare.__doc__ == "Keep the request."
    with pytest.raises(DataError):
        prepare(str(tmp_path / "x.h5"), source="here", seed=7, width=5)
    assert seen == [(Request(path=tmp_path / "x.h5", source=Path("here"), seed=7), 5)]
    with pytest.raises(DataError):
        prepare(tmp_path / "x.h5", source="here")
    assert seen[1] == (Request(path=tmp_path / "x.h5", source=Path("here")), 3)


@pytest.mark.parametrize("given", [{}, {"source": "a", "height": 1}, {"source": "a", "request": 1}])
def test_arguments_that_are_missing_or_unknown(tmp_path: Path, given: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        recording([])(tmp_path / "x.h5", **given)


def test_a_file_in_the_way_is_found_before_anything_is_read(tmp_path: Path) -> None:
    seen: list[Any] = []
    (tmp_path / "x.h5").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"x\.h5"):
        recording(seen)(tmp_path / "x.h5", source="here")
    assert seen == []
    with pytest.raises(DataError, match="nothing is read"):
        recording(seen)(tmp_path / "x.h5", source="here", overwrite=True)
    assert seen[0][0].overwrite


def test_progress_and_skips(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    request = Request(path=tmp_path / "x.h5", source=tmp_path, strict=True, progress=lambda *n: told.append(n))
    request.report(1, 2)
    Request(path=tmp_path / "x.h5", source=tmp_path).report(2, 2)  # nobody asked
    assert told == [(1, 2)]
    with pytest.raises(DataError, match="a bad one"):
        request.skips().add("7", "a bad one")
    assert request.origin == f"the folder {tmp_path.name}"
