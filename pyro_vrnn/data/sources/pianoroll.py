"""Piano-rolls from a file of the user's (rolls.py has the layouts), or one of four standard sets."""

from __future__ import annotations

import hashlib
import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import numpy as np

from pyro_vrnn.data.notes import LOWEST_NOTE
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import Progress, carve_valid, carved_extra
from pyro_vrnn.data.sources.rolls import MAX_NOTE_LIST_BYTES, Splits, has_lanes, parse_rolls, read_source
from pyro_vrnn.data.writer import check_free, write_sequences
from pyro_vrnn.system.errors import DataError

LANES_PER_SECOND = 4.0  # the SRNN authors' JSB is at twice the rate; of their other sets it is not known
STEPS_PER_SECOND = 2.0  # assumed, as the sets keep no tempo: quarter notes at 120 a minute
TIMEOUT, PATIENCE = 30.0, 600.0  # seconds: for one answer, for the whole download


@dataclass(frozen=True)
class Known:
    """A standard set: where it is, and how to know it again."""

    title: str
    url: str
    steps: tuple[int, int, int]  # of train, valid, test
    sha256: str  # see content_sha256


URL = "https://github.com/pyro-ppl/datasets/blob/master/polyphonic/{}.pickle?raw=true"
KNOWN = {
    "jsb": Known(
        "JSB chorales",
        URL.format("jsb_chorales"),
        (13807, 4602, 4725),
        "7fe7bda7a064b78055c61df1b5cb5ad3f44bedd29a9a69492da0133684d89bbc",
    ),
    "nottingham": Known(
        "Nottingham",
        URL.format("nottingham"),
        (176561, 45513, 44463),
        "9e0d3f31d512de931a7ef6ef96c749a39263b75c6109ff157723f43a5c3de5c8",
    ),
    "muse": Known(
        "MuseData",
        URL.format("muse_data"),
        (245202, 82755, 64339),
        "d0b354e8b9a3f44c94e3ed23d310c5cd5b3f360e4ef5d02593134daa250ece41",
    ),
    "piano": Known(
        "Piano-midi.de",
        URL.format("piano_midi"),
        (75911, 8540, 19036),
        "21b2651aa5e4338add904391725bcbf2ef9e33c22701b206c32461fe29db095c",
    ),
}
PAPER = "Boulanger-Lewandowski, Bengio, Vincent, ICML 2012"
LICENCE = "no explicit licence; music out of copyright, passed on for research since 2012; cite the paper"


def prepare(
    out: str | Path,
    source: str | Path,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
    seed: int = 0,
) -> DataInfo:
    """Write a set of piano-rolls to a data file, uint8 [T, 88].

    A source with train and test alone gets a validation split of 5% of train, which `carved` in the file tells.

    Args:
        out: the file to make.
        source: a file, or one of the names jsb, nottingham, muse, piano, which are downloaded from Pyro's data
            sets (a file of that name comes first).
        overwrite: replace an existing file.
        progress: told (bytes read, bytes in all or 0) during a download.
        seed: chooses what becomes validation, where the source has none.

    Raises:
        DataError: the source is missing, is none of the layouts, is damaged or hostile, or has notes outside
            21 to 108; the network is not there; or a download is not the set it should be.
        ConfigError: the file to make exists.
    """
    check_free(out, overwrite)
    name = str(source)
    if name in KNOWN and not Path(source).exists():
        splits, lanes = _downloaded(name, progress), False
    else:
        data = read_source(Path(source), KNOWN)
        splits, lanes = parse_rolls(data, source), has_lanes(data)
        name = Path(source).name
    splits_of = {split: {f"{split}-{i}": roll for i, roll in enumerate(rolls)} for split, rolls in splits.items()}
    if "valid" not in splits_of:
        part, everything = carve_valid(splits_of["train"], seed), splits_of["train"]
        splits_of |= {s: {k: x for k, x in everything.items() if part[k] == s} for s in SPLITS[:2]}
    carved = "valid" not in splits and len(splits_of["valid"]) > 0
    splits = {split: list(splits_of[split].values()) for split in SPLITS}
    recognised = recognise(splits)
    known = KNOWN.get(recognised or "")
    return write_sequences(
        out,
        splits,
        ids={split: list(rolls) for split, rolls in splits_of.items()},
        kind="pianoroll",
        support="binary",
        steps_per_second=LANES_PER_SECOND if lanes else STEPS_PER_SECOND,
        source=f"{known.title} ({PAPER})" if known else f"the file {name}",
        licence=LICENCE if known else "unknown",
        options={"source": name, **({"seed": seed} if carved else {})},
        extra={
            "lowest_pitch": LOWEST_NOTE,
            "content_sha256": content_sha256(splits),
            "recognised": recognised,
            **({"unscored": 1} if lanes else {}),
            **carved_extra(carved),
        },
        overwrite=overwrite,
    )


def content_sha256(splits: Mapping[str, list[Array]]) -> str:
    """A fingerprint of the rolls, whatever file they come from.

    SHA-256 over train, valid, test in this order: the number of sequences and their lengths as little-endian
    int64, then the rolls' bytes, one a cell, step by step.
    """
    digest = hashlib.sha256()
    for split in SPLITS:
        rolls = splits[split]
        digest.update(np.array([len(rolls), *map(len, rolls)], "<i8").tobytes())
        for roll in rolls:
            digest.update(np.ascontiguousarray(roll, np.uint8).tobytes())
    return digest.hexdigest()


def recognise(splits: Mapping[str, list[Array]]) -> str | None:
    """The name of the standard set that this is by its content, or "same counts as NAME, other content"."""
    fingerprint = content_sha256(splits)
    steps = tuple(sum(map(len, splits[split])) for split in SPLITS)
    for name, known in KNOWN.items():
        if known.sha256 == fingerprint:
            return name
        if known.steps == steps:
            return f"same counts as {name}, other content"
    return None


def _downloaded(name: str, progress: Progress | None) -> Splits:
    """A standard set from where Pyro's example takes it, checked to be that set."""
    known = KNOWN[name]
    hint = f"get {known.url} another way and run: pyro-vrnn prepare pianoroll FILE"
    data = bytearray()
    deadline = time.monotonic() + PATIENCE
    try:
        with urlopen(known.url, timeout=TIMEOUT) as answer:  # noqa: S310  (one of KNOWN's, which are https)
            total = answer.length or 0  # unknown where the answer comes in chunks
            while block := answer.read(2**16):
                data += block
                if len(data) > MAX_NOTE_LIST_BYTES:
                    raise DataError(f"{known.url}: more than {MAX_NOTE_LIST_BYTES} bytes", hint)
                if time.monotonic() > deadline:
                    raise DataError(f"{known.url}: not done after {PATIENCE:.0f} seconds", hint)
                if progress is not None:
                    progress(len(data), total)
    except (OSError, http.client.HTTPException) as error:
        raise DataError(f"{name} cannot be downloaded from {known.url}: {error}", hint) from error
    splits = parse_rolls(bytes(data), known.url)
    if (got := content_sha256(splits)) != known.sha256:
        raise DataError(f"{known.url}: not the {known.title} set: sha256 of its content {got}", hint)
    return splits
