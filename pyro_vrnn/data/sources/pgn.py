"""Games of chess in PGN (Portable Game Notation) as sequences of moves, read by the library python-chess."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from pyro_vrnn.system.errors import ConfigError, DataError, first_line

NOTATIONS = ("san", "uci")
INSTALL = "pip install 'pyro-vrnn[chess]'"
LONGEST_LINE = 2**20  # characters; a whole game with comments in one line has some thousands
MOST_MOVES = 12_000  # of both players; by the rules a game ends before
TAG = re.compile(r'\s*\[[A-Za-z0-9]\w*[ \t]+"[^\n]*"\][ \t]*(\n|$)')
UNSAID = re.compile(r'(^\[[A-Za-z0-9]\w*[ \t]+".*$|;.*$|^%.*$)|\{[^}]*\}?|\$\d*', re.MULTILINE)
"""What is not within a comment, and comments and annotations by number, which are taken out before python-chess reads:
it takes a time for them that grows with the square of their number."""
POSITION = ("FEN", "Variant", "SetUp")  # the tags that say where a game begins, and by which rules


class Game(NamedTuple):
    """A game as it is read."""

    moves: list[str]
    fault: str | None
    """Why it cannot be used."""


def is_pgn(text: str, path: Path) -> bool:
    """Whether a text is games in PGN: by the ending of its file, or as it begins with a tag, `[Event "..."]`."""
    return path.suffix.lower() == ".pgn" or TAG.match(text) is not None


def read_games(text: str, path: Path, notation: str, report: Callable[[int, int], None]) -> Iterator[Game]:
    """The games of a text, without comments, variations, move numbers, annotations and results.

    Moves are checked by the rules of chess, from the position and by the variant that the game's tags name, and written
    anew, so that a move has one name: `e8=Q+` also where the file has `e8Q`.

    Args:
        text: with \\n at the ends of its lines.
        path: the file it is from, for errors.
        notation: of moves, san (`Nf3`) or uci (`g1f3`).
        report: told (characters read, characters in all) after each game.

    Raises:
        ConfigError: python-chess is not installed.
        DataError: a line is longer than 1,048,576 characters.
    """
    try:
        from chess import pgn
    except ImportError as error:
        raise ConfigError("games in PGN are read by python-chess, which is not installed", INSTALL) from error
    for number, line in enumerate(text.split("\n"), start=1):
        if len(line) > LONGEST_LINE:
            what = f"{path}: line {number} has {len(line)} characters"
            raise DataError(what, f"at most {LONGEST_LINE} are read in a line of games", path)
    visitor = _visitor(notation)
    file = io.StringIO(UNSAID.sub(lambda found: found[1] or " . ", text))  # a blank line would end the game
    total = len(file.getvalue())
    place = 0
    while place < total:
        try:
            game = pgn.read_game(file, Visitor=visitor)
        except Exception as error:  # the library promises nothing about positions that cannot be
            game = Game([], f"it cannot be read: {first_line(error)}")
        if game is None or file.tell() == place:
            break
        place = file.tell()
        report(place, total)
        yield game


def _visitor(notation: str) -> type[Any]:
    """What the library calls while it reads a game; its result is a Game."""
    from chess import pgn

    class Visitor(pgn.BaseVisitor[Game]):
        def begin_game(self) -> None:
            self.moves: list[str] = []
            self.fault: str | None = None
            self.is_open = False

        def begin_headers(self) -> pgn.Headers:
            self.headers = pgn.Headers({})
            return self.headers

        def visit_header(self, tagname: str, tagvalue: str) -> None:
            if tagname in POSITION:
                self.headers[tagname] = tagvalue

        def begin_variation(self) -> pgn.SkipType:
            self.is_open = True
            return pgn.SKIP

        def end_variation(self) -> None:
            self.is_open = False

        def begin_parse_san(self, board: Any, san: str) -> pgn.SkipType | None:
            if len(self.moves) >= MOST_MOVES:
                self.fault = f"more than {MOST_MOVES} moves"
            return None if self.fault is None else pgn.SKIP

        def visit_move(self, board: Any, move: Any) -> None:
            self.moves.append(board.san(move) if notation == "san" else board.uci(move))

        def handle_error(self, error: Exception) -> None:
            self.fault = self.fault or f"after {len(self.moves)} moves: {error}"

        def result(self) -> Game:
            fault = self.fault or ("a variation without its end" if self.is_open else None)
            return Game(self.moves, fault or (None if self.moves else "no moves"))

    return Visitor
