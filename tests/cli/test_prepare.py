"""`prepare KIND`: one sub-command for each source, with its options and no other's."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest
import soundfile
import typer

from pyro_vrnn import cli
from pyro_vrnn.cli.app import app
from pyro_vrnn.data.sources import SOURCES
from pyro_vrnn.data.sources.preparing import plan
from pyro_vrnn.system.errors import ConfigError

COMMON = {"out_", "overwrite", "seed", "strict", "jobs", "json_", "quiet", "verbose", "debug"}
"""Parameters that every kind takes, with or without effect."""


def commands() -> dict[str, Any]:
    """The sub-commands of `prepare`."""
    root: Any = typer.main.get_command(app)
    found: dict[str, Any] = root.commands["prepare"].commands
    return found


def test_every_source_has_a_sub_command() -> None:
    assert set(commands()) == {*SOURCES, "convert"}


@pytest.mark.parametrize("kind", SOURCES)
def test_it_has_the_options_of_its_source(kind: str) -> None:
    own = {*inspect.signature(SOURCES[kind]).parameters} - {"path", "out", "progress"}
    assert {p.name for p in commands()[kind].params} == own | COMMON


@pytest.mark.parametrize("kind", [*SOURCES, "convert"])
def test_its_help_is_its_own(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["prepare", kind, "--help"]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"Usage: pyro-vrnn prepare {kind} ")
    assert ("--rate" in told) == (kind == "midi")


def test_an_option_of_another_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["prepare", "audio", "somewhere", "--rate", "20"]) == 2
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "error: --rate: prepare audio has no such option"
    assert "--sample-rate" in told[1]


def test_an_unknown_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["prepare", "mdi", "somewhere", "--json"]) == 2
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["message"].startswith("kind of source 'mdi': choose from audio, chorales,")
    assert "did you mean midi?" in told.err


def test_an_index_is_enough(tmp_path: Path, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its folder is the source."""
    source = shared / "data" / "speech_digits"
    asked = ["prepare", "audio", "--sample-rate", "8000", "--json", "--quiet"]
    alone, with_it = tmp_path / "alone.h5", tmp_path / "with.h5"
    assert cli._run([*asked, "--index", str(source / "index.csv"), "--out", str(alone)]) == 0
    first = json.loads(capsys.readouterr().out)
    assert cli._run([*asked, str(source), "--index", str(source / "index.csv"), "--out", str(with_it)]) == 0
    second = json.loads(capsys.readouterr().out)
    assert first["splits"] == second["splits"]
    assert first["splits"]["train"]["sequences"] > 100


def test_what_is_prepared_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(4):
        soundfile.write(tmp_path / f"{i}.wav", [0.1 * (-1) ** (t // 7) for t in range(8000)], 8000)
    out = tmp_path / "d.h5"
    asked = ["prepare", "audio", str(tmp_path), "--sample-rate", "8000", "--seconds", "0.25", "--splits", "50,25,25"]
    assert cli._run([*asked, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(out)
    assert told["kind"] == "audio"
    assert {k: v["sequences"] for k, v in told["splits"].items()} == {"train": 8, "valid": 4, "test": 4}


def test_a_carved_validation_split_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "train.txt").write_text("a quiet day\n" * 99)
    (tmp_path / "test.txt").write_text("a day\n" * 9)
    assert cli._run(["prepare", "text", str(tmp_path), "--window", "20", "--out", str(tmp_path / "d.h5")]) == 0
    assert "  validation split: 5% of train\n" in capsys.readouterr().out
    (tmp_path / "valid.txt").write_text("a day\n")
    assert cli._run(["prepare", "text", str(tmp_path), "--out", str(tmp_path / "e.h5")]) == 0
    assert "validation split:" not in capsys.readouterr().out


def test_unknown_options_of_a_plan_are_refused() -> None:
    with pytest.raises(ConfigError, match="levl"):
        plan("text", ["t.txt"], None, {"levl": "word"})
    assert plan("chorales", [], None, {"seed": 3, "strict": True}).options == {"resolution": "quarter"}


def test_options_before_the_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["prepare", "--seed", "1", "text", "t.txt"]) == 2
    assert "options come after KIND" in capsys.readouterr().err


@pytest.mark.parametrize("kind", SOURCES)
def test_the_help_lists_what_the_kind_uses(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Options that every kind takes and this one ignores are accepted, and not shown."""
    assert cli._run(["prepare", kind, "--help"]) == 0
    shown = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    for option in ("seed", "strict", "jobs"):
        assert (f"--{option}" in shown) == (option in inspect.signature(SOURCES[kind]).parameters), option
