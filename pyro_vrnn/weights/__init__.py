"""Trained models that are shipped: each is a run folder with one checkpoint, and a card that says where it comes from.

    NAME/  card.toml  card.md  config.toml  environment.json  metrics.jsonl  checkpoints/

A name is a RUN argument wherever one is read. `benchmarks/ship.py` makes such a folder of a run; matrices are stored
as float16, at half the size, and are read as float32.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyro_vrnn.system.errors import choose

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Card:
    """Where a shipped model comes from and what it scores.

    Attributes:
        name: the RUN argument that means it.
        draws: what its samples are, in a few words.
        about: what it is and how it was chosen, a few sentences.
        data: what it was trained on, and who made that.
        licence: under which terms that data may be used.
        limits: what it does badly, or should not be used for.
        prepare: the command that makes its data file, for `evaluate` and all that reads the data.
        train: the command that made the run.
        sample: a command to begin with.
        steps: how long a sample is unless it is asked for.
        numbers: split, bound, particles, seed, nll_per_step, stderr, kl_per_step (nats), sequences, steps,
            baselines (nats per step, by what they are), nll_per_step_float32 (before the matrices were rounded),
            valid_nll_per_step, updates, seconds (of training), parameters.
    """

    name: str
    draws: str
    about: str
    data: str
    licence: str
    limits: str
    prepare: str
    train: str
    sample: str
    steps: int
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The size of its folder."""
        return sum(file.stat().st_size for file in (FOLDER / self.name).rglob("*") if file.is_file())

    @property
    def bound(self) -> str:
        """Its score in words: `4.95 nats per step (iwae, K=100, test)`."""
        found = self.numbers
        estimate = f"{found['bound']}, K={found['particles']}, {found['split']}"
        return f"{found['nll_per_step']:.2f} nats per step ({estimate})"

    @property
    def evaluate(self) -> str:
        """The command whose result is in `numbers`."""
        found = self.numbers
        return (
            f"pyro-vrnn evaluate {self.name} --objective {found['bound']} --particles {found['particles']} "
            f"--seed {found['seed']}"
        )

    def markdown(self) -> str:
        """The card as a page, which is card.md beside it."""
        found = self.numbers
        spread = f" ± {found['stderr']:.4f} (standard error over {found['sequences']} sequences)"
        rows = [
            (f"{found['bound']}, K={found['particles']}, seed {found['seed']}", f"{found['nll_per_step']:.4f}{spread}"),
            ("of this, KL", f"{found['kl_per_step']:.4f}"),
            *((f"baseline: {words}", f"{value:.4f}") for words, value in found["baselines"].items()),
            ("best on validation, in training", f"{found['valid_nll_per_step']:.4f}"),
            ("with float32 matrices, as trained", f"{found['nll_per_step_float32']:.4f}"),
        ]
        commands = {"Sample": self.sample, "Data": self.prepare, "Training": self.train, "Score": self.evaluate}
        return "\n".join(
            [
                f"# {self.name}: {self.draws}",
                "",
                self.about,
                "",
                f"**Data.** {self.data}",
                "",
                f"**Licence.** {self.licence}",
                "",
                f"**Limits.** {self.limits}",
                "",
                f"Nats per step on the {found['split']} split ({found['steps']} steps), lower is better:",
                "",
                "| | |",
                "|---|---|",
                *(f"| {what} | {value} |" for what, value in rows),
                "",
                f"{found['parameters']:,} parameters; {found['updates']:,} updates in {found['seconds']:.0f} s on one "
                "CPU thread. Its settings are in config.toml.",
                "",
                *(f"{what}:\n\n    {command}\n" for what, command in commands.items()),
            ]
        )


def names() -> list[str]:
    """The names of all shipped models."""
    return sorted(card.parent.name for card in FOLDER.glob("*/card.toml"))


def card(name: str) -> Card:
    """The card of a shipped model.

    Raises:
        ConfigError: no model of this name is shipped.
    """
    if name not in names():
        raise choose("shipped model", name, names())
    return Card(name=name, **tomllib.loads((FOLDER / name / "card.toml").read_text("utf-8")))


def folder_of(run: Path) -> Path:
    """A RUN argument as the folder that it means: what lies at this path, or else the shipped model of this name."""
    return FOLDER / run if not run.exists() and str(run) in names() else run


def name_of(folder: Path) -> str | None:
    """The name of the shipped model that lies in a folder; None where that is another run."""
    return folder.name if folder.parent == FOLDER else None


def data_hint(folder: Path) -> str:
    """How to make the data file of the shipped model that lies in a folder; empty where that is another run."""
    name = name_of(folder)
    return "" if name is None else f"make it: {card(name).prepare}   (of what: pyro-vrnn models {name})"


def hidden(run: Path) -> bool:
    """Whether a RUN argument is also the name of a shipped model, which what lies at this path hides."""
    return run.exists() and str(run) in names()
