"""Damage, hostile files, full disks: one clear error, and what was there before still loads (FAULTS.md 5-28)."""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import pyro_vrnn as pv
from pyro_vrnn.system.errors import CheckpointError, ResourceError
from pyro_vrnn.system.run_files import OURS
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.checkpoint import Checkpoint


def make(step: int, value: float = 1.0) -> Checkpoint:
    return Checkpoint(
        {"w": torch.full((3, 2), value), "b": torch.zeros(3)},
        {"0.exp_avg": torch.ones(3, 2), "random.cpu": torch.get_rng_state()},
        {"step": step, "best_nll": None},
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("")
    checkpoint.save(tmp_path / "run" / "checkpoints", make(1), best=True)
    checkpoint.save(tmp_path / "run" / "checkpoints", make(2), best=False)
    return tmp_path / "run"


def test_what_is_saved_is_what_is_loaded(run: Path) -> None:
    _, step = checkpoint.find(run, "LATEST")
    loaded = checkpoint.load(step)
    assert loaded.state["step"] == 2
    for name, value in make(2).model.items():
        assert torch.equal(loaded.model[name], value)
    assert loaded.optimizer["random.cpu"].dtype == torch.uint8
    assert checkpoint.find(run)[1].name == "step-00000001"  # BEST
    assert checkpoint.find(step)[1] == step


def test_only_best_latest_and_the_one_before_are_kept(run: Path) -> None:
    for step in range(3, 9):
        checkpoint.save(run / "checkpoints", make(step), best=step == 5)
    names = sorted(f.name for f in (run / "checkpoints").iterdir())
    assert names == ["BEST", "LATEST", "step-00000005", "step-00000007", "step-00000008"]


def test_saved_twice_keeps_the_one_before(tmp_path: Path) -> None:
    """As when a process is killed after its last save, and the run's last step is saved again."""
    for step in (5, 7, 7):
        checkpoint.save(tmp_path / "run" / "checkpoints", make(step), best=True)
    kept = sorted(f.name for f in (tmp_path / "run" / "checkpoints").glob("step-*"))
    assert kept == ["step-00000005", "step-00000007"]


@pytest.mark.fault(5)
def test_what_a_killed_process_had_still_to_remove_goes(run: Path) -> None:
    for step in range(3, 9):
        checkpoint.save(run / "checkpoints", make(step), best=step == 5)
    shutil.copytree(run / "checkpoints" / "step-00000007", run / "checkpoints" / "step-00000006")
    (run / "checkpoints" / "step-00000006" / checkpoint.MANIFEST).unlink()
    checkpoint.trim(run)
    names = sorted(f.name for f in (run / "checkpoints").iterdir())
    assert names == ["BEST", "LATEST", "step-00000005", "step-00000007", "step-00000008"]


FILES = [*checkpoint.FILES, checkpoint.MANIFEST]


@pytest.mark.fault(22)
@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_anywhere_is_noticed(run: Path, name: str) -> None:
    step = checkpoint.find(run, "LATEST")[1]
    content = (step / name).read_bytes()
    generator = random.Random(0)
    for _ in range(40):
        at = generator.randrange(len(content))
        damaged = bytearray(content)
        damaged[at] ^= 1 << generator.randrange(8)
        (step / name).write_bytes(damaged)
        if name == checkpoint.MANIFEST and damaged.split() == content.split():
            continue  # white space means nothing
        with pytest.raises(CheckpointError, match="step-00000002"):
            checkpoint.load(step)


@pytest.mark.fault(21)
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("content", [None, b"", b"garbage", b"\x80\x04K\x01.", b"{}"])
def test_missing_empty_and_garbage_files(run: Path, name: str, content: bytes | None) -> None:
    step = checkpoint.find(run, "LATEST")[1]
    (step / name).unlink()
    if content is not None:
        (step / name).write_bytes(content)
    with pytest.raises(CheckpointError):
        checkpoint.load(step)
    folder, loaded, warnings = checkpoint.newest(run)
    assert folder.name == "step-00000001"
    assert loaded.state["step"] == 1
    assert len(warnings) == 1
    assert "step-00000002" in warnings[0]


def forge(step: Path, name: str, content: bytes) -> None:
    """Put content in with a manifest that vouches for it, as an attacker would."""
    import hashlib

    (step / name).write_bytes(content)
    manifest = json.loads((step / checkpoint.MANIFEST).read_text())
    manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (step / checkpoint.MANIFEST).write_text(json.dumps(manifest))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {MARK}",)


MARK = "/tmp/pyro-vrnn-was-executed"


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", checkpoint.FILES)
def test_a_pickle_is_never_executed(run: Path, name: str) -> None:
    Path(MARK).unlink(missing_ok=True)
    step = checkpoint.find(run, "LATEST")[1]
    forge(step, name, pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError):
        checkpoint.load(step)
    assert not Path(MARK).exists()


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    "header",
    [
        {"w": {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 1 << 62]}},
        {"w": {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 8]}},
        {"w": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}},
        {"w": {"dtype": "XX", "shape": [2], "data_offsets": [0, 8]}},
    ],
)
def test_headers_that_lie_are_refused_before_allocating(run: Path, header: dict[str, object]) -> None:
    step = checkpoint.find(run, "LATEST")[1]
    text = json.dumps(header).encode()
    forge(step, "model.safetensors", struct.pack("<Q", len(text)) + text + b"\0" * 8)
    with pytest.raises(CheckpointError, match="safetensors"):
        checkpoint.load(step)


