"""Runs to look at, in a table or in a browser: compare, report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import DeviceOption, ThreadsOption, command, set_threads
from pyro_vrnn.cli.terminal import out

LONGEST_CELL = 32


@command
def compare(
    run_folders: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN…", help="Two runs or more; seeds of one setting are grouped.")
    ],
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="For the figure; default: here.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write one page too: scores on test, curves, samples of each."),
    ] = None,
) -> dict[str, Any]:
    """Put runs side by side: settings that differ, and bounds.

    Validation bounds are drawn by updates, by sequences seen, and by time; seeds of one setting are grouped.
    """
    from pyro_vrnn.runs.comparison import compare as compare_runs

    found = compare_runs(run_folders, out_)
    if html is not None:
        _compare_on_a_page(run_folders, html)
    names = [Path(one["run"]).name for one in found["runs"]]
    out.table([("setting", *names), *_differences(found)])
    header = ("run", "best on validation", "at update", "updates", "sequences", "seconds", "bound")
    rows: list[tuple[object, ...]] = [header]
    for name, one in zip(names, found["runs"], strict=True):
        best, seconds = one["best"], one["seconds"]
        took = "" if seconds is None else f"{seconds:.0f}"
        seen = "" if one["sequences"] is None else one["sequences"]
        value = f"{best['valid_nll_per_step']:.4f}"
        rows.append((name, value, best["step"], one["step"], seen, took, one["bound"]))
    out.table(rows, right=(1, 2, 3, 4, 5))
    for group in found["groups"]:
        if group["runs"] > 1:
            mean, deviation = group["valid_nll_per_step"], group["deviation"]
            over = f"{group['runs']} runs of {group['seeds']} seed{'s' if group['seeds'] > 1 else ''}"
            over = f"{group['runs']} seeds" if group["seeds"] == group["runs"] else over
            out.print(f"{group['group']}: {mean:.4f} ± {deviation:.4f} (deviation over {over})")
    if len({one["data"] for one in found["runs"]}) > 1:
        out.print("not the same data: the numbers are not comparable, and the curves have panels of their own")
    elif not found["comparable"]:
        out.print("not the same bound: the numbers are not comparable (see training.valid_objective)")
    out.print(f"curves: {found['figure']}")
    if html is not None:
        found = {**found, "html": str(html)}
        out.print(f"{html}: {html.stat().st_size / 1e6:.2f} MB; open it in a browser")
    return found


def _compare_on_a_page(run_folders: list[Path], html: Path) -> None:
    """Write `compare --html`, with progress by runs."""
    set_threads(None)
    from pyro_vrnn import runs
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.runs.pages import comparison_page

    comparison_page.check(len(run_folders), html)
    loaded = [runs.load(run, say=out.say) for run in run_folders]
    with counting(out.console(), "runs", quiet=out.quiet) as progress:
        comparison_page.write(loaded, html, progress=progress)


def _differences(found: dict[str, Any]) -> list[tuple[object, ...]]:
    """A row for each setting that is not the same in all runs; what a data file is like, in one word."""
    rows: list[tuple[object, ...]] = [
        (key, *map(_short, values)) for key, values in found["differs"].items() if not key.startswith("format.")
    ]
    if len(rows) < len(found["differs"]):
        word = "kind" if "format.kind" in found["differs"] else "data"
        rows.append(("format", *(_short(one[word]) for one in found["runs"])))
    return rows


def _short(value: object) -> str:
    """Shorten a value to one cell of a table; of a long one, such as a path, the end is kept."""
    text = "-" if value is None else str(value)
    return text if len(text) <= LONGEST_CELL else f"…{text[1 - LONGEST_CELL :]}"


@command
def report(
    run: Annotated[
        Path, typer.Argument(metavar="RUN|EXPERIMENT", help="A run, as elsewhere, or the folder of an experiment.")
    ],
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.html", help="Default: RUN/report.html.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="How many samples; of a run.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of everything that is random; of a run.")] = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Write a run, or an experiment, onto one HTML page that needs nothing else.

    Of a run: curves, scores and baselines, samples to hear and see, the posterior, what is unusual, how to make it
    again. Of an experiment: what its numbers show, tables, paired differences, curves, settings that differ.
    """
    set_threads(threads)
    from pyro_vrnn.experiments import page

    if page.is_experiment(run):
        return _written(page.write(run, out_))
    from pyro_vrnn import runs
    from pyro_vrnn.cli.console import counting

    loaded = runs.load(run, device=device, say=out.say)
    with counting(out.console(), "elbo on test", quiet=out.quiet) as progress:
        file = loaded.report(out_, num=num, seed=seed, progress=progress)
    return _written(file)


def _written(file: Path) -> dict[str, Any]:
    """Say how large a page is."""
    size = file.stat().st_size
    out.print(f"{file}: {size / 1e6:.2f} MB; open it in a browser")
    return {"schema": 1, "file": str(file), "bytes": size}
