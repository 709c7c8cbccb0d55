"""An experiment is run, stopped, killed, continued, changed; each ends with the table of one that ran through."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import filelock
import grids
import pytest

import pyro_vrnn as pv
from pyro_vrnn.experiments import figures, processes, work
from pyro_vrnn.experiments.parsing import read
from pyro_vrnn.experiments.runner import Outcome, Runner, Watch
from pyro_vrnn.experiments.tasks import Task
from pyro_vrnn.runs.folder import read_metrics
from pyro_vrnn.system.errors import CheckpointError, ConfigError
from pyro_vrnn.training.observer import Observer


def runner(file: Path, out: Path, watch: Watch | None = None, **options: Any) -> Runner:
    return Runner(read(str(file), out=out, **options), device="cpu", watch=watch)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return grids.write(tmp_path_factory.mktemp("grid"))


@pytest.fixture(scope="module")
def through(file: Path) -> Path:
    """The results of one that nobody disturbed."""
    runner(file, file.parent / "through").run()
    return file.parent / "through"


@pytest.fixture(autouse=True)
def no_figures(through: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawn once, above."""
    monkeypatch.setattr(figures, "draw", lambda *given: [])


def test_results_are_what_the_runs_say(through: Path) -> None:
    results = json.loads((through / "results.json").read_text())
    assert (results["finished"], results["failed"], results["equal"]) == (True, 0, "updates")
    assert [(run["arm"], run["seed"], run["steps"]) for run in results["runs"]] == [
        *(("elbo", 0, 12), ("elbo", 1, 12), ("iwae", 0, 12), ("iwae", 1, 12), ("then", 0, 6), ("then", 1, 6))
    ]
    scratch, continued = results["sections"]
    assert (scratch["init_from"], continued["init_from"], scratch["reference"]) == (None, "elbo", "elbo")
    assert scratch["validated"] == "iwae, K=4"
    by_arm = {arm["arm"]: arm for arm in scratch["arms"]}
    for name, arm in by_arm.items():
        for seed in ("0", "1"):
            run = pv.load(through / "runs" / name / f"seed-{seed}")
            assert arm["values"]["test iwae K=4"][seed] == run.evaluate("test", "iwae", 4).nll_per_step
            looks = [r["valid_nll_per_step"] for r in read_metrics(run.folder) if "valid_nll_per_step" in r]
            assert arm["values"]["valid"][seed] == min(looks)
        values = [*arm["values"]["valid"].values()]
        assert arm["spread"]["valid"]["mean"] == pytest.approx(statistics.mean(values))
        assert arm["spread"]["valid"]["deviation"] == pytest.approx(statistics.stdev(values))
    pair, two = by_arm["iwae"]["difference"]["valid"], [by_arm[n]["values"]["valid"] for n in ("iwae", "elbo")]
    differences = [two[0][seed] - two[1][seed] for seed in ("0", "1")]
    assert pair["mean"] == pytest.approx(statistics.mean(differences))
    assert pair["wins"] == sum(d < 0 for d in differences)
    assert pair["low"] < pair["mean"] < pair["high"]
    assert by_arm["elbo"]["difference"] is None
    costs = by_arm["iwae"]["seconds_per_update"] / by_arm["elbo"]["seconds_per_update"]
    assert 0.3 < costs < 10
    started = json.loads((through / "runs" / "then" / "seed-1" / "environment.json").read_text())["init_from"]
    assert Path(started).parents[1] == through / "runs" / "elbo" / "seed-1"