@pytest.mark.fault(28)
def test_a_manifest_reads_no_file_but_its_own(run: Path, tmp_path: Path) -> None:
    step = checkpoint.find(run, "LATEST")[1]
    manifest = json.loads((step / checkpoint.MANIFEST).read_text())
    (tmp_path / "outside").write_bytes(b"x")
    for name in ("../../../outside", str(tmp_path / "outside")):
        manifest["files"] = {name: {"bytes": 1, "sha256": ""}}
        (step / checkpoint.MANIFEST).write_text(json.dumps(manifest))
        with pytest.raises(CheckpointError, match="must list"):
            checkpoint.load(step)


@pytest.mark.fault(28)
def test_a_symlink_is_not_followed(run: Path, tmp_path: Path) -> None:
    step = checkpoint.find(run, "LATEST")[1]
    shutil.move(step / "model.safetensors", tmp_path / "elsewhere")
    (step / "model.safetensors").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="not a regular file"):
        checkpoint.load(step)


@pytest.mark.fault(28)
@pytest.mark.parametrize("name", [*OURS, ".lock"])
def test_a_run_that_was_sent_has_no_links(run: Path, tmp_path: Path, name: str) -> None:
    """They would be read, written to or emptied by a training that continues."""
    sent, outside = Path(shutil.copytree(run, tmp_path / "sent")), tmp_path / "outside"
    step = checkpoint.find(sent, "LATEST")[1].name
    if (sent / name).exists():
        (sent / name).rename(outside)
    else:
        outside.write_text("mine")
    held = {path: path.read_bytes() for path in (outside, *outside.rglob("*")) if path.is_file()}
    (sent / name).symlink_to(outside)
    asked: list[Callable[[], Any]] = [
        lambda: checkpoint.find(sent),
        lambda: pv.load(sent),
        lambda: pv.train(resume=str(sent), max_steps=9),
        lambda: pv.train("chorales-vrnn", out=sent, overwrite=True),
    ]
    if name != "checkpoints":
        asked.append(lambda: checkpoint.find(sent / "checkpoints" / step))
    for ask in asked:
        with pytest.raises(CheckpointError, match="is a symbolic link"):
            ask()
    assert held == {path: path.read_bytes() for path in held}
    (tmp_path / "link").symlink_to(run)
    assert checkpoint.find(tmp_path / "link")[0] == tmp_path / "link"  # the folder itself may be one


