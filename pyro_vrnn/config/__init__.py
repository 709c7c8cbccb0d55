"""Settings: recipe (TOML) + flags + `--set` -> RunConfig; what each setting means; the shipped recipes."""

from __future__ import annotations

from pyro_vrnn.config.chain import parse_toml
from pyro_vrnn.config.resolve import DEFAULT_RECIPE, Resolved, build, resolve
from pyro_vrnn.config.run_config import DataConfig, RunConfig, TrainingConfig

__all__ = [
    "DEFAULT_RECIPE",
    "DataConfig",
    "Resolved",
    "RunConfig",
    "TrainingConfig",
    "build",
    "parse_toml",
    "resolve",
]
