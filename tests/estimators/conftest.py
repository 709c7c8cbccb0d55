"""Estimators that many tests ask, fitted once; no test writes here or waits for the disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from ragged import TINY, sequences

import pyro_vrnn as pv


@pytest.fixture(scope="session")
def vrnn() -> Any:
    return pv.VRNN(2, **TINY).fit(sequences())


@pytest.fixture(scope="session")
def vrae() -> Any:
    return pv.VRAE(2, **TINY).fit(sequences())


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own for each test, as `out=` writes below data/; without fsync, which takes half the time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
