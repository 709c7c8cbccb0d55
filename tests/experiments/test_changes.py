"""Runs that are there already, when the experiment's file, their starts or their numbers have changed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grids
import pytest
import torch
from small import write_small

from pyro_vrnn import cli
from pyro_vrnn.config import DataConfig
from pyro_vrnn.experiments import costs, figures, work
from pyro_vrnn.experiments.costs import Cost
from pyro_vrnn.experiments.parsing import read
from pyro_vrnn.experiments.runner import Runner
from pyro_vrnn.experiments.table import markdown
from pyro_vrnn.runs.run import Run
from pyro_vrnn.system.errors import CheckpointError, NumericsError

HEAD, _, ARMS = grids.TEXT.replace("seeds = [0, 1]", "seeds = [0]").replace("= 12", "= 4").partition("[[arm]]")
CHAIN = HEAD + '[[arm]]\nname = "first"\n\n[[arm]]\nname = "then"\ninit_from = "first"\n'
ALONE = HEAD + '[[arm]]\nname = "only"\n'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, and nothing timed: that is tested elsewhere."""
    monkeypatch.setattr(figures, "draw", lambda *given: [])
    monkeypatch.setattr(costs, "measure", lambda arms, *given: [Cost(0.01, 1e-6) for _ in arms])


def runner(folder: Path, text: str, **options: Any) -> Runner:
    return Runner(read(str(grids.write(folder, text)), out=folder / "out", **options), device="cpu")


def states(results: dict[str, Any]) -> dict[str, str]:
    return {run["arm"]: run["status"] for run in results["runs"]}


def test_what_continues_from_an_arm_is_not_done_when_that_arm_has_changed(tmp_path: Path) -> None:
    runner(tmp_path, CHAIN).run()
    again = runner(tmp_path, CHAIN)
    assert again.left() == []
    keys = {task.arm: task.key for task in again.tasks}
    longer = CHAIN.replace('name = "first"', 'name = "first"\ntimes = 3')
    assert [task.arm for task in runner(tmp_path, longer).left()] == ["first", "then"]
    other = CHAIN.replace('name = "first"', 'name = "first"\nsettings.training.learning_rate = 0.05')
    shutil.rmtree(tmp_path / "out" / "runs" / "first")
    changed = runner(tmp_path, other)
    assert [task.arm for task in changed.left()] == ["first", "then"]
    assert not {task.key for task in changed.tasks} & set(keys.values())
    with pytest.raises(CheckpointError, match=r"then.seed-0: started from step-\d+ of .*first.seed-0, whi") as error:
        changed.run()
    assert "remove" in error.value.hint
    shutil.rmtree(tmp_path / "out" / "runs" / "then")
    assert states(runner(tmp_path, other).run()) == {"first": "done", "then": "done"}


def test_a_begun_run_knows_the_weights_that_it_started_from(tmp_path: Path) -> None:
    """By their hash, since another training's best may well have the same step."""
    (task,) = (task for task in runner(tmp_path, CHAIN).tasks if task.arm == "then")
    assert task.origin is not None
    for one in (task.origin, task):
        work.carry_out(one, device="cpu")
    record = task.record()
    assert record["start"] == task.origin.record()["weights"]
    work._check_origin(task, task.origin)
    task.outcome_path.write_text(json.dumps({**record, "start": "0" * 64}))
    with pytest.raises(CheckpointError, match="which was trained anew since"):
        work._check_origin(task, task.origin)


def test_what_starts_from_a_failed_run_is_trained_once_that_was_trained_well(tmp_path: Path) -> None:
    wild = CHAIN.replace('name = "first"', 'name = "first"\nsettings.training.learning_rate = 1e38')
    failing = runner(tmp_path, wild)
    assert states(failing.run()) == {"first": "failed", "then": "failed"}
    runs = tmp_path / "out" / "runs" / "then"
    assert not (runs / "seed-0.json").exists()
    again = runner(tmp_path, wild)
    assert again.left() == []  # while its origin stays failed, nothing is tried
    assert again.run()["failed"] == 2
    runs.mkdir(exist_ok=True)
    kept = work.not_started(again.tasks[1])  # as files of before have it
    (runs / "seed-0.json").write_text(json.dumps(kept))
    assert work.read_outcome(again.tasks[1]) is None
    shutil.rmtree(tmp_path / "out" / "runs" / "first")
    (runs / "seed-0.json").write_text(json.dumps({**kept, "key": runner(tmp_path, CHAIN).tasks[1].key}))
    assert states(runner(tmp_path, CHAIN).run()) == {"first": "done", "then": "done"}


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("epochs = 4", "epochs = 2", "it is 4 epochs long, and 2 are asked for"),
        ("epochs = 4", "updates = 3", "updates long, and 3 are asked for"),
        ("seconds = 0.2", "seconds = 0.02", "seconds long, and 0.02 are asked for"),
        ("updates = 9", "epochs = 1", "epochs long, and 1 are asked for"),
    ],
)
def test_less_than_was_done_is_refused_in_any_unit(tmp_path: Path, before: str, after: str, words: str) -> None:
    def text(length: str) -> str:
        if length.startswith("epochs"):  # a setting of the runs, and no length of the experiment
            return ALONE.replace("updates = 4\n", "").replace("training = { ", f"training = {{ {length}, ")
        return ALONE.replace("updates = 4", length)

    runner(tmp_path, text(before)).run()
    assert runner(tmp_path, text(before)).left() == []
    with pytest.raises(CheckpointError, match=words):
        runner(tmp_path, text(after))


