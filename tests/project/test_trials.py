"""Short forms of `make fuzz`, `make soak` and `make endurance`, and what they find where there is something to find."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small import write_small

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Their scripts can be imported, and leave the path as it was."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    yield
    for name in ("reliability", "soak", "endurance", "regress", "grids"):
        sys.modules.pop(name, None)


@pytest.mark.fault(63)
def test_damaged_files_for_every_reader() -> None:
    """A few for each, in one process that can be killed by them."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(ROOT / "tests" / "fuzz"), "--count", "8", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    lines = done.stdout.splitlines()
    assert len(lines) > 40
    assert " 0 findings" in lines[-1]


HARNESS = """
import os, sys
sys.path.insert(0, sys.argv[1])
import importlib.util, json
from pathlib import Path
spec = importlib.util.spec_from_file_location("harness", sys.argv[1] + "/__main__.py")
harness = importlib.util.module_from_spec(spec)
sys.modules["harness"] = harness
spec.loader.exec_module(harness)
harness.ROOT = Path(sys.argv[2])
from seeds import Reader
from pyro_vrnn.system.errors import DataError
def read(path, scratch):
    index = int((scratch.parent / "at").read_text())
    if index == 1: raise KeyError("a bug")
    if index == 2: open("/etc/hostname").close()
    if index == 3: bytearray(3 << 30)
    if index == 4: os.kill(os.getpid(), 11)
    if index == 5:
        error = DataError("two lines")
        error.message = "two\\nlines"
        raise error
    if index == 6: raise DataError("as it should be")
(Path(sys.argv[2]) / "scratch").mkdir()
found = harness.in_a_process(Reader("x", [("a.txt", b"words", "text")], read), 0, 9, Path(sys.argv[2]) / "scratch")
print(json.dumps(found))
"""


@pytest.mark.fault(63)
def test_the_harness_finds_what_is_wrong(tmp_path: Path) -> None:
    """A traceback, a file outside, too much memory, a process that dies; and goes on after each."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", HARNESS, str(ROOT / "tests" / "fuzz"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    words = " ".join(found["findings"].values())
    for word in ("KeyError", "outside: open /etc/hostname", "MemoryError", "killed by signal 11", "is no line"):
        assert word in words
    assert sum(found["counts"].values()) == 9


@pytest.mark.fault(5)
def test_a_few_kills(benchmarks: None, tmp_path: Path) -> None:
    import soak

    command, *_ = soak.trainings(write_small(tmp_path / "d.h5"), updates=11)
    killed, ended, wrong = soak.soak(command, tmp_path, 3, random.Random(1))
    assert (killed, wrong) == (3, [])
    assert ended >= 1


@pytest.mark.fault(5)
def test_another_result_is_found(benchmarks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is told by what an earlier one left is not the same after a kill."""
    import soak

    def do(folder: Path) -> None:
        with (folder / "log").open("a") as file:
            file.write("begun ")
        (folder / "result").write_text((folder / "log").read_text())

    monkeypatch.setattr(soak.reliability, "ROOT", tmp_path)
    command = soak.Command("careless", do, lambda folder: (folder / "result").read_text())
    _, _, wrong = soak.soak(command, tmp_path, 8, random.Random(0))
    assert wrong


def test_a_little_endurance(benchmarks: None, tmp_path: Path) -> None:
    import endurance

    found = endurance.endure(tmp_path, minutes=1, every=20, steps=120)
    assert found["updates"] == 120
    assert found["files"][0] == found["files"][1]
    good = {"milliseconds": [2.0, 2.05], "megabytes": [300.0, 301.0], "files": [9, 9]}
    assert endurance.faulty(good) == []
    assert len(endurance.faulty({"milliseconds": [2.0, 2.2], "megabytes": [300.0, 310.0], "files": [9, 10]})) == 3


def test_numbers_outside_their_bands(benchmarks: None) -> None:
    import tomllib

    import regress

    bands = tomllib.loads(regress.BANDS.read_text("utf-8"))
    assert bands.keys() == {"chorales-vrnn", "jsb-dmm"}
    for name, band in bands.items():
        found = {key: band[key] for key in regress.WIDTHS}
        assert regress.faulty(name, band, found) == []
        for key, width in regress.WIDTHS.items():
            for share in (1 - 1.1 * width, 1 + 1.1 * width):
                (word,) = regress.faulty(name, band, found | {key: found[key] * share})
                assert word.startswith(f"{name}: {key} is ")
