"""What is done with time series: impute, forecast; and the scores of forecasts, for evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pyro_vrnn.cli.app import DeviceOption, RunArgument, ThreadsOption, command, set_threads
from pyro_vrnn.cli.terminal import out
from pyro_vrnn.system.errors import ConfigError

if TYPE_CHECKING:
    from pyro_vrnn.runs import Run

FileArgument = Annotated[
    Path | None, typer.Argument(metavar="FILE", help="A table with the model's columns; else --index.")
]
IndexOption = Annotated[
    str | None, typer.Option(metavar="I|ID", help="A sequence of the run's data, in the place of FILE.")
]
SplitOption = Annotated[str, typer.Option(help="Where --index looks: train, valid or test.")]
ParticlesOption = Annotated[int, typer.Option(help="Paths of the particle filter, K.")]
SeedOption = Annotated[int, typer.Option(help="Seed of everything that is random.")]


@command
def impute(
    run: RunArgument,
    file: FileArgument = None,
    index: IndexOption = None,
    split: SplitOption = "test",
    particles: ParticlesOption = 2000,
    seed: SeedOption = 0,
    out_: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/imputed.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Fill the holes of a series: mean and 80% interval of each missing value.

    Writes a CSV of the holes, the completed table and a figure. The model must know of missing values: train it on
    data that has some. For example:  pyro-vrnn impute runs/sensors broken.csv
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.runs import imputing

    loaded = runs.load(run, device=device, say=out.say)
    files, found = imputing.write(loaded, file=file, index=index, split=split, particles=particles, seed=seed, out=out_)
    report = imputing.summary(found, particles)
    out.print(
        f"{report['missing']} of {found.missing.size} values imputed, K={particles}: "
        f"effective sample size {report['ess']:.1f} at least, {report['ancestors']} ancestors of a hole at least"
    )
    if report["ancestors"] < imputing.FEW:
        out.say(
            f"note: some holes have fewer than {imputing.FEW} ancestors, and their intervals are rough; "
            "see the column `ancestors`, and give more --particles"
        )
    out.print(*files)
    return {"schema": 1, "files": [str(f) for f in files], "seed": seed, **report}


@command
def forecast(
    run: RunArgument,
    steps: Annotated[int, typer.Option(min=1, help="How many steps ahead.", show_default=False)],
    file: FileArgument = None,
    index: IndexOption = None,
    split: SplitOption = "test",
    num: Annotated[int, typer.Option(help="How many paths are sampled.")] = 200,
    quantiles: Annotated[str, typer.Option(metavar="Q,Q,…", help="Which quantiles, between 0 and 1.")] = "0.1,0.5,0.9",
    paths: Annotated[int | None, typer.Option(help="How many of the paths are written; default: all.")] = None,
    particles: ParticlesOption = 500,
    seed: SeedOption = 0,
    out_: Annotated[Path | None, typer.Option("--out", "-o", metavar="DIR", help="Default: RUN/forecasts.")] = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Sample what comes after a series: quantiles of each step, paths, and a fan chart.

    For example:  pyro-vrnn forecast runs/sensors today.csv --steps 24
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.runs import forecasting

    files, found = forecasting.write(
        runs.load(run, device=device, say=out.say),
        steps=steps,
        file=file,
        index=index,
        split=split,
        num=num,
        quantiles=_numbers(quantiles),
        written=paths,
        particles=particles,
        seed=seed,
        out=out_,
    )
    report = forecasting.summary(found, particles)
    out.print(f"{steps} steps after {report['given']}, {num} paths", *files)
    return {"schema": 1, "files": [str(f) for f in files], "seed": seed, **report}


def _numbers(text: str) -> list[float]:
    """Numbers with commas between them."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ConfigError(f"--quantiles {text!r}: expected numbers", "for example 0.1,0.5,0.9") from None


def forecast_scores(
    loaded: Run, steps: int, season: int | None, data: str | None, split: str, particles: int | None, seed: int
) -> dict[str, Any]:
    """Score forecasts of a split, print a table of it, and return the report."""
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.runs import forecasting

    with counting(out.console(), f"forecasts of {split}", quiet=out.quiet) as progress:
        found = forecasting.score(
            loaded,
            steps=steps,
            season=season,
            data=data,
            split=split,
            seed=seed,
            progress=progress,
            **({} if particles is None else {"particles": particles}),
        )
    short = f" ({found['too_short']} are too short)" if found["too_short"] else ""
    out.print(f"{split}: the last {steps} steps of {found['sequences']} sequences{short}, {found['values']} values")
    rows: list[tuple[object, ...]] = [("", "CRPS", "scaled CRPS", "coverage of 80%", "MASE")]
    for name, scores in found["scores"].items():
        rows.append((name, *("-" if value is None else f"{value:.4f}" for value in scores.values())))
    out.table(rows, right=(1, 2, 3, 4))
    out.print("means over columns; CRPS in the data's units, scaled CRPS and MASE in mean changes of a step on train")
    return {**found, "run": loaded.named, "checkpoint": loaded.step_folder.name, "seed": seed}
