"""Imputing and forecasting in the units of the source, against what is exactly so for the linear-Gaussian chain."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from oracle import COLUMNS, A, Chain, Q, R, conditional
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn.config import resolve
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.models.masked import Masked
from pyro_vrnn.runs import forecasting, imputing
from pyro_vrnn.system.errors import ConfigError, DataError

CENTER, SCALE, OFFSET = (3.0, -5.0), (2.0, 0.5), (1000.0, 0.0)


def source(x: torch.Tensor) -> np.ndarray:
    """Values of the chain in the units of the source."""
    return x.double().numpy() * np.array(SCALE) + np.array(CENTER) + np.array(OFFSET)


def chain(steps: int, random: np.random.Generator) -> torch.Tensor:
    """[T, 2], float64."""
    z, rows = random.normal(), []
    for t in range(steps):
        z = A * z + Q * random.normal() if t else z
        rows.append(COLUMNS.numpy() * z + R * random.normal(size=2))
    return torch.tensor(np.array(rows))


@pytest.fixture(scope="module")
def exact_run(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    """The true model as a run, and data from it with missing values."""
    folder, random = tmp_path_factory.mktemp("chain"), np.random.default_rng(0)
    splits: dict[str, list[np.ndarray]] = {}
    for split, count in (("train", 20), ("valid", 2), ("test", 40)):
        splits[split] = []
        for _ in range(count):
            x = chain(25, random)
            x[torch.tensor(random.random((25, 2)) < 0.1)] = float("nan")
            splits[split].append((source(x) - np.array(OFFSET)).astype(np.float32))
    ids = {split: [f"{split}-{i}" for i in range(len(found))] for split, found in splits.items()}
    data = write_sequences(
        folder / "chain.h5", splits, ids=ids, kind="vectors", support="real", steps_per_second=None, source="a test",
        licence="none", extra={"columns": ["speed", "heat"], "offset": list(OFFSET)}, missing=True,
    ).path  # fmt: skip
    form = DataFormat(
        kind="vectors", support="real", x_dim=2, center=CENTER, scale=SCALE, offset=OFFSET,
        columns=("speed", "heat"), missing=True,
    )  # fmt: skip
    settings = dataclasses.replace(resolve(flags={"data.path": str(data)}).config, format=form)
    net = Masked(Chain(), 2)
    with torch.no_grad():
        net.net.log_s.fill_(-0.2)  # wider than the posterior
    return pv.Run(folder, folder / "step", settings, net.eval(), {})


def test_imputed_values_are_the_smoothers(exact_run: pv.Run) -> None:
    x = chain(12, np.random.default_rng(1))
    x[0] = x[5] = x[6] = x[11] = float("nan")
    x[3, 0] = x[8, 1] = float("nan")
    mean, var = conditional(x)
    found = [exact_run.impute(source(x), 5000, seed=seed) for seed in range(8)]
    hole = x.isnan().numpy()
    assert (found[0].missing == hole).all()
    unit = np.array(SCALE)
    spread = 1.28155 * var.sqrt().numpy() * unit
    for part, want in (("mean", source(mean)), ("low", source(mean) - spread), ("high", source(mean) + spread)):
        values = np.mean([getattr(one, part) for one in found], axis=0)
        assert (getattr(found[0], part)[~hole] == source(x)[~hole]).all()
        assert np.abs((values - want) / unit)[hole].max() < 0.1, part
    assert found[0].fewest > 100
    assert (found[0].ancestors > 0).tolist() == hole.any(1).tolist()
    again = exact_run.impute(source(x), 5000, seed=3)
    assert (again.mean == found[3].mean).all()


def test_forecasts_have_the_exact_mean_and_variance(exact_run: pv.Run) -> None:
    x = chain(15, np.random.default_rng(2))
    x[14] = x[7, 0] = float("nan")
    mean, var = conditional(torch.cat([x, torch.full((6, 2), float("nan"))]))
    state = torch.get_rng_state()
    found = exact_run.forecast(source(x), steps=6, num=40_000, particles=20_000)
    assert torch.equal(torch.get_rng_state(), state)
    assert found.paths.shape == (40_000, 6, 2)
    unit = np.array(SCALE)
    assert np.abs((found.mean - source(mean)[15:]) / unit).max() < 0.04
    np.testing.assert_allclose(found.paths.var(0), var[15:].numpy() * unit**2, rtol=0.05)
    low, middle, high = found.quantiles()
    np.testing.assert_allclose((high - low) / 2, 1.28155 * var[15:].sqrt().numpy() * unit, rtol=0.05)
    assert np.abs((middle - source(mean)[15:]) / unit).max() < 0.06


def test_the_true_models_intervals_cover_what_they_say(exact_run: pv.Run) -> None:
    done: list[tuple[int, int]] = []
    found = forecasting.score(exact_run, steps=5, season=3, progress=lambda *now: done.append(now))
    scores = found["scores"]
    error = np.sqrt(0.8 * 0.2 / (found["values"] / 5))  # values near each other are not independent
    assert found["sequences"] == 40
    assert done[-1] == (40, 40)
    assert 300 < found["values"] <= 400
    assert scores["model"]["coverage"] == pytest.approx(0.8, abs=3 * error)
    for other in ("last value", "last season"):
        assert scores["model"]["crps"] < scores[other]["crps"]
        assert scores["model"]["mase"] < scores[other]["mase"]
        assert 0.65 < scores[other]["coverage"] <= 1
    assert list(found["columns"]["model"]) == ["speed", "heat"]
    assert forecasting.score(exact_run, steps=5)["scores"].keys() == {"model", "last value"}
    with pytest.raises(DataError, match="no sequence of test has more than 25"):
        forecasting.score(exact_run, steps=25)
    with pytest.raises(ConfigError, match="at least 2 steps"):
        forecasting.score(exact_run, steps=5, season=1)


def test_files_say_what_was_found(exact_run: pv.Run, tmp_path: Path) -> None:
    table = tmp_path / "today.csv"
    table.write_text("time,heat,speed\n0,-5,1003\n1,,1004\n2,-4.9,\n3,-5.1,1002.5\n4,,\n")
    files, found = imputing.write(exact_run, file=table, particles=50, out=tmp_path / "out")
    assert [f.name for f in files] == [
        f"today-{n}" for n in ("holes.csv", "completed.csv", "imputed.png", "imputed.json")
    ]
    holes = [line.split(",") for line in files[0].read_text().splitlines()]
    assert holes[0] == ["step", "column", "mean", "low", "high", "ancestors"]
    assert [(row[0], row[1]) for row in holes[1:]] == [("2", "heat"), ("3", "speed"), ("5", "speed"), ("5", "heat")]
    assert all(float(low) < float(high) for _, _, _, low, high, _ in holes[1:])
    completed = [line.split(",") for line in files[1].read_text().splitlines()]
    assert completed[0] == ["time", "speed", "heat"]
    assert completed[1] == ["0", "1003.0", "-5.0"]
    assert float(completed[2][2]) == found.mean[1, 1] == float(holes[1][2])
    assert np.isfinite(np.array(completed[1:], float)).all()
    assert files[2].read_bytes()[:4] == b"\x89PNG"
    assert json.loads(files[3].read_text())["missing"] == 4

    files, ahead = forecasting.write(
        exact_run, steps=3, file=table, num=20, quantiles=(0.05, 0.5), written=2, particles=50, out=tmp_path / "out"
    )
    rows = [line.split(",") for line in files[0].read_text().splitlines()]
    assert rows[0] == ["step", "column", "mean", "q0.05", "q0.5"]
    assert [(row[0], row[1]) for row in rows[1:3]] == [("6", "speed"), ("6", "heat")]
    assert len(rows) == 1 + 3 * 2
    assert float(rows[1][2]) == ahead.mean[0, 0]
    rows = [line.split(",") for line in files[1].read_text().splitlines()]
    assert rows[0] == ["path", "step", "speed", "heat"]
    assert [(row[0], row[1]) for row in rows[1:]] == [(str(k), str(t)) for k in (1, 2) for t in (6, 7, 8)]
    assert files[2].read_bytes()[:4] == b"\x89PNG"


def test_the_completed_table_says_whose_rows_it_has_and_when(
    exact_run: pv.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of several sequences the first, in the order of time, in the words of the file."""
    said: list[str] = []
    monkeypatch.setattr(exact_run, "say", said.append)
    table = tmp_path / "wards.csv"
    rows = ["b,2024-01-02 01:00,1004,,x", "a,2024-01-02 00:00,1003,-5,y", "b,2024-01-02 00:00,1001,-4,z"]
    table.write_text("\n".join(["sequence,date,speed,heat,nurse", *rows, "b,2024-01-02 02:00,,,"]) + "\n")
    files, _ = imputing.write(exact_run, file=table, particles=50, out=tmp_path / "out")
    completed = [line.split(",") for line in files[1].read_text().splitlines()]
    assert completed[0] == ["sequence", "date", "nurse", "speed", "heat"]
    assert [row[:3] for row in completed[1:]] == [["b", f"2024-01-02 0{hour}:00", "zx"[hour:][:1]] for hour in range(3)]
    assert completed[1][3:] == ["1001.0", "-4.0"]
    assert said == [f"note: {table}: of its 2 sequences the first, 'b', is read"]


