"""Sequences of symbols, chess openings among them."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import sequences, spelled

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import symbols
from pyro_vrnn.system.errors import DataError

OPENINGS = (
    b"eco\tname\tsan\tuci\n"
    b"A00\tAmar Opening\tNh3\tg1h3\n"
    b"A00\tAmar Opening: Paris Gambit\tNh3 d5 g3 e5 f4\tg1h3 d7d5 g2g3 e7e5 f2f4\n"
    b"B00\tKing's Pawn\te4\te2e4\n"
    b"C20\tKing's Pawn: a5\te4 e5\te2e4 e7e5\n"
)


def test_chess_openings(tmp_path: Path, shared: Path) -> None:
    """3,807 lines, 36,895 half-moves, at most 36 a line, 483 moves; an ECO code is in one split."""
    info = symbols.prepare(tmp_path / "x.h5", source=str(shared / "data" / "chess_openings" / "openings.tsv"))
    assert sum(info.splits[s].sequences for s in SPLITS) == 3807
    assert sum(info.splits[s].steps for s in SPLITS) == 36_895
    assert max(info.splits[s].longest for s in SPLITS) == 36
    codes = [{name[:3] for name in sequences(info)[split]} for split in SPLITS]
    assert len(set.union(*codes)) == sum(map(len, codes))
    names, unknown = info.extra["symbols"], info.extra["unknown"]
    assert names[-1] == "<unk>"
    assert 440 < len(names) < 483
    assert (unknown["train"], info.extra["level"]) == (0, "token")
    assert 0 < unknown["valid"] + unknown["test"] < 200


def test_openings_and_their_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_bytes(OPENINGS)
    info = symbols.prepare(tmp_path / "x.h5", source=str(file))
    lines = {name for found in sequences(info).values() for name in found}
    assert lines == {"A00-2", "A00-3", "B00-4", "C20-5"}
    assert any({"A00-2", "A00-3"} <= set(found) for found in sequences(info).values())
    assert set(info.extra["symbols"]) - {"<unk>"} <= {"g1h3", "d7d5", "g2g3", "e7e5", "f2f4", "e2e4"}
    file.write_bytes(b"eco\tname\tpgn\r\nA00\tAmar\t1. Nh3 d5 2. g3 e5 3. f4\r\n")  # as lichess has it
    info = symbols.prepare(tmp_path / "x.h5", source=str(file), overwrite=True)
    assert spelled(info)["train"] == [["Nh3", "d5", "g3", "e5", "f4"]]
    file.write_bytes(OPENINGS + b"C21\tragged\nC22\tno moves\t\t\n")
    info = symbols.prepare(tmp_path / "x.h5", source=str(file), overwrite=True)
    assert info.extra["skipped"] == [
        {"id": "line-6", "reason": "2 columns, the first line has 4"},
        {"id": "C22-7", "reason": "no tokens"},
    ]
    with pytest.raises(DataError, match="line-6"):
        symbols.prepare(tmp_path / "y.h5", source=str(file), strict=True)


def test_a_sequence_a_line(tmp_path: Path) -> None:
    """Equal lines stay together; the same bytes twice; another seed, another split."""
    file = tmp_path / "a.txt"
    lines = [f"a{i} b{i % 3}  c\td" for i in range(20)] * 2
    file.write_bytes("\n".join([*lines[:10], "", *lines[10:]]).encode() + b"\n")
    info = symbols.prepare(tmp_path / "x.h5", source=str(file))
    assert [info.splits[s].sequences for s in SPLITS] == [32, 4, 4]
    assert info.extra["skipped"] == [{"id": "line-11", "reason": "no tokens"}]
    assert all(
        len(set(map(tuple, found))) * 2 == len(found) for found in spelled(info).values() if "<unk>" not in found
    )
    again = symbols.prepare(tmp_path / "y.h5", source=str(file))
    assert again.path.read_bytes() == info.path.read_bytes()
    tests = [
        set(sequences(symbols.prepare(tmp_path / "y.h5", source=str(file), overwrite=True, seed=s))["test"])
        for s in range(4)
    ]
    assert len(set(map(str, map(sorted, tests)))) > 1
    for end in (b"\r\n", b"\r"):
        file.write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).encode().replace(b"\n", end) + end)
        info = symbols.prepare(tmp_path / "y.h5", source=str(file), overwrite=True)
        assert sum(info.splits[s].sequences for s in SPLITS) == 40
        assert not any("\r" in symbol or "\ufeff" in symbol for symbol in info.extra["symbols"])
    file.write_bytes(b"\n\n")
    with pytest.raises(DataError, match="no training sequence; 2 skipped"):
        symbols.prepare(tmp_path / "y.h5", source=str(file), overwrite=True)
