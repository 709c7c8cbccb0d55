"""`--log`: tables, TensorBoard and wandb hold what metrics.jsonl holds, and no logger changes or ends a training."""

from __future__ import annotations

import csv
import json
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fits import fit, losses
from small import write_small

from pyro_vrnn import cli, runs
from pyro_vrnn.config import RunConfig
from pyro_vrnn.loggers import LOGGERS
from pyro_vrnn.loggers.csv import COLUMNS
from pyro_vrnn.loggers.rows import scalars
from pyro_vrnn.system.errors import ConfigError
from pyro_vrnn.training.observer import Observer

SMALL = ["--set", "model.latent_dim=3", "--set", "model.hidden_dim=8", "--set", "model.network_dims=8"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("loggers") / "small.h5")


@pytest.fixture(scope="module")
def plain(data: Path) -> Path:
    """12 updates without a logger: validations at 5 and 10, and where it stops."""
    fit(data, data.parent / "plain", max_steps=12)
    return data.parent / "plain"


class Hears(Observer):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def said(self, message: str) -> None:
        self.heard.append(message)


def table(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def merged(run: Path) -> dict[int, dict[str, Any]]:
    """The rows of metrics.jsonl by step."""
    found: dict[int, dict[str, Any]] = {}
    for row in runs.read_metrics(run):
        found[row["step"]] = found.get(row["step"], {}) | row
    return found


def is_whole(run: Path) -> None:
    """metrics.csv has a line for each step of metrics.jsonl, with all its numbers and no other."""
    want, lines = merged(run), table(run)
    assert [int(line["step"]) for line in lines] == list(want)
    for line, row in zip(lines, want.values(), strict=True):
        assert {k: v for k, v in line.items() if v} == {k: str(v) for k, v in row.items()}


def test_csv_is_metrics_jsonl_by_step_and_the_losses_are_the_same(data: Path, plain: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=12, log="csv")
    is_whole(tmp_path / "a")
    assert losses(tmp_path / "a") == losses(plain)
    assert tuple(table(tmp_path / "a")[0]) == COLUMNS
    assert [line["step"] for line in table(tmp_path / "a") if line["best"]] == ["5", "10", "12"]
    assert all(line["loss"] for line in table(tmp_path / "a"))  # a validation stands beside the update of its step


def test_csv_is_whole_after_every_row(data: Path, tmp_path: Path) -> None:
    """Rows are added as they come: a kill leaves a table without holes, and a reader may look at any time."""
    seen: list[int] = []

    class Looks(Observer):
        def stepped(self, step: int) -> None:
            if step > 1:  # the row of this update comes after
                is_whole(tmp_path / "a")
                seen.append(len(table(tmp_path / "a")))

    fit(data, tmp_path / "a", max_steps=7, log="csv", observer=Looks())
    assert seen == [1, 2, 3, 4, 5, 6]


def test_csv_of_a_resumed_run_has_each_step_once(data: Path, tmp_path: Path) -> None:
    """Stopped at 7, which metrics.jsonl forgets a validation of; with the rows from before --log was given."""
    fit(data, tmp_path / "a", max_steps=4)
    fit(data, tmp_path / "a", max_steps=7, log=["csv"])
    assert [line["step"] for line in table(tmp_path / "a")] == ["1", "2", "3", "4", "5", "6", "7"]
    assert table(tmp_path / "a")[-1]["best"]
    fit(data, tmp_path / "a", max_steps=12, log="csv")
    is_whole(tmp_path / "a")
    assert not table(tmp_path / "a")[6]["best"]
    # Back to an older checkpoint, and a run that has nothing to do.
    fit(data, None, max_steps=11, resume=str(tmp_path / "a" / "checkpoints" / "step-00000010"), log="csv")
    is_whole(tmp_path / "a")
    (tmp_path / "a" / "metrics.csv").unlink()
    fit(data, tmp_path / "a", max_steps=11, log="csv")
    is_whole(tmp_path / "a")


def test_a_column_that_comes_late_widens_the_table(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    logger = LOGGERS["csv"](print)
    logger.opened(tmp_path, RunConfig)  # type: ignore[arg-type]
    for row in ({"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "new": 5}, {"step": 2, "valid_nll_per_step": 3.0}):
        with (tmp_path / "metrics.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        logger.logged(row)
        is_whole(tmp_path)
    logger.ended()
    assert table(tmp_path)[1]["new"] == "5"


def test_overwrite_removes_what_loggers_wrote(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=3, log="csv")
    for name in ("tensorboard", "wandb"):
        (tmp_path / "a" / name).mkdir()
    fit(data, tmp_path / "a", max_steps=2, overwrite=True)
    assert not {"metrics.csv", "tensorboard", "wandb"} & {f.name for f in (tmp_path / "a").iterdir()}


def test_groups_of_scalars() -> None:
    assert scalars({"step": 3, "epoch": 1, "loss": 2.0}) == {"train/epoch": 1.0, "train/loss": 2.0}
    assert scalars({"step": 3, "valid_nll_per_step": 2.0, "best": True}) == {"valid/nll_per_step": 2.0}


def tensorboard_scalars(run: Path) -> dict[str, dict[int, float]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert "settings/text_summary" in events.Tags()["tensors"]
    found = {}
    for tag in events.Tags()["scalars"]:
        points = [(event.step, event.value) for event in events.Scalars(tag)]
        assert len(points) == len({step for step, _ in points}), f"{tag}: a step twice"
        found[tag] = dict(points)
    return found


def test_tensorboard_has_the_curves_once_also_after_a_kill(data: Path, plain: Path, tmp_path: Path) -> None:
    """Rows from before --log, rows that a kill came after (checkpoint 5, logged to 8), and a whole run again."""
    pytest.importorskip("tensorboard")

    class Killed(RuntimeError):
        pass

    class Kills(Observer):
        def stepped(self, step: int) -> None:
            if step == 9:
                raise Killed

    fit(data, tmp_path / "a", max_steps=3)
    with pytest.raises(Killed):
        fit(data, tmp_path / "a", max_steps=12, log="tensorboard", observer=Kills())
    older = tmp_path / "a" / "checkpoints" / "step-00000005"
    fit(data, None, max_steps=12, resume=str(older), log="tensorboard")
    found = tensorboard_scalars(tmp_path / "a")
    want = [r for r in runs.read_metrics(plain) if "loss" in r]
    assert found["train/loss"] == pytest.approx({r["step"]: r["loss"] for r in want}, rel=1e-6)
    valid = {r["step"]: r["valid_nll_per_step"] for r in runs.read_metrics(plain) if "best" in r}
    assert {k: v for k, v in found["valid/nll_per_step"].items() if k >= 5} == pytest.approx(valid, rel=1e-6)
    assert losses(tmp_path / "a") == losses(plain)


def records(data: bytes) -> Iterator[bytes]:
    """What a .wandb file holds: LevelDB's log format, blocks of 32 KiB, after a header of 7 bytes."""
    place, record = 7, b""
    while place < len(data):
        left = 2**15 - place % 2**15
        if left < 7:
            place += left
            continue
        _, size, part = struct.unpack("<IHB", data[place : place + 7])
        record += data[place + 7 : place + 7 + size]
        place += 7 + size
        if part in (1, 4):  # whole, or the last part
            yield record
            record = b""


def wandb_history(folder: Path) -> list[dict[str, Any]]:
    """The rows of one offline run."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("run-*.wandb")
    rows = []
    for record in records(path.read_bytes()):
        message = wandb_internal_pb2.Record()
        message.ParseFromString(record)
        if message.HasField("history"):
            rows.append({"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in message.history.item})
    return rows


def test_wandb_offline_resumes_the_run_it_was(
    data: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")  # no test before this one lets wandb read its settings
    observer = Hears()
    for steps in (4, 12):
        fit(data, tmp_path / "a", max_steps=steps, log="wandb", observer=observer)
    name = (tmp_path / "a" / "wandb" / "run-id.txt").read_text().strip()
    folders = sorted((tmp_path / "a" / "wandb").glob("offline-run-*"))
    assert len(folders) == 2
    assert all(folder.name.endswith(name) for folder in folders)
    rows = [row for folder in folders for row in wandb_history(folder)]
    want = {r["step"]: r["loss"] for r in runs.read_metrics(plain) if "loss" in r}
    found = {r["step"]: r["train/loss"] for r in rows if "train/loss" in r}
    assert found == pytest.approx(want)
    assert [r["step"] for r in rows if "valid/nll_per_step" in r] == [4, 5, 10, 12]
    assert losses(tmp_path / "a") == losses(plain)
    assert any("wandb sync" in line for line in observer.heard)


def test_wandb_without_an_account_is_refused_and_not_asked_for(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = pytest.importorskip("wandb")
    monkeypatch.setattr(wandb, "login", lambda *, prompt, verify: prompt or verify)
    monkeypatch.setattr(wandb, "setup", lambda settings: SimpleNamespace(settings=SimpleNamespace(mode="online")))
    with pytest.raises(ConfigError, match="no account") as error:
        fit(data, tmp_path / "a", max_steps=3, log="wandb")
    assert "WANDB_MODE=offline" in error.value.hint
    assert not (tmp_path / "a").exists()


@pytest.mark.fault(59)
@pytest.mark.parametrize(("name", "module"), [("tensorboard", "torch.utils.tensorboard"), ("wandb", "wandb")])
def test_an_absent_package_is_told_before_anything_is_trained(
    name: str, module: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError, match="not installed") as error:
        fit(data, tmp_path / "a", max_steps=3, log=["csv", name])
    assert error.value.hint == f"pip install 'pyro-vrnn[{name}]'"
    assert not (tmp_path / "a").exists()


def test_an_unknown_logger_is_told_also_by_a_dry_run(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["train", "--data", str(data), "--out", str(tmp_path / "a"), "--log", "csv", "--log", "tensorbord"]
    for more in ([], ["--dry-run"]):
        assert cli._run([*argv, *more]) == 2
        error = capsys.readouterr().err
        assert "logger 'tensorbord': choose from csv, tensorboard, wandb" in error
        assert "did you mean tensorboard?" in error
    assert not (tmp_path / "a").exists()


def test_log_more_than_once_on_the_command_line(data: Path, tmp_path: Path) -> None:
    run = ["--data", str(data), "--out", str(tmp_path / "a"), "--max-steps", "4", "--quiet", "--device", "cpu"]
    assert cli._run(["train", *run, *SMALL, "--log", "csv", "--log", "csv"]) == 0
    is_whole(tmp_path / "a")


@pytest.mark.fault(59)
@pytest.mark.parametrize("call", ["opened", "logged", "ended"])
def test_a_logger_that_fails_is_told_once_and_the_training_continues(
    call: str, data: Path, plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the log is full; the other logger and the training have all their rows."""

    def fails(*values: Any) -> None:
        raise OSError(28, "No space left on device")

    closed: list[str] = []

    def broken(say: Callable[[str], None]) -> Observer:
        observer = Observer()
        monkeypatch.setattr(observer, "ended", lambda: closed.append("ended"))
        monkeypatch.setattr(observer, call, fails)
        return observer

    monkeypatch.setitem(LOGGERS, "tensorboard", broken)
    observer = Hears()
    fit(data, tmp_path / "a", max_steps=12, log=["tensorboard", "csv"], observer=observer)
    told = [line for line in observer.heard if line.startswith("warning: --log tensorboard has stopped")]
    assert len(told) == 1
    assert "No space left" in told[0]
    assert told[0] in (tmp_path / "a" / "log.txt").read_text()
    assert closed == ([] if call == "ended" else ["ended"])
    is_whole(tmp_path / "a")
    assert losses(tmp_path / "a") == losses(plain)


@pytest.mark.fault(59)
def test_a_table_that_cannot_be_written_leaves_the_run(data: Path, plain: Path, tmp_path: Path) -> None:
    """There is a folder of its name."""

    class Blocks(Hears):
        def begin(self, step: int, total: int) -> None:
            (tmp_path / "a" / "metrics.csv").mkdir()

    observer = Blocks()
    run = fit(data, tmp_path / "a", max_steps=12, log="csv", observer=observer)
    assert run.result is not None
    assert run.result.steps == 12
    assert len([line for line in observer.heard if "--log csv has stopped" in line]) == 1
    assert losses(tmp_path / "a") == losses(plain)
