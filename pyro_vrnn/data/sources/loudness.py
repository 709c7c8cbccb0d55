"""Recordings that are louder than 16 bits can say: all are turned down by one gain, or what is too loud is refused.

Floats have numbers beyond full scale: of a program's own scaling, of a mix that was never turned down, of 16-bit values
that were kept as floats. Clipped, such a recording is noise. What a decoder or a resampler adds to sound at full scale
is something else: a sample here and there, a few percent too large, is clipped and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from decimal import ROUND_DOWN, Context, Decimal
from statistics import median

from pyro_vrnn.data.sources.common import Progress
from pyro_vrnn.data.sources.decoding import MOST_CLIPPED, Decoder, Recording, Unusable
from pyro_vrnn.data.sources.framing import Heard, listen
from pyro_vrnn.data.sources.recordings import Left
from pyro_vrnn.data.sources.spool import Spool
from pyro_vrnn.system.errors import ConfigError, DataError, choose

GAINS = ("auto", "none")
HIGHEST_PEAK = 2.0**31
"""Of full scale: integers of 32 bits that were kept as floats. What is beyond it is damaged."""
QUIET = 1 / 64
"""Of full scale: where the loudest sample of every second recording would be below it, one gain is no answer."""


def check_gain(gain: str, clip: bool) -> None:
    """Refuse a gain that there is not, and permission to clip where nothing is clipped; ConfigError."""
    if gain not in GAINS:
        raise choose("gain", gain, GAINS)
    if clip and gain != "none":
        raise ConfigError("--clip is for --gain none", "with --gain auto all is turned down, and nothing is clipped")


def listen_at_one_gain(
    decoder: Decoder,
    recordings: Sequence[Recording],
    found: Left,
    *,
    frame: int,
    whole: bool,
    spool: Spool,
    gain: str,
    clip: bool,
    progress: Progress | None,
) -> tuple[list[Heard], Left, int]:
    """The recordings that are fit to use, as `framing.listen` finds them, all multiplied by one gain if one is needed.

    Then they are decoded twice. The gain is `spool.gain`; an interrupted `prepare` continues with it.

    Args:
        decoder: its gain is set.
        recordings: in order.
        found: what is left out already.
        frame: samples.
        whole: see `listen`.
        spool: takes the samples.
        gain: "auto" or "none".
        clip: clip any number of samples.
        progress: told (recordings read, of how many).

    Returns:
        What was heard, what is left out, and how often a recording is read in all, the writing among it.

    Raises:
        DataError: with gain "none", a recording of which too many samples would be clipped; with "auto", one that is
            so much louder than the others that they would be silence.
    """
    count = len(recordings)

    def judge(h: Heard) -> None:
        peak = h.tally.peak / decoder.gain
        if gain == "auto" and peak > HIGHEST_PEAK:
            raise Unusable(f"a sample is {peak:.4g} times full scale, which no recording is")
        if decoder.gain != 1 and h.tally.clipped:
            raise DataError(f"{h.recording.name} changed while it was read", path=h.recording.path)
        if gain == "none" and not clip and h.tally.clipped > MOST_CLIPPED * h.tally.samples:
            raise DataError(
                f"{h.recording.name}: {h.tally.clipped} of {h.tally.samples} samples are beyond full scale, up to "
                f"{peak:.4g} times",
                "--gain auto turns all recordings down alike; --clip cuts them off there",
                h.recording.path,
            )

    def listened(left: Left, before: int, reads: int) -> list[Heard]:
        decoder.gain = spool.gain
        told = None if progress is None else lambda done, _: progress(before + done, reads)
        return listen(decoder, recordings, left, frame=frame, whole=whole, spool=spool, judge=judge, progress=told)

    left = deepcopy(found)
    if spool.gain == 1:
        heard = listened(left, 0, 2 * count)
        wanted = gain_for(heard) if gain == "auto" else 1.0
        if wanted == 1:
            return heard, left, 2 * count
        spool.restart(wanted)
        left = deepcopy(found)
    return listened(left, count, 3 * count), left, 3 * count


def gain_for(heard: Sequence[Heard]) -> float:
    """What all samples are multiplied by so that the loudest is at full scale: 1 / peak, rounded down to four digits.

    It is 1 unless a recording is `loud` (decoding.Tally).

    Raises:
        DataError: one recording is so loud that most others would be silence.
    """
    if not any(h.tally.loud for h in heard):
        return 1.0
    peaks = [max(h.tally.peak, -h.low / 32768, h.high / 32768) for h in heard]
    first = max(heard, key=lambda h: h.tally.peak)
    middle, peak = median(peaks), first.tally.peak
    if middle < QUIET * peak:
        raise DataError(
            f"{first.recording.name}: a sample is {peak:.4g} times full scale, where those of most recordings reach "
            f"{middle:.4g}: turned down by one gain, they would be silence",
            "take it away, or give it the scale of the others; --gain none --clip cuts it off",
            first.recording.path,
        )
    return float(Context(prec=4, rounding=ROUND_DOWN).divide(Decimal(1), Decimal(peak)))
