"""Every block of code in docs/*.md runs, page by page and in order, as a reader would, but trained for a few updates.

A page's blocks share one folder and one Python. The README and the pages in ELSEWHERE have tests of their own.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import places
import pytest
import typer

from pyro_vrnn import cli
from pyro_vrnn.cli.app import app
from pyro_vrnn.runs import api

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ELSEWHERE = {
    "estimators.md": "estimators/test_base.py",
    "experiments.md": "experiments/test_page.py",
    "extending.md": "project/test_extending.py",
    "observers.md": "project/test_observers_page.py",
    "posteriors.md": "runs/posteriors/test_inspection.py",
}
"""Pages whose blocks are run by another test, since they need what is not in the usual folder."""
WITH_BLOCKS = [page for page in PAGES if page.name not in ELSEWHERE and BLOCK.search(page.read_text("utf-8"))]


def run_line(line: str) -> None:
    """A command of this package runs; one that installs or makes something names what there is."""
    argv = shlex.split(line, comments=True)
    if argv[0] == "pyro-vrnn":
        short = {"train": ["--max-steps", "3", "--quiet"], "sample": ["--num", "1"]}.get(argv[1], [])
        assert cli._run([*argv[1:], *short]) == 0, line
    elif argv[0] == "make":
        assert f"\n{argv[1]}:" in (ROOT / "Makefile").read_text("utf-8"), line
    else:
        assert argv[:2] == ["pip", "install"], line
        extras = re.findall(r"\[(.*?)\]", line)
        known = (ROOT / "pyproject.toml").read_text("utf-8")
        assert all(f"\n{extra} = [" in known for found in extras for extra in found.split(",")), line


@pytest.mark.parametrize("page", WITH_BLOCKS, ids=lambda page: page.name)
def test_blocks_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places.fill(tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    train = api.train

    def short(*args: Any, **given: Any) -> Any:
        return train(*args, **(given | {"max_steps": 3}))

    monkeypatch.setattr(api, "train", short)
    names: dict[str, Any] = {}
    for language, code in BLOCK.findall(page.read_text("utf-8")):
        if language == "python":
            exec(compile(code, page.name, "exec"), names)
        else:
            for line in code.splitlines():
                assert line.startswith("$ "), line
                run_line(line[2:])


@pytest.mark.parametrize("page", ELSEWHERE)
def test_other_pages_are_run_elsewhere(page: str) -> None:
    assert page in (ROOT / "tests" / ELSEWHERE[page]).read_text("utf-8")


def test_all_fences_are_known() -> None:
    """A block in another language, or one that is indented, would be run by nobody."""
    assert len(WITH_BLOCKS) + len(ELSEWHERE) >= 12
    for page in PAGES:
        for language in re.findall(r"^```([^\n{]*)", page.read_text("utf-8"), re.MULTILINE):
            assert language in ("", "console", "python", "text", "toml"), page.name


def hours() -> list[str]:
    """The commands of results and performance, which take hours: what is indented."""
    found = []
    for page in PAGES:
        text = page.read_text("utf-8").replace("\\\n", " ")
        for line in re.findall(r"^    (?:\w+=\S+ )*(pyro-vrnn .*)$", text, re.MULTILINE):
            found += [part.strip() for part in line.partition("  #")[0].split(";")]
    return found


def test_commands_that_take_hours_have_arguments_that_there_are() -> None:
    assert len(hours()) > 10
    for line in hours():
        argv = shlex.split(line.replace("-SEED", "-0").replace("SEED", "0").replace("SETTING", "a=b"))[1:]
        command: Any = typer.main.get_command(app)
        while "commands" in vars(command):
            command = command.commands[argv.pop(0)]
        assert command.make_context(command.name, argv).params
