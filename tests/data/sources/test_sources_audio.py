"""Recordings to data files: formats, damage, layouts, splits, and what comes out, sample by sample."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import struct
import tracemalloc
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.description import describe
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources import audio, decoding, framing, timit
from pyro_vrnn.system.errors import ConfigError, DataError, UserError

RATE = 16000
ALL = (100.0, 0.0, 0.0)  # everything is for training


def noise(samples: int, seed: int = 0) -> Array:
    """Something like speech in its loudness, int16."""
    return (np.random.default_rng(seed).normal(size=samples) * 3000).astype(np.int16)


def encoded(x: Array, container: str = "WAV", subtype: str | None = "PCM_16", rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, x, rate, format=container, subtype=subtype)
    return file.getvalue()


def wav(data: bytes, *, claims: int | None = None, rate: int = RATE, channels: int = 1, bits: int = 16) -> bytes:
    """A wav of these samples; its header says what it is told to say."""
    claims = len(data) if claims is None else claims
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * width & 2**32 - 1, width & 0xFFFF, bits)
    size = struct.pack("<I", min(2**32 - 1, claims + 36))
    return b"RIFF" + size + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", claims) + data


def sphere(x: Array, *, claims: int | None = None, coding: str = "pcm") -> bytes:
    """NIST SPHERE as TIMIT has it."""
    lines = [
        "NIST_1A\n   1024",
        "channel_count -i 1",
        f"sample_count -i {len(x) if claims is None else claims}",
        "sample_rate -i 16000",
        "sample_n_bytes -i 2",
        "sample_byte_format -s2 01",
        "sample_sig_bits -i 16",
        f"sample_coding -s{len(coding)} {coding}",
        "end_head\n",
    ]
    return "\n".join(lines).encode().ljust(1024) + x.astype("<i2").tobytes()


def npy(x: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, x)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def put(folder: Path, **files: bytes) -> Path:
    """Files in a folder; `__` in a name stands for a slash, and `_` before the last part for the dot."""
    for name, data in files.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        path = folder / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def prepared(tmp_path: Path, source: Any, **options: Any) -> DataInfo:
    options = {"splits": ALL, "seconds": None, "overwrite": True} | options
    return audio.prepare(tmp_path / "out.h5", source=source, **options)


def samples(info: DataInfo, split: str = "train") -> list[Array]:
    return [x.reshape(-1) for x in read_split(info.path, split)]


def ids(info: DataInfo, split: str = "train") -> list[str]:
    return list(SequenceDataset(info.path, split).ids)


def why_skipped(info: DataInfo) -> dict[str, str]:
    return {skip["file"]: skip["reason"] for skip in info.extra["skipped"]}


X = noise(2000)

# ------------------------------------------------------------------------------------------- formats

LOSSLESS: dict[str, Callable[[], bytes]] = {
    "wav": lambda: encoded(X),
    "wav by hand": lambda: wav(X.astype("<i2").tobytes()),
    "wav, 24 bits": lambda: encoded(X, subtype="PCM_24"),
    "wav, 32 bits": lambda: encoded(X, subtype="PCM_32"),
    "wav, float": lambda: encoded(X / np.float32(32768), subtype="FLOAT"),
    "wav, double": lambda: encoded(X / 32768, subtype="DOUBLE"),
    "wav, two channels": lambda: encoded(np.stack([X - 1, X + 1], 1)),
    "wav, float, three channels": lambda: encoded(np.stack([X, X - 3, X + 3], 1) / 32768, subtype="FLOAT"),
    "flac": lambda: encoded(X, "FLAC"),
    "flac, 24 bits": lambda: encoded(X, "FLAC", "PCM_24"),
    "flac made in a pipe": lambda: without_length(encoded(X, "FLAC")),
    "aiff": lambda: encoded(X, "AIFF"),
    "sphere": lambda: sphere(X),
    "npy": lambda: npy(X),
    "npy, big endian": lambda: npy(X.astype(">i2")),
    "npy, float32": lambda: npy(X / np.float32(32768)),
    "npy, float64": lambda: npy(X / 32768),
    "npz": lambda: npz(x=X),
    "npz of parts": lambda: npz(x=X, x_len=[2000]),
}
LOSSY: dict[str, Callable[[], bytes]] = {
    "ogg": lambda: encoded(X, "OGG", "VORBIS"),
    "opus": lambda: encoded(X, "OGG", "OPUS"),
    "mp3": lambda: encoded(X, "MP3", None),
    "wav, mu-law": lambda: encoded(X, subtype="ULAW"),
}


def without_length(flac: bytes) -> bytes:
    """STREAMINFO with a total of 0 samples, which means: unknown."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


@pytest.mark.parametrize("block", [decoding.BLOCK, 300])
@pytest.mark.parametrize("form", [*LOSSLESS, *LOSSY])
def test_every_format_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, block: int) -> None:
    """Sample by sample, whatever the name, also when it is read in small blocks."""
    monkeypatch.setattr(decoding, "BLOCK", block)
    monkeypatch.setattr(framing, "BLOCK", block)
    path = tmp_path / "sound.bin"
    path.write_bytes((LOSSLESS | LOSSY)[form]())
    info = prepared(tmp_path, path)
    [got] = samples(info)
    assert (got.dtype, len(got), info.extra["clipped_samples"]) == (np.int16, 2000, 0)
    if form in LOSSLESS:
        np.testing.assert_array_equal(got, X)
    else:
        expected = np.rint(soundfile.read(io.BytesIO(path.read_bytes()))[0] * 32768)
        assert np.abs(got - expected).max() <= 1
    assert (info.kind, info.support, info.x_dim, info.frame_length) == ("audio", "real", 200, 200)
    assert (info.steps_per_second, info.extra["sample_rate"], info.options["channels"]) == (80.0, RATE, "mean")
    np.testing.assert_allclose([info.mean[0], info.std[0]], [got.mean(), got.std()])


def test_rounding_and_clipping(tmp_path: Path) -> None:
    """Full scale is 32768 steps; what is beyond it is clipped and counted; 1.0 itself is not beyond."""
    x = np.zeros(200)
    x[:9] = [1.0, -1.0, 1.5, -7.0, 1e300, 0.5 / 32768, 1.5 / 32768, 1.4999 / 32768, -0.25]
    put(tmp_path, a_wav=encoded(x, subtype="DOUBLE"), b_npy=npy(x))
    for name in ("a.wav", "b.npy"):
        info = prepared(tmp_path, tmp_path / name)
        assert samples(info)[0][:9].tolist() == [32767, -32768, 32767, -32768, 32767, 0, 2, 1, -8192]
        assert info.extra["clipped_samples"] == 3


