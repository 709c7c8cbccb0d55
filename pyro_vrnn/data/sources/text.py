"""Text as sequences of symbols: characters or words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import instead_of, read_file
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import DataError, at_least, choose

MAX_BYTES = 128 * 2**20  # as Python objects it is ten times as much
MOST_SYMBOLS = 10_000
UNKNOWN, END_OF_LINE = "<unk>", "<eos>"
LAYOUTS = "a text file in UTF-8, or a folder with train.txt, valid.txt and test.txt"
FOLDERS = ("ptb.{}.txt", "{}.txt")
LEVELS = ("char", "word")


@reads
def prepare(
    request: Request,
    *,
    level: str = "char",
    window: int = 200,
) -> DataInfo:
    """Write a text to a data file: the numbers of its symbols, [T, 1] uint8, or int16 for more than 256 symbols.

    One file is split in order, the first 90% train, then 5% valid and 5% test (Tiny Shakespeare's usual split); a
    folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt, or train.txt, valid.txt and test.txt, has its splits.
    Words are what spaces separate, and each end of a line is the word <eos> (as is usual with the Penn Treebank). The
    symbols are those of the training split, at most 10,000: see `numbered`.

    Args:
        request: its source is a text file in UTF-8, or a folder; its progress counts splits. The seed and `strict` have
            no effect, as a text has nothing to choose and nothing to skip.
        level: what a symbol is, char or word.
        window: symbols of a sequence; the text is cut into them one after another, the last may be shorter.

    Raises:
        DataError: the source is missing, not UTF-8, larger than 128 MiB, or empty.
        ConfigError: the file exists, an unknown level, or a window below 1.
    """
    at_least("window", window, 1)
    if level not in LEVELS:
        raise choose("level", level, LEVELS)
    source = request.source
    tokens = _folder(source, level) if source.is_dir() else _file(source, level)
    numbers, symbols, unknown = numbered({split: [found] for split, found in tokens.items()})
    if not len(tokens["train"]):
        raise DataError(f"{source}: no text to train on", "give a longer text", source)
    splits: dict[str, list[Array]] = {}
    for done, split in enumerate(SPLITS, start=1):
        [whole] = numbers[split]
        splits[split] = [whole[i : i + window] for i in range(0, len(whole), window)]
        request.report(done, len(SPLITS))
    return write_sequences(
        request.path,
        splits,
        ids={split: [f"{split}-{k}" for k in range(len(pieces))] for split, pieces in splits.items()},
        kind="symbols",
        support="categorical",
        steps_per_second=None,
        source=request.origin,
        licence="unknown",
        options={"source": source.name, "level": level, "window": window},
        extra={"symbols": symbols, "level": level, "unknown": unknown},
        overwrite=request.overwrite,
    )


def numbered(
    splits: Mapping[str, Iterable[Sequence[str]]],
) -> tuple[dict[str, list[Array]], list[str], dict[str, int]]:
    """Sequences of symbols as sequences of their numbers.

    The symbols are those of the training split in the order of their code points. If they are more than 10,000, the
    9,999 most frequent are kept (of equals, the first). All others are the symbol <unk>, which comes last unless the
    training split has it already, and is there only if it occurs.

    Args:
        splits: {split: [sequence, ...]}; a text is a sequence of characters.

    Returns:
        {split: [numbers [T, 1] uint8 or int16, ...]}, the symbols, and how many in each split became <unk>.
    """
    splits = {split: list(sequences) for split, sequences in splits.items()}
    counts = Counter(chain.from_iterable(splits["train"]))
    symbols = sorted(counts)
    if len(symbols) > MOST_SYMBOLS:
        others = [symbol for symbol in symbols if symbol != UNKNOWN]
        symbols = sorted(sorted(others, key=lambda symbol: -counts[symbol])[: MOST_SYMBOLS - 1])
    number = {symbol: i for i, symbol in enumerate(symbols)}
    other = number.get(UNKNOWN, len(symbols))
    unknown = {
        split: sum(n for symbol, n in Counter(chain.from_iterable(sequences)).items() if symbol not in number)
        for split, sequences in splits.items()
    }
    if any(unknown.values()) and UNKNOWN not in number:
        symbols.append(UNKNOWN)
    dtype = np.uint8 if len(symbols) <= 256 else np.int16
    numbers = {
        split: [np.fromiter(map(number.get, s, repeat(other)), dtype, len(s)).reshape(-1, 1) for s in sequences]
        for split, sequences in splits.items()
    }
    return numbers, symbols, unknown


def read_text(path: Path, wanted: str = LAYOUTS, endings: Sequence[str] = (".txt",)) -> str:
    """The text of a file in UTF-8, without a byte order mark; `wanted` and `endings` as in `common.read_file`.

    Raises:
        DataError: it cannot be read, is too large, or is not UTF-8.
    """
    try:
        return read_file(path, MAX_BYTES, wanted, endings).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"{path}: not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
        binary = b"\0" in error.object
        hint = f"give {wanted}" if binary else f"convert it: iconv -f latin1 -t utf8 {path.name}"
        raise DataError(what, hint, path) from error


def _tokens(text: str, level: str) -> Sequence[str]:
    return text if level == "char" else text.replace("\n", f" {END_OF_LINE} ").split()


def _file(source: Path, level: str) -> dict[str, Sequence[str]]:
    """90/5/5 in order."""
    tokens = _tokens(read_text(source), level)
    ends = [0, len(tokens) * 90 // 100, len(tokens) * 95 // 100, len(tokens)]
    return {split: tokens[ends[i] : ends[i + 1]] for i, split in enumerate(SPLITS)}


def _folder(folder: Path, level: str) -> dict[str, Sequence[str]]:
    """A file a split."""
    for name in FOLDERS:
        if (folder / name.format("train")).exists():
            return {split: _tokens(read_text(folder / name.format(split)), level) for split in SPLITS}
    raise DataError(f"{folder}: no ptb.train.txt or train.txt in it", instead_of(folder, LAYOUTS, (".txt",)), folder)
