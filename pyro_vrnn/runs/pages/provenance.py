"""What a page says of where a run comes from: facts, settings that differ, commands that make it again."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyro_vrnn import weights
from pyro_vrnn.media.pages.findings import Finding
from pyro_vrnn.programs.twist import size
from pyro_vrnn.runs.folder import read_environment, updates_of
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.durations import duration


def facts(run: Trained, rows: list[dict[str, Any]], stopped: str) -> list[tuple[str, str]]:
    """What the run is, in words and values."""
    config, form, last = run.config, run.format, rows[-1] if rows else {}
    found = [
        ("model", f"{config.model.name}, {config.model.likelihood} output, {size(run.net)}"),
        ("objective", f"{config.objective.name}, K={config.objective.particles}"),
        ("data", f"{config.data.path} ({form.kind}, {form.support}, {form.x_dim} columns of x)"),
        ("training", f"{updates_of(run.folder, rows):,} updates" + (f", stopped by {stopped}" if stopped else "")),
        ("seed", str(config.training.seed)),
        ("checkpoint", run.step_folder.name),
    ]
    seconds = last.get("seconds")
    return found if seconds is None else [*found, ("time", f"{duration(float(seconds))} of training")]


def diagnostics(folder: Path) -> list[Finding]:
    """Whether numbers were once not finite."""
    found = sorted(f.name for f in (folder / "diagnostics").glob("*.json"))
    what = f"Numbers were not finite once: diagnostics/{found[-1]} says where." if found else ""
    return [Finding(what, "Try a smaller training.learning_rate or training.clip_norm.")] if found else []


def changed(run: Trained) -> list[tuple[str, str, str]]:
    """Settings that differ from the defaults of their model, objective and section: name, value, default."""
    config, found = run.config, []
    for section in ("model", "objective", "data", "training"):
        part = getattr(config, section)
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            made = field.default_factory
            default = field.default if made is dataclasses.MISSING else made()
            if value != default:
                said = "none" if default is dataclasses.MISSING else say(default)
                found.append((f"{section}.{field.name}", say(value), said))
    return found


def commands(run: Trained, rows: list[dict[str, Any]], stopped: str, num: int, seed: int) -> list[str]:
    """What makes the run again, with as many updates if it was cut short, and then this page."""
    if (shipped := weights.name_of(run.folder)) is not None:
        card = weights.card(shipped)
        page = ["pyro-vrnn", "report", shipped, "--num", str(num), "--seed", str(seed)]
        return [card.prepare, card.train, shlex.join(page)]
    again = f"{run.folder}-again"
    command = ["pyro-vrnn", "train", str(run.folder / "config.toml"), "--out", again]
    if (start := read_environment(run.folder).get("init_from")) is not None:
        command += ["--init-from", str(start)]
    if stopped in ("max-time", "signal", "observer"):
        command += ["--max-steps", str(updates_of(run.folder, rows))]
    return [shlex.join(command), shlex.join(["pyro-vrnn", "report", again, "--num", str(num), "--seed", str(seed)])]


def flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested values by dotted names, without absent ones."""
    found = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += flat(value, f"{before}{key}.")
        elif value is not None:
            found.append((f"{before}{key}", say(value)))
    return found


def say(value: object) -> str:
    """A value of TOML or JSON in words."""
    if isinstance(value, list | tuple):
        return ", ".join(map(say, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
