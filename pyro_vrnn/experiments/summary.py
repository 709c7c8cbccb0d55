"""What the runs of an experiment say together: values by arm and seed, their spread, and differences paired by seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pyro_vrnn.experiments.costs import Cost
from pyro_vrnn.experiments.plan import Experiment
from pyro_vrnn.experiments.statistics import paired, spread
from pyro_vrnn.experiments.tasks import Planned, Task
from pyro_vrnn.runs.folder import read_metrics

Outcomes = Mapping[Task, Mapping[str, Any] | None]
Rows = list[dict[str, Any]]
TIMED = "time"
"""The quantity that depends on how fast this machine is."""
TIMING_NOISE = 0.1
"""A look this share of the equal time beyond it counts: what updates cost is known no better, and of two arms that cost
the same neither loses its last look by chance."""


def validations(task: Task) -> Rows:
    """The validations of a run, with the keys that its curve is drawn by."""
    return [row for row in read_metrics(task.folder) if "valid_nll_per_step" in row]


def best_until(rows: Rows, key: str, limit: float) -> float | None:
    """The best validation up to so many updates or sequences."""
    return min((row["valid_nll_per_step"] for row in rows if row[key] <= limit), default=None)


@dataclass(frozen=True)
class Section:
    """Arms that can be compared: those of data of the same content, the same start and the same validated bound."""

    data: str
    """What the data is called: its file's stem, or the whole path where other data has the same stem."""
    start: str | None
    """The arm that they continue from."""
    validated: str
    arms: tuple[Planned, ...]

    @property
    def title(self) -> str:
        """The data and the start in words."""
        return self.data if self.start is None else f"{self.data}, continued from {self.start}"


def sections_of(arms: Sequence[Planned]) -> list[Section]:
    """The arms by what can be compared, in their order."""
    groups: dict[tuple[str, str | None, str], list[Planned]] = {}
    for one in arms:
        bound = one.plan.settings.validated
        key = one.plan.content.sha256, one.arm.init_from, f"{bound.name}, K={bound.particles}"
        groups.setdefault(key, []).append(one)
    paths = {key[0]: Path(group[0].plan.info.path) for key, group in reversed(groups.items())}  # the first of each
    stems = [path.stem for path in paths.values()]
    names = {data: path.stem if stems.count(path.stem) == 1 else str(path) for data, path in paths.items()}
    return [Section(names[data], start, bound, tuple(group)) for (data, start, bound), group in groups.items()]


def summarise(
    experiment: Experiment, arms: Sequence[Planned], outcomes: Outcomes, costs: Sequence[Cost], timing: str
) -> dict[str, Any]:
    """Everything, as `results.json` has it.

    Args:
        experiment: what was asked.
        arms: its arms, planned.
        outcomes: what became of each run; None, or nothing, where it is not done yet.
        costs: of each arm.
        timing: by which clock, in words.
    """
    cost = {one.arm.name: c for one, c in zip(arms, costs, strict=True)}
    states = [_state(task, outcomes.get(task)) for one in arms for task in one.tasks]
    return {
        "schema": 1,
        "experiment": experiment.name,
        "title": experiment.title,
        "out": str(experiment.out),
        "equal": None if experiment.length is None else experiment.length.unit,
        "seeds": list(experiment.seeds),
        "finished": all(state["status"] != "waiting" for state in states),
        "failed": sum(state["status"] == "failed" for state in states),
        "unscored": sum(len(state.get("unscored", {})) for state in states),
        "timing": timing,
        "notes": [f"arm {one.arm.name!r}: {note}" for one in arms for note in one.notes],
        "runs": states,
        "sections": [_section(experiment, section, outcomes, cost) for section in sections_of(arms)],
    }


def _state(task: Task, outcome: Mapping[str, Any] | None) -> dict[str, Any]:
    """One run: where it lies and what became of it."""
    found = outcome or {"status": "waiting", "message": "", "steps": 0}
    state = {"arm": task.arm, "seed": task.seed, "run": str(task.folder)}
    state |= {key: found[key] for key in ("status", "message", "steps")}
    if found["status"] == "done":
        state |= {"stopped": found["stopped"], "seconds": found["seconds"], "best": found["best"]}
        state |= {"bounds": found["bounds"], "unscored": found.get("unscored", {})}
    return state


