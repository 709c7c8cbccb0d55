"""What a page says of how good a run is: its best validation, its bound on the test split, and baselines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyro_vrnn.data.baselines import baselines
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.objectives import make_objective
from pyro_vrnn.objectives.evaluation import Evaluation, evaluate
from pyro_vrnn.programs import Stacked
from pyro_vrnn.runs.folder import best_validation
from pyro_vrnn.runs.trained import Trained

Scores = list[tuple[str, str, str]]
"""What was measured, the value, and its unit."""


@dataclass(frozen=True)
class Tested:
    """The ELBO of the test split, and what simple baselines score on it, nats per step, by their words."""

    found: Evaluation
    baselines: dict[str, float]


def measure(
    run: Trained, dataset: SequenceDataset, seed: int, progress: Callable[[int, int], None] | None = None
) -> Tested:
    """Measure the test split.

    Raises:
        NumericsError: the bound is not finite.
    """
    found = evaluate(
        Stacked(run.net),
        dataset,
        make_objective("elbo", 1, run.config.objective),
        split="test",
        batch_size=32,
        seed=seed,
        device=run.device,
        progress=progress,
    )
    form = run.format
    simple, words = baselines(dataset.info.path, run.encoding), form.traits.baseline_words(form.support)
    return Tested(found, {what: simple[key] for key, what in words.items()})


def validated(run: Trained, rows: list[dict[str, Any]]) -> Scores:
    """The best validation."""
    best, bound = best_validation(rows, run.state), run.config.validated
    if best is None:
        return []
    unit = f"nats per step ({bound.name}, K={bound.particles}), at update {best['step']:,}"
    return [("best NLL on validation", f"{best['valid_nll_per_step']:.4f}", unit)]


def in_words(run: Trained, tested: Tested) -> Scores:
    """The test split's part of the table of scores."""
    found, latent = tested.found, run.net.latent_dim > 0
    over = "" if found.stderr is None else f", standard error over {found.sequences} sequences"
    exact = "elbo, K=1, an upper bound on the NLL" if latent else "exact"
    scores = [("NLL on test", plus_minus(found), f"nats per step ({exact}){over}")]
    if latent:
        scores.append(("KL on test", f"{found.kl_per_step:.4f}", "nats per step, a part of the NLL"))
    scores += [
        ("baseline on test", f"{value:.4f}", f"nats per step ({what})") for what, value in tested.baselines.items()
    ]
    sound = run.format.by_sample(found.nll_per_step)
    if sound:
        unit = f"bits; amplitude in {sound['amplitude_unit']}"
        scores.append(("NLL per sample on test", f"{sound['bits_per_sample']:.4f}", unit))
    return scores


def plus_minus(found: Evaluation) -> str:
    """A bound on the NLL with its standard error, nats per step."""
    return f"{found.nll_per_step:.4f}" + ("" if found.stderr is None else f" ± {found.stderr:.4f}")
