"""Which recordings are for training, validation and test; or which part of each recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pyro_vrnn.errors import ConfigError
from pyro_vrnn.sources.decoding import Recording, Tally
from pyro_vrnn.sources.framing import Heard
from pyro_vrnn.sources.spool import Spool
from pyro_vrnn.storage import SPLITS

UNITS = ("file", "folder", "time")


def share_out(heard: Sequence[Heard], splits: Sequence[float], split_by: str, seed: int) -> list[Heard]:
    """The same with a split each: the one that the source gives, else one dealt out by percentages."""

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
    """Parts with a split each: of every recording the start for training, then validation, and the end for test.

    Args:
        heard: recordings; those whose split the source gives stay whole.
        spool: holds the samples.
        splits: percentages; each that is not 0 gets at least one window. A recording too short for that is for
            training.
        frame: samples.
        window: frames; cuts are between windows. None cuts between frames.

    Raises:
        ConfigError: no recording is long enough.
    """
    parts: list[Heard] = []
    step = frame * (window or 1)
    for h in heard:
        if h.recording.split is not None:
            parts.append(h)
            continue
        pieces = -(-(h.tally.samples // frame * frame) // step)
        sizes = [max(1, round(pieces * share / 100)) if share else 0 for share in splits[1:]]
        if sum(sizes) >= pieces:
            sizes = [0, 0]
        ends = [pieces - sum(sizes), pieces - sizes[1], pieces]
        for split, first, end in zip(SPLITS, [0, *ends], ends, strict=False):
            if end > first:
                last = h.tally.samples if end == pieces else end * step
                parts.append(_part(h, spool, split, first * step, last, frame))
    missing = [
        s for s, share in zip(SPLITS, splits, strict=True) if share and all(h.recording.split != s for h in parts)
    ]
    if heard and missing:
        raise ConfigError(
            f"no recording is long enough to be cut by time into training, {' and '.join(missing)} splits",
            "windows of fewer --seconds, or all into training with --splits 100,0,0",
        )
    return parts


def _part(h: Heard, spool: Spool, split: str, start: int, stop: int, frame: int) -> Heard:
    """Samples from `start` to `stop`; what is after the last whole frame is not in the spool."""
    low, high, full_scale = 32767, -32768, 0
    for block in spool.read(h.place, start, stop // frame * frame):
        low, high = min(low, int(block.min())), max(high, int(block.max()))
        full_scale += int(np.count_nonzero(block == -32768) + np.count_nonzero(block == 32767))
    clipped = h.tally.clipped if start == 0 else 0  # where they were is not known
    recording = replace(h.recording, split=split)
    return Heard(recording, Tally(stop - start, clipped), low, high, full_scale, h.place, start)