def _section(experiment: Experiment, section: Section, outcomes: Outcomes, costs: Mapping[str, Cost]) -> dict[str, Any]:
    """Arms that can be compared with each other."""
    arms = section.arms
    done = {
        one.arm.name: {t.seed: t for t in one.tasks if (outcomes.get(t) or {}).get("status") == "done"} for one in arms
    }
    rows = {task: validations(task) for tasks in done.values() for task in tasks.values()}
    update = {one.arm.name: costs[one.arm.name].update for one in arms}
    limits = _limits(rows, update)
    names = [one.arm.name for one in arms]
    reference = experiment.reference if experiment.reference in names else names[0]
    common = (b.title for b in experiment.evaluate if all(b in task.bounds for one in arms for task in one.tasks))
    kl_by = next(common, None)
    values: dict[str, dict[str, dict[int, float]]] = {}  # quantity -> arm -> seed -> value
    for task, own in rows.items():
        for quantity, value in _values(task, own, outcomes[task] or {}, limits, update[task.arm], kl_by).items():
            values.setdefault(quantity, {name: {} for name in names})[task.arm][task.seed] = value
    if TIMED in limits:
        values.setdefault(TIMED, {name: {} for name in names})
    for task in rows:  # a column of its own even where no run has a number
        for title in (outcomes[task] or {}).get("unscored", {}):
            values.setdefault(title, {name: {} for name in names})
    for plain in ("updates", "sequences"):  # said by the column before already
        same = values.get("valid" if plain == "updates" else "updates", values.get("valid"))
        if plain in values and values[plain] == same:
            del values[plain]
    return {
        "data": section.data,
        "init_from": section.start,
        "validated": section.validated,
        "reference": reference,
        "limits": limits,
        "quantities": _titles(list(values), limits, experiment),
        "arms": [
            {
                "arm": one.arm.name,
                "parameters": one.plan.parameters,
                "updates": max(
                    (own[-1]["step"] for t, own in rows.items() if t.arm == one.arm.name and own), default=0
                ),
                "seconds_per_update": update[one.arm.name],
                "runs": len(one.tasks),
                "values": {q: {str(k): v for k, v in sorted(by[one.arm.name].items())} for q, by in values.items()},
                "spread": {q: _dict(spread(by[one.arm.name])) for q, by in values.items()},
                "difference": {
                    q: _dict(paired(by[one.arm.name], by[reference])) for q, by in values.items() if q != "kl"
                }
                if one.arm.name != reference
                else None,
            }
            for one in arms
        ],
    }


def _limits(rows: Mapping[Task, Rows], update: Mapping[str, float | None]) -> dict[str, float]:
    """How far all runs came, in updates, sequences, and seconds of updates."""
    last = [(task, own[-1]) for task, own in rows.items() if own]
    if not last:
        return {}
    found: dict[str, float] = {key: min(int(row[name]) for _, row in last) for key, name in _COUNTED.items()}
    if all(update[task.arm] is not None for task, _ in last):
        found[TIMED] = min(row["step"] * (update[task.arm] or 0.0) for task, row in last)
    return found


_COUNTED = {"updates": "step", "sequences": "sequences"}


def _values(
    task: Task,
    rows: Rows,
    outcome: Mapping[str, Any],
    limits: Mapping[str, float],
    update: float | None,
    kl_by: str | None,
) -> dict[str, float]:
    """All that is reported of a run; its KL is that of one bound, by title."""
    # A longer length continues a run without the row of its look at the end, which may be what BEST is.
    looks = [outcome["best"]["valid_nll_per_step"], *(row["valid_nll_per_step"] for row in rows)]
    found: dict[str, float | None] = {"valid": min(looks)}
    for key, name in _COUNTED.items():
        # Of sequences, runs of as many updates can differ by a short batch of theirs, which comes at another place.
        within = task.config.data.batch_size - 1 if key == "sequences" else 0
        found[key] = best_until(rows, name, limits[key] + within)
    if update is not None and TIMED in limits:
        found[TIMED] = best_until(rows, "step", limits[TIMED] / update * (1 + TIMING_NOISE))
    for title, bound in outcome["bounds"].items():
        found[title] = bound["nll_per_step"]
    first = outcome["bounds"].get(kl_by) if kl_by is not None else None
    if first is not None and task.config.model.latent:
        found["kl"] = first["kl_per_step"]
    return {key: value for key, value in found.items() if value is not None}


def _titles(quantities: Sequence[str], limits: Mapping[str, float], experiment: Experiment) -> dict[str, str]:
    """The headings of the columns; bounds are nats per step."""
    words = {
        "valid": "validation",
        "updates": f"at {limits.get('updates', 0):,.0f} updates",
        "sequences": f"at {limits.get('sequences', 0):,.0f} sequences",
        TIMED: f"at {limits.get(TIMED, 0):,.3g} s of updates",
        "kl": "KL per step",
    }
    order = ["valid", "updates", "sequences", TIMED, *(b.title for b in experiment.evaluate), "kl"]
    return {key: words.get(key, key) for key in order if key in quantities}


def _dict(found: Any) -> dict[str, Any] | None:
    return None if found is None else asdict(found)
