"""Data sets by name: a file's path, a name below data/, or the chorales, which are prepared on the spot."""

from __future__ import annotations

from pathlib import Path

import pytest
from small import write_small

from pyro_vrnn.data import catalogue
from pyro_vrnn.system.errors import DataError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    return tmp_path


def test_a_name_is_a_file_below_data(here: Path) -> None:
    path = write_small(here / "data" / "mine.h5")
    for name in ("mine", "mine.h5", "data/mine.h5", str(path)):
        assert catalogue.find(name).samefile(path)
        found = catalogue.prepared(name)
        assert found is not None
        assert found.samefile(path)


def test_a_folder_of_raw_data_does_not_hide_the_prepared_file(here: Path) -> None:
    path = write_small(here / "data" / "mine.h5")
    (here / "mine").mkdir()
    assert catalogue.find("mine").samefile(path)
    assert catalogue.prepared("mine") == Path("data/mine.h5")


def test_what_is_not_there(here: Path) -> None:
    for name, says in [
        ("nothing", "no such data file, and no data"),
        ("x/nothing.h5", "no such data file"),
        ("jsb", "not prepared yet"),
    ]:
        assert catalogue.prepared(name) is None
        with pytest.raises(DataError, match=says):
            catalogue.find(name)


def test_looking_prepares_nothing(here: Path) -> None:
    assert catalogue.prepared("chorales") is None
    assert not [*(here / "data").iterdir()]
