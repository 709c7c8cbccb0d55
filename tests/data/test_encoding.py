"""What models read: standardised by the training split alone, turned back exactly, symbols one-hot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyro_vrnn as pv
from pyro_vrnn.data.dataset import SequenceDataset, moments
from pyro_vrnn.data.encoding import Encoding, encoding_of
from pyro_vrnn.data.schema import read_info
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError


def write(path: Path, splits: dict[str, list[np.ndarray]], kind: str, support: str, **options: Any) -> Path:
    write_sequences(
        path,
        splits,
        ids={name: [f"{name}-{i}" for i in range(len(rows))] for name, rows in splits.items()},
        kind=kind,
        support=support,
        source="made by a test",
        licence="none",
        steps_per_second=options.pop("steps_per_second", None),
        **options,
    )
    return path


def walks(seed: int, count: int, x_dim: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    scale = np.linspace(1, 50, x_dim)
    return [(random.normal(size=(9, x_dim)) * scale + 7).astype(np.float32) for _ in range(count)]


def test_vectors_are_standardised_by_the_training_split_alone(tmp_path: Path) -> None:
    train, other = walks(0, 20, 4), [100 * w for w in walks(1, 3, 4)]
    one = write(tmp_path / "a.h5", {"train": train, "valid": walks(2, 3, 4), "test": other}, "vectors", "real")
    two = write(tmp_path / "b.h5", {"train": train, "valid": walks(2, 3, 4), "test": walks(1, 3, 4)}, "vectors", "real")
    assert encoding_of(read_info(one)) == encoding_of(read_info(two))
    dataset = SequenceDataset(one, "train")
    values = np.concatenate([dataset[i] for i in range(20)])
    np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(values.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(dataset.encoding.decode(dataset[3]), train[3], rtol=1e-5)
    mean, std = moments(dataset)
    np.testing.assert_allclose([mean, std], [[0] * 4, [1] * 4], atol=1e-9)


def test_audio_has_one_mean_and_one_deviation(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = [(random.normal(size=(6, 5)) * 3000 + np.arange(5) * 100).astype(np.int16) for _ in range(10)]
    path = write(
        tmp_path / "a.h5",
        {"train": frames, "valid": frames[:1], "test": frames[:1]},
        "audio",
        "real",
        frame_length=5,
        steps_per_second=80.0,
    )
    info = read_info(path)
    every = np.concatenate(frames).astype(float)
    np.testing.assert_allclose(info.mean, [every.mean()] * 5)
    np.testing.assert_allclose(info.std, [every.std()] * 5)
    dataset = SequenceDataset(path, "train")
    assert (len(dataset.encoding.center), len(dataset.encoding.scale)) == (1, 1)
    assert np.array_equal(dataset.encoding.decode(dataset[2]).round().astype(np.int16), frames[2])
    np.testing.assert_allclose(moments(dataset), [[0] * 5, [1] * 5], atol=1e-9)
    ranged = write(
        tmp_path / "b.h5",
        {"train": frames},
        "audio",
        "real",
        frame_length=5,
        extra={"normalise": "range", "low": -9000, "high": 11000},
    )
    assert encoding_of(read_info(ranged)).scale == (20000.0,)
    _, std = moments(SequenceDataset(ranged, "train"))
    np.testing.assert_allclose(std, every.std() / 20000)


def test_a_pen_stays_a_bit(tmp_path: Path) -> None:
    drawings = [w.copy() for w in walks(0, 10, 3)]
    for drawing in drawings:
        drawing[:, 2] = np.arange(9) % 3 == 0
    path = write(tmp_path / "a.h5", {"train": drawings}, "strokes", "real")
    dataset = SequenceDataset(path, "train")
    assert set(np.unique(dataset[0][:, 2])) == {0.0, 1.0}
    assert dataset[0][:, :2].std() < 3


def test_symbols_are_one_hot(tmp_path: Path) -> None:
    lines = [np.array([[0], [2], [2], [1]], np.uint8), np.array([[2], [2]], np.uint8)]
    extra = {"symbols": ["a", "b", "c"], "level": "char"}
    path = write(
        tmp_path / "a.h5", {"train": lines, "valid": lines, "test": lines}, "symbols", "categorical", extra=extra
    )
    dataset = SequenceDataset(path, "train")
    assert dataset.x_dim == 3
    assert dataset[0].tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]]
    assert dataset.encoding.decode(dataset[0]).tolist() == lines[0].tolist()
    rates, _ = moments(dataset)
    np.testing.assert_allclose(rates, np.array([2, 2, 5]) / 9)


@pytest.mark.parametrize("symbols", [None, [], "abc", [1, 2, 3], ["a", "b"]])
def test_symbols_without_names_are_refused(tmp_path: Path, symbols: Any) -> None:
    lines = [np.array([[0], [2]], np.uint8)]
    extra = {} if symbols is None else {"symbols": symbols}
    path = write(tmp_path / "a.h5", {"train": lines}, "symbols", "categorical", extra=extra)
    with pytest.raises(DataError, match="symbol"):
        SequenceDataset(path, "train")[0]


def test_a_column_that_never_changes_is_no_division_by_zero(tmp_path: Path) -> None:
    flat = [np.full((5, 2), 3.0, np.float32) for _ in range(3)]
    dataset = SequenceDataset(write(tmp_path / "a.h5", {"train": flat}, "vectors", "real"), "train")
    assert np.array_equal(dataset[0], np.zeros((5, 2), np.float32))


def test_bits_are_left_alone() -> None:
    bits = np.array([[0, 1]], np.uint8)
    assert Encoding().encode(bits).tolist() == [[0.0, 1.0]]


def test_a_trained_run_reads_other_data_as_its_own(tmp_path: Path) -> None:
    """Scored with the run's mean and deviation, not the other file's."""
    own = write(
        tmp_path / "a.h5", {s: walks(i, 8, 3) for i, s in enumerate(("train", "valid", "test"))}, "vectors", "real"
    )
    loud = {"train": [100 * w for w in walks(7, 8, 3)], "valid": walks(1, 8, 3), "test": walks(2, 8, 3)}
    other = write(tmp_path / "b.h5", loud, "vectors", "real")
    settings = {"model.hidden_dim": 8, "model.network_dims": [8], "model.likelihood": "gaussian"}
    run = pv.train("jsb-rnn", data=own, out=tmp_path / "run", max_steps=3, device="cpu", settings=settings)
    assert run.evaluate(data=other).nll_per_step == pytest.approx(run.evaluate().nll_per_step)
    again = pv.load(tmp_path / "run")
    assert again.encoding == encoding_of(read_info(own))


def test_dither_is_one_step_wide_and_the_same_each_time(tmp_path: Path) -> None:
    flat = [np.zeros((40, 5), np.int16) + np.arange(5, dtype=np.int16) * 100 for _ in range(3)]
    path = write(tmp_path / "a.h5", {"train": flat, "valid": flat}, "audio", "real", frame_length=5)
    plain, dithered = SequenceDataset(path, "train"), SequenceDataset(path, "train", dither=True)
    noise = (dithered[0] - plain[0]) * plain.encoding.scale[0]
    assert float(np.abs(noise).max()) <= 0.5 + 1e-3
    assert float(noise.std()) == pytest.approx(12**-0.5, rel=0.1)
    assert np.array_equal(dithered[0], SequenceDataset(path, "train", dither=True)[0])
    assert not np.array_equal(dithered[0], dithered[1])
    assert not np.array_equal(dithered[0], SequenceDataset(path, "valid", dither=True)[0])


def test_a_samples_dither_is_the_same_in_any_window(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    waves = [random.integers(-99, 99, size=(13, 5)).astype(np.int16) for _ in range(3)]
    path = write(tmp_path / "a.h5", {"train": waves}, "audio", "real", frame_length=5)
    whole = SequenceDataset(path, "train", dither=True)
    cut = SequenceDataset(path, "train", 4, 3, dither=True)
    assert np.array_equal(cut[1], whole[0][3:7])
    assert np.array_equal(whole.piece(1, 5, 4), whole[1][5:9])


def test_other_audios_units_do_not_come_with_its_weights(tmp_path: Path) -> None:
    """--init-from: the steps of 16 bits are the new file's."""
    random = np.random.default_rng(0)
    runs = []
    for name, loud in (("a", 100), ("b", 9000)):
        waves = [(loud * random.normal(size=(9, 5))).astype(np.int16) for _ in range(12)]
        splits = {"train": waves[:8], "valid": waves[8:10], "test": waves[10:]}
        path = write(tmp_path / f"{name}.h5", splits, "audio", "real", frame_length=5, steps_per_second=80.0)
        settings = {"model.hidden_dim": 8, "model.network_dims": [8], "model.likelihood": "logistic-mixture"}
        more = {"init_from": runs[0].folder} if runs else {}
        runs.append(pv.train("jsb-rnn", data=path, out=tmp_path / name, max_steps=2, settings=settings, **more))
    assert float(runs[1].net.likelihood.bin_width[0]) == pytest.approx(1 / runs[1].format.scale[0], rel=1e-5)
    with pytest.raises(ConfigError, match="16-bit steps a probability"):
        pv.train("jsb-rnn", data=path, out=tmp_path / "c", settings=settings | {"data.dither": True})


def test_symbols_that_utf8_cannot_say_are_refused(tmp_path: Path) -> None:
    lines = [np.array([[0], [1]], np.uint8)]
    path = write(tmp_path / "a.h5", {"train": lines}, "symbols", "categorical", extra={"symbols": ["a", "\ud800"]})
    with pytest.raises(DataError, match="symbols"):
        SequenceDataset(path, "train")


def test_a_small_column_beside_a_large_one_is_standardised_by_its_own_deviation(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(size=(500, 3)) * [3e7, 0.01, 1e-9]
    ids: dict[str, list[str]] = {"train": ["a"], "valid": [], "test": []}
    made: dict[str, Any] = {"kind": "vectors", "support": "real", "steps_per_second": None}
    info = write_sequences(tmp_path / "a.h5", {"train": [x]}, ids=ids, source="x", licence="none", **made)
    encoded = encoding_of(info).encode(x.astype("f4"))
    np.testing.assert_allclose(encoded.std(0), 1, rtol=1e-3)
