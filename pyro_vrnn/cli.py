"""pyro-vrnn on the command line: parse, call one function, print. Knows no model; torch only inside commands."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from pyro_vrnn import __version__
from pyro_vrnn.errors import ConfigError
from pyro_vrnn.terminal import out, run, talking

app = typer.Typer(
    name="pyro-vrnn",
    help="Sequence models with latent variables as Pyro programs: train, evaluate, sample, look inside.",
    epilog="Start with:  pyro-vrnn train   (a VRNN on Bach's chorales), then  pyro-vrnn sample runs/chorales-vrnn",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, or one of its checkpoints.", show_default=False)
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Any setting: model.latent_dim=16. Repeat for more."),
]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="CPU threads; small models are fastest with 1.")]


def command(function: Callable[..., dict[str, Any] | None]) -> Callable[..., None]:
    """One command of the app."""
    return app.command()(talking(function))


def _version(value: bool) -> None:
    if value:
        print(f"pyro-vrnn {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _threads(threads: int | None) -> None:
    import torch

    torch.set_num_threads(threads or 1)


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
    max_time: Annotated[str | None, typer.Option(metavar="TIME", help="Stop, saved, after 90s, 30m, 2h.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Sequences an update.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights, order and samples.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    out_: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="The run folder; default: a free runs/NAME."),
    ] = None,
    resume: Annotated[
        str,
        typer.Option(metavar="auto|never|PATH", help="Go on with the run in --out, refuse it, or go on from PATH."),
    ] = "auto",
    init_from: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Start from the weights of a trained run.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Remove the run that --out holds.")] = False,
    sets: SetOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and show the settings and the data; train nothing.")
    ] = False,
) -> dict[str, Any]:
    """Train a model; without a recipe, a VRNN on Bach's chorales.

    Ctrl-C stops after the step at hand and saves; the same command with the same --out goes on from there.
    """
    _threads(threads)
    from pyro_vrnn import config, runs, training
    from pyro_vrnn.api import FLAGS

    given = locals()
    if recipe is None and resume not in ("auto", "never"):  # the settings of the run that goes on
        from pyro_vrnn import checkpoint

        recipe = str(checkpoint.find(Path(resume), "LATEST")[0] / "config.toml")
    resolved = config.resolve(recipe, flags={key: given[name] for name, key in FLAGS.items()}, sets=sets or [])
    for note in resolved.notes:
        out.say(f"note: {note}")
    seconds = _seconds(max_time)
    if dry_run:
        return _dry_run(resolved, device)
    from pyro_vrnn import curves
    from pyro_vrnn.console import ConsoleObserver
    from pyro_vrnn.files import make_folder

    observer = ConsoleObserver(out.console(), quiet=out.quiet)
    run = training.train(
        resolved,
        out=out_,
        resume=resume,
        init_from=init_from,
        device=device,
        max_seconds=seconds,
        overwrite=overwrite,
        observer=observer,
    )
    result = run.result
    assert result is not None
    if result.signal is not None:
        out.exit_code = 128 + result.signal
    best = {"step": result.best_step, "valid_nll_per_step": result.best_nll} if result.best_step else None
    out.print(f"{run.folder}: {result.steps} updates in {result.seconds:.0f} s, stopped by {result.stopped}")
    if best is not None:
        bound = f"{run.config.objective.name}, K={run.config.objective.particles}"
        out.print(f"best on validation: {result.best_nll:.4f} nats a step ({bound}) at update {result.best_step}")
    if result.signal is not None:  # whoever stopped it wants it stopped: no figure, and the way back
        out.print(
            f"saved {run.folder}/checkpoints/step-{result.steps:08d}; pyro-vrnn train --resume {run.folder} goes on"
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


def _dry_run(resolved: Any, device: str) -> dict[str, Any]:
    import dataclasses

    from pyro_vrnn import datasets, runs
    from pyro_vrnn.devices import device as pick_device
    from pyro_vrnn.sequences import describe, read_info

    where = pick_device(device)
    path = datasets.find(resolved.config.data.path, say=out.say)
    info = read_info(path)
    _describe(path, describe(path))
    settings = dataclasses.replace(resolved.config, format=runs.data_format(info))
    count = sum(p.numel() for p in runs.build_net(settings).parameters())
    out.print(settings.to_toml(), f"# {count:,} parameters, on {where}; nothing was trained")
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
    seed: Annotated[int, typer.Option(help="Of the samples of z.")] = 0,
    repeats: Annotated[int, typer.Option(min=1, help="Estimate so often, and tell the spread.")] = 1,
    batch_size: Annotated[int, typer.Option(min=1, help="Sequences at once.")] = 32,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """A bound on log p(x) of a split, always at KL weight 1."""
    _threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.console import counting
    from pyro_vrnn.sequences import floors

    loaded = runs.load(run, device=device)
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
    out.print(f"{split}: {found.sequences} sequences, {found.steps} steps; bound {found.bound}, K={found.particles}")
    rows: list[tuple[object, ...]] = [
        ("NLL a step", f"{found.nll_per_step:.4f}", f"nats; all NLL over all steps{error}"),
        ("", f"{found.nll_per_step_sequence_mean:.4f}", "nats; mean over sequences of NLL / steps"),
        ("NLL a sequence", f"{found.nll_per_sequence:.3f}", "nats"),
        ("KL a step", f"{found.kl_per_step:.4f}", "nats"),
    ]
    if found.stderr_repeats is not None:
        rows.append(("error", f"{found.stderr_repeats:.4f}", f"of NLL a step over {repeats} repeats"))
    if split == "test" and not out.json and loaded.format.support == "binary":
        simple = floors(loaded.data(data, split).info.path)
        rows.append(
            (
                "floor",
                f"{simple['independent']:.4f}",
                "nats a step; independent notes at their training rates",
            )
        )
        rows.append(("floor", f"{simple['last']:.4f}", "nats a step; each note from its own last value"))
    sound = found.by_sample(loaded.format)
    if sound:
        value, bits = sound["nll_per_sample"], sound["bits_per_sample"]
        rows.append(("NLL a sample", f"{value:.4f}", f"nats ({bits:.4f} bits); amplitude in {sound['amplitude_unit']}"))
    out.table(rows, right=(1,))
    where = {"run": str(run), "checkpoint": loaded.step_folder.name}
    return {
        "schema": 1,
        **found.as_dict(),
        **sound,
        **where,
        "data": str(loaded.data(data, split).info.path),
    }


@command
def sample(
    run: RunArgument,
    num: Annotated[int, typer.Option(min=1, help="How many.")] = 4,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length of each, a given beginning included; default 64.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="The same in seconds.")] = None,
    temperature: Annotated[float, typer.Option(help="Below 1 surer, above 1 wilder.")] = 1.0,
    prime: Annotated[Path | None, typer.Option(metavar="FILE", help="A file of the same kind to go on from.")] = None,
    prime_index: Annotated[
        str | None, typer.Option(metavar="I", help="Go on from this test sequence (number or id).")
    ] = None,
    prime_steps: Annotated[int | None, typer.Option(help="How many steps of it; default 16.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same.")] = 0,
    out_: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/samples.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Draw sequences, or go on from a given one: .mid, .wav, .svg or .txt, a picture, and a .json to repeat it."""
    _threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.console import counting

    loaded = runs.load(run, device=device)
    with counting(out.console(), "drawing", quiet=out.quiet) as progress:
        files = loaded.sample(
            num,
            steps,
            seconds=seconds,
            temperature=temperature,
            prime=prime,
            prime_index=prime_index,
            prime_steps=prime_steps,
            seed=seed,
            out=out_,
            progress=progress,
        )
    out.print(*(f for f in files if f.suffix not in (".png", ".json")))
    glance = f"; all at a glance: {files[-1]}" if files[-1].suffix == ".png" else ""
    out.print(f"pictures and how to repeat them beside{glance}")
    return {"schema": 1, "files": [str(f) for f in files], "seed": seed}


