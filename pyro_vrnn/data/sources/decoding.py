"""Sound files as blocks of 16-bit mono samples. What a file is, and how long, is told by its content, not its name.

What is read: wav, flac, ogg (Vorbis, Opus), mp3, aiff, au, caf, NIST SPHERE and their kin by libsndfile; .npy files
and the arrays of .npz files, int16 or floats in [-1, 1], at the sample rate that is asked for.
To mono by the mean of the channels; to another rate by soxr, HQ; times a gain; to 16 bits by rounding x * 32768 (ties
to even), where what lies outside [-1, 1] is clipped and counted.
"""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Any

import numpy as np

from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.sources.headers import claimed, mended, mp3_says_length
from pyro_vrnn.system.errors import DataError

BLOCK = 2**19  # samples read at once, of all channels together
LONGEST_SECONDS = 24 * 3600  # of a recording: a flac of zeros unpacks to 700 times its size
RATES = range(1000, 768_001)  # a header that says another is damaged
MOST_CHANNELS = 64
FORMATS = {"WAV", "WAVEX", "RF64", "W64", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "NIST"}
MOST_CLIPPED = 0.001  # the share of a recording's samples that may be clipped without being asked for
LOUD_PEAK = 1.5  # of full scale: floats beyond it are no accident, however few
UNRECOGNISED = 1  # libsndfile's SF_ERR_UNRECOGNISED_FORMAT


class Unusable(Exception):
    """A recording that is left out; the message is why."""


class NotSound(Unusable):
    """It is no sound at all, such as the README beside the recordings."""


@dataclass(frozen=True)
class Recording:
    """Where a recording is: a file, an array of an npz, or a part of either."""

    path: Path
    name: str  # below the folder or file that was given; in messages, and to sort by
    stem: str  # the short name, which becomes the id where no other recording has it
    folder: str  # the top-level folder that it is in
    split: str | None = None  # where the source says so
    expected: bool = True  # by its name it should be sound, or the user said so
    member: str | None = None
    start: int = 0  # samples
    length: int | None = None  # samples; None for all
    label: str = ""  # where the source says one


@dataclass
class Tally:
    """What came of a recording."""

    samples: int = 0
    clipped: int = 0
    peak: float = 0.0
    """The largest |sample| after the gain, in units of full scale; 0 where 16-bit samples are taken as they are."""
    loud: bool = False
    """Whether its file has floats that are beyond full scale: `MOST_CLIPPED` of them, or one beyond `LOUD_PEAK`."""
    endless: bool = False
    """Whether its header does not say how long it is: it is read to its end."""
    rate: int = 0  # samples per second of the file, before they are resampled


@dataclass
class _Sound:
    """An open file. Samples are counted for each channel."""

    rate: int | None  # None for arrays, which do not say
    channels: int
    claimed: int | None  # samples by the header, where that says more than a guess
    take: Callable[[int], Array]  # the next n samples or as many as there are, [n, channels] int16 or float64
    go: Callable[[int], Any]  # to this sample
    floats: bool
    endless: bool = False
    at: int = 0