def test_a_hole_of_one_step_alone(exact_run: pv.Run) -> None:
    """Nothing observed at all: the prior's mean and interval."""
    found = exact_run.impute([[np.nan, np.nan]], 20_000)
    spread = np.array(SCALE) * np.sqrt(COLUMNS.numpy() ** 2 + R**2)
    want = np.array(CENTER) + np.array(OFFSET)
    np.testing.assert_allclose((found.mean[0] - want) / spread, 0, atol=0.05)
    np.testing.assert_allclose((found.high[0] - want) / spread, 1.28155, atol=0.07)


@pytest.mark.fault(52)
@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([[1.0, 2.0]], "no value is missing"),
        ([[1.0]], "expected"),
        ([[1.0, np.inf]], "infinite"),
        ("abc", "no array of numbers"),
        (np.empty((0, 2)), "expected"),
    ],
)
def test_series_that_cannot_be_imputed(exact_run: pv.Run, x: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        exact_run.impute(x)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "at least 1"),
        ({"steps": 1, "num": 1}, "at least 2 paths"),
        ({"steps": 1, "particles": 1}, "from 2"),
        ({"steps": 10**7}, "at most"),
        ({"steps": 1, "seed": -1}, "--seed"),
        ({"steps": 1, "quantiles": (0.9, 0.1)}, "rising"),
        ({"steps": 1, "quantiles": (0.0, 0.1)}, "between 0 and 1"),
        ({"steps": 1, "quantiles": (float("nan"),)}, "between 0 and 1"),
        ({"steps": 1, "written": -1}, "--paths"),
        ({"steps": 1, "index": None}, "FILE, or --index"),
        ({"steps": 1, "index": "999"}, "no sequence"),
    ],
)
def test_forecasts_that_cannot_be(exact_run: pv.Run, options: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=says):
        forecasting.write(exact_run, **({"index": "0"} | options), out=tmp_path / "a")  # type: ignore[arg-type]
    assert not (tmp_path / "a").exists()


