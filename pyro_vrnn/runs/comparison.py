"""Runs side by side: what differs in their settings, and their validation bounds by updates, sequences and time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vrnn import weights
from pyro_vrnn.config import RunConfig
from pyro_vrnn.media import curves
from pyro_vrnn.runs.folder import best_validation, read_config, read_content, read_environment, read_metrics
from pyro_vrnn.system.errors import ConfigError
from pyro_vrnn.system.files import make_folder
from pyro_vrnn.training import checkpoint

AXES = {"step": "updates", "sequences": "sequences seen", "seconds": "seconds of training"}
BOUND = ("alpha", "groups", "mix", "resampling", "threshold")
"""Settings of an objective that make it another bound."""
LONGEST_LABEL = 60
"""Characters; runs that differ in more than can be said in so many go by their folders' names."""
IGNORED = {"training.seed"}
"""Runs that differ in these alone are repeats of one another."""


@dataclass(frozen=True)
class Compared:
    """One run: its folder, its settings by dotted name, and its validations."""

    folder: Path
    config: RunConfig
    settings: dict[str, Any]
    rows: list[dict[str, Any]]
    state: dict[str, Any]
    """Where the training stood at BEST."""

    @property
    def bound(self) -> str:
        """What its validations measure."""
        found = self.config.validated
        values = {k: v for k, v in vars(found).items() if k in BOUND}
        return ", ".join([found.name, f"K={found.particles}", *(f"{k}={v}" for k, v in values.items())])

    @property
    def data(self) -> str:
        """The data file that it was trained on, or another one of the same content (`_place`)."""
        return str(self.settings["data.path"])

    @property
    def best(self) -> dict[str, Any]:
        """The `step` and the `valid_nll_per_step` of the best validation."""
        found = best_validation(self.rows, self.state)
        assert found is not None, "read() has found a validation"
        return found


def read(run: Path) -> Compared:
    """A run folder's settings and validations.

    Raises:
        CheckpointError: no run there.
        ConfigError: it has not been validated yet.
    """
    folder, step_folder = checkpoint.find(run)
    config = read_config(folder)
    settings = {f"{section}.{key}": value for section, part in config.to_dict().items() for key, value in part.items()}
    settings["init_from"] = read_environment(folder).get("init_from")
    rows = [row for row in read_metrics(folder) if "valid_nll_per_step" in row]
    if not rows:
        raise ConfigError(f"{folder}: no validation yet", "train it for longer; a validation comes after an epoch")
    return Compared(folder, config, settings, rows, checkpoint.read_state(step_folder))


@dataclass(frozen=True)
class Together:
    """Runs side by side, in the order in which they were given."""

    runs: list[Compared]
    groups: dict[str, list[Compared]]
    """Those that differ in their seeds alone, by what tells them from the others."""
    differs: dict[str, list[Any]]
    """Settings that are not the same in all runs: dotted name -> the value of each."""
    bounds: list[str]
    """What was validated, each once."""
    data: list[str]
    """Data files, each once."""
    titles: dict[str, str]
    """A data file -> a name for it."""

    def summaries(self) -> list[dict[str, Any]]:
        """Mean and deviation of the best validation of each group."""
        return [_summary(name, members) for name, members in self.groups.items()]


def together(runs: Sequence[Path]) -> Together:
    """Read runs, find what differs, and group the repeats.

    Args:
        runs: two run folders or more.

    Raises:
        ConfigError: fewer than two runs, one of them twice, or one without a validation.
        CheckpointError: no run there.
    """
    if len(runs) < 2:
        raise ConfigError("compare takes two runs or more", "pyro-vrnn compare runs/a runs/b")
    if len({run.resolve() for run in runs}) < len(runs):
        raise ConfigError("a run is given twice: its spread over seeds would be too small", "name each run once")
    found = [read(run) for run in runs]
    _place(found)
    bounds = sorted({run.bound for run in found})
    data = sorted({run.data for run in found})
    keys = sorted({key for run in found for key in run.settings})
    differs = {key: [run.settings.get(key) for run in found] for key in keys}
    differs = {key: values for key, values in differs.items() if any(v != values[0] for v in values)}
    varied = [key for key in differs if key not in IGNORED and not key.startswith("format.")]
    alike: dict[str, list[Compared]] = {}
    for run in found:
        alike.setdefault(repr([run.settings.get(key) for key in varied]), []).append(run)
    return Together(found, _named(list(alike.values()), varied), differs, bounds, data, _titles(data))


