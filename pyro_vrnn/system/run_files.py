"""The names of what lies in a run folder, which must lie there."""

from __future__ import annotations

from pathlib import Path

from pyro_vrnn.system.errors import CheckpointError

OURS = (
    *("config.toml", "environment.json", "metrics.jsonl", "metrics.csv", "log.txt", "checkpoints"),
    *("samples", "reconstructions", "interpolations", "imputed", "forecasts", "latents", "figures", "diagnostics"),
    *("tensorboard", "wandb", "report.html"),
)
"""What a run folder holds."""


def check_links(run: Path) -> None:
    """Whether a run's own files lie in its folder: a run that somebody sent reads, and changes, no other.

    Raises:
        CheckpointError: one of them is a symbolic link.
    """
    for path in (run / name for name in (*OURS, ".lock")):
        if path.is_symlink():
            message = f"{path}: is a symbolic link, and those in a run's folder are not followed"
            raise CheckpointError(message, "put what it leads to in its place", path)
