"""The app itself, and what several commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pyro_vrnn.cli.terminal import talking
from pyro_vrnn.system.version import __version__

ORDER = (
    *("train", "evaluate", "sample", "inspect", "reconstruct", "interpolate", "encode", "compare", "report"),
    *("impute", "forecast", "experiment", "transfer"),
    *("prepare", "data", "models", "recipes", "config", "bench", "doctor"),
)
"""The order in which `--help` lists the commands."""


class Ordered(TyperGroup):
    """Lists the commands in the order in which one meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of all commands."""
        return sorted(self.commands, key=ORDER.index)


app = typer.Typer(
    name="pyro-vrnn",
    cls=Ordered,
    help="Sequence models with latent variables as Pyro programs: train, evaluate, sample, look inside.",
    epilog="Start with:  pyro-vrnn sample bach   (a shipped model), or  pyro-vrnn train   (a VRNN on Bach's chorales)",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

RunArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RUN",
        help="A run folder, one of its checkpoints, or a shipped model (`models` lists them).",
        show_default=False,
    ),
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


def set_threads(threads: int | None) -> None:
    """CPU threads of torch; 1 unless asked for more."""
    import torch

    torch.set_num_threads(threads or 1)