def test_mp3s_that_do_not_say_their_length(tmp_path: Path) -> None:
    """Of a variable bit rate, without the frame that tells the length: not taken for one that is cut short."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", RATE, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.3) as sound:
        sound.write(np.r_[np.zeros(32000, np.int16), noise(32000)])
    said = file.getvalue()
    guessed = said[said.index(b"\xff\xf3", 4) :]
    tag = b"ID3\4\0\0" + bytes([0, 0, 20, 0]) + b"Xing".ljust(20 * 128)  # a picture of 2560 bytes, say
    assert soundfile.info(io.BytesIO(guessed)).frames > 80000
    for name, data, length in (
        ("a", said, 64000),
        ("b", tag + said, 64000),
        ("c", guessed, None),
        ("d", tag + guessed, None),
    ):
        (tmp_path / name).write_bytes(data)
        [got] = samples(prepared(tmp_path, tmp_path / name))
        assert len(got) == length or (length is None and 64000 <= len(got) < 68000)
        assert got[-30000:].std() == pytest.approx(3000, rel=0.1)
        if length:
            (tmp_path / name).write_bytes(data[:-1000])
            with pytest.raises(DataError, match="cut short: its header says 64000 samples"):
                prepared(tmp_path, tmp_path / name)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(tmp_path: Path, bad: float) -> None:
    x = np.zeros(1000)
    x[-1] = bad
    put(tmp_path / "s", a_wav=encoded(x, subtype="FLOAT"), b_npy=npy(x), c_wav=encoded(X))
    info = prepared(tmp_path, tmp_path / "s")
    assert why_skipped(info) == dict.fromkeys(("a.wav", "b.npy"), "NaN or infinity in the samples before 1000")
    assert ids(info) == ["c"]


def test_other_rates_are_refused_or_resampled(tmp_path: Path) -> None:
    x = noise(44100 // 2, seed=1)
    put(tmp_path / "s", a_wav=encoded(X), b_flac=encoded(x, "FLAC", rate=44100))
    with pytest.raises(DataError, match=r"b.flac: 44100 samples per second, not 16000") as error:
        prepared(tmp_path, tmp_path / "s")
    assert "--resample" in error.value.hint
    assert "--sample-rate 44100" in error.value.hint
    assert os.listdir(tmp_path) == ["s"]
    info = prepared(tmp_path, tmp_path / "s", resample=True, frame=1)
    original, resampled = samples(info)
    np.testing.assert_array_equal(original, X)
    expected = soxr.resample(x / np.float32(32768), 44100, RATE, quality="HQ") * 32768
    assert len(resampled) == 8000
    np.testing.assert_array_equal(resampled, np.rint(expected))


# ------------------------------------------------------------------------------------------- windows


def test_windows_keep_all_but_the_part_of_a_frame(tmp_path: Path) -> None:
    """2050 samples in windows of 800 with frames of 100: 8, 8 and 4 frames, and 50 samples are left."""
    x = noise(2050)
    put(tmp_path / "s", a_wav=encoded(x), b_wav=encoded(x[:800]), c_wav=encoded(x[:99]))
    info = prepared(tmp_path, tmp_path / "s", seconds=0.05, frame=100)
    assert ids(info) == ["a#0", "a#1", "a#2", "b#0"]
    got = samples(info)
    assert [len(part) for part in got] == [800, 800, 400, 800]
    np.testing.assert_array_equal(np.concatenate(got[:3]), x[:2000])
    assert info.extra["tail_samples"] == {"train": 50, "valid": 0, "test": 0}
    assert why_skipped(info) == {"c.wav": "99 samples, less than a frame of 100"}
    assert info.extra["skipped_count"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seconds": 0.011}, "--seconds 0.011 is 0.88 frames of 200, not a whole number"),
        ({"seconds": 0.0}, "--seconds 0.0: above 0"),
        ({"seconds": float("nan")}, "--seconds nan: above 0"),
        ({"seconds": 1e9}, "at most 1049"),
        ({"frame": 0}, "--frame=0: must be at least 1"),
        ({"frame": 2**40}, "--frame 1099511627776: at most"),
        ({"sample_rate": 0}, "--sample-rate 0: must be from 1000 to 768000"),
        ({"splits": (90, 5)}, "--splits 90,5"),
        ({"splits": (90, 5, 6)}, "--splits 90,5,6"),
        ({"splits": (101, -1, 0)}, "--splits 101,-1,0"),
        ({"splits": (0, 50, 50)}, "--splits 0,50,50"),
        ({"splits": (float("nan"), 5, 5)}, "--splits nan,5,5"),
        ({"split_by": "speaker"}, "split by 'speaker': choose from file, folder, time"),
        ({"normalise": "ranges"}, "normalise 'ranges': choose from range, standard"),
        ({"seed": -1}, "--seed -1"),
        ({"source": []}, "no source"),
        ({"index": "index.csv"}, "an index, and 1 sources"),
    ],
)
def test_arguments_out_of_range(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    put(tmp_path, a_wav=encoded(X))
    with pytest.raises(ConfigError) as error:
        prepared(tmp_path, **{"source": tmp_path / "a.wav"} | options)
    assert words in error.value.message
    assert os.listdir(tmp_path) == ["a.wav"]


def test_whole_recordings_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "LONGEST_SEQUENCE", 1500)
    put(tmp_path, a_wav=encoded(X))
    with pytest.raises(DataError, match=r"no recording to train on, 1 skipped .a.wav: more than 1500 samples; cut it"):
        prepared(tmp_path, tmp_path / "a.wav")
    assert len(samples(prepared(tmp_path, tmp_path / "a.wav", seconds=0.05))) == 3


def test_a_long_recording_takes_little_memory(tmp_path: Path) -> None:
    """Ten minutes, 19 MB, of which at most a few blocks are in memory."""
    with soundfile.SoundFile(tmp_path / "long.wav", "w", RATE, 1, "PCM_16") as file:
        minute = noise(60 * RATE)
        for _ in range(10):
            file.write(minute)
    tracemalloc.start()
    try:
        info = prepared(tmp_path, tmp_path / "long.wav", seconds=0.5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert info.splits["train"].sequences == 1200
    assert peak < 12 * 2**20


# ------------------------------------------------------------------------------------------- damage

PCM = X.astype("<i2").tobytes()
HOSTILE = {
    "empty": (b"", "an empty file"),
    "text": (b"hello, this is text\n" * 50, "not a sound file"),
    "cut short": (wav(PCM[: 2 * 478], claims=4000), "cut short: its header says 2000 samples, there are 478"),
    "24 bits, cut short": (wav(PCM[:1002], claims=6000, bits=24), "says 2000 samples, there are 334"),
    "4 GiB": (wav(PCM, claims=2**32 - 1), "its header says 2147483647 samples, there are 2000"),
    "no samples": (wav(b""), "0 samples, less than a frame of 200"),
    "one sample": (wav(b"\1\0"), "1 samples, less than a frame of 200"),
    "rate 0": (wav(PCM, rate=0), ""),
    "highest rate": (wav(PCM, rate=2**31 - 1), "its header says 2147483647 samples per second"),
    "1024 channels": (wav(PCM * 2, channels=1024), "1024 channels"),
    "no channels": (wav(PCM, channels=0), "Channel count is zero"),
    "no bits": (wav(PCM, bits=0), "cannot be decoded"),
    "flac cut short": (encoded(X, "FLAC")[:-500], "cannot be decoded"),
    "flac that claims much": (encoded(X, "FLAC")[:21] + b"\xff" * 5 + encoded(X, "FLAC")[26:], "more than 24 hours"),
    "mp3 cut short": (encoded(noise(80000), "MP3", None)[:9000], "cut short: its header says 80000 samples"),
    "sphere cut short": (sphere(X, claims=3000), "cut short: its header says 3000 samples, there are 2000"),
    "shorten": (sphere(X, coding="pcm,embedded-shorten-v2.00"), "compressed with shorten"),
    "MATLAB": (encoded(X, "MAT5"), "not a sound file"),
    "npy cut short": (npy(X)[:-100], "cut short: its header says 2000 samples, there are 1950"),
    "npy that claims much": (npy(X).replace(b"(2000,), }", b"(2000000000000,), }"), "more than 24 hours"),
    "npy of int64": (npy(X.astype(int)), "int64 of shape [2000], not int16 or float samples"),
    "npy of two columns": (npy(X.reshape(-1, 2)), "int16 of shape [1000, 2]"),
    "npy of objects": (npy(np.array([{}], object)), "Python objects"),
    "npz of text": (npz(x=["a"]), "<U1 of shape [1]"),
    "npz with other lengths": (npz(x=X, x_len=[1, 2]), "x has shape [2000], its lengths add up to 3"),
    "npz with negative lengths": (npz(x=X, x_len=[2001, -1]), "its lengths add up to 2000"),
    "npz cut short": (npz(x=X)[:-50], "an npz that cannot be read"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_damaged_and_hostile_files_are_skipped(tmp_path: Path, case: str) -> None:
    """With their reason; alone, and with --strict, they are the error."""
    content, words = HOSTILE[case]
    folder = put(tmp_path / "s", a_wav=content, b_wav=encoded(X))
    info = prepared(tmp_path, folder)
    [(name, reason)] = why_skipped(info).items()
    assert name.startswith("a.wav")
    assert words in reason
    assert "\n" not in reason
    assert ids(info) == ["b"]
    assert describe(info.path)["skipped"] == info.extra["skipped"]
    for source, strict in ((folder / "a.wav", False), (folder, True)):
        with pytest.raises(DataError) as error:
            prepared(tmp_path, source, strict=strict)
        assert words in error.value.message
        assert error.value.exit_code == 3


def test_sound_that_is_not_read_is_listed(tmp_path: Path) -> None:
    """A folder of .m4a beside one .wav must not become a data set of one recording without a word."""
    folder = put(tmp_path / "s", a_wav=encoded(X), b_m4a=b"\0\0\0 ftypM4A ", c_M4A=b"\0\0\0 ftypM4A ", d_wma=b"0&")
    info = prepared(tmp_path, put(folder, e_txt=b"words"))
    assert why_skipped(info) == {
        "b.m4a": ".m4a is not read; convert it to wav or flac",
        "c.M4A": ".m4a is not read; convert it to wav or flac",
        "d.wma": ".wma is not read; convert it to wav or flac",
    }
    assert info.extra["unread_types"] == {".m4a": 2, ".wma": 1}
    assert info.extra["other_files"] == 1
    assert any("(2 .m4a, 1 .wma)" in line for line in describe(info.path)["warnings"])
    with pytest.raises(DataError, match=r"b\.m4a"):
        prepared(tmp_path, folder, strict=True)


def test_silence_and_full_scale_are_counted(tmp_path: Path) -> None:
    loud = np.array([-32768, -32768, 32767, 5] * 50)
    arrays = {"train": np.concatenate([X, loud]), "train_len": [2000, 200], "valid": np.full(400, 3), "test": X}
    np.savez(tmp_path / "s.npz", **{name: np.asarray(x, np.int16) for name, x in arrays.items()})
    info = prepared(tmp_path, tmp_path / "s.npz", frame=100)
    assert info.extra["recordings"] == {"train": 2, "valid": 1, "test": 1}
    assert info.extra["silent_recordings"] == {"train": 0, "valid": 1, "test": 0}
    assert (info.extra["full_scale_samples"], info.extra["clipped_samples"]) == (150, 0)
    about = describe(info.path)
    assert "all recordings of valid are silence" in about["warnings"]
    assert about["splits"]["train"]["seconds"] == pytest.approx(2200 / RATE)


def test_what_is_no_recording(tmp_path: Path) -> None:
    """FIFOs, links, folders named as sound, other files: none is opened that could hang, none is lost silently."""
    folder = put(tmp_path / "s", a_wav=encoded(X), deep__er__b_dat=encoded(X, "FLAC"), README_md=b"# text", x_au=b"hi")
    os.mkfifo(folder / "fifo.wav")
    (folder / "gone.wav").symlink_to("nowhere.wav")
    (folder / "device.wav").symlink_to("/dev/zero")
    (folder / "twice.wav").symlink_to("a.wav")
    (folder / "round").symlink_to(".")
    put(folder / "dir.wav", c_wav=encoded(X))
    info = prepared(tmp_path, folder)
    assert ids(info) == ["a", "b"]
    assert why_skipped(info) == {
        "dir.wav": "a folder",
        "round": "a link to a folder, which is not followed",
        "device.wav": "not a regular file",
        "fifo.wav": "not a regular file",
        "gone.wav": "No such file or directory",
        "twice.wav": "the same file as a.wav",
        "x.au": "not a sound file",
    }
    assert info.extra["other_files"] == 1
    for name in ("fifo.wav", "gone.wav", "device.wav", "README.md"):
        with pytest.raises(DataError, match="no recording to train on, 1 skipped"):
            prepared(tmp_path, folder / name)
    for missing in (tmp_path / "nothing", "a\0b", folder / "a.wav" / "x"):
        with pytest.raises(DataError):
            prepared(tmp_path, missing)


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Guarded(io.FileIO):
        def __init__(self, path: Any) -> None:
            if Path(path).name == "a.wav":
                raise PermissionError(13, "Permission denied")
            super().__init__(path)

    put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X))
    monkeypatch.setattr(decoding, "FileIO", Guarded)
    assert why_skipped(prepared(tmp_path, tmp_path / "s")) == {"a.wav": "Permission denied"}


def test_long_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is made small instead of the bomb big."""
    monkeypatch.setattr(decoding, "LONGEST_SECONDS", 1)
    monkeypatch.setattr(decoding, "BLOCK", 2000)
    zeros = np.zeros(17000, np.int16)
    flac = encoded(zeros, "FLAC")
    assert len(flac) < 9000
    put(tmp_path / "s", a_flac=flac, b_flac=without_length(flac), c_npz=npz(x=zeros), d_wav=encoded(X))
    assert set(why_skipped(prepared(tmp_path, tmp_path / "s"))) == {"a.flac", "b.flac", "c.npz/x"}


