"""Damaged, hostile and unreadable recordings."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from soundfiles import RATE, X, encoded, ids, noise, npy, npz, prepared, put, sphere, wav, why_skipped, without_length

from pyro_vrnn.data.description import describe
from pyro_vrnn.data.sources import decoding
from pyro_vrnn.system.errors import DataError, UserError

PCM = X.astype("<i2").tobytes()
HOSTILE = {
    "empty": (b"", "an empty file"),
    "text": (b"hello, this is text\n" * 50, "not a sound file"),
    "cut short": (wav(PCM[: 2 * 478], claims=4000), "cut short: its header says 2000 samples, there are 478"),
    "24 bits, cut short": (wav(PCM[:1002], claims=6000, bits=24), "says 2000 samples, there are 334"),
    "3 GB": (wav(PCM, claims=3 * 10**9), "its header says 1500000000 samples, there are 2000"),
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


@pytest.mark.fault(30, 31, 32)
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


@pytest.mark.fault(35)
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


@pytest.mark.fault(35)
def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Guarded(io.FileIO):
        def __init__(self, path: Any) -> None:
            if Path(path).name == "a.wav":
                raise PermissionError(13, "Permission denied")
            super().__init__(path)

    put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X))
    monkeypatch.setattr(decoding, "FileIO", Guarded)
    assert why_skipped(prepared(tmp_path, tmp_path / "s")) == {"a.wav": "Permission denied"}


@pytest.mark.fault(35)
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


@pytest.mark.fault(35)
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
