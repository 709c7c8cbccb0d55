"""Every format of sound, told by its content."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
from soundfiles import (
    RATE,
    X,
    encoded,
    ids,
    noise,
    npy,
    npz,
    prepared,
    put,
    samples,
    sphere,
    wav,
    why_skipped,
    without_length,
)

from pyro_vrnn.data.sources import decoding, framing
from pyro_vrnn.system.errors import DataError

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


@pytest.mark.fault(35)
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


@pytest.mark.fault(34)
def test_rounding_and_clipping(tmp_path: Path) -> None:
    """Full scale is 32768 steps; what is beyond it is clipped and counted; 1.0 itself is not beyond."""
    x = np.zeros(200)
    x[:9] = [1.0, -1.0, 1.5, -7.0, 1e300, 0.5 / 32768, 1.5 / 32768, 1.4999 / 32768, -0.25]
    put(tmp_path, a_wav=encoded(x, subtype="DOUBLE"), b_npy=npy(x))
    for name in ("a.wav", "b.npy"):
        info = prepared(tmp_path, tmp_path / name, gain="none", clip=True)
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


@pytest.mark.fault(34)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(tmp_path: Path, bad: float) -> None:
    x = np.zeros(1000)
    x[-1] = bad
    put(tmp_path / "s", a_wav=encoded(x, subtype="FLOAT"), b_npy=npy(x), c_wav=encoded(X))
    info = prepared(tmp_path, tmp_path / "s")
    assert why_skipped(info) == dict.fromkeys(("a.wav", "b.npy"), "NaN or infinity in the samples before 1000")
    assert ids(info) == ["c"]


@pytest.mark.fault(33)
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
