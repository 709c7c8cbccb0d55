"""Training: train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import DeviceOption, SetOption, ThreadsOption, command, set_threads
from pyro_vrnn.cli.data import print_description
from pyro_vrnn.cli.terminal import out
from pyro_vrnn.system.errors import ConfigError


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
        typer.Option(help="The bound to train: elbo, elbo-mc, stl, iwae, dreg, elbo-mk, ciwae, renyi, fivo, sixo."),
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
    log: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Log for other programs too: csv, tensorboard, wandb. Repeat for more."),
    ] = None,
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
        asked = {"out": out_, "resume": resume, "init_from": init_from, "overwrite": overwrite, "log": log or ()}
        return _dry_run(resolved, device, **asked) if leads() else None
    from pyro_vrnn.cli.console import ConsoleObserver
    from pyro_vrnn.media import curves
    from pyro_vrnn.system.devices import keep_memory
    from pyro_vrnn.system.files import make_folder

    keep_memory()
    observer = ConsoleObserver(out.console(), quiet=out.quiet, max_seconds=seconds)
    run = train_run(
        resolved,
        out=out_,
        resume=resume,
        init_from=init_from,
        device=device,
        max_seconds=seconds,
        overwrite=overwrite,
        observer=observer,
        log=log or (),
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
        star = None if best is None else (result.best_step, result.best_nll)
        rows = run.config.objective.drawn(runs.read_metrics(run.folder))
        curves.training_curves(rows, picture, run.folder.name, star)
        out.print(f"curves: {picture}")
        if result.stopped == "max-time":
            out.print(f"more: pyro-vrnn train --resume {run.folder}, with another --max-time or without one")
        out.print(f"next: pyro-vrnn evaluate {run.folder}   its bound on test, beside baselines")
        out.print(
            f"      pyro-vrnn sample {run.folder}   pyro-vrnn inspect {run.folder}   pyro-vrnn report {run.folder}"
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
    from pyro_vrnn.programs.twist import size
    from pyro_vrnn.runs.train import check
    from pyro_vrnn.system.devices import device as pick_device

    where = pick_device(device)
    planned = check(resolved, **asked, say=out.say)
    for note in resolved.notes:
        out.say(f"note: {note}")
    print_description(planned.info.path, describe(planned.info.path))
    settings = planned.settings
    out.print(*settings.to_toml().splitlines(), f"# {size(planned.net)}, on {where}; nothing was trained")
    return {
        "schema": 1,
        "dry_run": True,
        "config": settings.to_dict(),
        "parameters": planned.parameters,
        "device": str(where),
    }
