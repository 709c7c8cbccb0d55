"""Pages that can be held against the code (settings.md: test_reference.py)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyro_vrnn.data.schema import read_info
from pyro_vrnn.data.sources import SOURCES

PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def test_every_kind_of_data_is_on_the_page() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(SOURCES)


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "data.md", "exec"), {})
    info = read_info(tmp_path / "walks.h5")
    assert [info.splits[split].sequences for split in ("train", "valid", "test")] == [16, 2, 2]