def test_arms_that_are_validated_alike_continue(tmp_path: Path) -> None:
    """Their runs have another validated bound than the file says; it is the experiment's own doing."""
    text = HEAD.replace('valid_objective = "iwae", valid_particles = 4', "log_every = 2").replace("log_every = 1, ", "")
    text += '[[arm]]\nname = "elbo"\n\n[[arm]]\nname = "iwae"\nsettings.objective = { name = "iwae", particles = 3 }\n'
    runner(tmp_path, text).run()
    assert runner(tmp_path, text).left() == []


def test_data_of_one_name_in_two_folders_is_two_tables(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = write_small(tmp_path / "b" / "small.h5", train=9)
    same = tmp_path / "b" / "copy.h5"
    text = ALONE + f'\n[[arm]]\nname = "other"\nsettings.data.path = "{other}"\n'
    text += f'\n[[arm]]\nname = "same"\nsettings.data.path = "{same}"\n'
    grids.write(tmp_path, text)
    shutil.copy(tmp_path / "small.h5", same)
    results = runner(tmp_path, text).run()
    first, second = results["sections"]
    assert [[arm["arm"] for arm in section["arms"]] for section in (first, second)] == [["only", "same"], ["other"]]
    assert [first["data"], second["data"]] == [str(tmp_path / "small.h5"), str(other)]
    assert f"## {other}" in (tmp_path / "out" / "table.md").read_text()


def test_a_bound_that_is_not_finite_is_told_and_the_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = ALONE.replace(
        "evaluate = [{ ", 'evaluate = [{ objective = "fivo", particles = 2 }, { objective = "elbo" }, { '
    )
    evaluate = Run.evaluate

    def broken(self: Run, split: str, objective: str, *given: Any, **options: Any) -> Any:
        if objective == "fivo":
            raise NumericsError("the bound of sequence 3 is nan")
        return evaluate(self, split, objective, *given, **options)

    monkeypatch.setattr(Run, "evaluate", broken)
    results = runner(tmp_path, text).run()
    (run,), (section,) = results["runs"], results["sections"]
    assert (run["status"], results["failed"], results["unscored"]) == ("done", 0, 1)
    assert list(run["bounds"]) == ["test elbo", "test iwae K=4"]
    assert run["unscored"] == {"test fivo K=2": "the bound of sequence 3 is nan"}
    assert list(section["quantities"])[-3:] == ["test fivo K=2", "test elbo", "test iwae K=4"]  # no KL by another bound
    assert section["arms"][0]["spread"]["test fivo K=2"] is None
    lines = markdown(results)
    assert "- only, seed 0, test fivo K=2: the bound of sequence 3 is nan" in lines
    monkeypatch.setattr(Run, "evaluate", None)  # nothing is measured again
    assert cli._run(["experiment", str(tmp_path / "out"), "--device", "cpu"]) == 5
    assert "1 bounds are not finite" in capsys.readouterr().err


def test_costs_of_another_device_stay(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    kept = {"cuda": {"some": {"update": 1.0, "bound": 2.0}}}
    (tmp_path / "out" / "costs.json").write_text(json.dumps(kept))
    (tmp_path / "out" / "experiment.toml").write_text("")
    one = runner(tmp_path, ALONE)
    assert one.costs == [Cost(0.01, 1e-6)]
    found = json.loads((tmp_path / "out" / "costs.json").read_text())
    assert found == {**kept, "cpu": {one.tasks[0].key: dataclasses.asdict(Cost(0.01, 1e-6))}}


def test_several_threads_are_timed_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their processor time is a sum over threads, which are not seconds."""
    assert costs.timing("cpu")[0] == "the processor time of one thread"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    words, clock = costs.timing("cpu")
    assert words.startswith("the clock, with 3 threads")
    monkeypatch.setattr(costs.time, "perf_counter", lambda: 12.5)
    assert costs.timing("cpu")[1]() == 12.5
    assert clock is not costs.time.process_time


def test_settings_that_a_later_version_brings_leave_outcomes_as_they_are(
    tmp_path: Path,
) -> None:
    """Those at their default are no part of what a run is known by."""
    task = runner(tmp_path, ALONE).tasks[0]
    before = task.key

    @dataclass(frozen=True, kw_only=True)
    class Later(DataConfig):
        new: bool = False

    data = vars(task.config.data)
    for new, same in ((False, True), (True, False)):
        config = dataclasses.replace(task.config, data=Later(**data, new=new))
        later = dataclasses.replace(task, resolved=dataclasses.replace(task.resolved, config=config))
        assert (later.key == before) == same
