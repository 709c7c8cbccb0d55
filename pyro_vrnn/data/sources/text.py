"""Text as sequences of symbols: characters or words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from pathlib import Path

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import OTHER_VALIDS, carve_valid, carved_extra, instead_of
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.data.sources.textfile import read_text
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import DataError, at_least, choose

MOST_SYMBOLS = 10_000
UNKNOWN, END_OF_LINE = "<unk>", "<eos>"
LAYOUTS = "a text file in UTF-8, or a folder with train.txt, valid.txt and test.txt"
ENDINGS = (".txt",)
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
    folder with ptb.train.txt, ptb.valid.txt and ptb.test.txt, or train.txt, valid.txt and test.txt, has its splits. If
    it has no file for valid, 5% of the training sequences are chosen by the seed, and `carved` in the file says so.
    Words are what spaces separate, and each end of a line is the word <eos> (as is usual with the Penn Treebank). The
    symbols are those of the training split, at most 10,000: see `numbered`. An end of a line is one symbol, whichever
    characters it is in the file.

    Args:
        request: its source is a text file in UTF-8, or a folder; its progress counts splits. `strict` has no
            effect, as a text has nothing to skip; the seed only where valid is carved from train.
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
    if not len(tokens["train"]):
        raise DataError(f"{source}: no text to train on", "give a longer text", source)
    ids = {split: [f"{split}-{k}" for k in range(-(-len(found) // window))] for split, found in tokens.items()}
    if carved := "valid" not in tokens and len(ids["train"]) > 1:
        part = carve_valid(ids["train"], request.seed)
        parts = {s: [k for k, name in enumerate(ids["train"]) if part[name] == s] for s in ("train", "valid")}
        whole = tokens["train"]
        tokens |= {s: _joined([whole[k * window : (k + 1) * window] for k in here]) for s, here in parts.items()}
        ids |= {s: [f"train-{k}" for k in here] for s, here in parts.items()}
    numbers, symbols, unknown = numbered({split: [tokens.get(split, "")] for split in SPLITS})
    splits: dict[str, list[Array]] = {}
    for done, split in enumerate(SPLITS, start=1):
        [found] = numbers[split]
        splits[split] = [found[i : i + window] for i in range(0, len(found), window)]
        request.report(done, len(SPLITS))
    return write_sequences(
        request.path,
        splits,
        ids=ids,
        kind="symbols",
        support="categorical",
        steps_per_second=None,
        source=request.origin,
        licence="unknown",
        options={
            "source": source.name,
            "level": level,
            "window": window,
            **({"seed": request.seed} if carved else {}),
        },
        extra={"symbols": symbols, "level": level, "unknown": unknown, **carved_extra(carved)},
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


def _tokens(text: str, level: str) -> Sequence[str]:
    return text if level == "char" else text.replace("\n", f" {END_OF_LINE} ").split()


def _joined(pieces: Sequence[Sequence[str]]) -> Sequence[str]:
    """Pieces of a text end to end: characters if they are so, else words."""
    symbols = chain.from_iterable(pieces)
    return "".join(symbols) if isinstance(pieces[0], str) else list(symbols)


def _file(source: Path, level: str) -> dict[str, Sequence[str]]:
    """90/5/5 in order."""
    tokens = _tokens(read_text(source, LAYOUTS, ENDINGS), level)
    ends = [0, len(tokens) * 90 // 100, len(tokens) * 95 // 100, len(tokens)]
    return {split: tokens[ends[i] : ends[i + 1]] for i, split in enumerate(SPLITS)}


def _folder(folder: Path, level: str) -> dict[str, Sequence[str]]:
    """A file a split; no valid if there is no file for it."""
    for name in FOLDERS:
        if (folder / name.format("train")).exists():
            return {
                split: _tokens(read_text(folder / name.format(split), LAYOUTS, ENDINGS), level)
                for split in SPLITS
                if split != "valid" or _names_valid(folder, name)
            }
    raise DataError(f"{folder}: no ptb.train.txt or train.txt in it", instead_of(folder, LAYOUTS, ENDINGS), folder)


def _names_valid(folder: Path, name: str) -> bool:
    """Whether there is a file for the validation split; DataError if it has another name than the one that is read."""
    if (folder / name.format("valid")).exists():
        return True
    for other in OTHER_VALIDS:
        if (folder / name.format(other)).exists():
            what, wanted = name.format(other), name.format("valid")
            raise DataError(f"{folder}: {what} in it, but no {wanted}", f"rename {what} to {wanted}", folder)
    return False
