from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
import torch

from pyro_vrnn.runs.posteriors.diagnostics import diagnose, k_hat, largest_good


def test_weights_of_which_all_is_known() -> None:
    found = diagnose(torch.tensor([3.0, 1.0, 1.0]).log() - 10)
    assert found.bound == pytest.approx(np.log(5 / 3) - 10)
    assert found.ess == pytest.approx(25 / 11, rel=1e-5)
    assert found.pareto_k is None
    assert "25 particles" in found.words


def test_weights_that_are_all_the_same() -> None:
    found = diagnose(torch.full((100,), -432.1) + torch.tensor([1e-5]) * (torch.arange(100) % 2))
    assert (found.ess, found.pareto_k) == (pytest.approx(100), None)
    assert "the same" in found.words


@pytest.mark.parametrize(("wide", "words"), [(1.05, "at most 0.70"), (3.0, "too far")])
def test_k_hat_is_that_of_a_gaussian_and_a_wider_one(wide: float, words: str) -> None:
    """p = N(0, wide²), q = N(0, 1): p(x > r q) falls as r^(-1/k) with k = 1 - 1 / wide²."""
    pytest.importorskip("arviz")
    z = np.random.default_rng(0).normal(size=100_000)
    found, said = k_hat(z**2 / 2 * (1 - 1 / wide**2))
    assert found == pytest.approx(1 - 1 / wide**2, abs=0.1)
    assert words in said


def test_few_particles_need_a_smaller_k_hat() -> None:
    """The thresholds of Vehtari et al. 2024: 0.5 of 100 draws, two thirds of 1,000."""
    assert [largest_good(n) for n in (100, 1000, 10**6)] == pytest.approx([0.5, 2 / 3, 0.7])
    pytest.importorskip("arviz")
    z = np.random.default_rng(1).normal(size=60)
    found, said = k_hat(z**2 / 2 * 0.4)
    assert found is not None
    assert 1 - 1 / np.log10(60) < found < 0.7
    assert "more particles" in said


def test_without_arviz_there_is_no_k_hat_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "arviz" else found(name))
    monkeypatch.setitem(sys.modules, "arviz", None)
    told = diagnose(torch.randn(50))
    assert told.pareto_k is None
    assert "pip install 'pyro-vrnn[arviz]'" in told.words
    assert 1 < told.ess < 50