def test_the_table_and_the_figures(through: Path) -> None:
    text = (through / "table.md").read_text()
    assert text.startswith("# Small\n")
    assert "## small, continued from elbo" in text
    assert "Seeds 0, 1: mean ± standard deviation. Equal updates." in text
    assert "Difference from elbo, paired by seed: mean [95% interval of Student's t]" in text
    with (through / "table.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    results = json.loads((through / "results.json").read_text())
    iwae = next(row for row in rows if row["arm"] == "iwae" and row["quantity"] == "test iwae K=4")
    found = results["sections"][0]["arms"][1]
    assert float(iwae["mean"]) == found["spread"]["test iwae K=4"]["mean"]
    assert float(iwae["low"]) == found["difference"]["test iwae K=4"]["low"]
    for name in ("curves.png", "bounds.png"):
        assert (through / "figures" / name).read_bytes().startswith(b"\x89PNG")


def test_what_is_done_is_not_done_again(file: Path, through: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = grids.lasting(through)

    def never(*given: Any, **options: Any) -> None:
        raise AssertionError("done already")

    monkeypatch.setattr(work, "train", never)
    monkeypatch.setattr(work, "load", never)
    runner(file, through).run()
    assert grids.lasting(through) == before


def partly(through: Path, out: Path, *gone: str) -> Path:
    """The results without some of the runs."""
    shutil.copytree(through, out)
    for name in gone:
        (out / "runs" / f"{name}.json").unlink()
        shutil.rmtree(out / "runs" / name)
    return out


class Pull(Watch):
    """Sends a signal at an update of a run."""

    def __init__(self, arm: str, seed: int, step: int) -> None:
        self.where, self.step = (arm, seed), step

    def training(self, task: Task) -> Observer:
        watch = Observer()
        if (task.arm, task.seed) == self.where:
            watch.stepped = self.pull  # type: ignore[method-assign]
        return watch

    def pull(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.fault(53)
def test_a_signal_stops_it_saved(file: Path, through: Path, tmp_path: Path) -> None:
    out = partly(through, tmp_path / "out", "iwae/seed-0", "elbo/seed-1", "then/seed-1")
    stopped = runner(file, out, Pull("iwae", 0, 7))
    results = stopped.run()
    assert stopped.signal == signal.SIGINT
    assert not results["finished"]
    assert len(stopped.left()) == 3
    assert "Not finished: 3 of 6 runs are still to be done." in (out / "table.md").read_text()
    assert (out / "runs" / "iwae" / "seed-0" / "checkpoints" / "LATEST").read_text() == "step-00000007\n"
    out.rename(tmp_path / "moved")  # a folder is an experiment, wherever it lies
    again = Runner(read(str(tmp_path / "moved")), device="cpu")
    again.run()
    assert grids.lasting(tmp_path / "moved") | {"experiment": "grid"} == grids.lasting(through)


class Killed(BaseException):
    """Passes everything by, as SIGKILL does."""


ONE = grids.TEXT.partition("[[arm]]")[0].replace("seeds = [0, 1]", "seeds = [0]").replace("= 12", "= 7")


@pytest.mark.fault(5, 53)
def test_killed_at_any_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before one rename of a short run or another: what was written until then is all that is there."""
    file = grids.write(tmp_path, ONE)
    runner(file, tmp_path / "through").run()
    expected, bests = grids.lasting(tmp_path / "through"), set()
    count, limit = 0, 0
    for name in ("replace", "rename"):
        real = getattr(Path, name)

        def counted(self: Path, target: Path, real: Any = real) -> Any:
            nonlocal count
            count += 1
            if count == limit:
                raise Killed
            return real(self, target)

        monkeypatch.setattr(Path, name, counted)
    for limit in range(3, 60, 3):
        out, count = tmp_path / f"out-{limit}", 0
        if limit > 3:  # they were measured before
            shutil.copytree(tmp_path / "through", out, ignore=shutil.ignore_patterns("runs", "results.json"))
        one = runner(file, out)
        try:
            one.run()
        except Killed:
            count = -1000
            runner(file, out).run()
            assert grids.lasting(out) == expected, f"killed before rename {limit}"
            bests.add((out / "runs" / "grid" / "seed-0" / "checkpoints" / "BEST").read_text())
            shutil.rmtree(out)
        else:
            break
    assert limit > 15
    assert len(bests) == 1


@pytest.mark.fault(53)
def test_kill_9(file: Path, through: Path, tmp_path: Path) -> None:
    out = partly(through, tmp_path / "out", "iwae/seed-0", "iwae/seed-1")
    shutil.rmtree(out / "figures")
    command = ["-m", "pyro_vrnn", "experiment", str(file), "--out", str(out), "--device", "cpu"]
    process = subprocess.Popen([sys.executable, *command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 100
    waited = out / "runs" / "iwae" / "seed-0" / "checkpoints" / "LATEST"
    while not waited.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (out / "figures").exists()
    runner(file, out).run()
    assert grids.lasting(out) == grids.lasting(through)


class Term(Watch):
    """Sends itself SIGTERM when the first run has its outcome."""

    def finished(self, task: Task, outcome: Outcome) -> None:
        os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.fault(53)
def test_processes_of_runs(file: Path, through: Path, tmp_path: Path) -> None:
    """With --jobs: what starts from a run waits for it; all stop, saved, with the experiment."""
    out = partly(through, tmp_path / "out", "elbo/seed-0", "then/seed-0")
    stopped = runner(file, out, Term())
    stopped.run(jobs=2)
    assert stopped.signal == signal.SIGTERM
    assert [task.arm for task in stopped.left()] == ["then"]
    runner(file, out).run()
    assert grids.lasting(out) == grids.lasting(through)


def test_a_process_stops_once_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    watch = processes.Obedient()
    watch.stepped(1)
    assert raised == []
    monkeypatch.setattr(processes, "should_stop", lambda: True)
    watch.stepped(2)
    watch.stepped(3)
    assert raised == [signal.SIGTERM]


@pytest.mark.fault(54)
def test_failures_are_told_and_the_others_are_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wild = '\n[[arm]]\nname = "wild"\nsettings.training.learning_rate = 1e38\n'
    text = grids.TEXT.replace("seeds = [0, 1]", "seeds = [0]").replace('init_from = "elbo"', 'init_from = "wild"')
    file = grids.write(tmp_path, text + wild)
    results = runner(file, tmp_path / "out").run()
    states = {run["arm"]: run for run in results["runs"]}
    assert {name: run["status"] for name, run in states.items()} == {
        **{"elbo": "done", "iwae": "done", "wild": "failed", "then": "failed"}
    }
    assert "at step" in states["wild"]["message"]
    assert states["then"]["message"] == "the run that it was to start from failed"
    assert results["failed"] == 2
    text = (tmp_path / "out" / "table.md").read_text()
    assert f"- wild, seed 0, after update {states['wild']['steps']}: {states['wild']['message']}" in text
    assert "One seed (0): there is no spread" in text
    assert any((tmp_path / "out" / "runs" / "wild" / "seed-0" / "diagnostics").iterdir())
    monkeypatch.setattr(work, "train", None)  # not tried again
    assert runner(file, tmp_path / "out").run()["failed"] == 2


def test_more_of_it_continues_and_less_is_refused(tmp_path: Path) -> None:
    file = grids.write(tmp_path, ONE)
    runner(file, tmp_path / "out").run()
    longer = runner(file, tmp_path / "out", updates=12, seeds=[0, 1])
    assert [task.seed for task in longer.left()] == [0, 1]
    results = longer.run()
    assert [run["steps"] for run in results["runs"]] == [12, 12]
    log = (tmp_path / "out" / "runs" / "grid" / "seed-0" / "log.txt").read_text()
    assert "resuming" in log
    with pytest.raises(CheckpointError, match="it is 12 updates long, and 7 are asked for"):
        runner(file, tmp_path / "out")
    with pytest.raises(CheckpointError, match=r"arm 'grid'.*other settings: model\.latent_dim: 3 there, 2 here"):
        runner(file, tmp_path / "out", updates=12, sets=["model.latent_dim=2"])


def test_equal_seconds(tmp_path: Path) -> None:
    file = grids.write(tmp_path, ONE.replace("updates = 7", "seconds = 0.3"))
    results = runner(file, tmp_path / "out").run()
    (run,) = results["runs"]
    assert (run["status"], run["stopped"]) == ("done", "max-time")
    assert run["steps"] > 0
    assert 0.3 <= run["seconds"] < 30
    assert results["equal"] == "seconds"


def test_folders_of_others(file: Path, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "letter.txt").write_text("dear")
    with pytest.raises(ConfigError, match="holds files that are no experiment"):
        runner(file, tmp_path / "letters")
    (tmp_path / "out").mkdir()
    one = runner(file, tmp_path / "out")
    with (
        filelock.FileLock(tmp_path / "out" / ".lock"),
        pytest.raises(ConfigError, match="another process is running an experiment there"),
    ):
        one.run()
