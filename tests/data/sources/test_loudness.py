"""Recordings beyond full scale: turned down by one gain, refused, or clipped where that is asked for."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from soundfiles import ALL, RATE, X, encoded, ids, noise, npy, prepared, put, samples, why_skipped

import pyro_vrnn as pv
from pyro_vrnn import cli, media
from pyro_vrnn.data.format import DataFormat, format_of
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import SPLITS, Array
from pyro_vrnn.data.sources import decoding
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError


def tone(peak: float, seed: int = 0, size: int = 4000) -> Array:
    """A tone and some noise, float64, whose largest value is `peak`."""
    x = np.sin(np.arange(size) * 0.1) + 0.1 * np.random.default_rng(seed).normal(size=size)
    return x / np.abs(x).max() * peak


def loud_folder(folder: Path) -> tuple[Path, dict[str, Array]]:
    """Three recordings of floats, of which one is far beyond full scale, and one of 16 bits."""
    found = {"a": tone(4.7, 1), "b": tone(0.9, 2), "c": tone(3.1, 3)}
    for name, x in found.items():
        (folder / "s").mkdir(exist_ok=True)
        (folder / "s" / f"{name}.wav").write_bytes(encoded(x, subtype="DOUBLE"))
    put(folder / "s", d_wav=encoded(X))
    return folder / "s", found | {"d": X / 32768}


def by_id(info: Any) -> dict[str, Array]:
    return {name: x for split in SPLITS for name, x in zip(ids(info, split), samples(info, split), strict=True)}


@pytest.mark.parametrize("options", [{}, {"splits": (50, 25, 25)}, {"splits": (50, 25, 25), "split_by": "time"}])
def test_all_recordings_are_turned_down_alike(tmp_path: Path, options: dict[str, Any]) -> None:
    folder, expected = loud_folder(tmp_path)
    info = prepared(tmp_path, folder, **options)
    gain = info.extra["gain"]
    assert gain == 0.2127  # 1 / 4.7, rounded down
    assert info.extra["clipped_samples"] == 0
    assert "gain" not in info.options
    assert (sum(info.extra["recordings"].values()), info.extra["skipped"]) == (12 if "split_by" in options else 4, [])
    if "split_by" not in options:
        for name, got in by_id(info).items():
            np.testing.assert_array_equal(got, np.rint(expected[name] * gain * 32768))


def test_what_is_not_loud_is_left_alone(tmp_path: Path) -> None:
    """Up to full scale; a few samples a little beyond it; more of them out of a decoder or a resampler."""
    few = np.r_[np.full(10, 1.4), tone(0.5, size=20_000)]
    square = np.sign(tone(1.0)) * 0.999
    cases = {
        "full scale": (encoded(tone(1.0), subtype="DOUBLE"), False),
        "few": (encoded(few, subtype="FLOAT"), True),
        "mp3": (encoded(square, "MP3", None), True),
        "ogg": (encoded(square, "OGG", "VORBIS"), True),
        "resampled": (encoded(np.rint(square * 32767).astype(np.int16), rate=44_100), True),
        "floats, resampled": (encoded(square, subtype="FLOAT", rate=44_100), True),
    }
    for name, (content, clipped) in cases.items():
        (tmp_path / "a").write_bytes(content)
        info = prepared(tmp_path, tmp_path / "a", resample=True)
        assert "gain" not in info.extra, name
        assert (info.extra["clipped_samples"] > 0) is clipped, name


@pytest.mark.parametrize(
    ("loud", "gain"),
    [
        (encoded(np.r_[np.full(10, 1.4), tone(0.5)], subtype="FLOAT"), 0.7142),  # more than one in a thousand
        (encoded(np.r_[np.full(1, 1.6), tone(0.5, size=50_000)], subtype="FLOAT"), 0.6249),  # in float32 1.6 is more
        (npy(tone(2.0)), 0.5),
        (npy((X * 1.0).astype(np.float32)), None),  # 16-bit values as floats
        (encoded(tone(4.0), "AIFF", "DOUBLE"), 0.25),
        (encoded(np.stack([tone(3.0), tone(3.0)], 1), "AU", "DOUBLE"), 0.3333),
        (encoded(tone(2.0, size=9000), subtype="DOUBLE", rate=48_000), None),
    ],
)
def test_what_is_loud(tmp_path: Path, loud: bytes, gain: float | None) -> None:
    (tmp_path / "a").write_bytes(loud)
    info = prepared(tmp_path, tmp_path / "a", resample=True)
    found = info.extra["gain"]
    assert found == gain or (gain is None and found < 1)
    assert info.extra["clipped_samples"] == 0
    assert 32700 <= np.abs(samples(info)[0].astype(int)).max() <= 32768
    assert float(f"{found:.4g}") == found


def test_without_a_gain_it_is_refused_or_clipped(tmp_path: Path) -> None:
    folder, expected = loud_folder(tmp_path)
    with pytest.raises(DataError, match=r"a.wav: \d+ of 4000 samples are beyond full scale, up to 4.7 times") as error:
        prepared(tmp_path, folder, gain="none")
    assert "--gain auto" in error.value.hint
    assert "--clip" in error.value.hint
    assert os.listdir(tmp_path) == ["s"]
    info = prepared(tmp_path, folder, gain="none", clip=True)
    assert info.extra["clipped_samples"] == sum(int((np.abs(x) > 1).sum()) for x in expected.values())
    assert "gain" not in info.extra
    assert (info.options["gain"], info.options["clip"]) == ("none", True)
    few = put(tmp_path / "t", a_wav=encoded(np.r_[1.4, 1.4, tone(0.5)], subtype="FLOAT"))
    assert prepared(tmp_path, few, gain="none").extra["clipped_samples"] == 2
    with pytest.raises(ConfigError, match="gain 'loud': choose from auto, none"):
        prepared(tmp_path, folder, gain="loud")
    with pytest.raises(ConfigError, match="--clip is for --gain none"):
        prepared(tmp_path, folder, clip=True)


def test_one_recording_does_not_silence_the_others(tmp_path: Path) -> None:
    parts = {f"{name}_wav": encoded(tone(0.5, i), subtype="FLOAT") for i, name in enumerate("bcd")}
    folder = put(tmp_path / "s", a_npy=npy(tone(30_000.0)), **parts)
    with pytest.raises(DataError, match=r"a.npy: a sample is 3e\+04 times full scale, where those of most recordings"):
        prepared(tmp_path, folder)
    put(tmp_path / "s", a_npy=npy(np.r_[1e300, tone(0.5)]), e_wav=encoded(tone(2.0), subtype="DOUBLE"))
    for _ in range(2):
        info = prepared(tmp_path, folder)
        assert why_skipped(info) == {"a.npy": "a sample is 1e+300 times full scale, which no recording is"}
        assert (info.extra["gain"], len(ids(info))) == (0.5, 4)


class Killed(BaseException):
    """What no handler in the library catches."""


@pytest.mark.fault(61)
@pytest.mark.parametrize("at", [1, 4, 5, 6, 8, 11])
def test_an_interrupted_prepare_continues_with_its_gain(
    tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first pass, in the second, and while it writes: the same bytes, and nothing is decoded that was."""
    folder, _ = loud_folder(tmp_path)
    told: list[tuple[int, int]] = []
    prepared(tmp_path, folder, progress=lambda *n: told.append(n))
    assert told == [(i, 8) for i in range(1, 5)] + [(i, 12) for i in range(5, 13)]
    whole = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "out.h5").unlink()

    def stop(done: int, _: int) -> None:
        if done == at:
            raise Killed

    with pytest.raises(Killed):
        prepared(tmp_path, folder, progress=stop)
    read: list[str] = []
    real = decoding.Decoder.read
    monkeypatch.setattr(decoding.Decoder, "read", lambda self, r, tally: read.append(r.name) or real(self, r, tally))
    prepared(tmp_path, folder)
    assert (tmp_path / "out.h5").read_bytes() == whole
    names = ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert read == ([*names[at:], *names] if at <= 4 else names[at - 4 :])
    assert sorted(os.listdir(tmp_path)) == ["out.h5", "s"]


