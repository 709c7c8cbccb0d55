"""Runs compared: experiment, a grid of runs and one table; transfer, a supervised network started from a run."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import DeviceOption, RunArgument, SetOption, ThreadsOption, command, set_threads
from pyro_vrnn.cli.terminal import out
from pyro_vrnn.system.durations import duration
from pyro_vrnn.system.errors import ConfigError, NumericsError


@command
def experiment(
    named: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE|NAME",
            help="A TOML file, a shipped name, or the folder of an experiment. Without one, lists what is shipped.",
            show_default=False,
        ),
    ] = None,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="For runs and results; default: runs/NAME.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at once, each in a process of its own.")] = 1,
    updates: Annotated[
        int | None, typer.Option(min=1, help="Make it so many updates long, whatever the file says.")
    ] = None,
    seeds: Annotated[str | None, typer.Option(metavar="0,1,2", help="These seeds in the place of the file's.")] = None,
    sets: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and tell runs, sizes and the expected time; train nothing.")
    ] = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Train a grid of settings and seeds, and write one table and figures.

    The same command continues after Ctrl-C or a crash and skips what is done. A run whose numbers are not finite is
    told in the table, the others are trained all the same, and the exit code is 5.
    """
    if named is None:
        return _shipped()
    set_threads(threads)
    from pyro_vrnn.cli.grid import GridConsole
    from pyro_vrnn.experiments.parsing import read
    from pyro_vrnn.experiments.runner import Runner
    from pyro_vrnn.experiments.table import markdown
    from pyro_vrnn.system.devices import keep_memory

    asked = read(named, out=out_, updates=updates, seeds=_seeds(seeds), sets=sets or [])
    keep_memory()
    watch = GridConsole(out.console(), quiet=out.quiet)
    runner = Runner(asked, device=device, watch=watch)
    if dry_run:
        return _dry_run(runner, jobs)
    results = runner.run(jobs)
    folder = asked.out
    if runner.signal is not None:
        out.exit_code = 128 + runner.signal
        again = " ".join(["pyro-vrnn experiment", str(folder), *([f"--jobs {jobs}"] if jobs > 1 else [])])
        out.print(f"stopped, and saved: {len(runner.left())} of {len(runner.tasks)} runs are left; {again} continues")
        return results
    out.print(*markdown(results), "", f"{folder}/table.md, table.csv, results.json, figures/")
    out.print(f"next: pyro-vrnn report {shlex.quote(str(folder))}   all of it on one page")
    if results["failed"]:
        out.exit_code = NumericsError.exit_code
        out.say(f"{results['failed']} of {len(runner.tasks)} runs failed; their folders say why, below diagnostics/")
    if results["unscored"]:
        out.exit_code = NumericsError.exit_code
        out.say(f"{results['unscored']} bounds are not finite; the table says of which runs")
    return results


@command
def transfer(
    run: RunArgument,
    data: Annotated[
        str | None, typer.Option("--data", metavar="FILE|NAME", help="Other data of the same kind; default: the run's.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="REGEX", help="Take labels from ids, such as '^([0-9])_'; default: the data file's."),
    ] = None,
    shares: Annotated[
        str, typer.Option(metavar="A,B,C", help="Percent of the training labels; of each class at least one.")
    ] = "1,10,100",
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds: 0, 1, …")] = 5,
    max_updates: Annotated[int, typer.Option(min=1, help="Of each network; validation may end it sooner.")] = 500,
    out_: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/transfer.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Compare a supervised network started from a run with one that starts cold.

    Labels are the data file's, what --labels finds in ids, or else what is before '#' in the ids of windows.
    Needs the extra 'estimators'. For example: pyro-vrnn transfer runs/digits --labels '^([0-9])_'
    """
    set_threads(threads)
    percentages = _percentages(shares)
    from pyro_vrnn import runs
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.experiments.transfer import transfer
    from pyro_vrnn.experiments.transfer.results import markdown

    loaded = runs.load(run, device=device, say=out.say)
    with counting(out.console(), "classifiers", quiet=out.quiet) as progress:
        found = transfer(
            loaded,
            data=data,
            labels=labels,
            shares=percentages,
            seeds=seeds,
            max_updates=max_updates,
            out=out_,
            progress=progress,
        )
    out.print(*markdown(found), "", *found["files"])
    return found


def _percentages(text: str) -> list[float]:
    """1,10,100 as numbers."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--shares {text!r}: expected percentages such as 1,10,100") from None


def _shipped() -> dict[str, Any]:
    """List the shipped experiments; with -v also how their data is prepared."""
    from pyro_vrnn.experiments.shipped import names, text

    lines = {name: text(name).splitlines() for name in names()}
    rows: list[tuple[object, ...]] = []
    for name, (what, data, *_) in lines.items():
        rows.append((name, what.lstrip("# ")))
        if out.verbose:
            rows.append(("", data.lstrip("# ")))
    out.table(rows)
    return {"schema": 1, "experiments": {name: found[0].lstrip("# ") for name, found in lines.items()}}


def _seeds(text: str | None) -> list[int] | None:
    """0,1,2 as numbers."""
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--seeds {text!r}: expected whole numbers such as 0,1,2") from None


def _dry_run(runner: Any, jobs: int) -> dict[str, Any]:
    """Tell what would be trained, and for how long."""
    from pyro_vrnn.experiments.tasks import expected_updates

    expected, left = runner.expected(), runner.left()
    table: list[tuple[object, ...]] = [("arm", "runs", "done", "parameters", "updates", "ms per update", "time")]
    arms = []
    for one, cost in zip(runner.arms, runner.costs, strict=True):
        todo = [task for task in one.tasks if task in left]
        arm = {
            "arm": one.arm.name,
            "runs": len(one.tasks),
            "done": len(one.tasks) - len(todo),
            "parameters": one.plan.parameters,
            "updates": expected_updates(one.tasks[0], one.plan),
            "seconds_per_update": cost.update,
            "hours": sum(expected[task] for task in todo) / 3600,
        }
        arms.append(arm)
        length = f"{one.tasks[0].seconds:.0f} s" if arm["updates"] is None else f"{arm['updates']:,}"
        took = "-" if cost.update is None else f"{1e3 * cost.update:.3g}"
        first = (arm["arm"], arm["runs"], arm["done"], f"{arm['parameters']:,}")
        table.append((*first, length, took, duration(3600 * arm["hours"])))
    hours = sum(expected[task] for task in left) / 3600
    # Weights, two moments of AdamW and the running average, float32, in up to three checkpoints.
    size = sum(one.plan.parameters * 4 * 4 * 3 * len(one.tasks) for one in runner.arms) / 1e6
    out.table(table, right=tuple(range(1, 7)))
    in_turn = duration(3600 * hours)
    out.print(f"{len(left)} of {len(runner.tasks)} runs to train, {in_turn} in turn, at most {size:.0f} MB")
    if jobs > 1:
        shared = duration(3600 * hours / min(jobs, max(1, len(left))))
        out.print(f"with --jobs {jobs}: {shared}, if each has a core of its own")
    out.print(
        "that is updates, validations and final bounds, times what each took here just now: the median update, and a",
        "bound of a few validation sequences, taken as proportional to steps and particles; nothing was trained",
    )
    return {
        "schema": 1,
        "dry_run": True,
        "out": str(runner.experiment.out),
        "arms": arms,
        "hours": hours,
        "bytes": size * 1e6,
    }
