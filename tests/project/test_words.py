"""The words of CONTRIBUTING.md's glossary, wherever a user reads: README, docs, help, and first lines of docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from pyro_vrnn.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "data" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
BANNED = {
    r"\b(nats|NLL|KL|bits) an? (step|sample|sequence|update)\b": "nats per step",
    r"\b[Gg]o(es|ing)? on\b": "resume, or continue",
    r"\bfloors\b(?!\))": "baselines",
    r"\bsteps? a second\b": "steps per second",
}
"""What is not said, and what is said in its place."""
OPENINGS = ("Of ", "With ", "The same", "Its own", "Likewise")
"""First words that leave a docstring without a subject."""


def docstrings() -> Iterator[tuple[str, str]]:
    """Where each docstring stands, and its first line."""
    for path in sorted((ROOT / "pyro_vrnn").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", text.splitlines()[0]


def commands() -> Iterator[tuple[str, Any]]:
    """Every command and sub-command by name."""
    waiting: list[tuple[str, Any]] = [("pyro-vrnn", typer.main.get_command(app))]
    while waiting:
        name, command = waiting.pop()
        yield name, command
        waiting += [(f"{name} {child}", found) for child, found in getattr(command, "commands", {}).items()]


def check(text: str, where: str) -> None:
    for pattern, instead in BANNED.items():
        found = re.search(pattern, re.sub(r"```.*?```", "", text, flags=re.S))
        assert found is None, f"{where}: {found[0]!r}; say {instead}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_pages(page: Path) -> None:
    text = page.read_text("utf-8")
    if page.name == "CONTRIBUTING.md":  # the glossary says what is not said
        text = re.sub(r"\(not: .*?\)", "", text)
    check(text, page.name)


def test_help() -> None:
    names = dict(commands())
    assert len(names) > 20
    for name, command in names.items():
        assert command.help, name
        check(command.help, name)
        for option in command.params:
            text = getattr(option, "help", None)
            assert text, f"{name}: {option.name} has no help"
            check(text, f"{name} {option.name}")


def test_docstrings_are_sentences() -> None:
    for where, first in docstrings():
        check(first, where)
        assert not first.startswith(OPENINGS), f"{where}: {first}"