def test_no_more_than_a_hundred_are_named(tmp_path: Path) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(X), **{f"b{i}_wav": b"no sound" for i in range(103)})
    info = prepared(tmp_path, folder)
    assert (len(info.extra["skipped"]), info.extra["skipped_count"]) == (100, 103)


FUZZED = {
    "wav": encoded(X),
    "flac": encoded(X, "FLAC"),
    "ogg": encoded(X, "OGG", "VORBIS"),
    "sphere": sphere(X),
    "npy": npy(X),
    "npz": npz(x=X, x_len=[1500, 500]),
}


@pytest.mark.parametrize("form", FUZZED)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes(tmp_path: Path, form: str, data: st.DataObject) -> None:
    """Changed, cut or added bytes: a data file or an error of ours, never anything else."""
    content = bytearray(FUZZED[form])
    places = st.integers(0, 1100) | st.integers(0, len(content) - 1)  # headers, first
    for at in data.draw(st.lists(places, max_size=4)):
        content[min(at, len(content) - 1)] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    (tmp_path / "x").write_bytes(content[:end] + data.draw(st.binary(max_size=5)))
    try:
        info = prepared(tmp_path, tmp_path / "x", resample=True)
    except UserError:
        return
    assert info.splits["train"].steps > 0


# ------------------------------------------------------------------------------------------- names and splits


