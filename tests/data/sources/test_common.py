"""What the sources share: seeded splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import symbols
from pyro_vrnn.data.sources.common import carve_valid, carved_extra, seeded_split


@pytest.mark.parametrize(
    ("count", "shares", "expected"),
    [
        (0, (80, 10, 10), [0, 0, 0]),
        (1, (80, 10, 10), [1, 0, 0]),
        (2, (80, 10, 10), [1, 1, 0]),
        (3, (80, 10, 10), [1, 1, 1]),
        (31, (80, 10, 10), [25, 3, 3]),
        (100, (90, 5, 5), [90, 5, 5]),
        (270, (90, 10, 0), [243, 27, 0]),
    ],
)
def test_seeded_split(count: int, shares: tuple[int, int, int], expected: list[int]) -> None:
    names = [f"song {i}" for i in range(count)]
    split = seeded_split(names, 3, shares)
    assert [list(split.values()).count(s) for s in SPLITS] == expected
    assert seeded_split(reversed(names), 3, shares) == split
    if count > 20:
        assert seeded_split(names, 4, shares) != split


@pytest.mark.parametrize(
    ("count", "share", "expected"), [(0, 5, 0), (1, 5, 0), (2, 5, 1), (29, 5, 1), (40, 5, 2), (40, 10, 4)]
)
def test_carve_valid(count: int, share: float, expected: int) -> None:
    names = [f"train-{i}" for i in range(count)]
    split = carve_valid(names, 3, share)
    assert (set(split) == set(names), list(split.values()).count("valid")) == (True, expected)
    assert set(split.values()) <= {"train", "valid"}
    assert carve_valid(reversed(names), 3, share) == split
    if count == 40:
        assert carve_valid(names, 4, share) != split


def test_what_is_carved_is_told() -> None:
    assert (carved_extra(True), carved_extra(True, 10), carved_extra(False)) == (
        {"carved": "5% of train"},
        {"carved": "10% of train"},
        {},
    )


def test_shares_of_the_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{i} {i + 1}\n" for i in range(20)))
    usual = symbols.prepare(tmp_path / "a.h5", source=tmp_path / "a.txt")
    assert [usual.splits[s].sequences for s in SPLITS] == [16, 2, 2]
    assert "splits" not in usual.options
    other = symbols.prepare(tmp_path / "b.h5", source=tmp_path / "a.txt", splits=(70, 30, 0))
    assert [other.splits[s].sequences for s in SPLITS] == [14, 6, 0]
