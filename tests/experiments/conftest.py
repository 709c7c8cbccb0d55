"""Updates are timed once here, and not in five rounds."""

from __future__ import annotations

import pytest

from pyro_vrnn.experiments import costs


@pytest.fixture(autouse=True)
def one_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "ROUNDS", 1)
    monkeypatch.setattr(costs, "UPDATES", 1)
