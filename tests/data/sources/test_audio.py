"""Recordings in npz files and by an index, real ones, and conversion."""

from __future__ import annotations

import wave
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from soundfiles import RATE, X, encoded, ids, indexed, noise, npz, prepared, put, samples, why_skipped

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import audio
from pyro_vrnn.system.errors import ConfigError, DataError


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


def test_recordings_end_to_end(tmp_path: Path) -> None:
    """Windows longer than recordings; nothing is lost between two of them, and splits stay apart."""
    files = {f"{name}_wav": encoded(noise(130 + 10 * i, i)) for i, name in enumerate("abcdefgh")}
    folder = put(tmp_path / "s", **files)
    told: list[tuple[int, int]] = []
    asked: dict[str, Any] = {"frame": 40, "seconds": 0.02, "sample_rate": RATE, "splits": (50, 25, 25)}
    info = prepared(tmp_path, folder, join=True, progress=lambda *n: told.append(n), **asked)  # 320 samples: 8 frames
    assert told == [(n, 16) for n in range(1, 17)]
    content = [noise(130 + 10 * i, i) for i in range(8)]
    apart = prepared(tmp_path, folder, **(asked | {"frame": 10}))  # the same deal of the same files
    names = {split: sorted({i.partition("#")[0] for i in ids(apart, split)}) for split in SPLITS}
    info = prepared(tmp_path, folder, join=True, **asked)
    assert [len(names[split]) for split in SPLITS] == [4, 2, 2]
    for split in SPLITS:
        whole = np.concatenate([content["abcdefgh".index(name)] for name in names[split]])
        np.testing.assert_array_equal(np.concatenate(samples(info, split)), whole[: len(whole) // 40 * 40])
        assert info.extra["tail_samples"][split] == len(whole) % 40
        assert ids(info, split)[0] == f"{split}#0"
        assert all(len(x) == 320 for x in samples(info, split)[:-1])
    assert info.options["join"] is True
    assert "join" not in apart.options


@pytest.mark.parametrize(("options", "words"), [({"seconds": None}, "seconds 0"), ({"split_by": "time"}, "by time")])
def test_what_cannot_be_joined(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    folder = put(tmp_path / "s", a_wav=encoded(X))
    with pytest.raises(ConfigError, match=words):
        prepared(tmp_path, folder, **({"seconds": 0.5, "join": True} | options))
    assert not (tmp_path / "out.h5").exists()
