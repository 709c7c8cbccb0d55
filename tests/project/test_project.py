"""The project's own files: dependencies, what is in the wheel, and that importing does little."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENTS: list[str] = [
    *PROJECT["build-system"]["requires"],
    *PROJECT["project"]["dependencies"],
    *(r for extra in PROJECT["project"]["optional-dependencies"].values() for r in extra),
]
EXTRAS = {
    *(
        "arviz",
        "chess",
        "h5netcdf",
        "IPython",
        "music21",
        "optuna",
        "pandas",
        "sklearn",
        "tensorboard",
        "wandb",
        "xarray",
    ),
}
"""What the extras are imported as, with what they bring."""


def plain(name: str) -> str:
    """The name of a distribution as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    found = [re.fullmatch(r"([A-Za-z0-9_.-]+)==([A-Za-z0-9_.]+)", line) for line in lines]
    assert None not in found, f"not a pin: {[line for line, match in zip(lines, found, strict=True) if not match]}"
    return {plain(match[1]): match[2] for match in found if match}


@pytest.mark.parametrize("requirement", REQUIREMENTS)
def test_requirements_are_ranges_and_pinned_elsewhere(requirement: str) -> None:
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)(\[[\w,]+\])?>=([\d.]+)(,<[\d.]+)?", requirement)
    assert match, f"{requirement}: a range is name>=version"
    assert plain(match[1]) in pins()


def test_constraints_are_sorted_pins_of_released_versions() -> None:
    assert pins()["torch"] == "2.13.0"
    names = list(pins())
    assert len(names) > 50
    assert names == sorted(names)


def test_licence_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text()
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text.split()) > 1500


def test_the_command_line_imports_no_heavy_package() -> None:
    """So that --help answers in under 0.3 s."""
    code = "import sys, pyro_vrnn.cli; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    heavy = {"torch", "pyro", "numpy", "scipy", "h5py", "matplotlib", "pretty_midi", "soundfile", *EXTRAS}
    assert not heavy & set(done.stdout.split())


def test_no_extra_is_imported_before_it_is_needed() -> None:
    """At the top of no module: the core works without any of them, and nobody waits for what is not used.

    The estimators are scikit-learn's: nothing imports their package but `pyro_vrnn.VRNN` and the others of that kind.
    """
    package = ROOT / "pyro_vrnn"
    for path in package.rglob("*.py"):
        allowed = {"sklearn"} if path.is_relative_to(package / "estimators") else set()
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not (EXTRAS - allowed) & {name.split(".")[0] for name in names}, path
            assert "torch.utils.tensorboard" not in names, path
