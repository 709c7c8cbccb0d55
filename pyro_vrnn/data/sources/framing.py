"""Recordings cut into frames, in two passes: one finds out what is fit to use, how long and how loud, one writes.

So a long recording is never in memory as a whole, and a file that turns out to be damaged at its end leaves nothing.
What the first pass decodes lies in a spool (spool.py), from which the second one writes and a later run continues.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import Progress
from pyro_vrnn.data.sources.decoding import BLOCK, RATES, Decoder, NotSound, Recording, Tally, Unusable
from pyro_vrnn.data.sources.recordings import Left, names
from pyro_vrnn.data.sources.spool import Spool
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError, at_least

LONGEST_SEQUENCE = 2**24  # samples: the writer holds a sequence, several times over


@dataclass(frozen=True)
class Heard:
    """A recording that is fit to use; counts and extremes of its samples, those of a last part frame left out."""

    recording: Recording
    tally: Tally
    low: int
    high: int
    full_scale: int = 0
    """Samples at either end of 16 bits, where a sound that is too loud is cut off."""
    place: int = 0
    """Which of the recordings that were listened to."""
    start: int | None = None
    """The sample at which it starts where it is a part of a recording; counts and extremes are then of the part."""


def check_frames(sample_rate: int, frame: int, seconds: float | None) -> int | None:
    """The steps of a window, None for whole recordings; or ConfigError."""
    if sample_rate not in RATES:
        raise ConfigError(f"--sample-rate {sample_rate}: must be from {RATES[0]} to {RATES[-1]}")
    at_least("--frame", frame, 1)
    if frame > LONGEST_SEQUENCE:
        raise ConfigError(f"--frame {frame}: at most {LONGEST_SEQUENCE}")
    if seconds is None:
        return None
    longest = LONGEST_SEQUENCE / sample_rate
    if not 0 < seconds <= longest:
        raise ConfigError(f"--seconds {seconds}: above 0, and at most {longest:.0f}")
    steps = seconds * sample_rate / frame
    whole = max(1, round(steps))
    if abs(steps - whole) > 1e-6:
        hint = f"--seconds {whole * frame / sample_rate:.10g} is {whole} frames"
        raise ConfigError(f"--seconds {seconds} is {steps:.6g} frames of {frame}, not a whole number", hint)
    return whole


def listen(
    decoder: Decoder,
    recordings: Sequence[Recording],
    left: Left,
    *,
    frame: int,
    whole: bool = False,
    spool: Spool | None = None,
    judge: Callable[[Heard], None] | None = None,
    progress: Progress | None = None,
) -> list[Heard]:
    """The recordings that are fit to use, decoded to their ends.

    Args:
        frame: samples; what has fewer is left out.
        whole: each is to become one sequence: what is too long for that is left out.
        spool: takes the samples; what it holds already is not decoded again.
        judge: told of each recording; raises Unusable to leave it out, or DataError.
        progress: told (recordings read, twice as many as there are).
    """
    heard = []
    for i, recording in enumerate(recordings):
        try:
            if spool is not None and i < len(spool.known):
                said = spool.known[i]
                if "because" in said:
                    raise (NotSound if said["no_sound"] else Unusable)(said["because"])
                tally = Tally(**{part.name: said[part.name] for part in fields(Tally)})
                one = Heard(recording, tally, said["low"], said["high"], said["full_scale"], i)
            else:
                one = replace(_listen(decoder, recording, frame, whole, spool), place=i)
            if judge is not None:
                judge(one)
            heard.append(one)
        except Unusable as error:
            if spool is not None and i == len(spool.known):
                spool.drop()
                spool.done(0, {"because": str(error), "no_sound": isinstance(error, NotSound)})
            left.refuse(recording, error)
        if progress is not None:
            progress(i + 1, 2 * len(recordings))
    return heard


def _listen(decoder: Decoder, recording: Recording, frame: int, whole: bool, spool: Spool | None) -> Heard:
    """One recording to its end; or Unusable."""
    tally, low, high, full_scale = Tally(), 32767, -32768, 0
    for part in cut(decoder.read(recording, tally), max(1, BLOCK // frame) * frame, frame):
        least, most = int(part.min()), int(part.max())
        low, high = min(low, least), max(high, most)
        if least == -32768 or most == 32767:
            full_scale += int(np.count_nonzero(part == -32768) + np.count_nonzero(part == 32767))
        if whole and tally.samples > LONGEST_SEQUENCE:
            raise Unusable(f"more than {LONGEST_SEQUENCE} samples; cut it into windows with --seconds")
        if spool is not None:
            spool.add(part)
    if tally.samples < frame:
        raise Unusable(f"{tally.samples} samples, less than a frame of {frame}")
    if spool is not None:
        said = asdict(tally) | {"low": low, "high": high, "full_scale": full_scale}
        spool.done(tally.samples // frame * frame, said)
    return Heard(recording, tally, low, high, full_scale)


def store(
    path: str | Path,
    spool: Spool,
    heard: Sequence[Heard],
    left: Left,
    *,
    sample_rate: int,
    frame: int,
    window: int | None,
    source: str,
    licence: str,
    options: Mapping[str, Any],
    overwrite: bool,
    reads: int,
    progress: Progress | None,
    whole: Collection[str] = (),
    join: bool = False,
) -> DataInfo:
    """Write what was heard.

    Args:
        spool: holds the samples.
        heard: with a split each; recordings, or parts of them.
        window: steps, or None for whole recordings.
        reads: how many recordings are to be read in all, those of `listen` among them.
        progress: told (recordings read, reads).
        whole: splits whose recordings stay whole, whatever the window.
        join: put the recordings of a split end to end, and cut windows from the whole of it.
    """
    sources = {h.place: h.recording for h in heard}
    called = dict(zip(sources, names(list(sources.values())), strict=True))
    by_split = {s: [(h, called[h.place]) for h in heard if h.recording.split == s] for s in SPLITS}
    if not by_split["train"]:
        said = "; ".join(f"{skipped['file']}: {skipped['reason']}" for skipped in left.first[:3])
        raise DataError(
            f"{left.source}: no recording to train on" + (f", {left.count} skipped ({said})" if said else ""),
            "give wav, flac, ogg or mp3 files, a folder of them, or .npy and .npz of samples",
        )
    extra: dict[str, Any] = {
        "sample_rate": sample_rate,
        "tail_samples": {
            split: sum(h.tally.samples for h, _ in part) % frame
            if join
            else sum(h.tally.samples % frame for h, _ in part)
            for split, part in by_split.items()
        },
        "clipped_samples": sum(h.tally.clipped for h in heard),
        "full_scale_samples": sum(h.full_scale for h in heard),
        "recordings": {split: len(part) for split, part in by_split.items()},
        "silent_recordings": {split: sum(h.low == h.high for h, _ in part) for split, part in by_split.items()},
        "normalise": options.get("normalise", "standard"),
    }
    if extra["normalise"] == "range":
        extra["low"] = min(h.low for h, _ in by_split["train"])
        extra["high"] = max(h.high for h, _ in by_split["train"])
    if not join and len({h.recording.label for h in heard}) > 1:  # a window of what is joined is of no one recording
        extra["labels"] = {
            split: [
                h.recording.label for h, _ in part for _ in range(_pieces(h, frame, None if split in whole else window))
            ]
            for split, part in by_split.items()
        }
    if spool.gain != 1:
        extra["gain"] = spool.gain
    if endless := len({h.place for h in heard if h.tally.endless}):
        extra["mended"] = {"no length, read to the end": endless}
    ids: dict[str, list[str]] = {split: [] for split in SPLITS}
    to_do = Counter(h.place for h in heard)  # parts
    done = reads - len(to_do)  # what was skipped is done

    def samples(h: Heard) -> Iterator[Array]:
        """A recording, or a part of one, in blocks."""
        nonlocal done
        start = h.start or 0
        yield from spool.read(h.place, start, start + h.tally.samples)
        to_do[h.place] -= 1
        done += not to_do[h.place]
        if progress is not None:
            progress(done, reads)

    def sequences(split: str) -> Iterator[Array]:
        steps = None if split in whole else window
        if join:
            assert steps is not None
            joined = (block for h, _ in by_split[split] for block in samples(h))
            for k, part in enumerate(cut(joined, frame * steps, frame)):
                ids[split].append(f"{split}#{k}")
                yield part.reshape(-1, frame)
            return
        for h, name in by_split[split]:
            size, start = frame * (steps or h.tally.samples // frame), h.start or 0
            for k, part in enumerate(cut(samples(h), size, frame), start=start // size if steps else 0):
                ids[split].append(f"{name}#{k}" if steps else name if h.start is None else f"{name}#{split}")
                yield part.reshape(-1, frame)

    return write_sequences(
        path,
        {split: sequences(split) for split in SPLITS},
        ids=ids,
        kind="audio",
        support="real",
        steps_per_second=sample_rate / frame,
        frame_length=frame,
        source=source,
        licence=licence,
        options=options,
        extra=extra | left.extra(),
        overwrite=overwrite,
    )


def _pieces(h: Heard, frame: int, window: int | None) -> int:
    """How many windows `cut` makes of a recording, or of a part of one; 1 without windows."""
    return 1 if window is None else -(-(h.tally.samples // frame) // window)


def cut(blocks: Iterable[Array], size: int, frame: int) -> Iterator[Array]:
    """Blocks of samples as pieces of `size`, a whole number of frames; the last may have fewer frames.

    What remains after the last whole frame is left out.
    """
    rest = np.empty(0, "<i2")
    for block in blocks:
        rest = np.concatenate([rest, block])
        whole = len(rest) // size * size
        yield from rest[:whole].reshape(-1, size)
        rest = rest[whole:]
    if len(rest) >= frame:
        yield rest[: len(rest) // frame * frame]


def again(decoder: Decoder, h: Heard) -> Iterator[Array]:
    """The samples of a recording for the second time; DataError if they are not those of the first."""
    tally = Tally()
    try:
        yield from decoder.read(h.recording, tally)
    except Unusable as error:
        raise DataError(f"{h.recording.name} changed while it was read: {error}", path=h.recording.path) from error
    if tally != h.tally:
        raise DataError(f"{h.recording.name} changed while it was read", path=h.recording.path)
