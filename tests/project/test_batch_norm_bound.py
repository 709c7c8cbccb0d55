"""benchmarks/batch_norm_bound.py: batch statistics make a "bound" above the exact log evidence, layer norm does not."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from pyro_vrnn.config import resolve
from pyro_vrnn.system.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
SPEC = importlib.util.spec_from_file_location("batch_norm_bound", ROOT / "benchmarks" / "batch_norm_bound.py")
assert SPEC is not None
assert SPEC.loader is not None
script = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(script)


def test_batch_statistics_exceed_the_exact_evidence() -> None:
    found = script.measure("rnn", "batch", steps=3, updates=150)
    assert found["bound"] > found["exact"] + 0.3
    assert found["total"] > 1.3  # of what would have to be probabilities
    assert found["running"] < found["exact"]


def test_layer_normalisation_does_not() -> None:
    found = script.measure("rnn", "layer", steps=3, updates=150)
    assert found["bound"] <= found["exact"] + 1e-6
    assert found["total"] == pytest.approx(1, abs=1e-6)
    assert found["running"] == pytest.approx(found["bound"])


def test_the_page_has_the_numbers_of_what_the_script_does_by_itself() -> None:
    page = " ".join((ROOT / "docs" / "normalisation.md").read_text("utf-8").split())
    assert f"means of {script.REPEATS} bounds of each (`--repeats`)" in page


def test_repeats_are_of_what_is_drawn() -> None:
    few, more = (script.measure("vrnn", "layer", steps=2, updates=1, repeats=n)["bound"] for n in (1, 3))
    assert few != more


def test_the_setting_is_refused_with_that_reason() -> None:
    with pytest.raises(ConfigError, match="would see the future"):
        resolve(sets=["model.norm=batch"])
