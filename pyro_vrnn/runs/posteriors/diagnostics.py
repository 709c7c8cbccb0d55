"""How far draws of the guide may stand for the posterior: the bound, effective sample size and Pareto k-hat."""

from __future__ import annotations

import importlib.util
import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LEAST_PARTICLES = 25
"""Of fewer, the largest fifth has too few weights to fit a tail to (ArviZ fits at least 5)."""
MOST_K_HAT = 0.7
"""Beyond it, the number of particles that would be needed grows out of reach."""
ROUNDING = 1e-6
"""Of float32: log-weights that differ by a smaller share than this are the same."""


@dataclass(frozen=True)
class Diagnosis:
    """What K importance weights w = p(x, z) / q(z | x) of one sequence say."""

    bound: float
    """log of their mean: the IWAE bound of this one set of draws, nats."""
    ess: float
    """(Σ w)² / Σ w², from 1 to K."""
    pareto_k: float | None
    """Shape of their tail, k-hat (Vehtari et al. 2024, arXiv:1507.02646); None where there is no tail to fit."""
    words: str
    """What k-hat means here, or why there is none."""


def diagnose(log_weights: Tensor) -> Diagnosis:
    """Look at the importance weights of one sequence.

    Args:
        log_weights: log p(x, z) - log q(z | x), nats. [K]
    """
    particles = len(log_weights)
    bound = float(torch.logsumexp(log_weights, 0)) - math.log(particles)
    w = np.exp(log_weights.double().cpu().numpy() - float(log_weights.max()))
    pareto_k, words = k_hat(log_weights.double().cpu().numpy())
    return Diagnosis(bound, float(w.sum() ** 2 / (w**2).sum()), pareto_k, words)


def largest_good(particles: int) -> float:
    """The k-hat up to which K weights are enough: min(1 - 1 / log10 K, 0.7) (Vehtari et al. 2024)."""
    return min(1 - 1 / math.log10(particles), MOST_K_HAT)


def k_hat(log_weights: NDArray[np.float64]) -> tuple[float | None, str]:
    """The shape of a generalised Pareto distribution fitted to the largest weights, by ArviZ, and what it says.

    Args:
        log_weights: [K], nats.

    Returns:
        k-hat, or None where it cannot be had, and a sentence.
    """
    particles = len(log_weights)
    if particles < LEAST_PARTICLES:
        return None, f"k-hat needs {LEAST_PARTICLES} particles or more"
    if np.ptp(log_weights) <= ROUNDING * max(1.0, float(np.abs(log_weights).max())):
        return None, "there is no k-hat: all weights are the same"
    if importlib.util.find_spec("arviz") is None:
        return None, "k-hat needs ArviZ: pip install 'pyro-vrnn[arviz]'"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # ArviZ 0.23 tells of its next version whenever it is imported
        import arviz
    found = float(arviz.psislw(log_weights)[1])
    if not math.isfinite(found):
        return None, "there is no k-hat: too few weights differ"
    good = largest_good(particles)
    if found <= good:
        return found, f"k-hat is at most {good:.2f}: reweighted draws of the guide can stand for the posterior"
    if found <= MOST_K_HAT:
        return found, f"k-hat is above {good:.2f}: take more particles to reweight the guide's draws"
    return found, f"k-hat is above {MOST_K_HAT}: the guide is too far from the posterior to reweight its draws"
