"""The shipped recipes, one TOML file an experiment: its first line says what it is, its second how its data is made.

They lie in a folder for each group of GROUPS; their names are flat, and each is there once. A recipe NAME-small is the
experiment of NAME at a size that runs on one core, on data that is free.
"""

from __future__ import annotations

import functools
from importlib import resources
from importlib.resources.abc import Traversable

GROUPS = {
    "first": "to begin with: minutes on a CPU, one for each kind of data",
    "jsb": "models and bounds side by side on the JSB chorales: minutes",
    "vrnn": "VRNN and its baselines on speech and handwriting (Chung et al. 2015), at the paper's settings",
    "iwae": "importance weighted bounds on speech: VRNN, VAE_5 and IWAE_5",
    "srnn": "SRNN on speech and music (Fraccaro et al. 2016), at the paper's settings",
    "fivo": "FIVO on music (Maddison et al. 2017), at the paper's settings",
    "dmm": "deep Markov model on music, at the settings of Pyro's example (Krishnan et al. 2017)",
    "vrae": "VRAE on songs (Fabius, van Amersfoort 2014), at the paper's settings",
    "audio": "LSTM on raw audio, least squares",
    "other": "strokes, text and chess",
}
"""Folder -> what is in it, in the order in which they are shown."""
SMALL = "-small"


@functools.cache
def _files() -> dict[str, tuple[str, Traversable]]:
    """Name -> its group and its file."""
    found = {}
    for group in GROUPS:
        for file in (resources.files(__name__) / group).iterdir():
            if file.name.endswith(".toml"):
                found[file.name.removesuffix(".toml")] = (group, file)
    return found


def names() -> list[str]:
    """The names of all shipped recipes."""
    return sorted(_files())


def groups() -> dict[str, list[str]]:
    """The names in each group."""
    return {group: [name for name in names() if _files()[name][0] == group] for group in GROUPS}


def text(name: str) -> str:
    """The TOML text of a shipped recipe."""
    return _files()[name][1].read_text("utf-8")


def head(recipe: str) -> list[str]:
    """The comment lines that a recipe's text begins with, without their `# `."""
    lines = []
    for line in recipe.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return lines
