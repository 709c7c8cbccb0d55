"""Noise that a model takes off, against a median filter: by hand where the answer is known, and by the command."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from fits import fit, untrained
from small import write_audio, write_like, write_small

from pyro_vrnn import cli, runs
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.encoding import encoding_of
from pyro_vrnn.data.format import DataFormat, format_of
from pyro_vrnn.data.schema import SPLITS, read_info
from pyro_vrnn.data.writer import write_sequences
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


def test_missing_values_are_missing_from_all_three_errors() -> None:
    """A filter that lost every window with a hole in it was scored on the other windows alone."""
    hole = np.nan
    np.testing.assert_array_equal(median(column(1, hole, 5, 9, 2), 3, NUMBERS), column(1, hole, 7, 5, 2))
    np.testing.assert_array_equal(median(column(hole, hole, hole, 4), 3, NUMBERS), column(hole, hole, hole, 4))
    clean = column(0, hole, 0, 0, 0, 0, 0, 0, 0, 0)
    spoilt = column(6, hole, 0, 0, 0, 0, 0, 0, 0, 0)  # next to the hole, where the filter is what was given
    found = errors(NUMBERS, clean, spoilt, column(6, 5, 0, 0, 0, 0, 0, 0, 0, 0))
    assert found.before == found.after == found.median[3] == pytest.approx(36 / 9)


def test_the_unit_is_the_variance_of_what_the_model_reads(tmp_path: Path) -> None:
    data = write_audio(tmp_path / "sound.h5")
    plain = read_info(data)
    low, high = -10000.0, 10000.0
    ranged = dataclasses.replace(plain, extra={"normalise": "range", "low": low, "high": high})
    assert denoising.variance(SOUND, encoding_of(plain), plain) == pytest.approx(1.0)
    unit = denoising.variance(SOUND, encoding_of(ranged), ranged)
    assert unit == pytest.approx((plain.std[0] / (high - low)) ** 2)
    sounds = SequenceDataset(data, "train", encoding=encoding_of(ranged))
    x = np.concatenate([sounds[i] for i in range(len(sounds))])
    of_the_mean = errors(SOUND, x, np.full_like(x, x.mean()), x, unit)
    assert of_the_mean.before == pytest.approx(1.0, rel=1e-4)  # the variance of the training data, by its definition
    assert "1 is the variance of the training data" in denoising.measure(SOUND, unit)
    assert errors(SOUND, x, x + 2, x, None).before == pytest.approx(4.0, rel=1e-4)
    assert denoising.measure(SOUND, None) == "mean square error; in squared 16-bit steps"
    scaled = dataclasses.replace(SOUND, center=(3.0,), scale=(10.0,))
    assert errors(scaled, x, x + 2, x, None).before == pytest.approx(400.0, rel=1e-4)
    bits = read_info(write_small(tmp_path / "small.h5"))
    assert denoising.variance(BITS, encoding_of(bits), bits) == 1.0


def test_the_pen_of_strokes_is_no_part_of_a_square_error(tmp_path: Path) -> None:
    info = read_info(write_like(tmp_path / "strokes.h5", "bivariate-gmm-pen"))
    form = format_of(info)
    assert denoising.variance(form, encoding_of(info), info) == pytest.approx(1.0)
    clean = np.zeros((10, 3), np.float32)
    moves, pen = clean.copy(), clean.copy()
    moves[:, 0], pen[:, 2] = 1, 1
    assert errors(form, clean, moves, pen).before == pytest.approx(1 / 2)
    assert errors(form, clean, moves, pen).after == 0.0
    assert "without the pen" in denoising.measure(form)


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


def test_a_run_of_ranged_sound_measures_in_the_variance_of_its_data(tmp_path: Path) -> None:
    data = write_audio(tmp_path / "sound.h5", normalise=(-10000, 10000))
    run = untrained(data, "model.likelihood=gaussian")
    wave = next(f for f in reconstruction.write(run, out=tmp_path) if f.suffix == ".wav")
    std = float(read_info(data).std[0]) / 20000
    (about,) = reconstruction.write(run, sequence="all", noise=0.5 * std, out=tmp_path)
    found = json.loads(about.read_text())
    assert found["error_before"] == pytest.approx(0.25, rel=0.1)
    assert found["mean_square_error"] == pytest.approx(found["error_after"])
    plain = json.loads(reconstruction.write(run, sequence="0:3", out=tmp_path)[-1].read_text())
    assert plain["error"] == "mean square error; 1 is the variance of the training data"
    assert plain["mean_square_error"] > 0.1  # in the model's units, whose deviation is near 0.3, it is not
    data.unlink()
    gone = runs.Run(run.folder, run.step_folder, run.config, run.net, {})
    found = json.loads(reconstruction.write(gone, file=wave, noise=0.5 * std, out=tmp_path)[-1].read_text())
    assert found["error"].endswith("in squared 16-bit steps")
    assert found["error_before"] == pytest.approx((0.5 * std * 20000) ** 2, rel=0.2)
    assert found["mean_square_error"] == pytest.approx(found["error_after"])


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


def test_a_sequence_of_which_nothing_was_observed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert errors(NUMBERS, column(np.nan, np.nan), column(1, 2), column(1, 2)) is None
    random = np.random.default_rng(0)
    values = {split: [random.normal(size=(9, 2)).astype(np.float32) for _ in range(4)] for split in SPLITS}
    values["train"][1][2:5] = np.nan
    values["test"][1][:] = np.nan
    ids = {split: [str(i) for i in range(4)] for split in SPLITS}
    about = {
        "kind": "vectors",
        "support": "real",
        "steps_per_second": None,
        "source": "",
        "licence": "",
        "missing": True,
    }
    write_sequences(tmp_path / "holes.h5", values, ids=ids, **about)
    run = fit(tmp_path / "holes.h5", tmp_path / "run", max_steps=2, settings={"model.likelihood": "gaussian"})
    for noise in ([], ["--noise", "0.5"]):
        argv = ["reconstruct", str(run.folder), "--sequence", "1", "--out", str(tmp_path), *noise]
        assert cli._run([*argv, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["mean_square_error"], found["note"]) == (None, "nothing observed")
    assert cli._run(argv) == 0
    assert "nothing observed: there is no error to tell" in capsys.readouterr().out
    (path,) = reconstruction.write(run, sequence="all", noise=0.5, out=tmp_path)
    found = json.loads(path.read_text())
    assert [row["mean_square_error"] is None for row in found["sequences"]] == [False, True, False, False]
    assert found["error_after"] > 0


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
