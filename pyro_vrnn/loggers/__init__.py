"""Loggers: observers that write what a training logs for other programs, by name (`train --log NAME`).

A logger cannot change a training, and cannot end one: what goes wrong in it is said once, and it is off from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyro_vrnn.loggers.csv import CSVLogger
from pyro_vrnn.loggers.harmless import Harmless
from pyro_vrnn.loggers.tensorboard import TensorBoardLogger
from pyro_vrnn.loggers.wandb import WandbLogger
from pyro_vrnn.system.errors import choose
from pyro_vrnn.training.observer import Observer

LOGGERS: dict[str, Callable[[Callable[[str], None]], Observer]] = {
    "csv": CSVLogger,
    "tensorboard": TensorBoardLogger,
    "wandb": WandbLogger,
}
"""Name -> a logger, from what it says things to people by; it raises ConfigError where it can be known not to work."""

__all__ = ["LOGGERS", "loggers"]


def loggers(names: Sequence[str], say: Callable[[str], None]) -> list[Observer]:
    """Loggers by their names, each once, ready to watch a training.

    Args:
        names: keys of LOGGERS.
        say: takes one line for people, such as where a logger writes, or why it has stopped.

    Raises:
        ConfigError: no logger has this name, its package is not installed, or it has no account to write to.
    """
    for name in names:
        if name not in LOGGERS:
            raise choose("logger", name, LOGGERS)
    return [Harmless(name, LOGGERS[name](say), say) for name in dict.fromkeys(names)]
