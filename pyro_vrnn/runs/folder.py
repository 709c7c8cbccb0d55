"""A run's folder: a free name for one, whose it is, what was there when it was made, and the log of what was said."""

from __future__ import annotations

import json
import platform
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
import pyro
import torch

from pyro_vrnn.config import RunConfig, build, parse_toml
from pyro_vrnn.loggers.rows import read_rows
from pyro_vrnn.runs.content import Content
from pyro_vrnn.system.errors import CheckpointError, ConfigError
from pyro_vrnn.system.files import cannot_write, sync_folder, write_json
from pyro_vrnn.system.run_files import OURS, check_links
from pyro_vrnn.system.version import __version__
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.observer import Observer


def free_folder(name: str) -> Path:
    """runs/NAME, or the first of runs/NAME-2, … that is free."""
    folder, n = Path("runs") / name, 1
    while folder.exists():
        n += 1
        folder = Path("runs") / f"{name}-{n}"
    return folder


def check_folder(out: Path, *, resume: str, overwrite: bool) -> bool:
    """Whether there is a run in `out` to continue.

    Raises:
        ConfigError: before any work, `out` cannot be used.
        CheckpointError: a file of the run there is a symbolic link.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file", "choose another --out", out)
    if not out.exists() or not any(f.name != ".lock" for f in out.iterdir()):
        return False
    check_links(out)
    ours = (out / "config.toml").is_file() and (out / "environment.json").is_file()
    ours = ours or _begun(out)
    if not ours:
        raise ConfigError(f"{out}: holds files that are no run", "choose another --out, or empty it", out)
    if overwrite:
        return False
    if resume == "never":
        raise ConfigError(f"{out}: already holds a run", "choose another --out, or --overwrite, or --resume auto", out)
    return checkpoint.begun(out)


def _begun(out: Path) -> bool:
    """Whether all that is there is what a start that was killed had written, under its lock."""
    names = {f.name for f in out.iterdir()}
    began = r"\.lock|config\.toml|log\.txt|\.(config\.toml|environment\.json)\.[0-9a-f]{8}\.tmp"
    return ".lock" in names and all(re.fullmatch(began, name) for name in names)


@contextmanager
def owned(out: Path, empty: bool) -> Iterator[None]:
    """The run folder, locked against a second process; a folder that was made and stayed empty is removed."""
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    made = bool(new)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for folder in new:
            sync_folder(folder.parent)
        lock = filelock.FileLock(out / ".lock")
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise ConfigError(
            f"{out}: another process is training there", "wait for it, or choose another --out", out
        ) from None
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written ({error.strerror})", "choose another --out", out) from None
    try:
        if empty:
            for child in out.iterdir():
                if child.name in OURS:  # and nothing else
                    shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
        yield
    finally:
        lock.release()
        metrics = out / "metrics.jsonl"
        kept = checkpoint.begun(out) or any((out / "diagnostics").glob("*"))
        if made and not kept and not (metrics.exists() and metrics.stat().st_size):
            shutil.rmtree(out, ignore_errors=True)  # it failed before there was anything to keep


def write_environment(out: Path, device: torch.device, init_from: str | None, data: Content) -> None:
    """What the run was made with, from and on."""
    versions = {
        "pyro_vrnn": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "pyro": pyro.__version__,
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "threads": torch.get_num_threads(),
        "init_from": init_from,
        "data": data.as_dict(),
    }
    write_json(out / "environment.json", versions)


def write_content(out: Path, data: Content) -> None:
    """Note the content of its data for a run that was made before that was noted."""
    write_json(out / "environment.json", read_environment(out) | {"data": data.as_dict()})


def read_config(folder: Path) -> RunConfig:
    """The complete settings of a run.

    Raises:
        CheckpointError: config.toml is damaged or incomplete.
    """
    path = folder / "config.toml"
    try:
        settings = build(parse_toml(path.read_text("utf-8", errors="surrogateescape"), str(path)))
    except ConfigError as error:
        raise CheckpointError(
            f"{path}: {error.message}", "the run's settings are damaged, or of another version", path
        ) from None
    if settings.format is None:
        raise CheckpointError(f"{path}: no [format]", "the run's settings are damaged, or of another version", path)
    return settings


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl, without a last one that was not finished (`loggers.rows.read_rows`).

    Raises:
        CheckpointError: a line that is no row, or the file cannot be read.
    """
    return read_rows(folder)


def best_validation(rows: Sequence[Mapping[str, Any]], state: Mapping[str, Any]) -> dict[str, Any] | None:
    """The best look at the validation split, also one at a stop whose row was cut off when the run was resumed.

    Args:
        rows: of metrics.jsonl.
        state: where the training stood at BEST (`Run.state`, `checkpoint.read_state`).

    Returns:
        `step` and `valid_nll_per_step`, or None where it was not validated.
    """
    found = [(float(row["valid_nll_per_step"]), int(row["step"])) for row in rows if "valid_nll_per_step" in row]
    nll, step = state.get("best_nll"), state.get("best_step")
    if isinstance(nll, float) and isinstance(step, int):
        found.append((nll, step))
    best = min(found, default=None)
    return None if best is None else {"step": best[1], "valid_nll_per_step": best[0]}


def updates_of(folder: Path, rows: Sequence[Mapping[str, Any]]) -> int:
    """How many updates were made, by the checkpoint LATEST; not each update is logged, nor each logged one saved."""
    latest = checkpoint.read_pointer(folder / "checkpoints", "LATEST")
    if latest is None:
        return max((int(row["step"]) for row in rows), default=0)
    return int(latest.removeprefix("step-"))


def read_environment(folder: Path) -> dict[str, Any]:
    """What a run was made with; empty where it cannot be read."""
    try:
        found = json.loads((folder / "environment.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_content(folder: Path) -> Content | None:
    """What the data of a run holds; None where it was made before that was noted."""
    return Content.from_dict(read_environment(folder).get("data"))


def read_stop(folder: Path) -> str:
    """Why the training ended the last time, by log.txt (`FitResult.stopped`); empty where that is not known."""
    path = folder / "log.txt"
    text = path.read_text("utf-8", errors="replace") if path.is_file() else ""
    found = re.findall(r"^\S+ stopped by (\S+) at step", text, flags=re.M)
    return str(found[-1]) if found else ""


class LoggingObserver(Observer):
    """Passes everything on to another observer, and keeps what is said to people in a file.

    Args:
        watch: the other observer.
    """

    def __init__(self, watch: Observer) -> None:
        self.watch = watch
        self.path: Path | None = None
        """The file; what is said before it is known is kept for it."""
        self.early: list[str] = []

    def opened(self, run: Path, settings: RunConfig) -> None:
        """Pass it on."""
        self.watch.opened(run, settings)

    def begin(self, step: int, total: int) -> None:
        """Pass it on."""
        self.watch.begin(step, total)

    def stepped(self, step: int) -> None:
        """Pass it on."""
        self.watch.stepped(step)

    def logged(self, row: dict[str, Any]) -> None:
        """Pass it on."""
        self.watch.logged(row)

    def ended(self) -> None:
        """Pass it on."""
        self.watch.ended()

    def said(self, message: str) -> None:
        """Pass it on, and write it down."""
        self.watch.said(message)
        self.note(message)

    def note(self, message: str) -> None:
        """Write a line into the file alone."""
        self.early.append(f"{datetime.now(UTC).isoformat(timespec='seconds')} {message}\n")
        if self.path is not None:
            text = "".join(self.early)
            with cannot_write(self.path, len(text)), self.path.open("a", encoding="utf-8", errors="replace") as file:
                file.write(text)
            self.early.clear()
