"""What people install: the wheel and the source archive are whole, and the wheel works outside the checkout."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from pathlib import Path

import pretty_midi
import pytest
from small import write_small

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("build", "hatchling", "twine", "pip")
pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(tool) is None for tool in TOOLS), reason=f"one of {', '.join(TOOLS)} is not installed"
)


def done(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """What a command prints; it must succeed. It does not see the checkout."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PIP_", "COV"))}
    found = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, env=clean | environment)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """dist/: the source archive, and the wheel that is made of it."""
    dist = tmp_path_factory.mktemp("dist")
    done(sys.executable, "-m", "build", "--no-isolation", "--outdir", dist, ROOT)
    return dist


def wheel_of(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


def test_the_wheel_holds_the_package_alone(built: Path) -> None:
    with zipfile.ZipFile(wheel_of(built)) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert len(tops) == 2
    assert "pyro_vrnn" in tops
    assert any(re.fullmatch(r"pyro_vrnn-[\d.]+(\.?\w+)?\.dist-info", top) for top in tops)
    inside = {name for name in names if name.startswith("pyro_vrnn/")}
    source = {p.relative_to(ROOT).as_posix() for p in (ROOT / "pyro_vrnn").rglob("*") if p.is_file()}
    assert inside == {name for name in source if "__pycache__" not in name}
    assert {"pyro_vrnn/py.typed", "pyro_vrnn/weights/bach/card.md"} < inside
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_twine_finds_no_fault(built: Path) -> None:
    files = sorted(built.iterdir())
    assert [file.name.endswith((".whl", ".tar.gz")) for file in files] == [True, True]
    assert done(sys.executable, "-m", "twine", "check", "--strict", *files).count("PASSED") == 2


def test_the_wheel_plays_and_trains_in_an_environment_of_its_own(built: Path, tmp_path: Path) -> None:
    """pyro_vrnn is the wheel's; what it depends on is the running environment's, which is not installed again."""
    venv.EnvBuilder(with_pip=False).create(tmp_path / "env")
    scripts = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = next(file for file in (scripts / "python.exe", scripts / "python") if file.exists())
    done(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-index", "--no-deps", wheel_of(built))
    purelib = Path(done(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    (purelib / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")  # its own .pth files are not read
    here, command = tmp_path / "here", next(scripts.glob("pyro-vrnn*"))
    here.mkdir()
    installed = Path(done(python, "-c", "import pyro_vrnn; print(pyro_vrnn.__file__)", cwd=here).strip())
    assert tmp_path / "env" in installed.parents
    before = {file: file.stat().st_mtime_ns for file in installed.parent.rglob("*") if file.suffix != ".pyc"}

    start = time.monotonic()
    found = json.loads(done(command, "sample", "bach", "--num", "1", "--json", cwd=here, OMP_NUM_THREADS="1"))
    assert time.monotonic() - start < 30
    assert found["files"][0] == str(Path("bach-samples/sample-0-00.mid"))
    assert sum(len(part.notes) for part in pretty_midi.PrettyMIDI(str(here / found["files"][0])).instruments) > 20

    write_small(here / "rolls.h5", x_dim=88)
    train = (command, "train", "--init-from", "bach", "--data", "rolls.h5", "--max-steps", "2", "--json", "--quiet")
    found = json.loads(done(*train, cwd=here, OMP_NUM_THREADS="1"))
    assert (found["steps"], found["run"]) == (2, str(Path("runs/bach")))
    after = {file: file.stat().st_mtime_ns for file in installed.parent.rglob("*") if file.suffix != ".pyc"}
    assert after == before  # nothing is written among the package's own files
