"""docs/observers.md and examples/: their Python runs, on small data."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from small import write_small

from pyro_vrnn.loggers import LOGGERS
from pyro_vrnn.runs.folder import read_stop
from pyro_vrnn.training.observer import Observer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "observers.md").read_text("utf-8")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with small data of the name that the page and the examples train on."""
    (tmp_path / "data").mkdir()
    write_small(tmp_path / "data" / "chorales.h5", x_dim=88)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_its_tables_name_every_logger_and_every_call() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == set(LOGGERS)
    calls = set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE))
    assert calls == {name for name in vars(Observer) if not name.startswith("_")}


def test_its_python_runs(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 2
    space: dict[str, object] = {}
    for block in blocks:
        exec(compile(block.replace("max_steps=400", "max_steps=12"), "observers.md", "exec"), space)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "vrnn in runs/watched"
    assert re.fullmatch(r"update 10: \d+\.\d+ nats per step", told[1])
    assert told[-1] == "max-steps 12"
    assert (place / "runs/watched/metrics.csv").is_file()
    assert (place / "runs/plotted/live.png").stat().st_size > 5000


def test_its_observer_stops_a_collapsed_training(place: Path) -> None:
    (block, _) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    block = block.replace("< 1e-3", "< 1e3").replace("max_steps=400", "max_steps=100")
    exec(compile(block, "observers.md", "exec"), {})
    assert read_stop(place / "runs/watched") == "observer"
    assert "the posterior has collapsed" in (place / "runs/watched/log.txt").read_text()


def test_a_study_of_two_trials_and_one_that_is_pruned(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    monkeypatch.delitem(sys.modules, "optuna_study", raising=False)
    import optuna_study

    study = optuna_study.main(["--trials", "2", "--max-steps", "12", "--hidden-dim", "8"])
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE"]
    for trial in study.trials:
        assert trial.params.keys() == {"latent_dim", "learning_rate", "particles"}
        assert min(trial.intermediate_values.values()) == trial.value
        assert read_stop(place / "runs/study" / f"trial-{trial.number}") == "max-steps"
    assert (place / "runs/study/study.db").is_file()

    strict = optuna.create_study(pruner=optuna.pruners.ThresholdPruner(upper=0.0))
    settings = {"training.max_steps": 40, "model.hidden_dim": 8, "model.network_dims": [8]}
    strict.optimize(lambda t: optuna_study.objective(t, "chorales", place / "strict", settings), n_trials=1)
    (trial,) = strict.trials
    assert trial.state.name == "PRUNED"
    assert len(trial.intermediate_values) == 1
    assert read_stop(place / "strict" / "trial-0") == "observer"
