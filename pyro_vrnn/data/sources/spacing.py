"""The time between the steps of tables with a column of time."""

from __future__ import annotations

from typing import Any

import numpy as np

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.collected import Collected
from pyro_vrnn.data.sources.columns import Roles

MOST_SEQUENCES, MOST_STEPS = 1000, 10_000
"""That are looked at; of more, the first."""
EVEN = 0.01
"""How far a step may be from the median one, as a share of it, and still be even."""


def spacing(table: Collected, roles: Roles) -> tuple[float | None, dict[str, Any]]:
    """Steps per second, if the time is in seconds, and what the data file says of the column of time."""
    assert roles.time is not None
    steps = [
        np.diff(table.times(name, 0, min(count, MOST_STEPS))) for name, count in [*table.steps.items()][:MOST_SEQUENCES]
    ]
    every = np.concatenate([np.zeros(0), *steps])
    return told(every, roles.names[roles.time], dates=roles.dates, seconds=roles.dates or bool(roles.unit))


def told(every: Array, column: str, *, dates: bool, seconds: bool) -> tuple[float | None, dict[str, Any]]:
    """What `spacing` says, of the times between steps."""
    about: dict[str, Any] = {"column": column, "written_as": "dates" if dates else "numbers"}
    if not len(every):
        return None, about
    median = float(np.median(every))
    about["spacing_seconds" if seconds else "spacing"] = median
    odd = float((np.abs(every - median) > EVEN * abs(median)).mean())
    if odd > 0:
        about["irregular"] = odd
    return (1 / median if seconds and median > 0 else None), about
