"""Drift of sound: the two numbers where they are known exactly, the continuations, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small import write_audio, write_small

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.runs import drift
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError

RATE = 8000
NOISE = 3000 * np.random.default_rng(0).normal(size=(2, 3 * RATE))
REFERENCE = float(np.mean(NOISE**2)), drift.power_spectrum(NOISE, RATE)
DOUBLED = 20 * np.log10(2)  # 6.02 dB


def test_twice_the_amplitude_is_six_decibels_more() -> None:
    energy, distance = drift.by_second(2 * NOISE, RATE, *REFERENCE)
    assert len(energy) == len(distance) == 3
    assert np.mean(energy) == pytest.approx(DOUBLED, abs=0.01)
    assert drift.level(4 * REFERENCE[0], REFERENCE[0]) == pytest.approx(DOUBLED, abs=1e-12)
    assert drift.log_spectral_distance(4 * REFERENCE[1], REFERENCE[1]) == pytest.approx(DOUBLED, abs=1e-12)
    assert drift.log_spectral_distance(REFERENCE[1] / 4, REFERENCE[1]) == pytest.approx(DOUBLED, abs=1e-12)


def test_a_spectrum_has_no_distance_from_itself() -> None:
    one = NOISE[:, :RATE]
    assert drift.by_second(one, RATE, float(np.mean(one**2)), drift.power_spectrum(one, RATE)) == ([0.0], [0.0])


def test_the_distance_is_a_root_of_a_mean_of_squares() -> None:
    reference = np.full(4, 100.0)
    assert drift.log_spectral_distance(reference * [1, 1, 10, 0.1], reference) == pytest.approx(np.sqrt(200 / 4))


def test_white_noise_has_its_variance_in_every_band_and_a_tone_its_own_band() -> None:
    spectrum = drift.power_spectrum(NOISE, RATE)
    assert drift.window_samples(RATE) == 256
    assert drift.window_samples(16000) == 512
    assert spectrum.shape == (129,)
    assert spectrum[2:-2].mean() == pytest.approx(9e6, rel=0.03)
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    assert np.argmax(drift.power_spectrum(tone, RATE)) == 1000 * 256 // RATE


def test_all_windows_count_however_many_are_transformed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "WINDOWS_AT_ONCE", 7)
    np.testing.assert_allclose(drift.power_spectrum(NOISE, RATE), REFERENCE[1], rtol=1e-12)


def test_silence_has_decibels_too() -> None:
    x = NOISE.copy()
    x[:, RATE : 2 * RATE] = 0
    energy, distance = drift.by_second(x, RATE, *REFERENCE)
    assert energy[1] == pytest.approx(10 * np.log10(drift.FLOOR / REFERENCE[0]))
    assert np.isfinite(distance).all()
    assert distance[1] > 70
    assert abs(energy[0]) < 1
    silence = drift.power_spectrum(np.zeros((1, RATE)), RATE)
    assert drift.by_second(np.zeros((1, RATE)), RATE, 0.0, silence) == ([0.0], [0.0])


def test_several_sounds_count_together() -> None:
    energy, _ = drift.by_second(np.stack([NOISE[0], 0 * NOISE[0]]), RATE, *REFERENCE)
    assert np.mean(energy) == pytest.approx(-10 * np.log10(2), abs=0.1)


def trained(folder: Path, *, likelihood: str, model: str = "rnn", frame: int = 800) -> pv.Run:
    data = folder / "tones.h5"
    if not data.exists():
        write_audio(data, frame=frame)
    settings = {"model.likelihood": likelihood, "model.hidden_dim": 8, "model.network_dims": [8]}
    return pv.train(model=model, data=data, out=folder / model, settings=settings, max_steps=3, device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    return trained(tmp_path_factory.mktemp("drift"), likelihood="gaussian-fixed")


def test_a_continuation_is_what_the_model_expects_after_its_own_sound(run: pv.Run) -> None:
    primes = torch.randn(5, 3, 800)
    own = drift.continuations(run.net, primes, 4)
    x = torch.cat([primes, own])
    with torch.no_grad():
        features, state = run.net.features(x), run.net.begin(Batch.of(x))
        for t in range(len(x)):
            if t >= len(primes):
                torch.testing.assert_close(run.net.p_x(state, x[t, :, :0]).mean, x[t])
            state = run.net.next(state, x[t, :, :0], features[t])
    assert own.shape == (4, 3, 800)


@pytest.mark.parametrize("model", ["vrnn", "srnn", "vrae"])
def test_models_with_latent_variables_drift_too(model: str, tmp_path: Path) -> None:
    run = trained(tmp_path, likelihood="gaussian", model=model)
    found = run.drift(2, num=3, seed=1)
    assert found == run.drift(2, num=3, seed=1)
    assert found.energy_db != run.drift(2, num=3, seed=2).energy_db
    assert found.real_energy_db == run.drift(2, num=3, seed=2).real_energy_db
    assert all(len(column) == 2 and np.isfinite(column).all() for column in list(found.as_dict().values())[3:7])


def test_real_sound_is_near_the_data_and_a_model_that_learned_nothing_is_not(run: pv.Run) -> None:
    found = run.drift(4, num=4)
    assert (found.seconds, found.num, found.prime_seconds) == (4, 4, 0.5)
    assert np.abs(found.real_energy_db).max() < 1
    assert max(found.real_distance_db) < min(found.distance_db)
    assert max(found.energy_db) < -10  # three updates from a mean of 0


def test_the_real_sound_is_what_follows_the_beginnings(run: pv.Run) -> None:
    """Of one continuation from the split's start: its second second is the split's from 1.5 to 2.5 s."""
    sound = np.concatenate([run.encoding.decode(x) for x in map(run.data().__getitem__, range(4))]).reshape(-1)
    train = np.concatenate([run.encoding.decode(run.data(split="train")[i]) for i in range(12)]).reshape(1, -1)
    found = run.drift(2, num=1)
    cut = sound[None, 3 * RATE // 2 : 5 * RATE // 2]
    reference = float(np.mean(train**2)), drift.power_spectrum(train, RATE)
    expected = drift.by_second(cut, RATE, *reference)
    assert (found.real_energy_db[1], found.real_distance_db[1]) == pytest.approx((expected[0][0], expected[1][0]))


def test_long_splits_are_read_in_part(run: pv.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "REFERENCE_SECONDS", 3)  # of 14.4 seconds of training: each fifth sequence
    assert len(drift._sound(run, run.data(split="train"))) == 3 * 12
    assert np.isfinite(run.drift(1, num=2).distance_db).all()


def test_what_cannot_be_measured(run: pv.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds in (0, 601):
        with pytest.raises(ConfigError, match=f"--drift {seconds}: must be from 1 to 600 seconds"):
            run.drift(seconds)
    with pytest.raises(ConfigError, match="num=0"):
        run.drift(2, num=0)
    short = trained(tmp_path / "short", likelihood="gaussian-fixed", frame=20)
    with pytest.raises(DataError, match=r"train: 0\.36 seconds of sound are too few"):
        short.drift(2)
    notes = pv.train(data=write_small(tmp_path / "x.h5"), out=tmp_path / "notes", max_steps=1, device="cpu")
    with pytest.raises(ConfigError, match="drift is measured of sound, and this model is of pianoroll"):
        notes.drift(2)
    monkeypatch.setattr(
        drift, "continuations", lambda net, primes, steps, progress: torch.full((steps, 8, 800), torch.nan)
    )
    with pytest.raises(NumericsError, match="not finite"):
        run.drift(2)


def test_the_command(run: pv.Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["evaluate", str(run.folder), "--drift", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["split"], found["seed"]) == (1, "test", 0)
    assert found["drift"] == run.drift(3).as_dict()
    assert found["data"] == str(run.data().info.path)
    (picture,) = found["files"]
    assert Path(picture) == run.folder / "figures" / "drift-test.png"
    assert Path(picture).read_bytes().startswith(b"\x89PNG")
    assert cli._run(["evaluate", str(run.folder), "--drift", "3", "--split", "valid"]) == 0
    said = capsys.readouterr().out
    assert "valid: 8 continuations of 0.5 seconds of real sound" in said
    assert [line.split()[0] for line in said.splitlines()[2:6]] == ["1", "2", "3", "mean"]
    assert cli._run(["evaluate", str(run.folder), "--drift", "0"]) == 2
    assert cli._run(["evaluate", str(run.folder), "--drift", "2", "--forecast", "2"]) == 2


def test_real_sound_that_repeats_itself_is_told(run: pv.Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The split has 4.8 seconds: beginnings of half a second and what comes after them fit in up to 4."""
    assert cli._run(["evaluate", str(run.folder), "--drift", "4", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["drift"]["real_seconds"] == 4.8
    assert "note" not in found
    assert cli._run(["evaluate", str(run.folder), "--drift", "5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["note"] == "test has 4.8 seconds of sound: real sound repeats itself after that"
    assert cli._run(["evaluate", str(run.folder), "--drift", "5"]) == 0
    assert f"note: {found['note']}" in capsys.readouterr().out


def test_it_tells_how_far_it_is(
    run: pv.Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int]] = []
    assert run.drift(1, num=1, progress=lambda *at: told.append(at)) == run.drift(1, num=1)
    assert told == [(step, 10) for step in range(1, 11)]
    monkeypatch.setattr("pyro_vrnn.cli.console.PLAIN_SECONDS", -1)
    assert cli._run(["evaluate", str(run.folder), "--drift", "1"]) == 0
    assert capsys.readouterr().err.splitlines() == [f"continuations of test: {step}/10" for step in range(1, 11)]
    assert cli._run(["evaluate", str(run.folder), "--drift", "1", "--quiet"]) == 0
    assert "continuations" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "other",
    [
        ("--forecast", "2"),
        ("--objective", "elbo"),
        ("--particles", "3"),
        ("--season", "2"),
        ("--batch-size", "32"),
        ("--repeats", "1"),
    ],
)
def test_what_drift_has_no_use_for_is_refused(
    other: tuple[str, str], run: pv.Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also at its usual value: who gives it expects that it changes something."""
    assert cli._run(["evaluate", str(run.folder), "--drift", "2", *other]) == 2
    assert f"{other[0]} and --drift: give one of them" in capsys.readouterr().err


def test_a_sample_of_least_squares_is_the_mean_and_not_noise(run: pv.Run, tmp_path: Path) -> None:
    """The drift's continuation is what `sample` plays; noise of deviation 1 in the data's units is for who asks."""
    options = {"prime_index": "0", "prime_steps": 5, "out": tmp_path}
    files = [run.sample(1, 9, **options), run.sample(1, 9, temperature=1.0, **options)]
    assert [found[0].name for found in files] == ["sample-0-from-0-5-00.wav", "sample-0-from-0-5-at-1-00.wav"]
    plain, noisy = (soundfile.read(found[0])[0][5 * 800 :] * 32768 for found in files)
    prime = torch.from_numpy(run.data()[0][:5])[:, None]
    mean = run.encoding.decode(drift.continuations(run.net, prime, 4)[:, 0].double().numpy()).reshape(-1)
    np.testing.assert_allclose(plain, mean, atol=0.51)
    assert np.std(noisy - mean) > 1000
