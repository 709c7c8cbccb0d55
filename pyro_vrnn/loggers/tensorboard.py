"""`--log tensorboard`: RUN/tensorboard, for `tensorboard --logdir runs` (extra `tensorboard`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyro_vrnn.config import RunConfig
from pyro_vrnn.loggers.rows import read_rows, scalars
from pyro_vrnn.system.errors import ConfigError
from pyro_vrnn.training.observer import Observer

INSTALL = "pip install 'pyro-vrnn[tensorboard]'"


class TensorBoardLogger(Observer):
    """Curves of updates (train/…) and validations (valid/…) by update, and the settings as text.

    A resumed run hides what an earlier call logged after the checkpoint that it continues from. Where nothing was
    logged here before, the rows from before are copied from metrics.jsonl.

    Args:
        say: takes one line for people.

    Raises:
        ConfigError: tensorboard is not installed.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError("--log tensorboard needs tensorboard, which is not installed", INSTALL) from error
        self.say, self.make = say, SummaryWriter
        self.writer: Any = None
        self.folder: Path | None = None
        self.settings = ""

    def opened(self, run: Path, settings: RunConfig) -> None:
        """Note the folder and the settings."""
        self.folder, self.settings = run / "tensorboard", settings.to_toml()

    def begin(self, step: int, total: int) -> None:
        """Open a file of events from `step` on."""
        assert self.folder is not None
        fresh = not any(self.folder.glob("events.*"))
        self.writer = self.make(str(self.folder), purge_step=None if fresh else step + 1)
        if fresh:
            for row in read_rows(self.folder.parent):
                if row["step"] <= step:
                    self.logged(row)
        indented = "".join(f"    {line}\n" for line in self.settings.splitlines())  # code, in Markdown
        self.writer.add_text("settings", indented, step)
        self.writer.flush()
        self.say(f"curves while it trains: tensorboard --logdir {self.folder}")

    def logged(self, row: dict[str, Any]) -> None:
        """Add the numbers of a row; a validation is written to the disk at once."""
        for name, value in scalars(row).items():
            self.writer.add_scalar(name, value, row["step"])
        if "loss" not in row:
            self.writer.flush()

    def ended(self) -> None:
        """Write what is left, and close the file."""
        if self.writer is not None:
            self.writer.close()