@pytest.mark.parametrize("line", [b'{"gain": 2.0}', b'{"gain": "x"}', b'{"gain": 0.1', b"[]", b'{"gain": NaN}'])
def test_a_damaged_gain_is_found_again(tmp_path: Path, line: bytes) -> None:
    folder, _ = loud_folder(tmp_path)
    prepared(tmp_path, folder)
    whole = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "out.h5").unlink()

    def stop(done: int, _: int) -> None:
        if done == 6:
            raise Killed

    with pytest.raises(Killed):
        prepared(tmp_path, folder, progress=stop)
    journal = tmp_path / ".out.h5.heard"
    lines = journal.read_bytes().split(b"\n")
    assert lines[1] == b'{"gain": 0.2127}'
    journal.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    prepared(tmp_path, folder)
    assert (tmp_path / "out.h5").read_bytes() == whole


def test_another_gain_does_not_use_what_was_left(tmp_path: Path) -> None:
    folder, _ = loud_folder(tmp_path)

    def stop(done: int, _: int) -> None:
        if done == 6:
            raise Killed

    with pytest.raises(Killed):
        prepared(tmp_path, folder, progress=stop)
    info = prepared(tmp_path, folder, gain="none", clip=True)
    np.testing.assert_array_equal(by_id(info)["d"], X)
    assert "gain" not in info.extra


