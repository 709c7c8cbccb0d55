"""The README's commands and Python run, on small data where the real run takes minutes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import places
import pytest

from pyro_vrnn import cli

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with small data sets under the known names, and some recordings and songs."""
    places.fill(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def commands() -> list[str]:
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [line.partition("  #")[0] for line in lines]


def test_every_command_runs(place: Path, request: pytest.FixtureRequest) -> None:
    """In order, as a reader would, but few updates and little sound; `make` and `pip` are CI's and test_wheel.py's."""
    ran = 0
    for line in commands():
        argv = shlex.split(line)
        if argv[0] in ("make", "pip"):
            continue
        assert argv[0] == "pyro-vrnn", line
        argv = argv[1:]
        if argv[0] == "train":
            argv += ["--max-steps", "4", "--quiet"]
        if "--drift" in argv:
            argv[argv.index("--drift") + 1] = "2"
        if argv[0] == "prepare" and argv[1] == "pianoroll":
            shared = request.getfixturevalue("shared")
            argv = [str(shared / a.removeprefix("../shared/")) if a.startswith("../shared/") else a for a in argv]
            argv.append("--overwrite")
        assert cli._run(argv) == 0, line
        ran += 1
    assert ran >= 8


def test_the_python_runs(place: Path) -> None:
    found = blocks("python")
    assert len(found) >= 2
    for block in found:
        exec(compile(block, "README.md", "exec"), {})


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)", README)
    assert len(links) >= 3
    for link in links:
        found = ROOT / link
        assert found.is_dir() or found.stat().st_size > 200, link
