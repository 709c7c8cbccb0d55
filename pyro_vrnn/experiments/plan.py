"""An experiment: its arms, seeds, length, and the bounds that are reported; and where its file is found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

UNITS = {"updates": int, "sequences": int, "seconds": float}
"""What all runs of an experiment can have as many of."""
FILE = "experiment.toml"
"""What an experiment's folder keeps its plan in."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A bound that is reported of every run, at its best checkpoint."""

    objective: str = "iwae"
    particles: int | None = None
    split: str = "test"

    @property
    def title(self) -> str:
        """The heading of its column."""
        return f"{self.split} {self.objective}" + ("" if self.particles is None else f" K={self.particles}")


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long a run is: so many updates, sequences seen, or seconds of its training loop."""

    unit: str
    amount: float


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Runs that differ in their seeds alone."""

    name: str
    recipe: str | None
    settings: Mapping[str, Any]
    """By dotted names, those of the whole experiment among them."""
    times: float = 1.0
    """Its length, in lengths of the experiment."""
    init_from: str | None = None
    """The arm whose run of each seed gives the weights to start from."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What is trained and reported."""

    name: str
    title: str
    seeds: tuple[int, ...]
    length: Length | None
    """None leaves each arm the length of its recipe."""
    evaluate: tuple[Bound, ...]
    arms: tuple[Arm, ...]
    """Each after the one that it starts from."""
    reference: str
    """The arm that the others are compared with."""
    out: Path

    def to_toml(self) -> str:
        """The text of a file that is this experiment, with its grids written out."""
        head: dict[str, Any] = {"title": self.title, "seeds": list(self.seeds), "reference": self.reference}
        if self.length is not None:
            head[self.length.unit] = UNITS[self.length.unit](self.length.amount)
        head["evaluate"] = [{k: v for k, v in vars(b).items() if v is not None} for b in self.evaluate]
        arms = []
        for arm in self.arms:
            own = {"name": arm.name, "recipe": arm.recipe, "times": arm.times, "init_from": arm.init_from}
            given = {k: list(v) if isinstance(v, tuple) else v for k, v in arm.settings.items()}
            arms.append({k: v for k, v in own.items() if v is not None} | {"settings": given})
        return tomli_w.dumps({"experiment": head, "arm": arms})
