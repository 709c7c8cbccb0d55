"""A bound of a trained run, and its curve over the number of particles: evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyro_vrnn.cli.app import DeviceOption, RunArgument, ThreadsOption, command, set_threads
from pyro_vrnn.cli.series import forecast_scores
from pyro_vrnn.cli.terminal import out
from pyro_vrnn.system.errors import ConfigError

if TYPE_CHECKING:
    from pyro_vrnn.objectives.evaluation import Evaluation
    from pyro_vrnn.runs import Run


@command
def evaluate(
    run: RunArgument,
    data: Annotated[str | None, typer.Option(metavar="FILE.h5|NAME", help="Other data of the same kind.")] = None,
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    objective: Annotated[
        str | None, typer.Option(help="elbo, elbo-mc, iwae, fivo, sixo, …: as in train; default: elbo.")
    ] = None,
    particles: Annotated[
        str | None,
        typer.Option(metavar="K[,K…]", help="Samples of z, K; several, with commas, draw the bound by K."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples of z.")] = 0,
    repeats: Annotated[
        int | None, typer.Option(min=1, help="Estimate so often, and tell the spread; default: 1.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Sequences at once; default: 32.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="Score another run on the same sequences too, and tell how sure the difference is."
        ),
    ] = None,
    forecast: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Score forecasts of each sequence's last N steps instead.")
    ] = None,
    season: Annotated[int | None, typer.Option(metavar="M", help="Steps a season, for its baseline.")] = None,
    drift: Annotated[
        int | None,
        typer.Option(min=1, metavar="SECONDS", help="Measure how its own continuations of sound drift instead."),
    ] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Estimate a bound on log p(x) of a split, always at KL weight 1.

    The usual report is:  pyro-vrnn evaluate RUN --objective iwae --particles 100

    The particle filter's bound is tighter the more particles it has; its curve, and where it would end:
    pyro-vrnn evaluate RUN --objective fivo --particles 100,1000,10000

    Two models on the same sequences, in pairs, with an interval for the difference:
    pyro-vrnn evaluate RUN --objective iwae --particles 100 --against OTHER

    A model of sound that hears itself drifts; by how much, second by second, beside real sound:
    pyro-vrnn evaluate RUN --drift 60
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.data.baselines import baselines
    from pyro_vrnn.objectives import OBJECTIVES, make_objective

    of_bounds = {"--objective": objective, "--repeats": repeats, "--batch-size": batch_size, "--against": against}
    if drift is not None:
        _refuse("--drift", {"--forecast": forecast, "--particles": particles, "--season": season, **of_bounds})
        return _drift(runs.load(run, device=device, say=out.say), drift, data, split, seed)
    if forecast is not None:
        _refuse("--forecast", of_bounds)
    objective = "elbo" if objective is None else objective
    repeats, batch_size = repeats or 1, batch_size or 32
    loaded = runs.load(run, device=device, say=out.say)
    counts = _counts(particles)
    if forecast is not None:
        return forecast_scores(loaded, forecast, season, data, split, counts[-1], seed)
    if season is not None:
        raise ConfigError("--season is of --forecast", "evaluate RUN --forecast 12 --season 12")
    dataset = loaded.data(data, split)
    other = None if against is None else runs.load(against, device=device, say=out.say)
    bound = make_objective(objective, counts[-1], loaded.config.objective)
    if other is not None:
        if other.encoding != loaded.encoding:  # a density of other units is another number
            hint = "compare runs whose data files were prepared alike"
            raise ConfigError(f"--against {against}: it was trained on values of other units or symbols", hint)
        bound.check(other.net)
    curve = []
    for k in counts:
        what = f"{objective} on {split}" + (f", K={k}" if len(counts) > 1 else "")
        with counting(out.console(), what, quiet=out.quiet) as progress:
            options: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "repeats": repeats}
            curve.append(loaded.evaluate(split, objective, k, data=data, progress=progress, **options))
    found = curve[-1]
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
    if len(counts) > 1 and not OBJECTIVES[objective].weighted:
        out.say(f"note: more particles only average {objective}; iwae and fivo are tighter the more they have")
    pair: dict[str, Any] = {}
    if other is not None:
        with counting(out.console(), f"{objective} of {against} on {split}", quiet=out.quiet) as progress:
            path = dataset.info.path  # and by the very same bound: the other may have been trained with another K
            theirs = other.evaluate(split, bound, data=path, progress=progress, **options)
        pair = {"against": _against(other, found, theirs, rows)}
    limit, files = _curve(loaded, curve, rows) if len(counts) > 1 else (None, [])
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
    out.print(*files)
    where: dict[str, Any] = {"run": str(run), "checkpoint": loaded.step_folder.name}
    if files:
        keys = ("particles", "nll_per_step", "stderr", "kl_per_step")
        points = [{key: getattr(point, key) for key in keys} for point in curve]
        where |= {"curve": points, "extrapolated_nll_per_step": limit, "files": [str(f) for f in files]}
    return {
        "schema": 1,
        **found.as_dict(),
        **sound,
        **where,
        **pair,
        "data": str(dataset.info.path),
    }


def _against(other: Run, ours: Evaluation, theirs: Evaluation, rows: list[tuple[object, ...]]) -> dict[str, Any]:
    """Add the other run and the difference to the table; both as JSON has them."""
    from pyro_vrnn.objectives.paired import paired

    found = paired(ours, theirs)
    rows.append(("other run", f"{theirs.nll_per_step:.4f}", f"nats per step; {other.named}"))
    interval = "no interval of one sequence"
    if found.low is not None and found.high is not None:
        interval = f"95% over sequences: {found.low:+.4f} to {found.high:+.4f}"
    rows.append(("difference", f"{found.difference:+.4f}", f"nats per step; {interval}"))
    better = f"of {found.sequences} sequences are better by this run"
    rows.append(("", str(found.sequences_better), better))
    bound = {key: getattr(theirs, key) for key in ("nll_per_step", "stderr", "kl_per_step")}
    return {"run": other.named, "checkpoint": other.step_folder.name, **bound, **found.as_dict()}


def _refuse(asked: str, others: dict[str, Any]) -> None:
    """ConfigError of the first option that was given and has no meaning beside the one that was asked for."""
    if given := [name for name, value in others.items() if value is not None]:
        raise ConfigError(f"{given[0]} and {asked}: give one of them", f"{asked} has no use for {given[0]}")


def _drift(loaded: Run, seconds: int, data: str | None, split: str, seed: int) -> dict[str, Any]:
    """Measure drift, print some of its seconds, and return all of them."""
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.runs import drift

    with counting(out.console(), f"continuations of {split}", quiet=out.quiet) as progress:
        picture, found = drift.write(loaded, seconds, data=data, split=split, seed=seed, progress=progress)
    out.print(
        f"{split}: {found.num} continuations of {found.prime_seconds:g} seconds of real sound; "
        "dB from the mean of the training split"
    )
    header = ("second", "energy", "real sound", "spectral distance", "real sound")
    columns = (found.energy_db, found.real_energy_db, found.distance_db, found.real_distance_db)
    rows: list[tuple[object, ...]] = [header]
    told = sorted({s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if s < seconds} | {seconds})
    rows += [(second, *(f"{column[second - 1]:.1f}" for column in columns)) for second in told]
    means = (f"{sum(column) / seconds:.1f}" for column in columns)
    out.table([*rows, ("mean", *means)] if seconds > 1 else rows, right=(0, 1, 2, 3, 4))
    out.print(picture)
    where = {"run": loaded.named, "checkpoint": loaded.step_folder.name, "split": split, "seed": seed}
    where["data"] = str(loaded.data(data, split).info.path)
    if found.repeated:
        where["note"] = f"{split} has {found.real_seconds:.3g} seconds of sound: real sound repeats itself after that"
        out.print(f"note: {where['note']}")
    return {"schema": 1, "drift": found.as_dict(), **where, "files": [str(picture)]}


def _counts(text: str | None) -> list[int | None]:
    """Numbers of particles, ascending; without any, the objective's own."""
    if text is None:
        return [None]
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise ConfigError(f"--particles {text!r}: expected whole numbers", "for example 100 or 100,1000") from None
    return list(found)


def _curve(run: Run, curve: list[Evaluation], rows: list[tuple[object, ...]]) -> tuple[float | None, list[Path]]:
    """Add the curve to the table; its limit, where it has one, and its figure."""
    from pyro_vrnn.media.curves import bound_by_particles
    from pyro_vrnn.objectives.curve import limit
    from pyro_vrnn.system.files import make_folder

    points = [(float(point.particles), point.nll_per_step) for point in curve]
    rows += [("curve", f"{nll:.4f}", f"K={k:,.0f}") for k, nll in points]
    end = limit(points)
    if end is not None:
        rows.append(("extrapolated", f"{end:.4f}", "for K without end, by a power of K: no bound, a guess"))
    bound, split = curve[-1].bound, curve[-1].split
    picture = make_folder(run.output("figures")) / f"{bound}-by-particles-{split}.png"
    errors = [point.stderr_repeats for point in curve]
    bound_by_particles(points, picture, f"{run.folder.name}: {bound} on {split}", errors=errors, limit=end)
    return end, [picture]
