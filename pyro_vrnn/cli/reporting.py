"""A run on one page, to look at in a browser or to send: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import DeviceOption, RunArgument, ThreadsOption, command, set_threads
from pyro_vrnn.cli.terminal import out


@command
def report(
    run: RunArgument,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.html", help="Default: RUN/report.html.")
    ] = None,
    num: Annotated[int, typer.Option(min=1, help="How many samples.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of everything that is random.")] = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
) -> dict[str, Any]:
    """Write a run onto one HTML page that needs nothing else.

    Curves, scores and baselines, samples to hear and see, the posterior, what is unusual, how to make it again.
    """
    set_threads(threads)
    from pyro_vrnn import runs
    from pyro_vrnn.cli.console import counting

    loaded = runs.load(run, device=device, say=out.say)
    with counting(out.console(), "elbo on test", quiet=out.quiet) as progress:
        file = loaded.report(out_, num=num, seed=seed, progress=progress)
    size = file.stat().st_size
    out.print(f"{file}: {size / 1e6:.2f} MB; open it in a browser")
    return {"schema": 1, "file": str(file), "bytes": size}
