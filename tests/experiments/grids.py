"""A small experiment on small data, for the tests of running one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from small import write_small

TEXT = """
[experiment]
title = "Small"
recipe = "jsb-vrnn"
seeds = [0, 1]
updates = 12
evaluate = [{ objective = "iwae", particles = 4 }]

[settings]
data = { path = "DATA", batch_size = 5 }
model = { latent_dim = 3, hidden_dim = 8, network_dims = [8] }
training = { log_every = 1, validate_every = 1, valid_objective = "iwae", valid_particles = 4 }

[[arm]]
name = "elbo"

[[arm]]
name = "iwae"
settings.objective = { name = "iwae", particles = 3 }

[[arm]]
name = "then"
init_from = "elbo"
times = 0.5
"""


def write(folder: Path, text: str = TEXT) -> Path:
    """The TOML file, beside its data."""
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / "small.h5"
    if not data.exists():
        write_small(data)
    (folder / "grid.toml").write_text(text.replace("DATA", str(data)))
    return folder / "grid.toml"


def lasting(out: Path) -> Any:
    """results.json without what time and place decide; numbers with all of their digits."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            left_out = ("seconds", "seconds_per_update", "time", "out", "run", "figures")
            return {k: plain(v) for k, v in value.items() if k not in left_out}
        return [plain(v) for v in value] if isinstance(value, list) else value

    return plain(json.loads((out / "results.json").read_text()))
