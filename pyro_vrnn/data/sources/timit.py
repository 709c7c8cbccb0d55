"""TIMIT as the LDC delivers it (LDC93S1): TRAIN and TEST, dialect, speaker, *.WAV, which are NIST SPHERE files.

The test set is the corpus's own, and its sentences stay whole; 5% of the rest are for validation, drawn by the seed.
All sentences are kept: the two SA sentences too, which every speaker says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from pyro_vrnn.data.schema import DataInfo
from pyro_vrnn.data.sources.decoding import Decoder, Recording
from pyro_vrnn.data.sources.framing import check_frames, listen, store
from pyro_vrnn.data.sources.recordings import Left, clean, describe_sources, walk
from pyro_vrnn.data.sources.request import Request, reads
from pyro_vrnn.data.sources.spool import Spool
from pyro_vrnn.system.errors import DataError, check_seed, choose

RATE = 16000
VALID_SHARE = 0.05  # of the training speakers, or of their sentences
UNITS = {"folder": "speakers", "file": "sentences"}
LAYOUT = "give the folder that holds TRAIN and TEST, and in them dialect/speaker/*.WAV"


@reads
def prepare(
    request: Request,
    *,
    frame: int = 200,
    seconds: float | None = None,
    split_by: str = "folder",
) -> DataInfo:
    """Write TIMIT to a data file, int16 [T, frame] each, 16 kHz.

    Args:
        request: its source is the folder that holds TRAIN and TEST, or one that holds that folder; its seed chooses the
            validation speakers, or sentences.
        frame: samples per step.
        seconds: length of a window of train and valid; None for whole sentences. Test sentences always stay whole.
        split_by: what is drawn for validation: "folder" for 5% of the speakers, who are then heard in no other split,
            or "file" for 5% of all sentences (Fraccaro et al. 2016).

    Raises:
        ConfigError: an argument out of range, or the file exists.
        DataError: no TIMIT there, another sample rate, fewer than two speakers or sentences to train on.
    """
    if split_by not in UNITS:
        raise choose("split by", split_by, UNITS)
    window = check_frames(RATE, frame, seconds)
    check_seed(request.seed)
    left = Left(request.source.name, request.strict)
    train, test = _halves(request.source)
    recordings = list(_utterances(train, "train", left))
    units = [recording.folder if split_by == "folder" else recording.name for recording in recordings]
    dealt = sorted(set(units))
    if len(dealt) < 2:
        raise DataError(f"{train}: {len(dealt)} {UNITS[split_by]}, too few for a validation split", LAYOUT, train)
    count = max(1, round(VALID_SHARE * len(dealt)))
    valid = {dealt[i] for i in np.random.default_rng(request.seed).permutation(len(dealt))[:count]}
    recordings = [replace(r, split="valid") if u in valid else r for r, u in zip(recordings, units, strict=True)]
    recordings += _utterances(test, "test", left)
    decided = {"frame": frame, "whole": window is None}
    with Decoder(RATE, resample=False) as decoder, Spool(request.path, recordings, decided) as spool:
        heard = listen(
            decoder, recordings, left, frame=frame, whole=window is None, spool=spool, progress=request.progress
        )
        return store(
            request.path,
            spool,
            heard,
            left,
            sample_rate=RATE,
            frame=frame,
            window=window,
            whole=("test",),
            source="TIMIT Acoustic-Phonetic Continuous Speech Corpus, LDC93S1",
            licence="the LDC's user agreement",
            options={
                "source": describe_sources(request.source),
                "frame": frame,
                "seconds": seconds,
                **({} if split_by == "folder" else {"split_by": split_by}),
                "seed": request.seed,
            },
            overwrite=request.overwrite,
            reads=2 * len(recordings),
            progress=request.progress,
        )


def _halves(source: Path) -> tuple[Path, Path]:
    """The folders TRAIN and TEST, in capitals or not, in the source or in a folder of it."""
    try:
        for folder in (source, *sorted(child for child in source.iterdir() if child.is_dir())):
            found = {child.name.lower(): child for child in folder.iterdir() if child.is_dir()}
            if "train" in found and "test" in found:
                return found["train"], found["test"]
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: {getattr(error, 'strerror', None) or error}", LAYOUT, source) from error
    raise DataError(f"{source}: no folders TRAIN and TEST", LAYOUT, source)


def _utterances(half: Path, split: str, left: Left) -> Iterator[Recording]:
    """The recordings of one half, called dialect/speaker/sentence. Transcripts are passed over."""
    for path, name in walk(half, left):
        # Some copies of the corpus have a SA1.WAV.wav, the same in another format, beside SA1.WAV.
        copy = Path(path.stem).suffix.lower() == ".wav" and path.with_name(path.stem).exists()
        if path.suffix.lower() != ".wav" or copy:
            left.others += 1
            continue
        stem = clean(str(path.relative_to(half).with_suffix("")))
        yield Recording(path, f"{half.name}/{name}", stem, clean(str(path.parent.relative_to(half))), split)
