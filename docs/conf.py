"""How Sphinx makes the site of these pages: `make docs`, which takes warnings for errors.

Two kinds of pages are made before Sphinx reads the folder, and are not in git: the API reference (`api/`, by
`site/reference.py`) and the notebooks (`notebooks/*.md`, made of the percent scripts beside them).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import jupytext
from docutils import nodes

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "site"))
import reference  # noqa: E402  (it lies beside this file, which Sphinx runs from anywhere)

import pyro_vrnn  # noqa: E402

project = "pyro-vrnn"
author = copyright = "the pyro-vrnn authors"
version = release = pyro_vrnn.__version__
extensions = ["myst_parser"]
exclude_patterns = ["_build", "site"]
smartquotes_action = "q"  # quotes alone: the two dashes of an option stay two

html_theme = "furo"
html_title = "pyro-vrnn"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False

myst_heading_anchors = 4
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"

SHORT = 30
"""Characters of code or of a cell that fit side by side on a phone."""


def write(path: Path, text: str) -> None:
    """Leave a page that says this already as it is: Sphinx reads again what is newer."""
    if not path.exists() or path.read_text("utf-8") != text:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")


def write_pages() -> None:
    """The reference, and the notebooks: text as it is, code in blocks."""
    for package, text in reference.pages(Path(pyro_vrnn.__file__).parents[1]):
        write(HERE / "api" / f"{package}.rst", text)
    for script in sorted((HERE / "notebooks").glob("*.py")):
        cells = jupytext.read(script).cells
        code = "```python\n{}\n```"
        parts = [c.source if c.cell_type == "markdown" else code.format(c.source.strip("\n")) for c in cells]
        parts.insert(
            1,
            f"(This page is the script `docs/notebooks/{script.name}`, which runs as it is; `make notebooks` runs "
            "it too and leaves a notebook with all outputs.)",
        )
        write(script.with_suffix(".md"), "\n\n".join(parts) + "\n")


def read_source(app: Any, name: str, source: list[str]) -> None:
    """Links to files of the package are made links to the reference; in tables ± and · stay with their numbers."""
    source[0] = re.sub(
        r"\[([^\]]+)\]\(\.\./(pyro_vrnn/[\w/]+)\.py\)",
        lambda m: f"{{py:mod}}`{m[1]} <{m[2].replace('/', '.')}>`",
        source[0],
    )
    held = {" ± ": "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}", " · ": "\N{NO-BREAK SPACE}· "}
    for row in re.findall(r"^\|.*", source[0], re.MULTILINE):
        source[0] = source[0].replace(row, re.sub(" [±·] ", lambda m: held[m[0]], row))


def mark_lengths(app: Any, doctree: nodes.document) -> None:
    """Classes for site.css: code that fits on a line of a phone, and cells whose text needs some width."""
    for code in doctree.findall(nodes.literal):
        if len(code.astext()) <= SHORT:
            code["classes"].append("short")
    for cell in doctree.findall(nodes.entry):
        cell["classes"] += [
            name for name, most in (("long", SHORT), ("longer", 2 * SHORT)) if len(cell.astext()) > most
        ]


write_pages()


def setup(app: Any) -> None:
    """What Sphinx calls."""
    app.connect("source-read", read_source)
    app.connect("doctree-read", mark_lengths)
