"""The house: few entries at the top, small files, no import circle, no private name across modules, no names in ifs."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest

from pyro_vrnn.models import MODELS

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "pyro_vrnn"
FILES = sorted(PACKAGE.rglob("*.py"))
PAPERS = ("direct", "dmm", "rnn", "srnn", "storn", "vrae", "vrnn")


def nodes(path: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(path.read_text("utf-8")))


def test_the_top_is_the_flow() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "pyro_vrnn"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("not a git checkout")
    assert len({name.split("/")[1] for name in tracked}) <= 18


def test_packages_are_small() -> None:
    for folder in {path.parent for path in FILES} - {PACKAGE / "data" / "sources"}:
        assert len([*folder.glob("*.py")]) <= 16, folder


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_have_one_idea(path: Path) -> None:
    paper = path.parent == PACKAGE / "models" and path.stem in PAPERS
    assert len(path.read_text("utf-8").splitlines()) <= (120 if paper else 320)


def test_no_import_circle() -> None:
    graph = grimp.build_graph("pyro_vrnn", cache_dir=None)
    below = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    state: dict[str, int] = {}

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert state.get(name) != 1, f"a circle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in state:
            state[name] = 1
            for other in below[name]:
                visit(other, (*path, name))
            state[name] = 2

    for name in below:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_private_name_of_another_module_and_no_hasattr(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyro_vrnn"):
            private = [name.name for name in node.names if name.name.startswith("_") and name.name != "__version__"]
            assert not private
        assert not (isinstance(node, ast.Name) and node.id == "hasattr")


def _tested(node: Any) -> Iterator[str]:
    """The texts that a condition compares something with."""
    for part in ast.walk(node):
        if isinstance(part, ast.Compare):
            for side in [part.left, *part.comparators]:
                yield from (n.value for n in ast.walk(side) if isinstance(n, ast.Constant) and isinstance(n.value, str))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_models_name_in_an_if(path: Path) -> None:
    for node in nodes(path):
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            assert not {*MODELS} & {*_tested(node.test)}, f"line {node.lineno}"
