"""An experiment on one HTML page: what its numbers show, tables, curves, settings that differ, how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyro_vrnn.config import RunConfig
from pyro_vrnn.experiments import results as stored
from pyro_vrnn.experiments import table
from pyro_vrnn.experiments.parsing import read
from pyro_vrnn.experiments.plan import FILE, Experiment
from pyro_vrnn.experiments.summary import TIMED
from pyro_vrnn.media.curves import together
from pyro_vrnn.media.pages import figures, report
from pyro_vrnn.media.pages.report import Figure, Grid, Part, Table
from pyro_vrnn.media.pages.spreads import Row, spreads
from pyro_vrnn.runs.comparison import AXES
from pyro_vrnn.runs.folder import read_config, read_metrics
from pyro_vrnn.runs.pages.provenance import say
from pyro_vrnn.system.errors import ConfigError
from pyro_vrnn.system.files import unlinked, write_bytes

CHANCE = (
    "An interval is about one arm: of twenty arms that are no different, one is told apart by chance. It takes the "
    "differences over seeds as normal, and says nothing of other data or other settings."
)


def is_experiment(folder: Path) -> bool:
    """Whether an experiment wrote this folder."""
    return (folder / FILE).is_file()


def write(folder: Path, path: Path | None = None) -> Path:
    """Write the page from the files of an experiment; its data is not needed, and nothing is measured.

    Args:
        folder: that `experiment` wrote; it may be unfinished.
        path: the HTML file; default FOLDER/report.html.

    Returns:
        The file.

    Raises:
        ConfigError: no results there yet, damaged ones, a symbolic link among them, or the file cannot be written.
        CheckpointError: the settings or the metrics of a run are damaged.
    """
    path = path or folder / "report.html"
    if path.is_dir():
        raise ConfigError(f"--out {path}: is a folder", "give a file name that ends in .html")
    write_bytes(path, report.fill(page(folder)).encode("utf-8", "backslashreplace"))
    return path


def page(folder: Path) -> Grid:
    """All that the page says; see `write`."""
    here = folder.resolve()  # so that it is never taken for the shipped experiment of that name
    unlinked(here, here / stored.FILE)
    experiment = read(str(here))
    results = stored.read(here, experiment)
    order = {arm.name: n for n, arm in enumerate(experiment.arms)}
    states = [run["status"] for run in results["runs"]]
    configs = {name: found for name in order if (found := _config(here, name, experiment)) is not None}
    facts = [
        ("arms", f"{len(order)}, compared with {experiment.reference}"),
        ("seeds", ", ".join(map(str, results["seeds"]))),
        ("equal", results["equal"] or "nothing: each arm has the length of its recipe"),
        ("runs", f"{states.count('done')} of {len(states)} done, {states.count('failed')} failed"),
        ("data", ", ".join(dict.fromkeys(config.data.path for config in configs.values())) or "-"),
    ]
    again = f"{here}-again"
    return Grid(
        title=experiment.title,
        facts=facts,
        failures=_failures(results),
        notes=results.get("notes", []),
        parts=[_part(here, section, results, experiment) for section in results["sections"]],
        settings=_settings(experiment, configs),
        runs=_runs(results),
        commands=[
            shlex.join(["pyro-vrnn", "experiment", str(here / FILE), "--out", again]),
            shlex.join(["pyro-vrnn", "report", again]),
        ],
        file=(here / FILE).read_text("utf-8", errors="replace"),
    )


def _config(folder: Path, arm: str, experiment: Experiment) -> RunConfig | None:
    """The settings of an arm's first run that was begun."""
    runs = [folder / "runs" / arm / f"seed-{seed}" for seed in experiment.seeds]
    begun = (run for run in runs if unlinked(folder, run / "config.toml").is_file())
    return next((read_config(run) for run in begun), None)