@pytest.mark.fault(28)
def test_a_step_folder_is_no_link(run: Path, tmp_path: Path) -> None:
    step = checkpoint.find(run, "LATEST")[1]
    step.rename(tmp_path / "elsewhere")
    step.symlink_to(tmp_path / "elsewhere")
    for read in (lambda: checkpoint.load(step), lambda: checkpoint.find(run, "LATEST")):
        with pytest.raises(CheckpointError, match="is a symbolic link"):
            read()


@pytest.mark.fault(28)
def test_pointers_stay_in_the_folder(run: Path) -> None:
    for target in ("../../etc", "/etc", "step-1/../..", ""):
        (run / "checkpoints" / "BEST").write_text(target)
        with pytest.raises(CheckpointError):
            checkpoint.find(run)


@pytest.mark.fault(27)
def test_a_schema_from_the_future(run: Path) -> None:
    step = checkpoint.find(run, "LATEST")[1]
    manifest = json.loads((step / checkpoint.MANIFEST).read_text())
    (step / checkpoint.MANIFEST).write_text(json.dumps(manifest | {"schema": 99}))
    with pytest.raises(CheckpointError, match="schema 99") as error:
        checkpoint.load(step)
    assert "upgrade" in error.value.hint


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """As a full disk: no file of this process may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.fault(12)
@pytest.mark.parametrize("room", [0, 1, 100, 200, 300, 1000, 4000, 5000])
def test_a_full_disk_leaves_what_was_there(run: Path, room: int) -> None:
    before = sorted(str(f) for f in run.rglob("*"))
    big = make(3)
    big.optimizer["1.exp_avg"] = torch.zeros(2000)
    with largest_file(room), pytest.raises(ResourceError, match="bytes free") as error:
        checkpoint.save(run / "checkpoints", big, best=True)
    assert error.value.exit_code == 6
    assert sorted(str(f) for f in run.rglob("*")) == before
    assert checkpoint.load(checkpoint.find(run, "LATEST")[1]).state["step"] == 2


@pytest.mark.fault(6)
def test_an_exception_while_saving_leaves_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sorted(str(f) for f in run.rglob("*"))
    calls = []

    def fails(path: Path, content: bytes) -> None:
        calls.append(path)
        path.write_bytes(content[:3])
        if len(calls) == 3:
            raise RuntimeError("a bug")

    monkeypatch.setattr(checkpoint, "write_synced", fails)
    with pytest.raises(RuntimeError, match="a bug"):
        checkpoint.save(run / "checkpoints", make(3), best=True)
    assert sorted(str(f) for f in run.rglob("*")) == before


@pytest.mark.fault(25)
def test_weights_that_do_not_fit_are_listed() -> None:
    net = torch.nn.Linear(2, 3)
    good = {k: v.clone() for k, v in net.state_dict().items()}
    path = Path("x")
    for wrong, says in (
        ({"weight": good["weight"]}, "missing bias"),
        (good | {"extra": torch.zeros(1)}, "unknown extra"),
        (good | {"bias": torch.zeros(4)}, r"bias is torch.float32 \[4\], not"),
        (good | {"bias": torch.zeros(3, dtype=torch.float64)}, "float64"),
        (good | {"bias": torch.full((3,), float("nan"))}, "NaN"),
    ):
        before = {k: v.clone() for k, v in net.state_dict().items()}
        with pytest.raises(CheckpointError, match=says):
            checkpoint.load_weights(net, wrong, path)
        assert all(torch.equal(before[k], v) for k, v in net.state_dict().items())


@pytest.mark.fault(24)
def test_things_that_are_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such run"):
        checkpoint.find(tmp_path / "absent")
    (tmp_path / "params.pt").write_bytes(b"\x80\x02")
    with pytest.raises(CheckpointError, match="not a run folder") as error:
        checkpoint.find(tmp_path / "params.pt")
    assert "param store" in error.value.hint
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "config.toml").write_text("")
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        checkpoint.find(tmp_path / "new")
