"""`--log wandb`: a run of the project pyro-vrnn at Weights & Biases, or offline in RUN/wandb (extra `wandb`)."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyro_vrnn.config import RunConfig
from pyro_vrnn.loggers.rows import read_rows, scalars
from pyro_vrnn.system.errors import ConfigError
from pyro_vrnn.system.files import make_folder, write_bytes
from pyro_vrnn.training.observer import Observer

PROJECT = "pyro-vrnn"
INSTALL = "pip install 'pyro-vrnn[wandb]'"
ID = "run-id.txt"
CONNECT_SECONDS = 30.0
"""How long a training waits for wandb's server before it begins without."""


class WandbLogger(Observer):
    """Curves of updates (train/…) and validations (valid/…) by update, with the settings as the run's config.

    `WANDB_MODE=offline` needs no account and no network; wandb's own variables (WANDB_PROJECT, WANDB_ENTITY, …)
    are heard. The run's id lies in RUN/wandb/run-id.txt, and a resumed run is the same one there; what was logged
    after the checkpoint that it continues from is there twice, with the same numbers at the same step.

    Args:
        say: takes one line for people.

    Raises:
        ConfigError: wandb is not installed, or no account is known; it is never asked for.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise ConfigError("--log wandb needs wandb, which is not installed", INSTALL) from error
        self.say, self.wandb = say, wandb
        self.run: Any = None
        self.online = wandb.setup(wandb.Settings(silent=True)).settings.mode in ("online", "shared")
        if self.online and not wandb.login(prompt=False, verify=False):
            hint = "run `wandb login` once, set WANDB_API_KEY, or WANDB_MODE=offline to log into the run's folder"
            raise ConfigError("--log wandb: no account of Weights & Biases is known here", hint)
        self.folder: Path | None = None
        self.config: RunConfig | None = None

    def opened(self, run: Path, settings: RunConfig) -> None:
        """Note the folder and the settings."""
        self.folder, self.config = run, settings

    def begin(self, step: int, total: int) -> None:
        """Open the run at wandb, new or as it was."""
        assert self.folder is not None
        assert self.config is not None
        path = make_folder(self.folder / "wandb") / ID
        fresh = not path.exists()
        if fresh:
            write_bytes(path, f"{secrets.token_hex(4)}\n".encode())
        wandb = self.wandb
        self.run = wandb.init(
            project=wandb.setup().settings.project or PROJECT,
            id=path.read_text("utf-8").strip(),
            name=self.folder.name,
            dir=str(self.folder),
            config=self.config.to_dict(),
            resume="allow" if self.online else None,  # offline, wandb joins runs by their id when they are synced
            settings=wandb.Settings(
                console="off", silent=True, disable_git=True, save_code=False, init_timeout=CONNECT_SECONDS
            ),
        )
        self.run.define_metric("step")
        self.run.define_metric("*", step_metric="step")
        if fresh:
            for row in read_rows(self.folder):
                if row["step"] <= step:
                    self.logged(row)
        where = self.run.url if self.online else f"offline in {self.folder / 'wandb'}; `wandb sync` uploads it"
        self.say(f"wandb: {where}")

    def logged(self, row: dict[str, Any]) -> None:
        """Add the numbers of a row."""
        self.run.log(scalars(row) | {"step": row["step"]})

    def ended(self) -> None:
        """Wait until wandb has what was logged."""
        if self.run is not None:
            self.run.finish()
