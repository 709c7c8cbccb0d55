"""Noise that a model takes off, against a median filter: by hand where the answer is known, and by the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fits import fit
from small import write_audio, write_small

from pyro_vrnn import cli, runs
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.runs import denoising, reconstruction
from pyro_vrnn.runs.denoising import errors, median, summary
from pyro_vrnn.system.errors import ConfigError

BITS = DataFormat(kind="pianoroll", support="binary", x_dim=2, steps_per_second=2.0, lowest_pitch=40)
NUMBERS = DataFormat(kind="vectors", support="real", x_dim=1)
SOUND = DataFormat(kind="audio", support="real", x_dim=4, steps_per_second=2000.0, frame_length=4)
SYMBOLS = DataFormat(kind="symbols", support="categorical", x_dim=1, symbols=("a", "b", "c"))


def column(*values: float) -> np.ndarray:
    return np.array(values, np.float32)[:, None]


def test_a_median_of_known_steps() -> None:
    x = column(1, 9, 2, 3, 100, 4)
    np.testing.assert_array_equal(median(x, 3, NUMBERS), column(1, 2, 3, 3, 4, 4))
    np.testing.assert_array_equal(median(x, 5, NUMBERS), column(1, 2, 3, 4, 4, 4))
    bits = np.array([[1, 0], [0, 0], [1, 1], [1, 0]], np.float32)
    np.testing.assert_array_equal(median(bits, 3, BITS), [[1, 0], [1, 0], [1, 0], [1, 0]])  # the majority


def test_of_sound_it_runs_over_samples() -> None:
    wave = np.array([[0, 0, 0, 0], [0, 9, 0, 0], [0, 0, 0, 9], [9, 0, 0, 0]], np.float32)
    np.testing.assert_array_equal(median(wave, 3, SOUND).ravel(), [0] * 11 + [9, 9, 0, 0, 0])


def test_errors_of_known_sequences() -> None:
    clean, spoilt, back = column(0, 0, 0, 0, 0, 0, 0), column(0, 0, 2, 0, 0, 0, 0), column(0, 1, 0, 0, 0, 0, 0)
    found = errors(NUMBERS, clean, spoilt, back)
    assert (found.before, found.after) == (pytest.approx(4 / 7), pytest.approx(1 / 7))
    assert found.median == dict.fromkeys((3, 5, 7, 9), 0.0)
    holes = clean.copy()
    holes[2] = np.nan
    assert errors(NUMBERS, holes, spoilt, back).before == 0.0
    bits = errors(BITS, np.zeros((4, 2)), np.eye(4, 2), np.zeros((4, 2)))
    assert (bits.before, bits.after) == (2 / 8, 0.0)
    one_hot = np.eye(3, dtype=np.float32)
    symbols = errors(SYMBOLS, one_hot[[0, 1, 2, 0]], one_hot[[0, 1, 0, 1]], one_hot[[0, 1, 2, 1]])
    assert (symbols.before, symbols.after, symbols.median) == (0.5, 0.25, {})


def test_the_best_width_is_of_all_sequences() -> None:
    found = [denoising.Errors(1.0, 0.5, {3: 0.1, 5: 0.4}), denoising.Errors(3.0, 0.5, {3: 0.9, 5: 0.4})]
    told = summary(NUMBERS, found)
    assert (told["error_before"], told["error_after"]) == (2.0, 0.5)
    assert (told["median_width"], told["error_median"]) == (5, pytest.approx(0.4))
    assert told["median_by_width"] == {"3": pytest.approx(0.5), "5": pytest.approx(0.4)}
    assert "2, from the model 0.5, from a median filter over 5 steps 0.4" in denoising.words(told)
    of_symbols = summary(SYMBOLS, [denoising.Errors(0.5, 0.25, {})])
    assert (of_symbols["median_width"], of_symbols["error_median"]) == (None, None)
    assert "median" not in denoising.words(of_symbols)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    data = write_audio(tmp_path_factory.mktemp("data") / "sound.h5")
    return fit(data, data.parent / "run", max_steps=2, settings={"model.likelihood": "gaussian"})


def test_noise_has_its_deviation_and_all_sequences_their_means(sound: runs.Run, tmp_path: Path) -> None:
    (about,) = reconstruction.write(sound, sequence="all", noise=0.5, out=tmp_path)
    found = json.loads(about.read_text())
    assert found["error_before"] == pytest.approx(0.25, rel=0.1)
    rows = found["sequences"]
    assert [row["sequence"] for row in rows] == list(sound.data().ids)
    for key in ("error_before", "error_after", "mean_square_error"):
        assert found[key] == pytest.approx(np.mean([row[key] for row in rows]))
    assert found["error_after"] == pytest.approx(found["mean_square_error"])
    one = json.loads(reconstruction.write(sound, sequence="1", noise=0.5, seed=1, out=tmp_path)[-1].read_text())
    assert one["error_after"] == pytest.approx(rows[1]["error_after"])  # its random numbers are those of its number
    with pytest.raises(ConfigError, match="must be 0 or more"):
        reconstruction.write(sound, noise=float("nan"), out=tmp_path)


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(write_small(tmp_path / "small.h5"), tmp_path / "run", max_steps=2)
    argv = ["reconstruct", str(run.folder), "--noise", "0.1", "--out", str(tmp_path)]
    assert cli._run([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["error_after"] == pytest.approx(found["bits_changed"])
    assert found["median_width"] in denoising.WIDTHS
    assert all(Path(f).exists() for f in found["files"])
    assert cli._run([*argv, "--sequence", "0:3"]) == 0
    said = capsys.readouterr()
    assert "from a median filter over" in said.out
    assert len(json.loads(next(tmp_path.glob("test-0_3*.json")).read_text())["sequences"]) == 3
    assert cli._run([*argv[:2], "--json"]) == 0  # no noise, nothing to measure
    assert "error_before" not in json.loads(capsys.readouterr().out)
