"""Recordings of speech and other sound: to sequences of frames of 16-bit samples, or to plain wav and npy files.

decoding.py reads sound, recordings.py finds it, framing.py cuts it.
"""

from __future__ import annotations

import os
import secrets
import wave
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np

from pyro_vrnn.data.schema import DataInfo
from pyro_vrnn.data.sources.common import Progress, check_shares
from pyro_vrnn.data.sources.decoding import Decoder
from pyro_vrnn.data.sources.framing import Heard, again, check_frames, listen, store
from pyro_vrnn.data.sources.loudness import check_gain, listen_at_one_gain
from pyro_vrnn.data.sources.recordings import Left, describe_sources, find, named
from pyro_vrnn.data.sources.sharing import UNITS, share_by_time, share_out
from pyro_vrnn.data.sources.spool import Spool
from pyro_vrnn.data.writer import check_free
from pyro_vrnn.system.errors import ConfigError, DataError, check_seed, choose
from pyro_vrnn.system.files import cannot_write, make_folder, safe_name, sync_folder

WAV_BYTES = 2**32 - 2**10


def prepare(
    path: str | Path,
    *,
    source: str | Path | Sequence[str | Path],
    index: str | Path | None = None,
    sample_rate: int = 16000,
    frame: int = 200,
    seconds: float | None = 0.5,
    join: bool = False,
    resample: bool = False,
    splits: tuple[float, ...] = (90, 5, 5),
    split_by: str = "file",
    normalise: str = "standard",
    gain: str = "auto",
    clip: bool = False,
    seed: int = 0,
    strict: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DataInfo:
    """Write recordings to a data file, int16 [T, frame] each: windows, or whole recordings.

    Several channels are mixed to one, their mean. Samples after the last whole frame of a recording are left out
    and counted in the file's `extra` as `tail_samples`; what is skipped, and why, is there too, as are `recordings` (or
    parts of them) and those that are all one value (`silent_recordings`) in each split, samples at either end of 16
    bits (`full_scale_samples`; those beyond it before they were rounded are `clipped_samples`), how many files are
    sound of a type that is not read (`unread_types`) or had a header without a length (`mended`), and what all samples
    were multiplied by, if they were (`gain`). If it is interrupted, the same call continues behind the last recording
    that was decoded (spool.py).

    Args:
        path: the file to make.
        source: a file of sound, a folder of any depth, or several. An npz with an array `train` keeps its splits.
            A folder with index.csv and train.flac is read by its index, which gives the splits too.
        index: the name of that index, in the folder or elsewhere.
        sample_rate: samples per second of the sequences.
        frame: samples per step.
        seconds: of a window; the last one of a recording may be shorter. None for whole recordings.
        join: put the recordings of a split end to end, in order of their names (or of the index), before they are cut:
            windows may then be longer than recordings. What is left of each after its last whole frame is kept too.
        resample: convert recordings of other sample rates, which are refused otherwise.
        splits: percentages of train, valid and test; each that is not 0 gets at least one.
        split_by: what is dealt out: "file" for single recordings, "folder" for top-level folders (speakers). With
            "time" recordings are cut: of a long one the start is for training and the end for test.
        normalise: how models are to scale the samples: by mean and deviation ("standard") or from the smallest
            and largest training sample to -1 and 1 ("range"), which are then `low` and `high` in `extra`.
        gain: what becomes of recordings of floats that are beyond full scale: "auto" multiplies the samples of all
            recordings by one number, so that nothing is clipped (loudness.py); "none" leaves them as they are, and
            refuses what would be clipped by more than one sample in a thousand.
        clip: with gain "none", clip any number of samples.
        seed: of the splits.
        strict: DataError for the first file that would be skipped.
        overwrite: replace an existing file.
        progress: told (recordings read, twice as many as there are), as all are read twice; or three times, if they are
            multiplied by a gain.

    Raises:
        ConfigError: an argument out of range, the file exists, or too few recordings for the splits.
        DataError: another sample rate, a wrong index, no recording to train on, or a recording too loud.
    """
    if normalise not in ("standard", "range"):
        raise choose("normalise", normalise, ("standard", "range"))
    window = check_frames(sample_rate, frame, seconds)
    if split_by not in UNITS:
        raise choose("split by", split_by, UNITS)
    if join and window is None:
        raise ConfigError("--join with --seconds 0: each split would be one sequence", "say how long: --seconds 50")
    if join and split_by == "time":
        raise ConfigError("--join with --split-by time: parts of recordings would be joined", "use --split-by file")
    check_gain(gain, clip)
    check_shares(splits)
    check_seed(seed)
    check_free(path, overwrite)
    left = Left(named(source), strict)
    recordings = find(source, index, left)
    least = 1 if join else frame  # samples of a recording that are of use
    decided = {"rate": sample_rate, "resample": resample, "frame": least, "whole": window is None, "gain": gain}
    with Decoder(sample_rate, resample=resample) as decoder, Spool(path, recordings, decided) as spool:
        heard, left, reads = listen_at_one_gain(
            decoder,
            recordings,
            left,
            frame=least,
            whole=window is None,
            spool=spool,
            gain=gain,
            clip=clip,
            progress=progress,
        )
        dealt = any(h.recording.split is None for h in heard)
        if split_by == "time":
            heard = share_by_time(heard, spool, splits, frame=frame, window=window)
        else:
            heard = share_out(heard, splits, split_by, seed)
        given = describe_sources(source)
        return store(
            path,
            spool,
            heard,
            left,
            sample_rate=sample_rate,
            frame=frame,
            window=window,
            source=f"recordings of {given[0]}" + (f" and {len(given) - 1} more" if len(given) > 1 else ""),
            licence="unknown",
            options={
                "source": given,
                "index": None if index is None else Path(index).name,
                "sample_rate": sample_rate,
                "frame": frame,
                "seconds": seconds,
                "resample": resample,
                "channels": "mean",
                "splits": list(splits) if dealt else "the source's own",
                "split_by": split_by if dealt else None,
                "normalise": normalise,
                "seed": seed,
                **({"join": True} if join else {}),
                **({} if gain == "auto" else {"gain": gain, "clip": clip}),
            },
            overwrite=overwrite,
            reads=reads,
            progress=progress,
            join=join,
        )


def convert(
    source: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    sample_rate: int,
    to: str,
    resample: bool = False,
    strict: bool = False,
    overwrite: bool = False,
    skipped: Callable[[str, str], None] | None = None,
    progress: Progress | None = None,
) -> list[Path]:
    """Recordings as 16-bit mono wav or npy files, in folders as the source's; the new files, in order.

    Args:
        source: see `prepare`.
        out: the folder to put them in.
        sample_rate: samples per second.
        to: "wav" or "npy".
        resample: convert recordings of other sample rates, which are refused otherwise.
        strict: DataError for the first file that would be skipped.
        overwrite: replace existing files.
        skipped: told the name and the reason of each of the first 100 that are skipped.
        progress: told (recordings read, twice as many as there are).

    Raises:
        ConfigError: an argument out of range, a file exists, two recordings with one name.
        DataError: another sample rate, or no recording at all.
        ResourceError: the disk is full.
    """
    if to not in ("wav", "npy"):
        raise choose("format", to, ("wav", "npy"))
    check_frames(sample_rate, 1, None)
    left = Left(named(source), strict)
    recordings = find(source, None, left)
    with Decoder(sample_rate, resample=resample) as decoder:
        heard = listen(decoder, recordings, left, frame=1, progress=progress)
        for skip in left.first:
            if skipped is not None:
                skipped(skip["file"], skip["reason"])
        if not heard:
            raise DataError(
                f"{left.source}: no recording to convert, {left.count} skipped", "give wav, flac, ogg or mp3 files"
            )
        places = _places(Path(out), heard, to)
        for place in places:
            check_free(place, overwrite)
        for i, (h, place) in enumerate(zip(heard, places, strict=True), start=1):
            make_folder(place.parent)
            _write_samples(place, decoder, h, to)
            if progress is not None:
                progress(2 * len(recordings) - len(heard) + i, 2 * len(recordings))
    return places


def _places(out: Path, heard: Sequence[Heard], to: str) -> list[Path]:
    """Where each recording goes: below `out` as it is below the source."""
    places: dict[Path, None] = {}
    for h in heard:
        *folders, name = h.recording.name.split("/")
        part = h.recording.length is not None or h.recording.member is not None  # its name is no file's
        stem = name if part else Path(name).stem
        place = out.joinpath(*map(safe_name, folders), f"{safe_name(stem)}.{to}")
        if place in places:  # a.wav beside a.flac
            place = place.with_name(f"{safe_name(name)}.{to}")
        if place in places:
            raise ConfigError(f"two recordings would become {place}", "convert the sources one at a time")
        places[place] = None
    return list(places)


def _write_samples(place: Path, decoder: Decoder, h: Heard, to: str) -> None:
    """One recording as a file, whole or not at all."""
    count = h.tally.samples
    if to == "wav" and 2 * count > WAV_BYTES:
        raise ConfigError(f"{h.recording.name}: {count} samples are more than a wav can hold", "convert to npy")
    temporary = place.with_name(f".{place.name[:100]}.{secrets.token_hex(4)}.tmp")
    with cannot_write(place, 2 * count):
        try:
            with temporary.open("xb") as file:
                if to == "wav":
                    with wave.open(file, "wb") as sound:
                        sound.setparams((1, 2, decoder.rate, count, "NONE", ""))
                        for block in again(decoder, h):
                            sound.writeframesraw(block.tobytes())
                else:
                    header = {"descr": "<i2", "fortran_order": False, "shape": (count,)}
                    np.lib.format.write_array_header_1_0(file, header)
                    for block in again(decoder, h):
                        file.write(block.tobytes())
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(place)
            sync_folder(place.parent)
        finally:
            with suppress(OSError):
                temporary.unlink()
