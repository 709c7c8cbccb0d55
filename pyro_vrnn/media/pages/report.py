"""Pages: plain values filled into a template of their own (`report.html.j2`, …), HTML files that need nothing else.

All text is escaped by the templates; SVG comes from charts.py and drawn.py, which escape too; sounds and pixels are
data URIs. The one script (player.js.j2) is the same on all pages, and a page's own rules allow no other to run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import ClassVar

from pyro_vrnn.media.medium import Shown
from pyro_vrnn.media.pages.findings import Finding

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

    template: ClassVar[str] = "report.html.j2"
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
    latents: Sequence[Figure] = ()
    """What z tells of the sequences: a map and charts."""
    latents_words: Sequence[str] = ()
    """Paragraphs about it."""
    latents_scores: Sequence[tuple[str, str, str]] = ()
    """What was measured, nats, and what it means."""
    settings: Sequence[tuple[str, str, str]]
    """A setting, its value, and its default."""
    commands: Sequence[str]
    recipe: str
    """The text of a TOML file of all settings."""
    made: Sequence[tuple[str, str]] = field(default=())
    """What the run was made with."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that a page of several runs says; texts as they are, not escaped."""

    template: ClassVar[str] = "comparison.html.j2"
    title: str
    words: Sequence[str]
    """Paragraphs at the top."""
    scores_head: Sequence[str]
    scores: Sequence[Sequence[str]]
    scores_numbers: Sequence[int]
    """Which columns of the scores are numbers."""
    scores_words: Sequence[str]
    settings_head: Sequence[str]
    settings: Sequence[Sequence[str]]
    legend: Sequence[tuple[str, str]]
    """An SVG of a run's line, and the run's name."""
    curves: Sequence[tuple[str, Sequence[Figure]]]
    """A data set's name, empty if there is but one, and its charts."""
    samples: Sequence[Piece]
    samples_words: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table and the words about it."""

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: Sequence[int] = ()
    """Which columns are numbers."""
    words: str = ""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Arms of an experiment that can be compared with each other."""

    title: str
    conclusions: Sequence[str]
    """Sentences: what the numbers show and what they do not."""
    tables: Sequence[Table]
    spreads: Sequence[Figure]
    """What each run reached, and the differences with their intervals."""
    legend: Sequence[tuple[str, str]]
    """An SVG of an arm's line, and the arm's name."""
    curves: Sequence[Figure]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All that a page of an experiment says; texts as they are, not escaped."""

    template: ClassVar[str] = "experiment.html.j2"
    title: str
    facts: Sequence[tuple[str, str]]
    """What was trained: a word, and its value."""
    failures: Sequence[tuple[str, str]]
    """Of which run, and what."""
    notes: Sequence[str]
    """On settings: those that a model does not have, and those that were chosen by the data."""
    parts: Sequence[Part]
    settings: Table
    runs: Table
    commands: Sequence[str]
    file: str
    """The experiment as TOML."""


def fill(page: Page | Comparison | Grid) -> str:
    """The page as HTML."""
    import jinja2

    def read(name: str) -> str:
        return resources.files(__package__).joinpath(name).read_text("utf-8")

    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FunctionLoader(read),
    )
    environment.filters["base64"] = lambda held: base64.b64encode(held).decode()
    script = read("player.js.j2")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    template = environment.get_template(page.template)
    return template.render(page=page, script=script, script_hash=digest).translate(UNPRINTABLE)