def test_odd_names(tmp_path: Path) -> None:
    names = [b"-rf.wav", b"a\nb.wav", b"[bold]x.wav", b"\xff\xfe.wav", b"x" * 251 + b".wav", "né ü.wav".encode()]
    (tmp_path / "s").mkdir()
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/s/" + name)).write_bytes(encoded(X))
    deep = tmp_path / "s" / ("d" * 250) / ("e" * 250) / ("f" * 250) / ("g" * 250)
    deep.mkdir(parents=True)
    (deep / ("x" * 251 + ".wav")).write_bytes(encoded(X))  # its stem is there twice: known by its path
    info = prepared(tmp_path, tmp_path / "s", seconds=0.05)
    got = {i.partition("#")[0] for i in ids(info)}
    assert {"-rf", "a\nb", "[bold]x", "\\udcff\\udcfe", "x" * 251 + ".wav", "né ü"} < got
    assert max(len(i.encode()) for i in ids(info)) <= 1024
    assert len(ids(info)) == 3 * 7
    json.dumps(info.extra).encode()


def test_ids_of_namesakes(tmp_path: Path) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(X), a_flac=encoded(X, "FLAC"), b__a_wav=encoded(X), c_wav=encoded(X))
    assert ids(prepared(tmp_path, folder)) == ["a.flac", "a.wav", "c", "b/a.wav"]
    other = put(tmp_path / "t", a_wav=encoded(X))
    assert ids(prepared(tmp_path, [other, folder / "a.wav"])) == ["a.wav", "a.wav~2"]


def speakers(folder: Path, count: int = 10, each: int = 3) -> Path:
    """Recordings of so many speakers, in a folder each."""
    return put(
        folder,
        **{
            f"s{s}__part__r{r}x{s}_wav": encoded(noise(400, seed=100 * s + r))
            for s in range(count)
            for r in range(each)
        },
    )


def test_splits_are_drawn_by_the_seed(tmp_path: Path) -> None:
    folder = speakers(tmp_path / "s")
    info = prepared(tmp_path, folder, splits=(80, 10, 10))
    first = {split: ids(info, split) for split in SPLITS}
    assert [len(first[split]) for split in SPLITS] == [24, 3, 3]
    content = info.path.read_bytes()
    folder.rename(tmp_path / "elsewhere")
    moved = (tmp_path / "elsewhere").rename(tmp_path / "deeper").rename(folder)
    assert prepared(tmp_path, moved, splits=(80, 10, 10)).path.read_bytes() == content
    info = prepared(tmp_path, folder, splits=(80, 10, 10), seed=1)
    drawn = {split: ids(info, split) for split in SPLITS}
    assert drawn != first
    assert sorted(itertools.chain(*drawn.values())) == sorted(itertools.chain(*first.values()))


@pytest.mark.parametrize("given_as", ["folder", "folders", "files"])
def test_splits_by_speaker(tmp_path: Path, given_as: str) -> None:
    folder = speakers(tmp_path / "s")
    source: Any = {"folder": folder, "folders": sorted(folder.iterdir()), "files": sorted(folder.rglob("*.wav"))}[
        given_as
    ]
    info = prepared(tmp_path, source, splits=(80, 10, 10), split_by="folder")
    who = {split: {i.partition("x")[2] for i in ids(info, split)} for split in SPLITS}
    assert [len(who[split]) for split in SPLITS] == [8, 1, 1]
    assert len(set().union(*who.values())) == 10


def test_too_little_for_a_validation_split(tmp_path: Path) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X), c_wav=b"not sound")
    for split_by, words in (("file", "2 recordings that can be used"), ("folder", "1 folders that can be used")):
        with pytest.raises(ConfigError, match=f"{words} are too few for training, valid and test") as error:
            prepared(tmp_path, folder, splits=(90, 5, 5), split_by=split_by)
        assert "--splits 100,0,0" in error.value.hint
    assert [len(ids(prepared(tmp_path, folder, splits=(50, 0, 50)), split)) for split in SPLITS] == [1, 0, 1]