def test_the_command_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, _ = loud_folder(tmp_path)
    command = [
        "prepare",
        "audio",
        str(folder),
        "--seconds",
        "0",
        "--splits",
        "100,0,0",
        "--out",
        str(tmp_path / "x.h5"),
    ]
    assert cli._run(command) == 0
    assert "all samples multiplied by 0.2127, so that none is beyond full scale" in capsys.readouterr().out
    assert cli._run([*command, "--overwrite", "--gain", "none"]) == 3
    assert "--gain auto" in capsys.readouterr().err
    assert cli._run([*command, "--overwrite", "--gain", "none", "--clip"]) == 0
    assert "samples clipped to 16 bits" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------- after training


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    """A model of recordings that reach 8 times full scale."""
    folder = tmp_path_factory.mktemp("loud")
    (folder / "s").mkdir()
    for i in range(12):
        (folder / "s" / f"a{i:02}.wav").write_bytes(encoded(tone(8.0, i), subtype="FLOAT"))
    info = prepared(folder, folder / "s", splits=(60, 20, 20), frame=100)
    assert info.extra["gain"] in (0.125, 0.1249)  # 8.0 in float32
    settings = {"model.hidden_dim": 8, "model.network_dims": [8], "model.latent_dim": 3}
    return pv.train(
        "jsb-vrnn", data=info.path, out=folder / "run", max_steps=3, likelihood="gaussian", settings=settings
    )


def test_a_sample_is_as_loud_as_the_recordings(run: pv.Run, tmp_path: Path) -> None:
    """The beginning that was given comes out as it was before it was turned down."""
    gain = pv.load(run.folder).format.gain
    assert gain == run.format.gain in (0.125, 0.1249)
    test = run.data()
    stored = next(iter(read_split(test.info.path, "test")))
    for folder in ("a", "b"):
        first = run.sample(1, 20, prime_index="0", prime_steps=15, out=tmp_path / folder)[0]
    assert first.read_bytes() == (tmp_path / "a" / first.name).read_bytes()
    wave, rate = soundfile.read(first)
    assert (rate, soundfile.info(first).subtype, len(wave)) == (RATE, "FLOAT", 2000)
    np.testing.assert_allclose(wave[:1500], stored[:15].reshape(-1) / 32768 / gain, rtol=1e-5, atol=1e-4)
    assert 4 < np.abs(wave[:1500]).max() <= 8.01
    # And back: a file of the loudness of the recordings is a beginning too.
    again = run.sample(1, 20, prime=first, prime_steps=15, out=tmp_path / "c")[0]
    np.testing.assert_allclose(soundfile.read(again)[0][:1500], wave[:1500], atol=1e-3)
    np.testing.assert_allclose(media.read(run.format, first)[:15], stored[:15], atol=1.01)


def test_a_recording_of_16_bits_is_turned_down_where_the_data_was(tmp_path: Path) -> None:
    form = DataFormat(kind="audio", support="real", x_dim=50, steps_per_second=160.0, frame_length=50, gain=0.25)
    (tmp_path / "a.wav").write_bytes(encoded(X, rate=8000))
    np.testing.assert_array_equal(media.read(form, tmp_path / "a.wav").reshape(-1), np.rint(X / 4))
    path, picture, facts = media.write(form, np.full((3, 50), 16384.0), tmp_path / "s")
    assert picture is not None
    assert (soundfile.read(path)[0] == 2.0).all()
    assert (facts["peak"], facts["gain"], facts["data_gain"], facts["samples"]) == (2.0, 1.0, 0.25, 150)
    assert replace(form, scale=(500.0,)).by_sample(50.0)["amplitude_unit"] == "2000 16-bit steps"


@pytest.mark.parametrize("gain", [0, 0.0, -1.0, 1.5, float("nan"), float("inf"), True, "0.5", [0.5]])
def test_a_gain_that_is_none(tmp_path: Path, gain: Any) -> None:
    x = [noise(1000, seed).reshape(5, 200) for seed in range(3)]
    splits = dict.fromkeys(SPLITS, x)
    options: dict[str, Any] = {"kind": "audio", "support": "real", "steps_per_second": 80.0, "frame_length": 200}
    names = {split: [str(i) for i in range(3)] for split in SPLITS}
    options |= {"source": "", "licence": "", "ids": names}
    info = write_sequences(tmp_path / "x.h5", splits, **options)
    assert format_of(info).gain == 1.0
    assert format_of(replace(info, extra={"gain": 1})).gain == 1.0
    assert format_of(replace(info, extra={"gain": 0.5})).gain == 0.5
    with pytest.raises(DataError, match=r"gain .* is no number above 0"):
        format_of(replace(info, extra={"gain": gain}))


def test_files_that_need_no_gain_say_nothing_of_it(tmp_path: Path) -> None:
    info = prepared(tmp_path, put(tmp_path / "s", a_wav=encoded(X)), splits=ALL)
    assert not {"gain", "mended", "clip"} & ({*info.extra} | {*info.options})
