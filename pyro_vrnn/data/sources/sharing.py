"""Which recordings are for training, validation and test; or which part of each recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources.decoding import Recording
from pyro_vrnn.data.sources.framing import Heard
from pyro_vrnn.data.sources.spool import Spool
from pyro_vrnn.system.errors import ConfigError

UNITS = ("file", "folder", "time")


def share_out(heard: Sequence[Heard], splits: Sequence[float], split_by: str, seed: int) -> list[Heard]:
    """Give each recording a split: the one that its source names, else one dealt out by percentages."""

    def unit(recording: Recording) -> tuple[str, ...]:
        return (recording.folder,) if split_by == "folder" else (recording.folder, recording.name)

    units = sorted({unit(h.recording) for h in heard if h.recording.split is None})
    if not units:
        return list(heard)
    sizes = [max(1, round(len(units) * share / 100)) if share else 0 for share in splits[1:]]
    if sum(sizes) >= len(units):
        what = "folders" if split_by == "folder" else "recordings"
        wanted = " and ".join(split for split, size in zip(SPLITS[1:], sizes, strict=True) if size)
        raise ConfigError(
            f"{len(units)} {what} that can be used are too few for training, {wanted} splits",
            "give more recordings, cut each with --split-by time, or put all into training with --splits 100,0,0",
        )
    order = [units[i] for i in np.random.default_rng(seed).permutation(len(units))]
    drawn = dict.fromkeys(order, "train")
    drawn |= dict.fromkeys(order[: sizes[0]], "valid")
    drawn |= dict.fromkeys(order[sizes[0] : sum(sizes)], "test")
    return [
        replace(h, recording=replace(h.recording, split=h.recording.split or drawn[unit(h.recording)])) for h in heard
    ]


def share_by_time(
    heard: Sequence[Heard], spool: Spool, splits: Sequence[float], *, frame: int, window: int | None
) -> list[Heard]:
    """Parts with a split each: of a recording the start for training, then validation, and the end for test.

    The shares are those of all windows together: a long recording is cut in three, and of many short ones every
    so many gives its last window.

    Args:
        heard: recordings; those whose split the source gives stay whole.
        spool: holds the samples.
        splits: percentages; each that is not 0 gets at least one window.
        frame: samples.
        window: frames; cuts are between windows. None cuts between frames.

    Raises:
        ConfigError: too few windows.
    """
    step = frame * (window or 1)
    pieces = {h.place: -(-(h.tally.samples // frame * frame) // step) for h in heard if h.recording.split is None}
    if not pieces:
        return list(heard)
    total = sum(pieces.values())
    valid, test = (max(1, round(total * share / 100)) if share else 0 for share in splits[1:])
    if valid + test >= total:
        wanted = " and ".join(split for split, count in zip(SPLITS[1:], (valid, test), strict=True) if count)
        what = "windows" if window else "frames"
        raise ConfigError(
            f"{total} {what} of sound are too few for training, {wanted} splits",
            ("windows of fewer --seconds, " if window else "") + "more recordings, or --splits 100,0,0",
        )
    parts: list[Heard] = []
    seen = held = 0  # windows so far, and those of them that are not for training
    for h in heard:
        if h.place not in pieces:
            parts.append(h)
            continue
        count = pieces[h.place]
        seen += count
        here = (valid + test) * seen // total - held
        tests = test * (held + here) // (valid + test) - test * held // (valid + test) if here else 0
        held += here
        ends = [count - here, count - tests, count]
        for split, first, end in zip(SPLITS, [0, *ends], ends, strict=False):
            if end - first == count:
                parts.append(replace(h, recording=replace(h.recording, split=split)))
            elif end > first:
                last = h.tally.samples if end == count else end * step
                parts.append(_part(h, spool, split, first * step, last, frame))
    return parts


def _part(h: Heard, spool: Spool, split: str, start: int, stop: int, frame: int) -> Heard:
    """Samples from `start` to `stop`; what is after the last whole frame is not in the spool."""
    low, high, full_scale = 32767, -32768, 0
    for block in spool.read(h.place, start, stop // frame * frame):
        low, high = min(low, int(block.min())), max(high, int(block.max()))
        full_scale += int(np.count_nonzero(block == -32768) + np.count_nonzero(block == 32767))
    clipped = h.tally.clipped if start == 0 else 0  # where they were is not known
    recording = replace(h.recording, split=split)
    tally = replace(h.tally, samples=stop - start, clipped=clipped)
    return Heard(recording, tally, low, high, full_scale, h.place, start)