def compare(runs: Sequence[Path], out: Path | None = None) -> dict[str, Any]:
    """The report of `compare --json`; the figure, with panels for each data file, is written below `out`.

    Args:
        runs: two run folders or more.
        out: folder of the figure; default: the current one.

    Raises:
        ConfigError: fewer than two runs, one of them twice, or one without a validation.
    """
    found = together(runs)
    bounds, data, titles = found.bounds, found.data, found.titles
    group_of = {id(run): name for name, members in found.groups.items() for run in members}
    picture = make_folder(out or Path()) / "comparison.png"
    curves.comparison(
        {
            titles[path]: {
                _legend(name, members): [run.rows for run in members]
                for name, members in found.groups.items()
                if members[0].data == path
            }
            for path in data
        },
        picture,
        AXES,
        ylabel=f"validation NLL, nats per step ({bounds[0]})" if len(bounds) == 1 else "validation NLL by own bound",
    )
    return {
        "schema": 1,
        "runs": [
            {
                "run": weights.name_of(run.folder) or str(run.folder),
                "group": group_of[id(run)],
                "seed": run.settings["training.seed"],
                "data": titles[run.data],
                "kind": run.settings.get("format.kind"),
                "bound": run.bound,
                "best": {k: run.best[k] for k in ("step", "valid_nll_per_step")},
                **{key: run.rows[-1].get(key) for key in AXES},
            }
            for run in found.runs
        ],
        "groups": found.summaries(),
        "differs": found.differs,
        "comparable": len(bounds) == 1 and len(data) == 1,
        "figure": str(picture),
    }


def _place(found: Sequence[Compared]) -> None:
    """Give runs on data of the same content one path, and runs on other content at the same path two."""
    places: dict[str, str] = {}
    for run in found:
        content, path = read_content(run.folder), str(Path(run.config.data.path).resolve())
        if content is not None:
            known = content.sha256
            taken = path in places.values() and known not in places
            path = places.setdefault(known, f"{path} ({known[:6]})" if taken else path)
        run.settings["data.path"] = path


def _named(groups: list[list[Compared]], varied: list[str]) -> dict[str, list[Compared]]:
    """Each group by what tells it from the others, in settings that all runs have; else by its first folder's name."""
    keys = [key for key in varied if all(run.settings.get(key) is not None for runs in groups for run in runs)]
    named: dict[str, list[Compared]] = {}
    for runs in groups:
        first = runs[0]
        label = ", ".join(_said(key, first.settings[key]) for key in keys)
        label = label or first.config.model.name
        if len(label) > LONGEST_LABEL or label in named:
            label = first.folder.name
        named[label if label not in named else str(first.folder)] = runs
    return named


def _said(key: str, value: Any) -> str:
    """A setting as a legend says it: a model and an objective by their names, particles as K, others by theirs."""
    _, _, leaf = key.rpartition(".")
    words = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return words if leaf == "name" else f"K={words}" if leaf == "particles" else f"{leaf.replace('_', ' ')} {words}"


def _legend(name: str, members: Sequence[Compared]) -> str:
    """What the figure calls a group: a run on its own by its folder too."""
    folder = members[0].folder.name
    label = f"{folder}: {name}"
    return name if len(members) > 1 or folder in name or len(label) > LONGEST_LABEL else label


def _titles(data: Sequence[str]) -> dict[str, str]:
    """A name for each data file: short where that tells it from the others."""
    stems = [Path(path).stem for path in data]
    return {path: stem if stems.count(stem) == 1 else path for path, stem in zip(data, stems, strict=True)}


def _summary(name: str, members: list[Compared]) -> dict[str, Any]:
    """Mean and standard deviation over seeds of the best validation."""
    values = [float(run.best["valid_nll_per_step"]) for run in members]
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    seeds = len({run.config.training.seed for run in members})
    return {"group": name, "runs": len(values), "seeds": seeds, "valid_nll_per_step": mean, "deviation": spread}
