"""The README's commands and Python run, on small data where the real run takes minutes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pretty_midi
import pytest
import soundfile
from small import write_small

from pyro_vrnn import cli
from pyro_vrnn.data.catalogue import NAMES

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with small data sets under the known names, and some recordings and songs."""
    (tmp_path / "here" / "data").mkdir(parents=True)
    for name in NAMES.values():
        write_small(tmp_path / "here" / "data" / name, x_dim=88)
    monkeypatch.chdir(tmp_path / "here")
    for folder in ("my_recordings", "my_songs"):
        Path(folder).mkdir()
    random = np.random.default_rng(0)
    for i in range(4):
        soundfile.write(f"my_recordings/{i}.wav", 0.1 * random.normal(size=17_000 + i), 16_000)
        song = pretty_midi.PrettyMIDI()
        piano = pretty_midi.Instrument(0)
        piano.notes = [pretty_midi.Note(80, 60 + 2 * i + k % 5, 0.2 * k, 0.2 * k + 0.4) for k in range(40)]
        song.instruments.append(piano)
        song.write(f"my_songs/{i}.mid")
    for name in ("a_song", "another"):
        song.write(f"{name}.mid")
    for i in range(5):
        Path("my_sensors").mkdir(exist_ok=True)
        Path(f"my_sensors/{i}.csv").write_text(f"speed,heat\n{i},2\n3,{'' if i > 3 else 4}\n5,6\n")
    soundfile.write("one_long_talk.wav", 0.1 * random.normal(size=160_000), 16_000)
    soundfile.write("someone.wav", 0.1 * random.normal(size=16_000), 16_000)
    return tmp_path / "here"


def commands() -> list[str]:
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [line.partition("  #")[0] for line in lines]


def test_every_command_runs(place: Path, request: pytest.FixtureRequest) -> None:
    """In order, as a reader would, but trained for a few updates; `make` is CI's and the demo test's."""
    ran = 0
    for line in commands():
        argv = shlex.split(line)
        if argv[0] == "make":
            continue
        assert argv[0] == "pyro-vrnn", line
        argv = argv[1:]
        if argv[0] == "train":
            argv += ["--max-steps", "4", "--quiet"]
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