@pytest.mark.parametrize("seconds", [0.1, None], ids=["windows", "whole"])
def test_splits_by_time(tmp_path: Path, seconds: float | None) -> None:
    """Of a recording the start is for training and the end for test."""
    long, short = noise(200 * 8 * 20 + 650, seed=1), noise(390, seed=2)
    long[:200], long[-1000:-800] = 32767, -32768
    folder = put(tmp_path / "s", a_wav=encoded(short), long_wav=encoded(long))
    options: dict[str, Any] = {"splits": (80, 10, 10), "split_by": "time", "seconds": seconds, "normalise": "range"}
    told: list[tuple[int, int]] = []
    info = prepared(tmp_path, folder, **options, progress=lambda done, of: told.append((done, of)))
    found = {split: dict(zip(ids(info, split), samples(info, split), strict=True)) for split in SPLITS}
    joined = np.concatenate([x for split in SPLITS for name, x in found[split].items() if name.startswith("long")])
    np.testing.assert_array_equal(joined, long[: len(long) // 200 * 200])
    if seconds:
        assert [len(found[split]) for split in SPLITS] == [1 + 17, 2, 2]
        assert [*found["valid"], *found["test"]] == ["long#17", "long#18", "long#19", "long#20"]
    else:
        assert [*found["train"], *found["valid"], *found["test"]] == ["a", "long#train", "long#valid", "long#test"]
        assert [len(x) for split in SPLITS for x in found[split].values()] == [200, 132 * 200 - 200, 16 * 200, 16 * 200]
    assert (info.extra["low"], info.extra["high"]) == (min(x.min() for x in found["train"].values()), 32767)
    assert info.extra["tail_samples"] == {"train": 190, "valid": 0, "test": 50}
    assert info.extra["full_scale_samples"] == 400
    assert info.extra["recordings"] == {"train": 2, "valid": 1, "test": 1}
    assert told[-1] == (4, 4)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert {of for _, of in told} == {4}


def test_clipped_samples_are_counted_once_however_a_recording_is_cut(tmp_path: Path) -> None:
    loud = np.concatenate([np.full(5000, 0.1), np.full(30, 1.5), np.full(5000, -0.1)])
    folder = put(tmp_path / "s", a_wav=encoded(loud, subtype="FLOAT"))
    for split_by in ("file", "time"):
        splits = (80, 10, 10) if split_by == "time" else ALL
        info = prepared(tmp_path, folder, splits=splits, split_by=split_by, seconds=0.1)
        assert info.extra["clipped_samples"] == 30


@pytest.mark.parametrize(("each", "count", "shares"), [(3, 30, (82, 4, 4)), (1, 40, (36, 2, 2)), (2, 10, (18, 1, 1))])
def test_shares_by_time_are_of_all_windows(tmp_path: Path, each: int, count: int, shares: tuple[int, ...]) -> None:
    """However short the recordings are; and no window is in two splits."""
    folder = put(tmp_path / "s", **{f"r{i:02}_wav": encoded(noise(each * 1600, seed=i)) for i in range(count)})
    info = prepared(tmp_path, folder, splits=(90, 5, 5), split_by="time", seconds=0.1)
    found = [ids(info, split) for split in SPLITS]
    assert tuple(map(len, found)) == shares
    assert sorted(itertools.chain(*found)) == [f"r{i:02}#{k}" for i in range(count) for k in range(each)]
    last = {name.partition("#")[0]: int(name.partition("#")[2]) for name in found[0]}
    for name in [*found[1], *found[2]]:
        recording, _, k = name.partition("#")
        assert int(k) > last.get(recording, -1)


def test_too_short_to_be_cut_by_time(tmp_path: Path) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(X[:1600]), b_wav=encoded(X[:1600]))
    with pytest.raises(ConfigError, match="2 windows of sound are too few for training, valid and test splits"):
        prepared(tmp_path, folder, splits=(90, 5, 5), split_by="time", seconds=0.1)
    assert not list(tmp_path.glob("*.h5"))
    info = prepared(tmp_path, folder, splits=(50, 0, 50), split_by="time", seconds=0.1)
    assert [ids(info, split) for split in SPLITS] == [["a#0"], [], ["b#0"]]


def test_what_is_cut_by_time_goes_on_after_an_interruption(tmp_path: Path) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(noise(20_000, 1)), b_wav=encoded(noise(30_000, 2)))
    options: dict[str, Any] = {"splits": (80, 10, 10), "split_by": "time", "seconds": 0.1}
    whole = prepared(tmp_path, folder, **options).path.read_bytes()
    (tmp_path / "out.h5").unlink()
    for stop in (1, 2, 3):

        def interrupt(done: int, of: int, stop: int = stop) -> None:
            if done == stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            prepared(tmp_path, folder, **options, progress=interrupt)
        assert not (tmp_path / "out.h5").exists()
    assert prepared(tmp_path, folder, **options).path.read_bytes() == whole


def test_splits_of_the_source_are_not_cut_by_time(tmp_path: Path) -> None:
    rows = [["train", 0, 8000, "a", ""], ["test", 0, 4000, "b", ""]]
    folder = indexed(tmp_path / "s", rows, train=8000, test=4000)
    kept = [prepared(tmp_path, folder, splits=(80, 10, 10), split_by=by, seconds=0.1) for by in ("file", "time")]
    assert [{split: ids(info, split) for split in SPLITS} for info in kept] == [
        {"train": [f"a#{k}" for k in range(5)], "valid": [], "test": ["b#0", "b#1", "b#2"]}
    ] * 2


def test_moments_and_range_are_those_of_the_training_split(tmp_path: Path) -> None:
    """Whatever the test recordings hold."""
    folder = speakers(tmp_path / "s")
    options: dict[str, Any] = {"splits": (80, 10, 10), "normalise": "range", "frame": 150}
    before = prepared(tmp_path, folder, **options)
    train = np.concatenate(samples(before)).astype(float)
    np.testing.assert_allclose([before.mean[0], before.std[0]], [train.mean(), train.std()])
    assert (before.extra["low"], before.extra["high"]) == (train.min(), train.max())
    assert before.extra["tail_samples"] == {"train": 2400, "valid": 300, "test": 300}
    for split in ("valid", "test"):
        for name in ids(before, split):
            next(folder.rglob(f"{name}.wav")).write_bytes(encoded(np.full(400, 32767, np.int16)))
    after = prepared(tmp_path, folder, **options)
    assert ids(after, "test") == ids(before, "test")
    np.testing.assert_array_equal(samples(after, "test")[0], 32767)
    np.testing.assert_array_equal([after.mean, after.std], [before.mean, before.std])
    assert (after.extra["low"], after.extra["high"]) == (before.extra["low"], before.extra["high"])
    assert "low" not in prepared(tmp_path, folder).extra


# ------------------------------------------------------------------------------------------- npz and index


