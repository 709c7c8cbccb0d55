"""What a trained model knows of its data: enough to turn what it samples into files without the data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from pyro_vrnn.data.encoding import encoding_of
from pyro_vrnn.data.kinds import KINDS, Kind
from pyro_vrnn.data.schema import AGAIN, LONGEST_COLUMN, DataInfo
from pyro_vrnn.system.errors import DataError


@dataclass(frozen=True, kw_only=True)
class DataFormat:
    """What a trained model knows of its data; written into config.toml so that a run rebuilds alone."""

    kind: str
    support: str
    x_dim: int
    steps_per_second: float | None = None
    lowest_pitch: int = 21
    """MIDI note of column 0, for piano-rolls."""
    steps_per_quarter: int = 1
    """Steps in a quarter note, for piano-rolls."""
    by_score: bool = False
    """Whether a step is a part of a quarter note, whatever a song's tempo."""
    pitches: tuple[int, ...] = ()
    """The MIDI note of each column, where they are not consecutive."""
    frame_length: int = 1
    """Samples a step, for audio."""
    center: tuple[float, ...] = ()
    """Subtracted from stored values; one for each column, or one for all."""
    scale: tuple[float, ...] = ()
    """What they are then divided by."""
    offset: tuple[float, ...] = ()
    """What was taken off each column of the source before it was stored."""
    symbols: tuple[str, ...] = ()
    """The symbols by number, for text and the like."""
    level: str = ""
    """What a symbol is: char, word or token."""
    columns: tuple[str, ...] = ()
    """Names of the columns, of vectors that have some."""
    image: bool = False
    """Whether a sequence of vectors is an image, a row of pixels a step."""
    missing: bool = False
    """Whether some values may be missing."""
    missing_cells: tuple[str, ...] = ()
    """Cells of tables that say so, beside the usual ones."""
    gain: float = 1.0
    """What all recordings were multiplied by, for audio; what is drawn is divided by it."""
    sequence_steps: int = 0
    """Steps of a training sequence, if all have as many; what is drawn has as many then."""

    @property
    def traits(self) -> Kind:
        """What is particular to its kind."""
        return KINDS[self.kind]

    @property
    def sample_rate(self) -> int:
        """Samples per second, of audio."""
        assert self.steps_per_second is not None
        return round(self.steps_per_second * self.frame_length)

    def by_sample(self, nll_per_step: float) -> dict[str, Any]:
        """The NLL of each sample of audio, and the unit of amplitude of its density; nothing for other kinds."""
        if not self.traits.sampled:
            return {}
        nats = nll_per_step / self.frame_length
        unit = f"{self.scale[0] / self.gain:.6g} 16-bit steps"
        return {"nll_per_sample": nats, "bits_per_sample": nats / math.log(2), "amplitude_unit": unit}


def format_of(info: DataInfo) -> DataFormat:
    """What a model keeps of its data file.

    Raises:
        DataError: pitches or a tempo that make no sense.
    """
    pitch, quarters = info.extra.get("lowest_pitch", 21), info.extra.get("quarters_per_minute")
    rate, kind = info.steps_per_second, KINDS[info.kind]
    highest = 108 - info.x_dim + 1 if kind.pitched else 127
    if type(pitch) is not int or not 0 <= pitch <= highest:
        raise DataError(f"{info.path}: /extra: lowest_pitch is {pitch!r} for {info.x_dim} columns", AGAIN, info.path)
    if quarters is not None and (type(quarters) not in (int, float) or not 1 <= quarters <= 1000):
        raise DataError(f"{info.path}: /extra: quarters_per_minute is {quarters!r}", AGAIN, info.path)
    reads, pitches = encoding_of(info), info.extra.get("pitches", [])
    rises = isinstance(pitches, list) and all(type(p) is int and 0 <= p <= 127 for p in pitches)
    if not rises or (pitches and (len(pitches) != info.x_dim or sorted(set(pitches)) != pitches)):
        raise DataError(f"{info.path}: /extra: pitches are not {info.x_dim} rising MIDI notes", AGAIN, info.path)
    columns, image = info.extra.get("columns", []), info.extra.get("image", False)
    named = isinstance(columns, list) and all(type(c) is str and len(c) <= LONGEST_COLUMN for c in columns)
    if not named or (columns and (len(columns) != info.x_dim or len(set(columns)) < len(columns))):
        raise DataError(f"{info.path}: /extra: columns are not {info.x_dim} different names", AGAIN, info.path)
    if type(image) is not bool or (image and not kind.pictorial):
        raise DataError(f"{info.path}: /extra: image is {image!r}", AGAIN, info.path)
    if kind.timed and rate is None:
        raise DataError(f"{info.path}: {info.kind} without steps_per_second", AGAIN, info.path)
    gain = info.extra.get("gain", 1.0) if kind.sampled else 1.0
    if type(gain) not in (int, float) or not 0 < gain <= 1:
        raise DataError(f"{info.path}: /extra: gain {gain!r} is no number above 0, and at most 1", AGAIN, info.path)
    train = info.splits["train"]
    return DataFormat(
        kind=info.kind,
        support=info.support,
        x_dim=reads.x_dim(info.x_dim),
        steps_per_second=rate,
        lowest_pitch=pitch,
        by_score=quarters is not None,  # the tempo of chorales is only how they are played
        pitches=tuple(pitches),
        frame_length=info.frame_length,
        center=reads.center,
        scale=reads.scale,
        offset=reads.offset,
        symbols=tuple(info.extra["symbols"]) if reads.symbols else (),
        level=str(info.extra.get("level", "")),
        columns=tuple(columns),
        image=image,
        missing=info.missing,
        missing_cells=_texts(info.options.get("missing")),
        gain=float(gain),
        sequence_steps=train.longest if train.shortest == train.longest and train.sequences > 1 else 0,
        steps_per_quarter=1 if quarters is None or rate is None else min(64, max(1, round(60 * rate / quarters))),
    )


def _texts(value: Any) -> tuple[str, ...]:
    """A list of texts that a file says; empty for anything else."""
    return tuple(v for v in value if isinstance(v, str)) if isinstance(value, list) else ()