def _failures(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Runs without a result and bounds without a number, and why."""
    found = []
    for run in results["runs"]:
        name = f"{run['arm']}, seed {run['seed']}"
        if run["status"] == "failed":
            found.append(
                (f"{name}, after update {run['steps']:,}:", f"{run['message']}. It is left out of all numbers.")
            )
        found += [(f"{name}, {title}:", f"{why}. The run stands.") for title, why in run.get("unscored", {}).items()]
    return found


def _part(folder: Path, section: Mapping[str, Any], results: Mapping[str, Any], experiment: Experiment) -> Part:
    """One section."""
    order = {arm.name: n for n, arm in enumerate(experiment.arms)}
    head, rows = table.values(section)
    tables = [
        Table(
            name="Values",
            head=head,
            rows=rows,
            numbers=range(1, len(head)),
            words=f"{table.section_words(section, results)} {table.costs_words(results)}",
        )
    ]
    head, rows = table.differences(section)
    if rows:
        words = f"{table.differences_words(section, results)}."
        tables.append(Table(name="Differences", head=head, rows=rows, numbers=range(1, len(head)), words=words))
    names = [arm["arm"] for arm in section["arms"]]
    return Part(
        title=table.section_title(section),
        conclusions=_conclusions(section, results),
        tables=tables,
        spreads=_spreads(section, order),
        legend=[(figures.mark(order[name]), name) for name in names],
        curves=_curves(folder, section, experiment),
    )


def _scored(section: Mapping[str, Any]) -> list[str]:
    """Its quantities that are scores of a run: validation, and the bounds that were asked for."""
    return [q for q in section["quantities"] if q not in ("updates", "sequences", TIMED, "kl")]


def _conclusions(section: Mapping[str, Any], results: Mapping[str, Any]) -> list[str]:
    """What can be concluded of the first bound that was asked for, and what cannot."""
    scored, reference = _scored(section), section["reference"]
    others = [arm for arm in section["arms"] if arm["difference"] is not None]
    if not scored or not others:
        return []
    quantity = scored[1] if len(scored) > 1 else scored[0]  # the first bound that was asked for
    kinds: dict[str, list[str]] = {}
    waiting = {run["arm"] for run in results["runs"] if run["status"] == "waiting"}
    numbers = {arm["arm"] for arm in section["arms"] if arm["spread"][quantity] is not None}
    for arm in others:
        found, name = arm["difference"].get(quantity), arm["arm"]
        if found is not None:
            kind = (
                "one"
                if found["low"] is None
                else "better"
                if found["high"] < 0
                else "worse"
                if found["low"] > 0
                else "open"
            )
        elif name not in numbers:
            kind = "waiting" if name in waiting else "failed"
        elif reference in numbers:
            kind = "apart"
        else:
            kind = "early" if reference in waiting else "alone"
        kinds.setdefault(kind, []).append(name)
    said = [
        f"{words} {', '.join(kinds[kind])}"
        for kind, words in {
            "better": f"better than {reference}, with a 95% interval below 0:",
            "worse": f"worse than {reference}, with an interval above 0:",
            "open": "no difference shown, as their intervals hold 0:",
            "one": "nothing can be concluded, as one seed has no spread:",
            "apart": f"measured, but in no seed that {reference} has a number of:",
            "early": f"measured, while {reference} is not yet:",
            "alone": f"measured, but with nothing to be compared with, as {reference} has failed:",
            "waiting": "not measured yet:",
            "failed": "without a number, as told under what failed:",
        }.items()
        if kind in kinds
    ]
    first = f"By {section['quantities'][quantity]}: {'; '.join(said)}."
    return [first, CHANCE] if len(results["seeds"]) > 1 else [first]


def _spreads(section: Mapping[str, Any], order: Mapping[str, int]) -> list[Figure]:
    """What each run reached, and the differences, of each score."""
    found = []
    for quantity in _scored(section):
        title, arms = section["quantities"][quantity], section["arms"]
        rows = []
        for arm in arms:
            own = arm["spread"][quantity]
            points, mean = list(arm["values"][quantity].values()), None if own is None else own["mean"]
            rows.append(Row(name=arm["arm"], order=order[arm["arm"]], points=points, mean=mean))
        words = f"{title}: a point for each seed, a tick at their mean"
        found.append(Figure(spreads(words, rows, x_label="nats per step"), words))
        rows = []
        for arm in (arm for arm in arms if arm["difference"] is not None):
            pair = arm["difference"].get(quantity)
            ends = None if pair is None or pair["low"] is None else (pair["low"], pair["high"])
            mean = None if pair is None else pair["mean"]
            rows.append(Row(name=arm["arm"], order=order[arm["arm"]], mean=mean, ends=ends))
        words = f"{title}: difference from {section['reference']}, paired by seed, with its 95% interval; "
        words += "left of the dashed line is better"
        found.append(Figure(spreads(words, rows, zero=True, x_label="nats per step"), words))
    return [figure for figure in found if figure.svg]


def _curves(folder: Path, section: Mapping[str, Any], experiment: Experiment) -> list[Figure]:
    """The mean validation of each arm over its seeds, by updates, sequences and seconds."""
    key, drawn = "valid_nll_per_step", []
    order = {arm.name: n for n, arm in enumerate(experiment.arms)}
    done: dict[str, dict[str, float]] = {a["arm"]: next(iter(a["values"].values()), {}) for a in section["arms"]}
    for axis, label in AXES.items():
        means: dict[str, list[dict[str, float]]] = {}
        for name in (name for name in order if name in done):
            seeds = [seed for seed in experiment.seeds if str(seed) in done[name]]
            runs = [folder / "runs" / name / f"seed-{seed}" for seed in seeds]
            logged = [read_metrics(unlinked(folder, run / "metrics.jsonl").parent) for run in runs]
            both = [[(r[axis], r[key]) for r in rows if r.get(axis) is not None and key in r] for rows in logged]
            curves = [([x for x, _ in rows], [y for _, y in rows]) for rows in both if rows]
            if curves:
                at, values = together(curves)
                pairs = zip(at.tolist(), values.mean(0).tolist(), strict=True)
                means[name] = [{axis: x, "mean": y} for x, y in pairs]
        what = f"Validation NLL by {section['validated']}, nats per step, mean over seeds where all are"
        drawn += figures.compared_curves(means, {axis: label}, what, "mean", order)
    return drawn


def _settings(experiment: Experiment, configs: Mapping[str, RunConfig]) -> Table:
    """What is not the same in all arms, by their first runs."""
    flat: dict[str, dict[str, Any]] = {}
    for arm in experiment.arms:
        if arm.name in configs:
            raw = configs[arm.name].to_dict()
            flat[arm.name] = {"init_from": arm.init_from} | {
                f"{a}.{b}": value for a, part in raw.items() if a != "format" for b, value in dict(part).items()
            }
    keys = sorted({key for values in flat.values() for key in values} - {"training.seed"})
    rows = [[key, *(_say(values.get(key)) for values in flat.values())] for key in keys]
    rows = [row for row in rows if len(set(row[1:])) > 1]
    gone = [arm.name for arm in experiment.arms if arm.name not in flat]
    words = f"Not begun, and not in this table: {', '.join(gone)}." if gone else ""
    return Table(name="Settings that differ", head=["setting", *flat], rows=rows, words=words)


def _say(value: object) -> str:
    return "-" if value is None else say(value)


def _runs(results: Mapping[str, Any]) -> Table:
    """Every run, its state, and the name of its folder."""
    rows = []
    for run in results["runs"]:
        seconds, best = run.get("seconds"), run.get("best")
        rows.append(
            [
                f"runs/{run['arm']}/seed-{run['seed']}",
                run["status"],
                f"{run['steps']:,}",
                "-" if best is None else f"{best['valid_nll_per_step']:.4f} at {best['step']:,}",
                "-" if seconds is None else f"{seconds:,.0f}",
            ]
        )
    head = ["folder, beside this page", "status", "updates", "best validation", "seconds"]
    return Table(name="Runs", head=head, rows=rows, numbers=(2, 3, 4), words=f"All {len(rows)} runs and their folders")