@command
def inspect(
    run: RunArgument,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    sequence: Annotated[str, typer.Option(metavar="I|ID", help="Which sequence of the split.")] = "0",
    particles: Annotated[int, typer.Option(min=1, help="Draws of the posterior; means are shown.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    out_: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="For the figures; default: RUN/figures."),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE.nc", help="The posterior as NetCDF that ArviZ reads.")
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """The posterior trace of one sequence: its sites, their log-probabilities, KL by step and by latent unit."""
    _threads(threads)
    from pyro_vrnn import inspection, runs

    loaded = runs.load(run, device=device)
    found = inspection.inspect(
        loaded, split=split, sequence=sequence, particles=particles, seed=seed, out=out_, export=export
    )
    header: list[tuple[object, ...]] = [("site", "kind", "shape", "log p", "log q", "KL")]
    sites = found["sites"]
    shown = sites if out.verbose or len(sites) <= 24 else [*sites[:12], None, *sites[-4:]]
    rows: list[tuple[object, ...]] = [
        ("…", "", "", "", "", "")
        if s is None
        else (
            s["name"],
            s["kind"],
            s["shape"],
            f"{s['log_prob_p']:.3f}",
            "" if s["log_prob_q"] is None else f"{s['log_prob_q']:.3f}",
            "" if s["kl"] is None else f"{s['kl']:.3f}",
        )
        for s in shown
    ]
    out.table(header + rows, right=(3, 4, 5))
    total, units = sum(found["kl_by_step"]), found["kl_by_unit"]
    out.print(
        f"{found['split']} {found['sequence']}: {found['steps']} steps; "
        f"bound {found['bound']:.3f} nats (K={found['particles']}), KL {total:.3f} nats",
        f"{found['active_units']} of {len(units)} latent units are active (KL above 0.01 nats a step); "
        f"the largest: {', '.join(f'{v:.3f}' for v in sorted(units, reverse=True)[:5])}",
        *found["files"],
    )
    return found


@command
def reconstruct(
    run: RunArgument,
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Of the kind the model draws; else --sequence.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    sequence: Annotated[str, typer.Option(metavar="I|ID", help="Which sequence of the split.")] = "0",
    steps: Annotated[int | None, typer.Option(min=1, help="Its first steps; default: all.")] = None,
    noise: Annotated[float, typer.Option(help="Spoil what the model is given: deviation, or share of bits.")] = 0.0,
    hide: Annotated[str | None, typer.Option(metavar="A:B", help="Hide steps A to B - 1, and fill them in.")] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Draws of x in the place of means.")] = False,
    seed: Annotated[int, typer.Option(help="Of all that is random.")] = 0,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/reconstructions.")
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Through the posterior and back: what the model makes of a sequence; --noise cleans it, --hide fills a hole."""
    _threads(threads)
    from pyro_vrnn import reconstruction, runs

    hole = _pair(hide)
    files = reconstruction.write(
        runs.load(run, device=device),
        file=file,
        split=split,
        sequence=sequence,
        steps=steps,
        noise=noise,
        hide=hole,
        draw=draw,
        seed=seed,
        out=out_,
    )
    out.print(*files)
    return {"schema": 1, "files": [str(f) for f in files], "seed": seed}


def _pair(text: str | None) -> tuple[int, int] | None:
    """A:B."""
    if text is None:
        return None
    begin, _, end = text.partition(":")
    if not (begin.isascii() and begin.isdigit() and end.isascii() and end.isdigit()):
        raise ConfigError(f"--hide {text!r}: expected A:B, two whole numbers", "--hide 16:32 hides steps 16 to 31")
    return int(begin), int(end)


@command
def interpolate(
    run: RunArgument,
    first: Annotated[str, typer.Argument(metavar="A", help="A sequence (number or id) or a file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    points: Annotated[int, typer.Option(min=2, help="How many pieces, both ends included.")] = 5,
    steps: Annotated[int | None, typer.Option(min=1, help="Of each piece; default: as long as A.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draws.")] = 0,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/interpolations.")
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Between two sequences: draws from points on the line between their z, and a medley of all (vrae)."""
    _threads(threads)
    from pyro_vrnn import embedding, runs

    loaded = runs.load(run, device=device)
    files = embedding.interpolate(loaded, first, second, split=split, points=points, steps=steps, seed=seed, out=out_)
    out.print(*files)
    return {"schema": 1, "files": [str(f) for f in files], "seed": seed}


@command
def encode(
    run: RunArgument,
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="Other data of the same kind (.h5).")] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    seed: Annotated[int, typer.Option(help="Of the map.")] = 0,
    out_: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/latents.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Latents of a split as arrays (.npz), and their map."""
    _threads(threads)
    from pyro_vrnn import embedding, runs

    files = embedding.encode(runs.load(run, device=device), data=file, split=split, seed=seed, out=out_)
    out.print(*files)
    return {"schema": 1, "files": [str(f) for f in files]}


@command
def compare(
    run_folders: Annotated[
        list[Path], typer.Argument(metavar="RUN RUN…", help="Two runs or more; seeds of one setting are grouped.")
    ],
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="For the figure; default: here.")
    ] = None,
) -> dict[str, Any]:
    """Runs side by side: settings that differ; validation bounds by updates, by sequences seen, and by time."""
    from pyro_vrnn.comparison import compare as compare_runs

    found = compare_runs(run_folders, out_)
    names = [Path(one["run"]).name for one in found["runs"]]
    out.table([("setting", *names), *((key, *values) for key, values in found["differs"].items())])
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
            out.print(f"{group['group']}: {mean:.4f} ± {deviation:.4f} (deviation over {group['runs']} seeds)")
    if not found["comparable"]:
        out.print("not the same bound or data: the numbers are not comparable (see training.valid_objective)")
    out.print(f"curves: {found['figure']}")
    return found


@command
def prepare(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="chorales, pianoroll, midi, audio, timit, iamondb, strokes, text, symbols or vectors; "
            "or convert (recordings to wav or npy files).",
            show_default=False,
        ),
    ],
    source: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="File or folder of raw data, or a known name.", show_default=False),
    ] = None,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.h5", help="Default: a name below data/.")
    ] = None,
    resolution: Annotated[str | None, typer.Option(help="chorales: quarter, eighth or sixteenth notes a step.")] = None,
    sample_rate: Annotated[int | None, typer.Option(min=1, help="audio: samples a second, 16000.")] = None,
    frame: Annotated[int | None, typer.Option(min=1, help="audio, timit: samples a step, 200.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="audio, timit: length of the windows; 0 for whole recordings.")
    ] = None,
    resample: Annotated[bool | None, typer.Option("--resample", help="audio: bring other rates to this one.")] = None,
    splits: Annotated[str | None, typer.Option(help="audio: shares of train, valid, test: 90,5,5 or 80,10,10.")] = None,
    split_by: Annotated[str | None, typer.Option(help="audio: file, or folder (a speaker each).")] = None,
    index: Annotated[str | None, typer.Option(help="audio: index.csv of one file a split.")] = None,
    normalise: Annotated[str | None, typer.Option(help="audio: standard (deviation) or range (max - min).")] = None,
    rate: Annotated[float | None, typer.Option(help="midi: steps a second, 20.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="midi, text: steps of a sequence.")] = None,
    hop: Annotated[int | None, typer.Option(min=1, help="midi: steps from one window to the next.")] = None,
    level: Annotated[str | None, typer.Option(help="text: char or word.")] = None,
    binary: Annotated[bool | None, typer.Option("--binary", help="vectors: pixels to bits.")] = None,
    clip: Annotated[float | None, typer.Option(help="strokes, iamondb: longest move, in deviations, 10.")] = None,
    to: Annotated[str | None, typer.Option(help="convert: wav or npy.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the splits.")] = None,
    strict: Annotated[bool | None, typer.Option("--strict", help="Stop at the first thing that is skipped.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="audio: processes that decode.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.h5.")] = False,
) -> dict[str, Any]:
    """Raw files to one HDF5 data set."""
    from pyro_vrnn.console import counting
    from pyro_vrnn.preparing import convert, plan
    from pyro_vrnn.sequences import describe

    asked = {
        "resolution": resolution,
        "sample_rate": sample_rate,
        "frame": frame,
        "seconds": seconds,
        "resample": resample,
        "splits": splits,
        "split_by": split_by,
        "index": index,
        "normalise": normalise,
        "rate": rate,
        "window": window,
        "hop": hop,
        "level": level,
        "binary": binary,
        "clip": clip,
        "to": to,
        "seed": seed,
        "strict": strict,
        "jobs": jobs,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    if kind == "convert":
        with counting(out.console(), "converting", quiet=out.quiet) as progress:
            files = convert(source or [], out_, options, overwrite=overwrite, progress=progress, say=out.say)
        out.print(*files)
        return {"schema": 1, "files": [str(f) for f in files]}
    job = plan(kind, source or [], out_, options)
    if job.done and not overwrite:
        out.say(f"{job.path}: already prepared (--overwrite makes it again)")
    else:
        with counting(out.console(), f"preparing {kind}", quiet=out.quiet) as progress:
            job.run(overwrite=overwrite, progress=progress)
    found = describe(job.path)
    _describe(job.path, found)
    return {"schema": 1, "file": str(job.path), **found}


@command
def data(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A prepared .h5 file, or a data set's name.", show_default=False),
    ],
) -> dict[str, Any]:
    """What is in a data set: counts, lengths, rates, simple reference scores, where it is from."""
    from pyro_vrnn import datasets
    from pyro_vrnn.sequences import describe

    path = datasets.find(file, say=out.say)
    found = describe(path)
    _describe(path, found)
    return {"schema": 1, "file": str(path), **found}


def _describe(path: Path, found: dict[str, Any]) -> None:
    """A data set's summary for people."""
    rate = found["steps_per_second"]
    form = [found["kind"], found["support"], f"{found['x_dim']} columns"]
    out.print(f"{path}: {', '.join(form + ([] if rate is None else [f'{rate:.4g} steps a second']))}")
    if found.get("recognised"):
        out.print(f"  recognised: {found['recognised']}")
    titles = {key: key for key in ("sequences", "steps", "shortest", "median", "longest")}
    if found["support"] == "binary":
        titles |= {"ones_per_step": "notes a step", "repeated_steps": "repeated"}
    rows: list[tuple[object, ...]] = [("  split", *titles.values())]
    for split, counts in found["splits"].items():
        cells = (counts.get(key, "") for key in titles)
        rows.append((f"  {split}", *(f"{cell:.3f}" if isinstance(cell, float) else cell for cell in cells)))
    out.table(rows, right=tuple(range(1, len(rows[0]))))
    if found.get("floors"):
        low = found["floors"]
        out.print(
            f"  floors on test, nats a step: {low['independent']:.2f} independent notes, "
            f"{low['last']:.2f} each from its own last value"
        )
    for key in ("source", "licence", "options"):
        if found[key]:
            out.print(f"  {key}: {found[key]}")
    if found.get("skipped"):
        out.print(f"  skipped: {found['skipped']}")


@command
def recipes() -> dict[str, Any]:
    """The shipped recipes."""
    from pyro_vrnn.recipes import names as shipped
    from pyro_vrnn.recipes import text

    names = {name: text(name).partition("\n")[0].lstrip("# ") for name in shipped()}
    out.table(list(names.items()))
    return {"schema": 1, "recipes": names}


@command
def config(
    recipe: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", help="A shipped name or a TOML file.", show_default=False),
    ] = None,
    sets: SetOption = None,
) -> dict[str, Any]:
    """The settings that a recipe resolves to, and where each comes from."""
    from pyro_vrnn import config as settings

    resolved = settings.resolve(recipe, sets=sets or [])
    values = resolved.config.to_dict()
    rows: list[tuple[object, ...]] = []
    for section, part in values.items():
        for key, value in part.items():
            rows.append((f"{section}.{key}", "=", value, f"({resolved.origins[f'{section}.{key}']})"))
    out.table(rows)
    return {"schema": 1, "recipe": resolved.recipe, "config": values, "origins": resolved.origins}


@command
def bench(
    case: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Which case; repeat for more. Default: all.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed rounds; medians are shown.")] = 7,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Training steps timed here: markov, stacked and a plain PyTorch loop, beside what the arithmetic alone takes."""
    _threads(threads)
    from pyro_vrnn import bench as benches
    from pyro_vrnn.console import counting
    from pyro_vrnn.devices import device as pick_device

    names = case or list(benches.CASES)
    rows = []
    with counting(out.console(), "timing", quiet=out.quiet) as progress:
        for n, name in enumerate(names):
            rows.append(benches.bench(name, device=device, repeats=repeats))
            progress(n + 1, len(names))
    columns = ("markov_ms", "plain_loop_ms", "stacked_ms", "graph_ms", "arithmetic_ms")
    table: list[tuple[object, ...]] = [("case", *(c.removesuffix("_ms").replace("_", " ") for c in columns))]
    table += [(r["name"], *("" if r[c] is None else f"{r[c]:.1f}" for c in columns)) for r in rows]
    out.table(table, right=(1, 2, 3, 4, 5))
    out.print(f"milliseconds for loss and gradients, {threads or 1} thread(s), medians of {repeats}")
    return {"schema": 1, "device": str(pick_device(device)), "threads": threads or 1, "cases": rows}


@command
def doctor() -> dict[str, Any]:
    """Versions, devices, codecs; what is missing and how to get it."""
    from pyro_vrnn.doctor import report

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


def _run(argv: list[str]) -> int:
    return run(app, argv)


def main() -> NoReturn:
    """The console script."""
    sys.exit(_run(sys.argv[1:]))
