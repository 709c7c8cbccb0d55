"""impute, forecast and evaluate --forecast on the command line: a small run, its files, its JSON, its errors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.data.writer import write_sequences

TABLE = "a,b\n1,2\n,3\n4,\n,\n5,6\n"


def wave(seed: int) -> np.ndarray[Any, Any]:
    random = np.random.default_rng(seed)
    x = np.sin(np.arange(20)[:, None] / 3 + random.normal(size=2)) + 0.1 * random.normal(size=(20, 2))
    x[random.random(x.shape) < 0.15] = np.nan
    return x


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("series")
    splits = {"train": [wave(i) for i in range(12)], "valid": [wave(50), wave(51)], "test": [wave(60), wave(61)]}
    ids = {name: [f"{name}-{i}" for i in range(len(found))] for name, found in splits.items()}
    write_sequences(
        folder / "waves.h5", splits, ids=ids, kind="vectors", support="real", steps_per_second=None, source="a test",
        licence="none", extra={"columns": ["a", "b"]}, missing=True,
    )  # fmt: skip
    settings = {"model.hidden_dim": 8, "model.network_dims": [8], "model.latent_dim": 2}
    pv.train("vowels", data=folder / "waves.h5", out=folder / "run", max_steps=4, settings=settings, device="cpu")
    return folder / "run"


def test_impute(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "x.csv"
    table.write_text(TABLE)
    argv = ["impute", str(run), str(table), "--particles", "20", "--out", str(tmp_path / "out")]
    assert cli._run([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    assert (found["steps"], found["missing"], found["particles"], found["seed"]) == (5, 4, 20, 0)
    assert 1 <= found["ess"] <= 20
    assert 1 <= found["ancestors"] <= 20
    assert all(Path(f).exists() for f in found["files"])
    first = Path(found["files"][0]).read_bytes()
    assert cli._run(argv) == 0
    assert "4 of 10 values imputed, K=20" in capsys.readouterr().out
    assert Path(found["files"][0]).read_bytes() == first
    assert cli._run(["impute", str(run), "--index", "1", "--particles", "2", "--json"]) == 0
    said = capsys.readouterr()
    assert all(Path(f).parent == run / "imputed" for f in json.loads(said.out)["files"])
    assert "note: some holes have fewer than 10 ancestors" in said.err


def test_forecast(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "x.csv"
    table.write_text(TABLE)
    argv = ["forecast", str(run), str(table), "--steps", "3", "--num", "9", "--particles", "20", "--paths", "1"]
    assert cli._run([*argv, "--quantiles", "0.25,0.75", "--json", "--out", str(tmp_path / "out")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1
    assert (found["given"], found["steps"], found["num"]) == (5, 3, 9)
    header, *rows = Path(found["files"][0]).read_text().splitlines()
    assert header == "step,column,mean,q0.25,q0.75"
    assert len(rows) == 6
    assert len(Path(found["files"][1]).read_text().splitlines()) == 1 + 3
    assert cli._run(["forecast", str(run), "--index", "test-0", "--steps", "2", "--num", "5"]) == 0
    assert "2 steps after 20, 5 paths" in capsys.readouterr().out


def test_evaluate_forecasts(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["evaluate", str(run), "--forecast", "4", "--particles", "20", "--quiet"]
    assert cli._run([*argv, "--season", "6", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scores"].keys() == {"model", "last value", "last season"}
    assert found["scores"]["model"].keys() == {"crps", "scaled_crps", "coverage", "mase"}
    assert (found["schema"], found["forecast"], found["sequences"]) == (1, 4, 2)
    assert cli._run(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:4]] == ["model", "last value"]
    assert cli._run(["evaluate", str(run), "--json"]) == 0
    assert "nll_per_step" in json.loads(capsys.readouterr().out)  # as ever


@pytest.mark.parametrize(
    ("argv", "table", "code", "says"),
    [
        (["impute", "RUN", "FILE"], "a,b\n1,2\n3,4\n", 3, "no value is missing"),
        (["impute", "RUN", "FILE"], "a,c,d\n1,2,1\n3,,0\n", 3, "no column 'b'"),
        (["impute", "RUN"], "", 2, "give a FILE, or --index"),
        (["impute", "RUN", "FILE", "--index", "0"], TABLE, 2, "not both"),
        (["impute", "nowhere", "FILE"], TABLE, 4, "nowhere"),
        (["impute", "RUN", "nowhere.csv"], "", 3, "nowhere.csv"),
        (["impute", "RUN", "FILE", "--particles", "0"], TABLE, 2, "--particles"),
        (["impute", "RUN", "--index", "0", "--split", "tset"], "", 2, "split"),
        (["forecast", "RUN", "FILE"], TABLE, 2, "--steps"),
        (["forecast", "RUN", "FILE", "--steps", "2", "--quantiles", "a,b"], TABLE, 2, "expected numbers"),
        (["forecast", "nowhere", "FILE", "--steps", "2"], TABLE, 4, "nowhere"),
        (["forecast", "RUN", "FILE", "--steps", "2"], "a\n1\n2\n", 3, "no column 'b'"),
        (["evaluate", "RUN", "--forecast", "4", "--objective", "iwae"], "", 2, "--objective and --forecast"),
        (["evaluate", "RUN", "--forecast", "4", "--batch-size", "2"], "", 2, "--batch-size and --forecast"),
        (["evaluate", "RUN", "--season", "4"], "", 2, "--season is of --forecast"),
        (["evaluate", "RUN", "--forecast", "99"], "", 3, "no sequence of test"),
    ],
)
def test_bad_input_gives_one_error(
    argv: list[str], table: str, code: int, says: str, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.csv"
    file.write_text(table)
    named = {"RUN": str(run), "FILE": str(file)}
    assert cli._run([*(named.get(a, a) for a in argv), "--json"]) == code
    said = capsys.readouterr()
    assert says in json.loads(said.out)["error"]["message"]
    assert [line.split(":")[0] for line in said.err.splitlines()] == ["error", "hint"]


def test_columns_of_a_frame_are_taken_by_name(run: Path) -> None:
    """In any order, and among others."""
    pandas = pytest.importorskip("pandas")
    x = np.array([[1.0, 20.0], [np.nan, np.nan], [3.0, np.nan], [2.0, 21.0]])
    model = pv.load(run)
    found = model.impute(x, particles=20)
    frame = pandas.DataFrame(x, columns=["a", "b"]).assign(name="one", c=7.0)[["b", "name", "c", "a"]]
    again = model.impute(frame, particles=20)
    np.testing.assert_array_equal(again.mean, found.mean)
    np.testing.assert_array_equal(again.missing, found.missing)
    np.testing.assert_array_equal(again.mean[0], [1.0, 20.0])