def test_an_npz_of_recordings(tmp_path: Path) -> None:
    content = npz(a=X[:400], b=X / np.float32(40000), b_len=[600, 0, 1400], label=np.zeros(3, int))
    info = prepared(tmp_path, put(tmp_path / "s", x_npz=content))
    assert ids(info) == ["a", "b-0", "b-2"]
    assert list(map(len, samples(info))) == [400, 600, 1400]
    np.testing.assert_array_equal(samples(info)[2], np.rint(X[600:] / np.float32(40000) * 32768.0))
    assert set(why_skipped(info)) == {"x.npz/b-1", "x.npz/label"}
    alone = prepared(tmp_path, put(tmp_path / "t", x_npz=npz(sound=X, length=[1000, 1000])))
    assert ids(alone) == ["sound-0", "sound-1"]


def test_parts_of_an_array_in_several_splits(tmp_path: Path) -> None:
    """Each split is read forward through the packed array, past the parts of the others."""
    info = prepared(tmp_path, put(tmp_path / "s", x_npz=npz(x=X, x_len=[200] * 10)), splits=(40, 30, 30))
    got = {i: x for split in SPLITS for i, x in zip(ids(info, split), samples(info, split), strict=True)}
    assert len(got) == 10
    for i in range(10):
        np.testing.assert_array_equal(got[f"x-{i}"], X[200 * i : 200 * (i + 1)])


def test_an_npz_with_splits_keeps_them(tmp_path: Path) -> None:
    content = npz(train=X, train_len=[1000, 1000], test=X[:400], valid=X[:200])
    info = prepared(tmp_path, put(tmp_path / "s", x_npz=content), splits=(50, 25, 25))
    assert {split: ids(info, split) for split in SPLITS} == {
        "train": ["train-0", "train-1"],
        "valid": ["valid"],
        "test": ["test"],
    }


def test_an_array_that_claims_more_than_the_archive_holds(tmp_path: Path) -> None:
    """Neither is anything that big made, nor anything unpickled."""
    header = b"{'descr': '<i2', 'fortran_order': False, 'shape': (1000000000,), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00" + header)
        archive.writestr("y_len.npy", b"\x93NUMPY\x01\x00v\x00" + header)
    with pytest.raises(DataError, match="y_len has 1000000000 lengths"):
        prepared(tmp_path, tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00" + header)
    with pytest.raises(DataError, match="header says 1000000000 samples, there are 0"):
        prepared(tmp_path, tmp_path / "y.npz")


def indexed(folder: Path, rows: list[list[Any]], **lengths: int) -> Path:
    """The layout of shared/data/speech_*."""
    folder.mkdir(exist_ok=True)
    for seed, (split, length) in enumerate(lengths.items()):
        (folder / f"{split}.flac").write_bytes(encoded(noise(length, seed), "FLAC"))
    with open(folder / "index.csv", "w", newline="") as file:
        csv.writer(file).writerows([["split", "start", "n", "name", "speaker"], *rows])
    return folder


def test_the_index_layout(tmp_path: Path) -> None:
    """Rows in any order, with other samples between them; names as they are, namesakes numbered."""
    rows = [
        ["train", 700, 500, "b/b", ""],
        ["test", 0, 450, "c", ""],
        ["train", 0, 600, "a", "x"],
        ["test", 450, 400, "c", ""],
    ]
    folder = indexed(tmp_path / "s", rows, train=2000, test=1000)
    info = prepared(tmp_path, folder, splits=(90, 5, 5))
    assert {split: ids(info, split) for split in SPLITS} == {"train": ["b/b", "a"], "valid": [], "test": ["c", "c~2"]}
    x = noise(2000, 0)
    np.testing.assert_array_equal(np.concatenate(samples(info)), np.r_[x[700:1100], x[:600]])
    assert info.extra["tail_samples"] == {"train": 100, "valid": 0, "test": 50}
    assert (info.options["splits"], info.options["split_by"]) == ("the source's own", None)
    (folder / "index.csv").rename(folder / "other.csv")
    again = prepared(tmp_path, folder, index="other.csv")
    assert ids(again) == ids(info)
    assert again.options["index"] == "other.csv"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (["trian", 0, 10, "a"], "line 2: split 'trian': choose from test, train, valid"),
        (["valid", 0, 10, "a"], "there is no valid.flac"),
        (["train", "x", 10, "a"], "line 2: invalid literal"),
        (["train", -1, 10, "a"], "line 2: start and n are 0 or more"),
        (["train", 0, 10, ""], "line 2: start and n are 0 or more, and each recording has a name"),
        (["train", 0], "line 2: "),
        (["train", 1500, 501, "a"], "a: ends at sample 2001 of a file that has 2000"),
        (["train", 10**30, 200, "a"], "of a file that has 2000"),
    ],
)
def test_a_wrong_index(tmp_path: Path, row: list[Any], words: str) -> None:
    folder = indexed(tmp_path / "s", [row], train=2000)
    with pytest.raises(DataError) as error:
        prepared(tmp_path, folder)
    assert words in error.value.message
    (folder / "index.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="no column 'n'"):
        prepared(tmp_path, folder)
    with pytest.raises(DataError, match=r"nowhere.csv, line 1: No such file"):
        prepared(tmp_path, folder, index="nowhere.csv")


def test_spoken_digits(tmp_path: Path, shared: Path) -> None:
    """Counts and moments of its README (whose moments are of all samples, ours of all whole frames)."""
    folder = shared / "data" / "speech_digits"
    with pytest.raises(DataError, match="8000 samples per second, not 16000"):
        prepared(tmp_path, folder)
    info = prepared(tmp_path, folder, sample_rate=8000, frame=1)
    assert [info.splits[split].sequences for split in SPLITS] == [2400, 300, 300]
    assert sum(info.splits[split].steps for split in SPLITS) / 8000 / 60 == pytest.approx(21.9, abs=0.05)
    assert (round(info.mean[0]), round(info.std[0])) == (-32, 2002)
    assert info.extra["skipped_count"] == 0
    x, _ = soundfile.read(folder / "test.flac", dtype="int16")
    np.testing.assert_array_equal(np.concatenate(samples(info, "test")), x)


def test_one_voice_for_numpy_alone(tmp_path: Path, shared: Path) -> None:
    info = prepared(tmp_path, shared / "data" / "speech_one_voice" / "mini.npz")
    assert [info.splits[split].sequences for split in SPLITS] == [27, 0, 9]
    assert info.splits["train"].steps / 80 == pytest.approx(60, abs=1)


# ------------------------------------------------------------------------------------------- TIMIT


def timit_corpus(folder: Path, train: int = 20, upper: bool = True) -> Path:
    """Speakers of one SA sentence and one other, and their transcripts."""
    for half, count in (("TRAIN", train), ("TEST", 3)):
        for i in range(count):
            place = f"{half}/DR{1 + i % 2}/{half[1]}SP{i}"
            speaker = folder / (place if upper else place.lower())
            speaker.mkdir(parents=True)
            for name in ("SA1", f"SX{i}"):
                (speaker / f"{name}.WAV").write_bytes(sphere(noise(1000, seed=i)))
                (speaker / f"{name}.WAV.wav").write_bytes(encoded(noise(1000, seed=i)))  # in some copies
                (speaker / f"{name}.PHN").write_text("0 1000 h#\n")
    return folder


@pytest.mark.parametrize("upper", [True, False])
def test_timit(tmp_path: Path, upper: bool) -> None:
    """Its own test set; one in twenty training speakers for validation; whole utterances."""
    timit_corpus(tmp_path / "root" / "timit", upper=upper)
    told: list[tuple[int, int]] = []
    info = timit.prepare(tmp_path / "x.h5", source=tmp_path / "root", progress=lambda *n: told.append(n))
    assert told == [(n, 92) for n in range(1, 93)]
    assert [info.splits[split].sequences for split in SPLITS] == [38, 2, 6]
    assert {i.split("/")[1][0].upper() for i in ids(info, "test")} == {"E"}
    spoken = {split: {i.split("/")[1] for i in ids(info, split)} for split in ("train", "valid")}
    assert not spoken["train"] & spoken["valid"]
    assert {i.split("/")[2][:2] for i in ids(info)} == {"SA", "SX"}
    assert (info.splits["train"].shortest, info.options["seconds"], info.extra["skipped_count"]) == (5, None, 0)
    assert "LDC93S1" in info.source
    content = info.path.read_bytes()
    again = timit.prepare(tmp_path / "x.h5", source=tmp_path / "root", overwrite=True)
    assert again.path.read_bytes() == content
    drawn = {timit.prepare(tmp_path / "y.h5", source=tmp_path / "root", seed=s, overwrite=True) for s in range(3)}
    assert len(drawn) == 3
    windows = timit.prepare(tmp_path / "y.h5", source=tmp_path / "root", seconds=0.025, overwrite=True)
    assert windows.splits["train"].sequences == 3 * 38


def test_timit_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no folders TRAIN and TEST"):
        timit.prepare(tmp_path / "x.h5", source=tmp_path)
    with pytest.raises(DataError, match="No such file"):
        timit.prepare(tmp_path / "x.h5", source=tmp_path / "nothing")
    timit_corpus(tmp_path / "one", train=1)
    with pytest.raises(DataError, match="1 speakers, too few for a validation split"):
        timit.prepare(tmp_path / "x.h5", source=tmp_path / "one")
    packed = timit_corpus(tmp_path / "packed")
    path = next(packed.glob("TEST/*/*/SA1.WAV"))
    path.write_bytes(sphere(noise(1000), coding="pcm,embedded-shorten-v2.00"))
    info = timit.prepare(tmp_path / "x.h5", source=packed)
    [(name, reason)] = why_skipped(info).items()
    assert name.startswith("TEST/DR")
    assert "compressed with shorten" in reason
    with pytest.raises(DataError, match="shorten"):
        timit.prepare(tmp_path / "y.h5", source=packed, strict=True)


# ------------------------------------------------------------------------------------------- one pass after another


def test_a_file_that_changes_between_the_passes_of_convert(tmp_path: Path) -> None:
    """The first pass is over when its progress is told."""
    for later in (b"no sound", encoded(X[:1000]), encoded(np.r_[X, X])):
        put(tmp_path, a_wav=encoded(X))
        with pytest.raises(DataError, match=r"a.wav changed while it was read"):
            audio.convert(
                tmp_path / "a.wav",
                tmp_path / "out",
                sample_rate=16000,
                to="npy",
                progress=lambda *_, later=later: put(tmp_path, a_wav=later),
            )
    assert sorted(os.listdir(tmp_path)) == ["a.wav", "out"]
    assert os.listdir(tmp_path / "out") == []


def test_nothing_is_decoded_twice(tmp_path: Path) -> None:
    """What becomes of the files after the first pass changes nothing."""
    put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X[::-1]), c_wav=encoded(X))
    prepared(tmp_path, tmp_path / "s")
    whole = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "out.h5").unlink()

    def spoil(done: int, _: int) -> None:
        if done == 3:
            for path in (tmp_path / "s").iterdir():
                path.write_bytes(b"")

    prepared(tmp_path, tmp_path / "s", progress=spoil)
    assert (tmp_path / "out.h5").read_bytes() == whole


