"""A run on one page: plain values filled into `report.html.j2`, an HTML file that needs nothing beside it.

All text is escaped by the template; SVG comes from charts.py, which escapes too; sounds and pixels are data URIs.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from pyro_vrnn.media import charts
from pyro_vrnn.media.charts import Line
from pyro_vrnn.media.findings import Finding
from pyro_vrnn.media.medium import Shown

UNPRINTABLE = {code: "\ufffd" for code in [*range(32), *range(127, 160), 0xFFFE, 0xFFFF] if chr(code) not in "\t\n"}
"""What HTML must not hold."""


@dataclass(frozen=True)
class Figure:
    """A chart and the words below it."""

    svg: str
    words: str


@dataclass(frozen=True)
class Piece:
    """A sequence and what it is called."""

    name: str
    shown: Shown


@dataclass(frozen=True, kw_only=True)
class Page:
    """All that a report says; texts as they are, not escaped."""

    title: str
    facts: Sequence[tuple[str, str]]
    """What the run is: a word, and its value."""
    findings: Sequence[Finding]
    scores: Sequence[tuple[str, str, str]]
    """What was measured, the value, and its unit."""
    curves: Sequence[Figure]
    samples: Sequence[Piece]
    samples_words: str
    posterior: Sequence[Figure]
    posterior_words: str
    settings: Sequence[tuple[str, str, str]]
    """A setting, its value, and its default."""
    commands: Sequence[str]
    recipe: str
    """The text of a TOML file of all settings."""
    made: Sequence[tuple[str, str]] = field(default=())
    """What the run was made with."""


def fill(page: Page) -> str:
    """The page as HTML."""
    import jinja2

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["base64"] = lambda held: base64.b64encode(held).decode()
    text = resources.files(__package__).joinpath("report.html.j2").read_text("utf-8")
    return environment.from_string(text).render(page=page).translate(UNPRINTABLE)


def training_curves(rows: Sequence[Mapping[str, Any]], clip_norm: float, latent: bool) -> list[Figure]:
    """The charts of `metrics.jsonl`: loss, reconstruction, KL, KL weight, learning rate, gradient; without empty ones.

    Args:
        rows: logged updates and validations.
        clip_norm: of the gradient.
        latent: whether the model has latent variables, and with them a KL.
    """

    def line(name: str, key: str, dots: bool = False) -> Line:
        found = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        return Line(name, [x for x, _ in found], [y for _, y in found], dots)

    def chart(words: str, *lines: Line, **options: bool) -> Figure:
        return Figure(charts.curves(f"{words}, by update", lines, x_label="update", **options), words)

    constant = len({row["lr"] for row in rows if row.get("lr") is not None}) <= 1
    of_z = [
        chart("KL of the posterior from the prior, nats per step", line("training", "kl"),
              line("validation", "valid_kl_per_step", True), zero=True),
        chart("KL weight (beta)", line("", "beta"), zero=True),
    ]  # fmt: skip
    found = [
        chart("Training loss and validation bound, nats per step", line("training", "loss"),
              line("validation", "valid_nll_per_step", True)),
        chart("NLL of training (reconstruction, without the KL), nats per step", line("", "nll")),
        *(of_z if latent else []),
        chart("Learning rate", line("", "lr"), log=not constant, zero=constant),
        chart(f"Norm of the gradient before it is clipped to {clip_norm:g}", line("", "grad_norm"), log=True),
    ]  # fmt: skip
    return [figure for figure in found if figure.svg]


def posterior_curves(kl_by_step: Sequence[float], kl_by_unit: Sequence[float], threshold: float) -> list[Figure]:
    """The KL of one sequence by step, nats, and by latent unit, nats per step; without steps only the latter."""
    found = []
    if kl_by_step:
        words = "KL of the posterior from the prior at each step, nats"
        line = Line("", range(1, len(kl_by_step) + 1), kl_by_step)
        found.append(Figure(charts.curves(words, [line], x_label="step", zero=min(kl_by_step) >= 0), words))
    words = "KL of each latent unit, nats per step; the largest first"
    chart = charts.bars(words, kl_by_unit, threshold=threshold, x_label="latent units, by KL")
    return [*found, Figure(chart, words)]
