"""Training and what comes of it in numbers: train, evaluate, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import DeviceOption, RunArgument, SetOption, ThreadsOption, command, set_threads
from pyro_vrnn.cli.data import print_description
from pyro_vrnn.cli.series import forecast_scores
from pyro_vrnn.cli.terminal import out
from pyro_vrnn.system.errors import ConfigError

LONGEST_CELL = 32


@command
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="A shipped recipe (`pyro-vrnn recipes`) or a TOML file.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="FILE.h5|NAME", help="A prepared file, or chorales, jsb, …")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Which model.")] = None,
    likelihood: Annotated[str | None, typer.Option(help="Which output distribution.")] = None,
    objective: Annotated[
        str | None,
        typer.Option(help="The bound to train: elbo, elbo-mc, stl, iwae, dreg, elbo-mk, ciwae, renyi, fivo."),
    ] = None,
    particles: Annotated[int | None, typer.Option(help="Samples of z for each sequence, K.")] = None,
    program: Annotated[
        str | None, typer.Option(help="stacked (fast) or markov (one site a step); same results.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training split.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Updates at most.")] = None,
    max_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Stop, saved, after 90s, 30m, 2h in its loop.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences an update.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of weights, order of the data, and samples.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    out_: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="The run folder; default: a free runs/NAME."),
    ] = None,
    resume: Annotated[
        str,
        typer.Option(metavar="auto|never|PATH", help="Continue the run in --out, refuse it, or continue from PATH."),
    ] = "auto",
    init_from: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN", help="Start from the weights of a trained run, and its settings if no recipe is named."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the run that --out holds.")] = False,
    sets: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show the settings and the data; train nothing.")
    ] = False,
) -> dict[str, Any] | None:
    """Train a model; without a recipe, with settings that fit the data, which is Bach's chorales by default.

    Ctrl-C stops after the step at hand and saves; the same command with the same --out continues from there.
    Several GPUs: torchrun --nproc-per-node=4 -m pyro_vrnn train …; the batch size is that of all together.
    """
    set_threads(threads)
    from pyro_vrnn.training.parallel import leads

    out.quiet = out.quiet or not leads()
    from pyro_vrnn import config, runs
    from pyro_vrnn.runs.api import FLAGS, recipe_of
    from pyro_vrnn.runs.train import train as train_run

    given = locals()
    recipe = recipe_of(recipe, resume, init_from)
    resolved = config.resolve(recipe, flags={key: given[name] for name, key in FLAGS.items()}, sets=sets or [])
    seconds = _seconds(max_time)
    if dry_run:
        asked = {"out": out_, "resume": resume, "init_from": init_from, "overwrite": overwrite}
        return _dry_run(resolved, device, **asked) if leads() else None
    from pyro_vrnn.cli.console import ConsoleObserver
    from pyro_vrnn.media import curves
    from pyro_vrnn.system.devices import keep_memory
    from pyro_vrnn.system.files import make_folder

    keep_memory()
    observer = ConsoleObserver(out.console(), quiet=out.quiet)
    run = train_run(
        resolved,
        out=out_,
        resume=resume,
        init_from=init_from,
        device=device,
        max_seconds=seconds,
        overwrite=overwrite,
        observer=observer,
    )
    if not leads():
        return None
    result = run.result
    assert result is not None
    if result.signal is not None:
        out.exit_code = 128 + result.signal
    best = {"step": result.best_step, "valid_nll_per_step": result.best_nll} if result.best_step else None
    out.print(f"{run.folder}: {result.steps} updates in {result.seconds:.0f} s, stopped by {result.stopped}")
    if best is not None:
        bound = f"{run.config.validated.name}, K={run.config.validated.particles}"
        out.print(f"best on validation: {result.best_nll:.4f} nats per step ({bound}) at update {result.best_step}")
    if result.signal is not None:  # whoever stopped it wants it stopped: no figure, and the way back
        out.print(
            f"saved {run.folder}/checkpoints/step-{result.steps:08d}; pyro-vrnn train --resume {run.folder} continues"
        )
    else:
        picture = make_folder(run.folder / "figures") / "training.png"
        curves.training_curves(runs.read_metrics(run.folder), picture, title=run.folder.name)
        out.print(f"curves: {picture}")
        out.print(
            f"next: pyro-vrnn evaluate {run.folder}   pyro-vrnn sample {run.folder}   pyro-vrnn inspect {run.folder}"
        )
    return {
        "schema": 1,
        "run": str(run.folder),
        "steps": result.steps,
        "epochs": result.epochs,
        "stopped": result.stopped,
        "best": best,
        "seconds": result.seconds,
    }


def _seconds(text: str | None) -> float | None:
    """30m, 90s, 1.5h or plain seconds."""
    if text is None:
        return None
    unit = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:].lower())
    try:
        value = float(text if unit is None else text[:-1]) * (unit or 1.0)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise ConfigError(f"--max-time {text!r}: expected a time such as 90s, 30m or 1.5h")
    return value


def _dry_run(resolved: Any, device: str, **asked: Any) -> dict[str, Any]:
    """Show what a training would be made of."""
    from pyro_vrnn.data.description import describe
    from pyro_vrnn.runs.train import check
    from pyro_vrnn.system.devices import device as pick_device

    where = pick_device(device)
    planned = check(resolved, **asked, say=out.say)
    for note in resolved.notes:
        out.say(f"note: {note}")
    print_description(planned.info.path, describe(planned.info.path))
    settings, count = planned.settings, planned.parameters
    out.print(*settings.to_toml().splitlines(), f"# {count:,} parameters, on {where}; nothing was trained")
    return {
        "schema": 1,
        "dry_run": True,
        "config": settings.to_dict(),
        "parameters": count,
        "device": str(where),
    }


@command
def evaluate(
    run: RunArgument,
    data: Annotated[str | None, typer.Option(metavar="FILE.h5|NAME", help="Other data of the same kind.")] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    objective: Annotated[str, typer.Option(help="elbo, elbo-mc, iwae, fivo, …: as in train.")] = "elbo",
    particles: Annotated[
        int | None, typer.Option(help="Samples of z, K; iwae with 100 is what is usually reported.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples of z.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Estimate so often, and tell the spread.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences at once.")] = 32,
    forecast: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Score forecasts of each sequence's last N steps instead.")
    ] = None,
    season: Annotated[int | None, typer.Option(metavar="M", help="Steps a season, for its baseline.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Estimate a bound on log p(x) of a split, always at KL weight 1.

    The usual report is:  pyro-vrnn evaluate RUN --objective iwae --particles 100
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.data.baselines import baselines

    loaded = runs.load(run, device=device, say=out.say)
    if forecast is not None:
        return forecast_scores(loaded, forecast, season, data, split, particles, seed)
    if season is not None:
        raise ConfigError("--season is of --forecast", "evaluate RUN --forecast 12 --season 12")
    dataset = loaded.data(data, split)
    with counting(out.console(), f"{objective} on {split}", quiet=out.quiet) as progress:
        found = loaded.evaluate(
            split,
            objective,
            particles,
            data=data,
            batch_size=batch_size,
            seed=seed,
            repeats=repeats,
            progress=progress,
        )
    error = "" if found.stderr is None else f" ± {found.stderr:.4f} (standard error over sequences)"
    read = int(dataset.given.sum())
    unscored = f" ({read} first steps more are only read, and have no score)" if read else ""
    out.print(
        f"{split}: {found.sequences} sequences, {found.steps} steps{unscored}; bound {found.bound}, K={found.particles}"
    )
    rows: list[tuple[object, ...]] = [
        ("NLL per step", f"{found.nll_per_step:.4f}", f"nats; all NLL over all steps{error}"),
        ("", f"{found.nll_per_step_sequence_mean:.4f}", "nats; mean over sequences of NLL / steps"),
        ("NLL per sequence", f"{found.nll_per_sequence:.3f}", "nats"),
        ("KL per step", f"{found.kl_per_step:.4f}", "nats"),
    ]
    if found.stderr_repeats is not None:
        rows.append(("error", f"{found.stderr_repeats:.4f}", f"of NLL per step over {repeats} repeats"))
    form = loaded.format
    simple = baselines(dataset.info.path, loaded.encoding) if split == "test" and not out.json else {}
    words = form.traits.baseline_words(form.support) if simple else {}
    some = f" ({simple['test_sequences']} of the sequences)" if "test_sequences" in simple else ""
    rows += [("baseline", f"{simple[key]:.4f}", f"nats per step; {what}{some}") for key, what in words.items()]
    sound = loaded.format.by_sample(found.nll_per_step)
    if sound:
        value, bits = sound["nll_per_sample"], sound["bits_per_sample"]
        rows.append(
            ("NLL per sample", f"{value:.4f}", f"nats ({bits:.4f} bits); amplitude in {sound['amplitude_unit']}")
        )
        rows += [("baseline", f"{simple[key] / form.frame_length:.4f}", f"nats; {what}") for key, what in words.items()]
    out.table(rows, right=(1,))
    where = {"run": str(run), "checkpoint": loaded.step_folder.name}
    return {
        "schema": 1,
        **found.as_dict(),
        **sound,
        **where,
        "data": str(dataset.info.path),
    }


@command
def compare(
    run_folders: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN…", help="Two runs or more; seeds of one setting are grouped.")
    ],
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="For the figure; default: here.")
    ] = None,
) -> dict[str, Any]:
    """Put runs side by side: settings that differ, and bounds.

    Validation bounds are drawn by updates, by sequences seen, and by time; seeds of one setting are grouped.
    """
    from pyro_vrnn.runs.comparison import compare as compare_runs

    found = compare_runs(run_folders, out_)
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
    return found


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