class Killed(BaseException):
    """What no handler in the library catches."""


@pytest.mark.parametrize("at", [1, 2, 3, 6])
def test_an_interrupted_prepare_goes_on(tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes as in one go, and only what was not decoded yet is."""
    put(tmp_path / "s", a_wav=encoded(X), b_wav=b"no sound", c_wav=encoded(X[::-1]), d_wav=encoded(X))
    prepared(tmp_path, tmp_path / "s")
    whole = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "out.h5").unlink()

    def stop(done: int, _: int) -> None:
        if done == at:
            raise Killed

    with pytest.raises(Killed):
        prepared(tmp_path, tmp_path / "s", progress=stop)
    assert not (tmp_path / "out.h5").exists()
    read: list[str] = []
    real = decoding.Decoder.read
    monkeypatch.setattr(decoding.Decoder, "read", lambda self, r, tally: read.append(r.name) or real(self, r, tally))
    prepared(tmp_path, tmp_path / "s")
    assert (tmp_path / "out.h5").read_bytes() == whole
    assert read == ["a.wav", "b.wav", "c.wav", "d.wav"][at:]
    assert sorted(os.listdir(tmp_path)) == ["out.h5", "s"]


def test_what_was_left_is_not_used_for_anything_else(tmp_path: Path) -> None:
    """Other files, other settings, a damaged spool: all is decoded anew."""

    def stop(done: int, _: int) -> None:
        raise Killed

    put(tmp_path / "s", a_wav=encoded(X), c_wav=encoded(X[::-1]), d_wav=encoded(X))
    for change in ("file", "frame", "spool"):
        put(tmp_path / "s", a_wav=encoded(X))
        with pytest.raises(Killed):
            prepared(tmp_path, tmp_path / "s", progress=stop)
        more = {}
        if change == "file":
            put(tmp_path / "s", a_wav=encoded(X // 2))
        elif change == "frame":
            more = {"frame": 100}
        else:
            [spool] = tmp_path.glob(".*.samples")
            spool.write_bytes(spool.read_bytes()[:50])
        info = prepared(tmp_path, tmp_path / "s", **more)
        again = audio.prepare(
            tmp_path / "fresh.h5", source=tmp_path / "s", splits=ALL, seconds=None, overwrite=True, **more
        )
        assert info.options == again.options
        for split in ("train", "valid", "test"):
            ours, fresh = (SequenceDataset(i.path, split) for i in (info, again))
            for i in range(len(fresh)):
                np.testing.assert_array_equal(ours[i], fresh[i])
        (tmp_path / "out.h5").unlink()


@pytest.mark.parametrize("damage", ["zeros", "torn", "negative", "bare", "more", "nothing"])
def test_a_damaged_spool_is_decoded_again(tmp_path: Path, damage: str) -> None:
    """As far as its checksums and lines are right it is used."""
    put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X[::-1]), c_wav=encoded(X // 2))
    prepared(tmp_path, tmp_path / "s")
    whole = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "out.h5").unlink()

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        prepared(tmp_path, tmp_path / "s", progress=stop)
    samples, journal = tmp_path / ".out.h5.samples", tmp_path / ".out.h5.heard"
    lines = journal.read_bytes().split(b"\n")
    if damage == "zeros":
        samples.write_bytes(bytes(samples.stat().st_size))
    elif damage == "torn":
        lines[1] = lines[1][:20]
    elif damage == "negative":
        lines[1] = json.dumps(json.loads(lines[1]) | {"end": -5}).encode()
    elif damage == "bare":
        lines[1] = b'{"end": 400}'
    elif damage == "more":
        lines[3:] = [lines[2]] * 5
    journal.write_bytes(b"\n".join(lines))
    prepared(tmp_path, tmp_path / "s")
    assert (tmp_path / "out.h5").read_bytes() == whole
    assert sorted(os.listdir(tmp_path)) == ["out.h5", "s"]


@pytest.mark.parametrize("name", [".out.h5.samples", ".out.h5.heard"])
def test_what_has_the_spools_names_is_left_alone(tmp_path: Path, name: str) -> None:
    put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X))
    (tmp_path / "mine.txt").write_bytes(b"mine")
    (tmp_path / name).symlink_to(tmp_path / "mine.txt")
    with pytest.raises(ConfigError, match="a link, which is not followed"):
        prepared(tmp_path, tmp_path / "s")
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ConfigError, match="not what prepare left there"):
        prepared(tmp_path, tmp_path / "s")
    assert (tmp_path / name).read_bytes() == (tmp_path / "mine.txt").read_bytes() == b"mine"


def test_two_at_once(tmp_path: Path) -> None:
    put(tmp_path / "s", a_wav=encoded(X), c_wav=encoded(X[::-1]), d_wav=encoded(X))
    said: list[str] = []

    def another(done: int, _: int) -> None:
        if not said:
            with pytest.raises(ConfigError, match="another process is making it") as error:
                prepared(tmp_path, tmp_path / "s")
            said.append(str(error.value))

    prepared(tmp_path, tmp_path / "s", progress=another)
    assert said
    assert (tmp_path / "out.h5").exists()


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    put(tmp_path / "s", a_wav=encoded(X), b_wav=b"no sound", c_wav=encoded(X))
    told: list[tuple[int, int]] = []
    prepared(tmp_path, tmp_path / "s", progress=lambda *n: told.append(n))
    assert told == [(1, 6), (2, 6), (3, 6), (5, 6), (6, 6)]


# ------------------------------------------------------------------------------------------- conversion


@pytest.mark.parametrize("to", ["wav", "npy"])
def test_conversion(tmp_path: Path, to: str) -> None:
    """Folders as they were; what comes out is read as the original is."""
    folder = put(
        tmp_path / "s",
        a_wav=encoded(X),
        a_flac=encoded(X[:500], "FLAC"),
        b__c_d_mp3=encoded(noise(44100), "MP3", None, rate=44100),
        e_npz=npz(x=X, x_len=[900, 1100]),
        bad_wav=b"no sound",
    )
    skipped: list[tuple[str, str]] = []
    options: dict[str, Any] = {"sample_rate": RATE, "to": to}
    with pytest.raises(DataError, match="44100 samples per second, not 16000"):
        audio.convert(folder, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()
    options["resample"] = True
    files = audio.convert(folder, tmp_path / "out", skipped=lambda *s: skipped.append(s), **options)
    names = [str(file.relative_to(tmp_path / "out")) for file in files]
    assert names == [f"{n}.{to}" for n in ("a", "a.wav", "e.npz/x-0", "e.npz/x-1", "b/c_d")]
    assert skipped == [("bad.wav", "not a sound file")]
    assert [len(list(tmp_path.glob("out/**/*.*")))] == [6]  # the folder e.npz is one of them
    for file, expected in zip(files, (X[:500], X, X[:900], X[900:]), strict=False):
        if to == "wav":
            with wave.open(str(file)) as sound:
                assert sound.getparams()[:4] == (1, 2, RATE, len(expected))
                got = np.frombuffer(sound.readframes(10**6), "<i2")
        else:
            got = np.load(file, allow_pickle=False)
        np.testing.assert_array_equal(got, expected)
    assert samples(prepared(tmp_path, files[-1], frame=1))[0].shape == (16000,)
    with pytest.raises(ConfigError, match="exists already"):
        audio.convert(folder, tmp_path / "out", **options)
    before = files[0].read_bytes()
    assert audio.convert(folder, tmp_path / "out", overwrite=True, **options) == files
    assert files[0].read_bytes() == before


def test_conversion_that_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(X))
    with pytest.raises(ConfigError, match="format 'mp3': choose from npy, wav"):
        audio.convert(folder, tmp_path / "out", sample_rate=RATE, to="mp3")
    other = put(tmp_path / "t", a_wav=encoded(X))
    with pytest.raises(ConfigError, match="two recordings would become"):
        audio.convert([folder, other, put(tmp_path / "u", a_wav=encoded(X))], tmp_path, sample_rate=RATE, to="wav")
    with pytest.raises(DataError, match="no recording to convert, 1 skipped"):
        audio.convert(put(tmp_path / "v", a_wav=b"-"), tmp_path / "out", sample_rate=RATE, to="wav")
    with pytest.raises(DataError, match=r"a.wav: not a sound file"):
        audio.convert(tmp_path / "v", tmp_path / "out", sample_rate=RATE, to="wav", strict=True)
    monkeypatch.setattr(audio, "WAV_BYTES", 1000)
    with pytest.raises(ConfigError, match="more than a wav can hold"):
        audio.convert(folder, tmp_path / "out", sample_rate=RATE, to="wav")
    assert list((tmp_path / "out").iterdir()) == []