class Decoder:
    """Reads recordings at one rate, one after another; a file stays open while the next recording is in it too.

    Args:
        rate: samples per second to give.
        resample: take files of other rates too.
        gain: what all samples are multiplied by.
    """

    def __init__(self, rate: int, *, resample: bool, gain: float = 1.0) -> None:
        self.rate, self.resample, self.gain = rate, resample, gain
        self._stack = ExitStack()
        self._opened: tuple[tuple[Path, str | None], _Sound] | None = None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened = None
        self._stack.close()

    def read(self, recording: Recording, tally: Tally) -> Iterator[Array]:
        """A recording's samples in blocks [n] of little-endian int16, at most about a million each.

        Args:
            tally: what has been given so far is added to it.

        Raises:
            Unusable: damaged, cut short, not finite, too long: also after some blocks were given.
            DataError: another sample rate, and `resample` is off.
        """
        try:
            yield from self._read(recording, tally)
        except (Unusable, DataError):
            self.__exit__()
            raise
        except Exception as error:  # libraries promise nothing about what they raise on damaged bytes
            self.__exit__()
            after = f" after {tally.samples} samples" if tally.samples else ""
            raise Unusable(f"cannot be decoded{after}: {why(error)}") from error

    def _read(self, recording: Recording, tally: Tally) -> Iterator[Array]:
        sound = self._open(recording)
        tally.endless = sound.endless
        rate = tally.rate = sound.rate or self.rate
        if rate != self.rate and not self.resample:
            hint = f"resample with --resample, or prepare at --sample-rate {rate}"
            raise DataError(f"{recording.name}: {rate} samples per second, not {self.rate}", hint, path=recording.path)
        wanted = recording.length
        if wanted is None and sound.claimed is not None:
            wanted = sound.claimed - recording.start
        longest = LONGEST_SECONDS * rate
        if wanted is not None and wanted > longest:
            raise Unusable(f"{wanted} samples, more than {LONGEST_SECONDS // 3600} hours")
        if sound.claimed is not None and recording.start + (wanted or 0) > sound.claimed:
            raise Unusable(f"ends at sample {recording.start + (wanted or 0)} of a file that has {sound.claimed}")
        if sound.at != recording.start:
            sound.go(recording.start)
            sound.at = recording.start
        resampler = None
        if rate != self.rate:
            import soxr

            resampler = soxr.ResampleStream(rate, self.rate, 1, dtype="float32", quality="HQ")
        step = max(1, BLOCK * min(rate, self.rate) // self.rate // sound.channels)  # no more come out if the rate rises
        got = beyond = 0
        while True:
            block = sound.take(step if recording.length is None else min(step, recording.length - got))
            if len(block) == 0:
                break
            sound.at += len(block)
            got += len(block)
            if not np.isfinite(block).all():
                raise Unusable(f"NaN or infinity in the samples before {sound.at}")
            if got > longest:
                raise Unusable(f"more than {LONGEST_SECONDS // 3600} hours")
            mono = _to_mono(block, keep=resampler is None)
            if sound.floats:  # before a resampler adds to it
                beyond += int(np.count_nonzero(np.abs(mono) > 1))
                tally.loud = tally.loud or float(np.abs(mono).max()) > LOUD_PEAK
            yield _to_int16(_resampled(mono, resampler, last=False), tally, self.gain)
        if wanted is not None and got < wanted:
            raise Unusable(_short(wanted, got))
        if resampler is not None:
            yield _to_int16(_resampled(np.empty(0), resampler, last=True), tally, self.gain)
        tally.loud = tally.loud or beyond > MOST_CLIPPED * got

    def _open(self, recording: Recording) -> _Sound:
        """The recording's file, at its start or before: going back is not exact in all formats."""
        path, member = recording.path, recording.member
        if self._opened is None or self._opened[0] != (path, member) or self._opened[1].at > recording.start:
            self.__exit__()
            file = self._stack.enter_context(open_regular(path))
            if member is not None:
                archive = self._stack.enter_context(zipfile.ZipFile(file))
                sound = _array(self._stack.enter_context(archive.open(f"{member}.npy")))
            elif file.read(6) == np.lib.format.MAGIC_PREFIX:
                file.seek(0)
                sound = _array(file)
            else:
                sound = _sound(file, self._stack)
            self._opened = (path, member), sound
        return self._opened[1]


def open_regular(path: Path) -> FileIO:
    """A regular file, open for reading; FIFOs and devices are not opened, as that can hang or have effects.

    Raises:
        Unusable: it is no regular file, is empty, or may not be read.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise Unusable("not a regular file")
        if status.st_size == 0:
            raise Unusable("an empty file")
        return FileIO(path)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise Unusable(why(error)) from error


def _sound(file: FileIO, stack: ExitStack) -> _Sound:
    """What libsndfile makes of a file. It gets no name, by which it would take any x.au or x.vox for sound."""
    import soundfile

    file.seek(0)
    head = file.read(1024)
    tagged = mp3_says_length(head, file)
    whole = mended(file)
    file.seek(0)  # not moved any more once libsndfile has it
    try:
        sound = stack.enter_context(soundfile.SoundFile(file.fileno() if whole is None else whole, closefd=False))
    except soundfile.LibsndfileError as error:
        if head.startswith(b"NIST_1A") and b"shorten" in head:
            raise Unusable("SPHERE compressed with shorten; unpack it, with sph2pipe for one") from error
        if error.code == UNRECOGNISED:
            raise NotSound("not a sound file") from error
        raise
    if sound.format not in FORMATS:
        raise NotSound(f"not a sound file, but {sound.format_info}")
    if sound.samplerate not in RATES or sound.channels > MOST_CHANNELS:
        raise Unusable(f"its header says {sound.samplerate} samples per second, {sound.channels} channels")
    said = claimed(sound, head, tagged)
    if sound.format not in ("MP3", "FLAC") and said is not None and said > sound.frames:
        raise Unusable(_short(said, sound.frames))
    # soundfile seeks after each read of a seekable file: in an mp3 that changes samples, in a flac of a length
    # that its header does not say it fails at the end.
    sound.seekable = lambda: False
    dtype = "int16" if sound.subtype == "PCM_16" else "float64"
    return _Sound(
        rate=sound.samplerate,
        channels=sound.channels,
        claimed=said,
        take=lambda n: sound.read(n, dtype=dtype, always_2d=True),
        go=sound.seek,
        floats=sound.subtype in ("FLOAT", "DOUBLE"),
        endless=whole is not None and whole.endless,
    )


def _array(file: IO[bytes] | FileIO) -> _Sound:
    """The samples of an npy file, read as they are wanted."""
    shape, dtype = read_header(file)
    if len(shape) != 1 or not (dtype.kind == "f" or (dtype.kind == "i" and dtype.itemsize == 2)):
        raise Unusable(f"{dtype} of shape {list(shape)}, not int16 or float samples in one dimension")
    first = file.tell()

    def take(n: int) -> Array:
        data = file.read(n * dtype.itemsize) or b""
        whole = np.frombuffer(data[: len(data) // dtype.itemsize * dtype.itemsize], dtype)
        with np.errstate(over="ignore"):  # a float128 beyond float64 becomes inf, which is refused
            return whole.astype("<i2" if dtype.kind == "i" else "<f8", copy=False).reshape(-1, 1)

    return _Sound(None, 1, shape[0], take, lambda sample: file.seek(first + sample * dtype.itemsize), dtype.kind == "f")


def read_header(file: IO[bytes] | FileIO) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an npy file, which is left at its first value. Nothing is unpickled, ever."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise Unusable(f"npy of version {version}")
    one = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise Unusable("an array of Python objects, which is not read")
    return shape, dtype


def _to_mono(block: Array, *, keep: bool) -> Array:
    """[n, channels] as [n]: floats in units of full scale; or int16 as it is, of one channel, to `keep`."""
    channels = block.shape[1]
    if block.dtype == np.int16 and keep and channels == 1:
        return block[:, 0]
    mono = block[:, 0].astype(np.float64)
    with np.errstate(over="ignore"):  # what is infinite is clipped
        for channel in range(1, channels):  # many times faster than block.mean(1)
            mono += block[:, channel]
    mono /= channels * (32768 if block.dtype == np.int16 else 1)
    return mono


def _resampled(mono: Array, resampler: Any, *, last: bool) -> Array:
    """Samples [n] as [m] at the decoder's rate; as they are without a resampler."""
    if resampler is None:
        return mono
    # float32 has no number as far beyond full scale as float64: it is too loud either way.
    resampled: Array = resampler.resample_chunk(np.clip(mono, -1e30, 1e30).astype(np.float32), last=last)
    return resampled


def _to_int16(mono: Array, tally: Tally, gain: float) -> Array:
    tally.samples += len(mono)
    if gain != 1:
        mono = mono * (gain / 32768) if mono.dtype == np.int16 else mono.astype(np.float64) * gain
    if mono.dtype == np.int16:
        return mono.astype("<i2", copy=False)
    size = np.abs(mono)
    tally.peak = max(tally.peak, float(size.max(initial=0.0)))
    tally.clipped += int(np.count_nonzero(size > 1))
    return np.minimum(np.rint(np.clip(mono, -1, 1) * 32768.0), 32767).astype("<i2")


def _short(claimed: int, got: int) -> str:
    return f"cut short: its header says {claimed} samples, there are {got}"


def why(error: Exception) -> str:
    """The first line of a library's words."""
    words = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    return (str(words).removeprefix("Error : ").splitlines() or [type(error).__name__])[0][:200].rstrip()
