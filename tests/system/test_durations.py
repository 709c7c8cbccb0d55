"""Times in words."""

from __future__ import annotations

import pytest

from pyro_vrnn.system.durations import duration


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0, "0 s"), (0.034, "0.034 s"), (2.31, "2.3 s"), (9.49, "9.5 s"), (9.7, "10 s"), (119.4, "119 s"), (150, "2 min"),
     (3600, "60 min"), (9000, "2.5 h")],
)  # fmt: skip
def test_seconds_minutes_or_hours(seconds: float, says: str) -> None:
    assert duration(seconds) == says
