"""Games of chess in PGN: moves alone, checked by the rules; hostile files."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from stored import spelled, write_each_tenth

from pyro_vrnn.data.schema import SPLITS, DataInfo
from pyro_vrnn.data.sources import pgn, symbols
from pyro_vrnn.system.errors import ConfigError, DataError

HEAD = '[Event "x"]\n[Round "{}"]\n[Result "*"]\n\n'
PLAIN = [
    "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 1-0",
    "1. d4 d5 2. c4 e6 3. Nc3 Nf6 1/2-1/2",
    "1. c4 {a comment} e5 (1... c5) 2. Nc3 Nf6 0-1",
]
HARD = """% another program's line
; a comment, with a {

[Event "A game {with} (much) ; in it"]
[Site "?"]

{A beginning,

[%clk 1:00] over lines} 1. e4! $1 e5?! $14 {[%eval 0.2]} (1... c5 {Sicilian (} 2. Nf3 (2. c3 d5) 2... d6) (1... e6)
; 2. a3 is a comment
2. Bc4 ; so is this {
2... Nc6 {
} 3. Qh5?? Nf6 {}
4. Qxf7 1-0

[Event "From a position"]
[FEN "4k3/P7/8/8/8/8/7p/4K3 w - - 0 1"]

1. a8Q+ Kd7 2. Qd5+ Kc7 3. Kd2 h1=N *
"""


def prepared(tmp_path: Path, content: str, name: str = "games.pgn", **options: Any) -> DataInfo:
    pytest.importorskip("chess")
    (tmp_path / name).write_text(content, encoding="utf-8")
    return symbols.prepare(tmp_path / "x.h5", source=tmp_path / name, overwrite=True, **options)


def games(info: DataInfo) -> list[list[str]]:
    return [moves for split in SPLITS for moves in spelled(info)[split]]


def test_thirty_games(tmp_path: Path) -> None:
    """6, 6 and 4 moves; equal games come into one split."""
    content = "\n\n".join(HEAD.format(k) + PLAIN[k % 3] for k in range(30)) + "\n"
    info = prepared(tmp_path, content)
    lengths = sorted(map(len, games(info)))
    assert lengths == [4] * 10 + [6] * 20
    assert [info.splits[s].sequences for s in SPLITS] == [10, 10, 10]
    assert (info.options["moves"], info.extra["level"], info.extra["skipped_count"]) == ("san", "token", 0)
    moves = {"e4", "e5", "Nf3", "Nc6", "Bb5", "a6", "d4", "d5", "c4", "e6", "Nc3", "Nf6", "<unk>"}
    assert {*info.extra["symbols"]} <= moves
    told: list[tuple[int, int]] = []
    again = prepared(tmp_path, content.replace("\n", "\r\n"), progress=lambda *n: told.append(n))
    assert games(again) == games(info)
    assert (len(told), told[-1][0]) == (30, told[-1][1])


@pytest.mark.parametrize(
    ("notation", "first", "second"),
    [
        ("san", "e4 e5 Bc4 Nc6 Qh5 Nf6 Qxf7#", "a8=Q+ Kd7 Qd5+ Kc7 Kd2 h1=N"),
        ("uci", "e2e4 e7e5 f1c4 b8c6 d1h5 g8f6 h5f7", "a7a8q e8d7 a8d5 d7c7 e1d2 h2h1n"),
    ],
)
def test_moves_alone(tmp_path: Path, notation: str, first: str, second: str) -> None:
    """Nothing of comments, variations and annotations; a move is written in one way."""
    info = prepared(tmp_path, HARD, splits=(100, 0, 0), moves=notation)
    assert [" ".join(moves) for moves in games(info)] == [first, second]
    assert info.options["moves"] == notation


def test_what_is_pgn(tmp_path: Path) -> None:
    """By its ending or its first tag; other files have no --moves."""
    assert games(prepared(tmp_path, "1. e4 e5")) == [["e4", "e5"]]
    assert games(prepared(tmp_path, "\ufeff" + HEAD + "1. e4 e5", "games.txt")) == [["e4", "e5"]]
    assert games(prepared(tmp_path, '[NP "the cat"] sat\n', "a.txt")) == [["[NP", '"the', 'cat"]', "sat"]]
    with pytest.raises(ConfigError, match="--moves uci is for games in PGN"):
        prepared(tmp_path, "e4 e5\n", "a.txt", moves="uci")
    with pytest.raises(ConfigError, match="moves 'lan': choose from san, uci"):
        prepared(tmp_path, "1. e4 e5", moves="lan")


def test_games_that_cannot_be(tmp_path: Path) -> None:
    """They are skipped with the reason, never cut short."""
    bad = [
        ("1. e4 e4 2. d4", "after 1 moves: illegal san: 'e4' in"),
        ("1. e4 (1. d4 d5", "a variation without its end"),
        ("*", "no moves"),
        ('[Variant "Chess of tomorrow"]\n\n1. e4', "unsupported variant"),
        ('[FEN "nowhere"]\n\n1. e4', "after 0 moves: "),
        ("1. Nf3 Nf6 2. Ng1 Ng8\n" * 3001, "more than 12000 moves"),
    ]
    content = "\n\n".join([HEAD + "1. e4 e5 1-0", *((HEAD.strip() + "\n" + game) for game, _ in bad)])
    info = prepared(tmp_path, content)
    assert games(info) == [["e4", "e5"]]
    assert [skip["id"] for skip in info.extra["skipped"]] == [f"game-{k}" for k in range(2, 8)]
    for skip, (_, reason) in zip(info.extra["skipped"], bad, strict=True):
        assert reason in skip["reason"]
    with pytest.raises(DataError, match="game-2: after 1 moves"):
        prepared(tmp_path, content, strict=True)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "chess", None)
    (tmp_path / "a.pgn").write_text("1. e4 e5")
    with pytest.raises(ConfigError, match="python-chess, which is not installed") as error:
        symbols.prepare(tmp_path / "x.h5", source=tmp_path / "a.pgn")
    assert error.value.hint == "pip install 'pyro-vrnn[chess]'"


@pytest.mark.parametrize(
    ("content", "left"),
    [
        ("1. e4 " + "(" * 100_000, 0),
        ("1. e4 " + "(" * 100_000 + ")" * 100_000 + " e5", 1),
        ("1. e4 " + "(e5 " * 100_000, 0),
        ("1. e4 " + "{} $1" * 150_000 + "e5", 1),
        ("1. e4 e5 $" + "9" * 10_000, 1),
        ("{" * 500_000, 0),
        ("[" * 500_000, 0),
        ('[A "' + '"]  ' * 200_000 + "\n\n1. e4", 1),
        ('[A ""]\n' * 100_000 + "\n1. e4", 1),
        ("\n" * 500_000 + "1. e4", 1),
        ("e4 " * 300_000, 0),
        ('[FEN "QQQQQQQQ/QQQQQQQQ/QQQQQQQQ/QQQQQQQQ/QQQQQQQQ/QQQQQQQQ/QQQQQQQQ/QQQQQQQQ w - - 0 1"]\n\n1. Qa1', 0),
    ],
)
def test_hostile_games(tmp_path: Path, content: str, left: int) -> None:
    pytest.importorskip("chess")
    start = time.monotonic()
    found = list(pgn.read_games(content, tmp_path, "san", lambda *_: None))
    assert time.monotonic() - start < 5  # 0.2 s on a core of its own
    assert sum(game.fault is None for game in found) == left


def test_a_line_of_50_megabytes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2 has 50000000 characters") as error:
        prepared(tmp_path, '[Event "x"]\n' + "1. e4 e5 " * 5_555_555 + "     ")
    assert "at most 1048576" in error.value.hint


@pytest.mark.fault(63)
def test_a_thousand_mutants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set or one error each."""
    pytest.importorskip("chess")
    write_each_tenth(monkeypatch, symbols)
    good = (HARD + "\n" + "\n\n".join(HEAD.format(k) + game for k, game in enumerate(PLAIN))).encode()
    dice = random.Random(15)
    source, made = tmp_path / "a.pgn", 0
    parts = [b"(", b")", b"{", b"}", b";", b"%", b"\n\n", b"[", b'"', b"$", b"\0", b"\xff", b"O-O", b"--", b"Z0", b"@"]
    start = time.monotonic()
    for k in range(1000):
        data = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            at = dice.randrange(len(data) - 60)
            kind = dice.randrange(4)
            if kind == 0:
                data[at] = dice.randrange(128)
            elif kind == 1:
                del data[at : at + dice.randrange(60)]
            elif kind == 2:
                data[at:at] = dice.choice(parts) * dice.choice([1, 1, 3, 999])
            else:
                other = dice.randrange(len(data))
                data[at:at] = data[other : other + 40]
        source.write_bytes(data)
        try:
            symbols.prepare(tmp_path / "x.h5", source=source, overwrite=True, moves=pgn.NOTATIONS[k % 2])
            made += 1
        except DataError:
            pass
    assert 500 < made < 1000
    assert time.monotonic() - start < 60
