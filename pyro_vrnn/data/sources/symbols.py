"""Sequences of tokens: one a line, or the moves of chess: games (PGN), openings (lichess-org/chess-openings' tsv)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from pyro_vrnn.data.schema import SPLITS, DataInfo
from pyro_vrnn.data.sources import pgn
from pyro_vrnn.data.sources.common import SHARES, Skips, check_shares, seeded_split, shares_option
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.data.sources.text import numbered
from pyro_vrnn.data.sources.textfile import read_text
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, choose

MOVES = ("uci", "san", "pgn")  # columns with moves, the best first
LAYOUTS = "a text file in UTF-8 with a sequence of tokens a line, games as a .pgn, or openings as a .tsv"
MOVE_NUMBER = re.compile(r"\d+\.+")


class Line(NamedTuple):
    """A sequence as it is read."""

    name: str
    group: str
    """What must be in one split: lines of one ECO code, lines or games that are equal."""
    tokens: list[str]


@reads
def prepare(
    request: Request,
    *,
    splits: Sequence[float] = SHARES,
    moves: str | None = None,
) -> DataInfo:
    """Write sequences of tokens to a data file: their numbers, [T, 1] uint8, or int16 for more than 256 symbols.

    A line of the file is a sequence of tokens with spaces between; equal lines come into the same split. Or the first
    line is eco, name and one of uci, san, pgn with tabs between: then the tokens are moves (move numbers are left out),
    and all openings of an ECO code come into the same split. Or it is games of chess in PGN: then each is the sequence
    of its moves (see pgn.py), and equal games come into the same split. Split by the seed. Symbols: see text.py's
    `numbered`. Nothing marks the end of a sequence.

    Args:
        request: its source is a file in UTF-8. Lines without tokens or columns are skipped, and games with moves that
            cannot be. Its progress is told the number of sequences at the end, or how much of the games is read.
        splits: percentages for train, valid and test, of sequences that may be apart.
        moves: how moves of games in PGN are written, san (Nf3, the default) or uci (g1f3).

    Raises:
        DataError: the source is missing, not UTF-8, too large, or nothing is left to train on.
        ConfigError: the file exists, splits that do not add up to 100, `moves` that are neither or of what is no PGN,
            or PGN without the extra `chess`.
    """
    if moves is not None and moves not in pgn.NOTATIONS:
        raise choose("moves", moves, pgn.NOTATIONS)
    check_shares(splits)
    skips = request.skips()
    text = read_text(request.source, LAYOUTS, (".txt", ".tsv", ".pgn"))
    games = pgn.is_pgn(text, request.source)
    if games:
        moves = moves or pgn.NOTATIONS[0]
        lines = _read_games(text, moves, request, skips)
    elif moves is not None:
        raise ConfigError(f"{request.source}: --moves {moves} is for games in PGN", "leave it out")
    else:
        lines = _read(text.removesuffix("\n").split("\n"), skips)
    split_of = seeded_split([line.group for line in lines], request.seed, splits)
    chosen = {split: [line for line in lines if split_of[line.group] == split] for split in SPLITS}
    ids = {split: [line.name for line in chosen[split]] for split in SPLITS}
    skips.check_left(ids["train"])
    numbers, symbols, unknown = numbered({split: [line.tokens for line in chosen[split]] for split in SPLITS})
    if not games:
        request.report(len(lines), len(lines))
    return write_sequences(
        request.path,
        numbers,
        ids=ids,
        kind="symbols",
        support="categorical",
        steps_per_second=None,
        source=request.origin,
        licence="unknown",
        options={
            "source": request.source.name,
            "seed": request.seed,
            **({"moves": moves} if games else {}),
            **shares_option(splits),
        },
        extra={"symbols": symbols, "level": "token", "unknown": unknown, **skips.extra()},
        overwrite=request.overwrite,
    )


def _read(rows: list[str], skips: Skips) -> list[Line]:
    """The lines of either layout; numbers of lines count from 1."""
    header = rows[0].split("\t")
    column = next((name for name in MOVES if name in header and "eco" in header), None)
    lines = []
    for number, row in enumerate(rows, start=1):
        name, group, words = f"line-{number}", " ".join(row.split()), row
        if column is not None:
            cells = row.split("\t")
            if number == 1:
                continue
            if len(cells) != len(header):
                skips.add(name, f"{len(cells)} columns, the first line has {len(header)}")
                continue
            group, words = cells[header.index("eco")], cells[header.index(column)]
            name = f"{group}-{number}"
        tokens = [word for word in words.split() if column is None or not MOVE_NUMBER.fullmatch(word)]
        if tokens:
            lines.append(Line(name, group, tokens))
        else:
            skips.add(name, "no tokens")
    return lines


def _read_games(text: str, moves: str, request: Request, skips: Skips) -> list[Line]:
    """The games of a text in PGN; numbers of games count from 1."""
    lines = []
    for number, game in enumerate(pgn.read_games(text, request.source, moves, request.report), start=1):
        if game.fault is None:
            lines.append(Line(f"game-{number}", " ".join(game.moves), game.moves))
        else:
            skips.add(f"game-{number}", game.fault)
    return lines