@pytest.mark.fault(52)
def test_a_model_that_knows_of_no_holes(exact_run: pv.Run) -> None:
    form = dataclasses.replace(exact_run.format, missing=False)
    whole = pv.Run(
        exact_run.folder, exact_run.step_folder, dataclasses.replace(exact_run.config, format=form),
        exact_run.net, exact_run.state,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="without missing values") as caught:
        whole.impute([[1.0, np.nan]])
    assert "train on data with missing values" in caught.value.hint
    with pytest.raises(DataError, match="missing"):
        whole.forecast([[1.0, np.nan]], steps=1)
    assert whole.forecast([[1.0, 2.0]], steps=2).paths.shape == (200, 2, 2)


def test_only_real_numbers_of_tables(tmp_path: Path) -> None:
    settings = {"model.hidden_dim": 8, "model.network_dims": [8], "model.latent_dim": 2}
    data = write_small(tmp_path / "small.h5")
    notes = pv.train("jsb-vrnn", data=data, out=tmp_path / "a", max_steps=1, settings=settings, device="cpu")
    with pytest.raises(ConfigError, match="this model is of pianoroll") as caught:
        notes.impute([[0.0] * 11])
    assert "sample RUN --prime" in caught.value.hint
    with pytest.raises(ConfigError, match="forecast is for tables"):
        forecasting.score(notes, steps=2)
    bits = dataclasses.replace(notes.config.format, kind="vectors", support="binary")  # type: ignore[type-var]
    notes = pv.Run(notes.folder, notes.step_folder, dataclasses.replace(notes.config, format=bits), notes.net, {})
    with pytest.raises(ConfigError, match="binary values"):
        notes.forecast([[0.0] * 11], steps=1)


def test_results_say_in_a_line_what_they_are(exact_run: pv.Run) -> None:
    x = source(chain(12, np.random.default_rng(3)))
    assert repr(exact_run.forecast(x, steps=3, num=5)) == "<Forecast of 3 steps and 2 columns, 5 paths>"
    x[4, 0] = np.nan
    assert repr(exact_run.impute(x)).startswith("<Imputed 1 of 24 values, effective sample size ")


def test_frames_are_matched_by_the_names_of_their_columns(exact_run: pv.Run) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is an extra")
    names = list(exact_run.format.columns)
    if not names:
        pytest.skip("this run's columns have no names")
    x = source(chain(12, np.random.default_rng(3)))
    frame = pandas.DataFrame(x, columns=names)
    want = exact_run.forecast(x, steps=3, num=5).paths
    np.testing.assert_array_equal(exact_run.forecast(frame[names[::-1]], steps=3, num=5).paths, want)
    with pytest.raises(DataError, match="no column"):
        exact_run.forecast(frame.rename(columns={names[0]: "other"}), steps=3)
