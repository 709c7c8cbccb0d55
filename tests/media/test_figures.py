from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyro_vrnn.media import curves, figures

STEPS = 40
RANDOM = np.random.default_rng(0)
ROLL = (RANDOM.random((STEPS, 88)) < 0.05).astype(np.uint8)
PROBABILITIES = RANDOM.random((STEPS, 88))
KL = RANDOM.gamma(1.0, 0.5, STEPS)


def rows(count: int) -> list[dict[str, Any]]:
    """Rows as a run's metrics.jsonl has them."""
    found: list[dict[str, Any]] = []
    for i in range(count):
        loss = 7 + 50 * 0.8**i
        step = {"step": 10 * i, "epoch": i // 5, "loss": loss, "nll": loss - 0.1, "kl": 0.1, "beta": min(1, i / 9)}
        found.append({**step, "lr": 1e-3, "grad_norm": 1.0, "steps_per_second": 30.0, "seconds": float(i)})
        if i % 5 == 0:
            found.append(
                {"step": 10 * i, "epoch": i // 5, "valid_nll_per_step": loss, "valid_kl_per_step": 0.1, "best": True}
            )
    return found


Draw = Callable[[Path], None]
CASES: dict[str, Draw] = {
    "roll": lambda path: figures.pianoroll(ROLL, path, steps_per_second=20, title="a roll"),
    "roll-float": lambda path: figures.pianoroll(ROLL.astype(np.float32), path, probabilities=PROBABILITIES),
    "roll-prime": lambda path: figures.pianoroll(ROLL, path, prime_steps=16, probabilities=PROBABILITIES),
    "roll-all-prime": lambda path: figures.pianoroll(ROLL, path, prime_steps=STEPS),
    "roll-silent": lambda path: figures.pianoroll(np.zeros((3, 88)), path),
    "roll-one-step": lambda path: figures.pianoroll(np.ones((1, 1)), path, steps_per_second=2, lowest_pitch=60),
    "rolls-1": lambda path: figures.pianorolls([ROLL], path, ["only"]),
    "rolls-5": lambda path: figures.pianorolls([ROLL[:n] for n in (40, 3, 20, 40, 1)], path, list("abcde")),
    "rolls-16": lambda path: figures.pianorolls([ROLL] * 16, path, prime_steps=8),
    "kl-by-step": lambda path: figures.kl_by_step(KL, path, "test 3"),
    "kl-by-step-zero": lambda path: figures.kl_by_step(np.zeros(1), path),
    "kl-by-unit": lambda path: figures.kl_by_unit(KL[:16], path),
    "kl-by-unit-many": lambda path: figures.kl_by_unit(RANDOM.gamma(0.2, 0.1, 300), path, active_threshold=0.05),
    "kl-by-unit-none-active": lambda path: figures.kl_by_unit(np.zeros(3), path),
    "posterior": lambda path: figures.posterior_figure(ROLL, KL, PROBABILITIES, path, title="test 3"),
    "curves": lambda path: curves.training_curves(rows(30), path, "chorales-vrnn", (17, 7.5)),
    "curves-long": lambda path: curves.training_curves(rows(300), path),
    "curves-one": lambda path: curves.training_curves(rows(1), path),
    "curves-none": lambda path: curves.training_curves([], path),
    "curves-gaps": lambda path: curves.training_curves([{"step": 1, "loss": None, "nll": float("nan")}], path),
    "odd-title": lambda path: figures.kl_by_step(KL, path, "[bold] $\\frac{1 \0\n日本語 \ud800" + "x" * 500),
}


@pytest.mark.parametrize("name", CASES)
def test_is_a_png_of_sane_size(tmp_path: Path, name: str) -> None:
    CASES[name](tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", data[16:24])
    assert 900 <= width <= 1400
    assert 250 <= height <= 1700
    assert 5_000 < len(data) < 500_000
    assert os.listdir(tmp_path) == ["a.png"]


def test_same_figure_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        figures.pianoroll(ROLL, tmp_path / name, steps_per_second=20, title="a roll")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_no_global_state(tmp_path: Path) -> None:
    """Neither does importing the module import matplotlib, nor does drawing import pyplot or change a setting."""
    code = """if True:
        import sys
        import numpy as np
        from pyro_vrnn.media import curves, figures
        assert "matplotlib" not in sys.modules
        import matplotlib
        before = matplotlib.rcParams.copy()  # reading them all one by one would import pyplot
        figures.pianoroll(np.ones((3, 5)), sys.argv[1], steps_per_second=2, probabilities=np.ones((3, 5)))
        assert "matplotlib.pyplot" not in sys.modules
        assert matplotlib.rcParams.copy() == before
    """
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")], check=True)


def test_no_rolls(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no piano-rolls"):
        figures.pianorolls([], tmp_path / "a.png")


def test_a_chorale(shared: Path, tmp_path: Path) -> None:
    with np.load(shared / "data" / "pianoroll" / "jsb_chorales.npz") as stored:
        roll = stored["test"][: stored["test_len"][0]]
    figures.pianoroll(roll, tmp_path / "a.png", steps_per_second=2, title="chorale", prime_steps=16)
    assert (tmp_path / "a.png").stat().st_size > 10_000
