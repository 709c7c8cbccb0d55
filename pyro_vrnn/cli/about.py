"""What is shipped, set and here: models, recipes, config, bench, doctor."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import DeviceOption, SetOption, ThreadsOption, command, set_threads
from pyro_vrnn.cli.terminal import out


@command
def models(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show this one's card.", show_default=False)
    ] = None,
) -> dict[str, Any]:
    """List the trained models that are shipped; their names are RUN arguments.

    For example:  pyro-vrnn sample bach
    A folder of that name in the current one goes before the shipped model.
    """
    from pyro_vrnn import weights

    cards = [weights.card(one) for one in (weights.names() if name is None else [name])]
    if name is None:
        rows: list[tuple[object, ...]] = [("RUN", "samples", "on its test data", "MB")]
        rows += [(card.name, card.draws, card.bound, f"{card.bytes / 1e6:.1f}") for card in cards]
        out.table(rows, right=(3,))
        out.print("data, licence, limits and commands: pyro-vrnn models NAME")
    else:
        out.print(*cards[0].markdown().splitlines())
    found = [
        {**dataclasses.asdict(card), "bytes": card.bytes, "folder": str(weights.FOLDER / card.name)} for card in cards
    ]
    return {"schema": 1, "models": found}


@command
def recipes() -> dict[str, Any]:
    """List the shipped recipes by experiment; with -v also the small ones, and how data is prepared."""
    from pyro_vrnn.config.recipes import GROUPS, SMALL, groups, head, text
    from pyro_vrnn.config.recipes import names as shipped

    heads = {name: head(text(name)) for name in shipped()}
    members = groups()
    for group, names in members.items():
        shown = [name for name in names if out.verbose or not name.endswith(SMALL) or name[: -len(SMALL)] not in names]
        out.print(f"{GROUPS[group]}:")
        rows: list[tuple[object, ...]] = []
        for name in shown:
            more = "" if out.verbose or f"{name}{SMALL}" not in names else f" [{SMALL}]"
            rows.append((f"  {name}", heads[name][0] + more))
            rows += [("", line) for line in heads[name][1:] if out.verbose]
        out.table(rows)
        out.print("")
    out.print(f"[{SMALL}]: NAME{SMALL} is the experiment at a size for one core, on data that is free (recipes -v)")
    return {"schema": 1, "recipes": {name: lines[0] for name, lines in heads.items()}, "groups": members}


@command
def config(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="A shipped name or a TOML file.", show_default=False),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="FILE.h5|NAME", help="Show the settings for this data, as train takes them.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Which model.")] = None,
    sets: SetOption = None,
) -> dict[str, Any]:
    """Show the settings of a recipe, or those for a data file, and where each comes from.

    With -v also what each means. Where the data is at hand, what `train` would refuse is refused here too.
    """
    from pyro_vrnn import config as settings
    from pyro_vrnn.config.reference import of_run
    from pyro_vrnn.data import catalogue
    from pyro_vrnn.runs.plan import plan

    resolved = settings.resolve(recipe, flags={"data.path": data, "model.name": model}, sets=sets or [])
    if catalogue.prepared(resolved.config.data.path) is not None:
        plan(resolved.config)  # what `train` would refuse is refused here
    for note in resolved.notes:
        out.say(f"note: {note}")
    values, means = resolved.config.to_dict(), of_run(resolved.config) if out.verbose else {}
    rows: list[tuple[object, ...]] = []
    for section, part in values.items():
        for key, value in part.items():
            meaning: tuple[str, ...] = (means[f"{section}.{key}"],) if out.verbose else ()
            at = f"{section}.{key}"
            parts = {f"{at}.{name}": each for name, each in value.items()} if isinstance(value, dict) else {at: value}
            for name, each in parts.items():
                rows.append((name, "=", each, f"({resolved.origins[name]})", *meaning))
                meaning = ("",) * len(meaning)  # of a table's entries the first says it
    out.table(rows)
    found = {"schema": 1, "recipe": resolved.recipe, "config": values, "origins": resolved.origins}
    return found | ({"meanings": means} if out.verbose else {})


@command
def bench(
    case: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Which case; repeat for more. Default: all.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds; medians are shown.")] = 7,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Time training steps here: markov, stacked and a plain PyTorch loop, beside the arithmetic alone."""
    set_threads(threads)
    from pyro_vrnn.cli import bench as benches
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.system.devices import device as pick_device
    from pyro_vrnn.system.devices import keep_memory

    names = case or list(benches.CASES)
    keep_memory()
    rows = []
    with counting(out.console(), "timing", quiet=out.quiet) as progress:
        for n, name in enumerate(names):
            rows.append(benches.bench(name, device=device, repeats=repeats))
            progress(n + 1, len(names))
    columns = ("markov_ms", "plain_loop_ms", "stacked_ms", "graph_ms", "arithmetic_ms")
    table: list[tuple[object, ...]] = [("case", *(c.removesuffix("_ms").replace("_", " ") for c in columns))]
    table += [(r["name"], *("" if r[c] is None else f"{r[c]:.1f}" for c in columns)) for r in rows]
    out.table(table, right=tuple(range(1, len(columns) + 1)))
    out.print(f"milliseconds for loss and gradients, {threads or 1} thread(s), medians of {repeats}")
    out.print("graph: an update on CUDA, which benchmarks/gpu.py measures")
    return {"schema": 1, "device": str(pick_device(device)), "threads": threads or 1, "cases": rows}


@command
def doctor() -> dict[str, Any]:
    """Tell versions, devices and codecs; what is missing and how to get it."""
    from pyro_vrnn.cli.doctor import report

    found = report()
    for key, value in found.items():
        if isinstance(value, dict):
            out.print(f"{key}:")
            for name, item in value.items():
                out.print(f"  {name}: {item}")
        elif key != "problems":
            out.print(f"{key}: {value}")
    problems = found["problems"]
    out.print("no problems" if not problems else "problems:")
    out.print(*(f"  {p['problem']}; {p['hint']}" for p in problems))
    return {"schema": 1, **found}
