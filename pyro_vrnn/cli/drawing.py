"""What a trained model makes, and what it sees: sample, inspect, reconstruct, interpolate, encode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import DeviceOption, RunArgument, ThreadsOption, command, set_threads
from pyro_vrnn.cli.terminal import out
from pyro_vrnn.system.errors import ConfigError


@command
def sample(
    run: RunArgument,
    num: Annotated[int, typer.Option(min=1, help="How many.")] = 4,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Length of each, a given beginning included; default: the data's, or 64.")
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="Length of each in seconds, in the place of --steps.")] = None,
    temperature: Annotated[
        float | None,
        typer.Option(help="Of each step's distribution: below 1 is surer, above 1 wilder; default: 1."),
    ] = None,
    prime: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file of the same kind to continue from.")
    ] = None,
    prime_index: Annotated[
        str | None, typer.Option(metavar="I", help="Continue this sequence of the test split (number or id).")
    ] = None,
    prime_steps: Annotated[int | None, typer.Option(help="How many steps of it; default 16.")] = None,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same samples.")] = 0,
    out_: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/samples.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Sample sequences, or continue a given one.

    Writes .mid, .wav, .svg, .txt or .csv, a picture, and a .json that repeats it. For example:
    pyro-vrnn sample runs/bach --num 4 --prime-index 0
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.cli.console import counting

    loaded = runs.load(run, device=device, say=out.say)
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
    glance = files[-1].suffix == ".png"
    out.print("pictures and how to repeat them beside" + (f"; all at a glance: {files[-1]}" if glance else ""))
    return {"schema": 1, "files": [str(f) for f in files], "seed": seed}


@command
def inspect(
    run: RunArgument,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    sequence: Annotated[
        str, typer.Option(metavar="I|ID", help="Which sequence of the split; several: all, A:B (A to B - 1) or I,J,ID.")
    ] = "0",
    particles: Annotated[
        int, typer.Option(min=1, help="Samples of the posterior; their means are shown. 25 or more for k-hat.")
    ] = 1,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    out_: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the figures; default: RUN/figures."),
    ] = None,
    export: Annotated[
        Path | None, typer.Option(metavar="FILE.nc", help="Posterior, prior and log-likelihood as NetCDF for ArviZ.")
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Look into the posterior of one sequence, or of several.

    Lists the sites of its trace with their log-probabilities, and draws the KL by step and by latent unit. Several
    sequences get a line each. --export writes all of it for ArviZ.
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.cli.console import counting

    loaded = runs.load(run, device=device, say=out.say)
    with counting(out.console(), "inspecting", quiet=out.quiet) as progress:
        found = loaded.inspect(
            split=split,
            sequence=sequence,
            particles=particles,
            seed=seed,
            out=out_,
            export=export,
            progress=progress,
        )
    if "sequences" in found:
        return _print_several(found)
    head = ("site", "kind", "shape", "log p", "log q", "KL")
    sites = [s for s in found["sites"] if found["per_step"] or s["kind"] != "latent" or s["name"] == "z_1"]
    sites = [s for s in sites if s["shape"][-1] > 0]  # an RNN's z is there for the programs alone
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
    out.table([head, *rows], right=(3, 4, 5))
    if not found["per_step"]:
        out.print("z_1 is about the whole sequence; there is no z of single steps")
    total, units = sum(found["kl_by_step"]), found["kl_by_unit"]
    per = "step" if found["per_step"] else "sequence"
    out.print(
        f"{found['split']} {found['sequence']}: {found['steps']} steps; "
        f"bound {found['bound']:.3f} nats (K={found['particles']}), KL {total:.3f} nats",
        f"{found['active_units']} of {len(units)} latent units are active (KL above 0.01 nats per {per}); "
        f"the largest: {', '.join(f'{v:.3f}' for v in sorted(units, reverse=True)[:5])}"
        if units
        else "this model has no latent variables",
    )
    if units:
        _print_diagnosis(found)
    out.print(*found["files"])
    return found


def _k_hat(value: float | None) -> str:
    """A k-hat in two digits, or a dash."""
    return "-" if value is None else f"{value:.2f}"


def _print_diagnosis(found: dict[str, Any]) -> None:
    """How the draws of one sequence are weighted."""
    if found["particles"] == 1:
        return  # one draw has nothing to be weighted against
    k_hat = "" if found["pareto_k"] is None else f", k-hat {_k_hat(found['pareto_k'])}"
    out.print(f"effective sample size {found['ess']:.1f} of {found['particles']}{k_hat}", found["diagnosis"])


def _print_several(found: dict[str, Any]) -> dict[str, Any]:
    """A line for each sequence, and what is to be said of all."""
    rows, most = found["sequences"], 24
    shown = rows if out.verbose or len(rows) <= most else rows[:most]
    lines: list[tuple[object, ...]] = [("sequence", "steps", "bound", "KL", "active", "ESS", "k-hat")]
    for row in shown:
        nats = (f"{row['bound']:.3f}", f"{row['kl']:.3f}")
        weighted = (f"{row['ess']:.1f}", _k_hat(row["pareto_k"]))
        lines.append((row["sequence"], row["steps"], *nats, row["active_units"], *weighted))
    out.table(lines, right=(1, 2, 3, 4, 5, 6))
    if len(rows) > len(shown):
        out.print(f"… and {len(rows) - len(shown)} more; --verbose shows all")
    words: dict[str, int] = {}
    for row in rows:
        words[row["diagnosis"]] = words.get(row["diagnosis"], 0) + 1
    out.print(*(f"{count} of {len(rows)}: {said}" for said, count in words.items()))
    out.print(
        f"{len(rows)} sequences of {found['split']}; bound, KL in nats of the whole sequence, K={found['particles']}",
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
    sequence: Annotated[
        str, typer.Option(metavar="I|ID", help="Which sequence of the split; several (numbers alone): all, A:B, I,J.")
    ] = "0",
    steps: Annotated[int | None, typer.Option(min=1, help="Its first steps; default: all.")] = None,
    noise: Annotated[float, typer.Option(help="Spoil what the model is given: deviation, or share of bits.")] = 0.0,
    hide: Annotated[str | None, typer.Option(metavar="A:B", help="Hide steps A to B - 1, and fill them in.")] = None,
    draw: Annotated[bool, typer.Option("--draw", help="Write samples of x in the place of means.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything that is random.")] = 0,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/reconstructions.")
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Send a sequence through the posterior and back.

    --noise spoils what the model is given, lets it clean up, and says what is left of the error, with a median filter
    beside it; --hide A:B hides steps and lets it fill them in.
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.runs import denoising, reconstruction

    hole, loaded = _pair(hide), runs.load(run, device=device, say=out.say)
    with counting(out.console(), "reconstructing", quiet=out.quiet) as progress:
        files = reconstruction.write(
            loaded,
            file=file,
            split=split,
            sequence=sequence,
            steps=steps,
            noise=noise,
            hide=hole,
            draw=draw,
            seed=seed,
            out=out_,
            progress=progress,
        )
    out.print(*files)
    facts: dict[str, Any] = json.loads(files[-1].read_text("utf-8"))
    if noise:
        out.print(denoising.words(facts))
    return facts | {"schema": 1, "files": [str(f) for f in files], "seed": seed}


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
    first: Annotated[str, typer.Argument(metavar="A", help="A sequence (number or id) or a file, its first window.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    more: Annotated[list[str] | None, typer.Argument(metavar="C…", help="Others after it, one by one.")] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    points: Annotated[int, typer.Option(min=2, help="How many pieces, both ends included.")] = 5,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Of each piece; default: as long as A, or as a window of the data.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples.")] = 0,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/interpolations.")
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Sample between two sequences, or along a way through several (vrae).

    Points on the lines between their z give a piece each, and a medley of all: 20 pieces of 50 steps are 1,000.
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.runs.posteriors import latent_space

    loaded = runs.load(run, device=device, say=out.say)
    files = latent_space.interpolate(
        loaded, first, second, *(more or ()), split=split, points=points, steps=steps, seed=seed, out=out_
    )
    out.print(*files)
    return {"schema": 1, "files": [str(f) for f in files], "seed": seed}


@command
def encode(
    run: RunArgument,
    file: Annotated[str | None, typer.Argument(metavar="FILE", help="Other data of the same kind (.h5).")] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    neighbours: Annotated[
        int, typer.Option(metavar="N", min=0, help="List the N nearest others of each sequence, and their purity.")
    ] = 0,
    labels: Annotated[
        str | None, typer.Option(metavar="REGEX", help="Take labels from ids; default: the data file's, or songs.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the map.")] = 0,
    out_: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/latents.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Write the latents of a split as arrays (.npz), and a map of them.

    --neighbours N lists each sequence's nearest others. Their purity is the share that has the same label: song,
    speaker, class. It stands beside chance and beside the nearest in data space.
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.runs.posteriors import latent_space
    from pyro_vrnn.runs.posteriors.neighbours import words

    files = latent_space.encode(
        runs.load(run, device=device, say=out.say),
        data=file,
        split=split,
        neighbours=neighbours,
        labels=labels,
        seed=seed,
        out=out_,
    )
    out.print(*files)
    facts: dict[str, Any] = json.loads(files[-1].read_text("utf-8")) if neighbours else {}
    out.print(*([words(facts)] if neighbours else []))
    return facts | {"schema": 1, "files": [str(f) for f in files]}
