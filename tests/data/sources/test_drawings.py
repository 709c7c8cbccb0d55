"""Drawings in hand: how splits are dealt out and carved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from penfiles import DRAWING, STEPS, moved

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources.drawings import Drawings, joined, offsets
from pyro_vrnn.data.sources.request import Request


def drawings(count: int) -> Drawings:
    found = Drawings(Request(path=Path("x.h5"), source=Path("source")))
    for i in range(count):
        found.add("train", str(i), joined(moved(i)))
    return found


def test_points_to_steps() -> None:
    assert offsets(joined(DRAWING)).tolist() == STEPS


@pytest.mark.parametrize(("count", "valid"), [(0, 0), (1, 0), (2, 1), (20, 1), (60, 3), (100, 5)])
def test_carving(count: int, valid: int) -> None:
    """5%, one at least where one is left, by the seed; in the order that they had."""
    found = drawings(count)
    found.carve(3)
    assert [len(found.ids[s]) for s in SPLITS] == [count - valid, valid, 0]
    assert found.found == ({"carved": "5% of train"} if valid else {})
    again, other = drawings(count), drawings(count)
    again.carve(3)
    other.carve(4)
    assert again.ids == found.ids
    assert found.ids != other.ids or count < 60
    for split in SPLITS:
        assert found.ids[split] == sorted(found.ids[split], key=int)


def test_dealing() -> None:
    found = drawings(20)
    found.deal(0, (80, 10, 10))
    assert [len(found.splits[s]) for s in SPLITS] == [16, 2, 2]
    assert sorted((name for ids in found.ids.values() for name in ids), key=int) == [str(i) for i in range(20)]
    for split in SPLITS:
        for name, steps in zip(found.ids[split], found.splits[split], strict=True):
            np.testing.assert_array_equal(steps, offsets(joined(moved(int(name)))))
    assert found.found == {}
