from __future__ import annotations

from itertools import pairwise

import pytest

from pyro_vrnn.objectives.annealing import decayed, linear


def test_linear() -> None:
    assert [linear(s, 0.2, 1.0, 4) for s in range(6)] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])
    assert linear(0, 0.2, 1.0, 0) == 1.0


@pytest.mark.parametrize("kind", ["linear", "exponential", "cosine"])
def test_decays_start_and_end_where_they_say_and_never_rise(kind: str) -> None:
    values = [decayed(s, 1e-2, 1e-4, kind, 10, 100) for s in range(200)]  # type: ignore[arg-type]
    assert values[0] == values[10] == 1e-2
    assert values[110] == values[199] == pytest.approx(1e-4)
    assert all(a >= b for a, b in pairwise(values))


def test_halfway() -> None:
    assert decayed(50, 1e-2, 1e-4, "exponential", 0, 100) == pytest.approx(1e-3)
    assert decayed(50, 1.0, 0.0, "linear", 0, 100) == pytest.approx(0.5)
    assert decayed(50, 1.0, 0.0, "cosine", 0, 100) == pytest.approx(0.5)
    assert decayed(50, 1e-2, 1e-4, "constant", 0, 0) == 1e-2
