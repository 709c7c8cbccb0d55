"""What is unusual about a training, in a sentence each and with advice: from its logged rows and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Rows = Sequence[Mapping[str, Any]]
ROSE = 0.05
"""Validation is said to rise where it is above its best by more than this share of its fall, and LEAST_RISE nats."""
LEAST_RISE = 0.01
JUMP = 20.0
"""A gradient is said to explode where its norm is so many times the median."""


@dataclass(frozen=True)
class Finding:
    """What is unusual, and what to do about it."""

    what: str
    advice: str


def of_training(rows: Rows, clip_norm: float, stopped: str, updates: int, run: str) -> list[Finding]:
    """What the rows of `metrics.jsonl` tell.

    Args:
        rows: logged updates and validations.
        clip_norm: of the gradient.
        stopped: why the training ended, empty where that is not known.
        updates: how many were made; not each is logged.
        run: the run folder, for commands.
    """
    return [*_ended(stopped, updates, run), *_validation(rows, stopped, updates, run), *_gradient(rows, clip_norm)]


def of_units(kl: Sequence[float], active: int, threshold: float, unit: str = "nats per step") -> list[Finding]:
    """Latent units whose KL is next to nothing.

    Args:
        kl: of each unit. [Z]
        active: how many are above the threshold.
        threshold: of the KL of an active unit.
        unit: of both; nats where one z is about the whole sequence.
    """
    count = len(kl)
    if not count or active == count:
        return []
    if active == 0:
        what = f"No latent unit is active on a test sequence: all {count} have a KL below {threshold:g} {unit}."
        advice = (
            "The posterior has collapsed onto the prior, and z is not used. Let the KL weight rise slowly "
            "(objective.kl_start, objective.kl_steps), or keep free bits (objective.free_bits)."
        )
        return [Finding(what, advice)]
    what = f"{count - active} of {count} latent units carry less than {threshold:g} {unit} of a test sequence."
    advice = (
        f"They cost time and say nothing. A smaller model.latent_dim, near {active}, may do as well; "
        "a slower rise of the KL weight (objective.kl_steps) may wake them."
    )
    return [Finding(what, advice)]


def of_baselines(nll: float, baselines: Mapping[str, float]) -> list[Finding]:
    """Baselines that the model does not beat; name -> nats per step."""
    better = {name: value for name, value in baselines.items() if value <= nll}
    if not better:
        return []
    name, value = min(better.items(), key=lambda item: item[1])
    what = f"On the test split a baseline without a network is better: {value:.4f} nats per step ({name})."
    return [Finding(what, "Train for longer, or look at the curves for what holds the training back.")]


def _ended(stopped: str, updates: int, run: str) -> list[Finding]:
    words = {"max-time": "by its time limit", "signal": "by a signal", "observer": "by its observer"}
    if stopped not in words:
        return []
    advice = f"pyro-vrnn train --resume {run} continues it."
    return [Finding(f"The training was stopped {words[stopped]} after update {updates:,}.", advice)]


def _validation(rows: Rows, stopped: str, updates: int, run: str) -> list[Finding]:
    found = [(int(row["step"]), float(row["valid_nll_per_step"])) for row in rows if "valid_nll_per_step" in row]
    if not found:
        what = "It has not been validated, so there is no best checkpoint."
        return [Finding(what, "Train for longer: a validation comes after an epoch (training.validate_every).")]
    values = [value for _, value in found]
    best = int(np.argmin(values))
    fall, rise = values[0] - values[best], values[-1] - values[best]
    if len(found) >= 3 and rise > max(ROSE * fall, LEAST_RISE):
        what = f"Validation rose by {rise:.3f} nats per step after its best at update {found[best][0]:,}: overfitting."
        advice = (
            "The best checkpoint is what is used. Stop early (training.patience), regularise (model.dropout, "
            "training.weight_decay), make the model smaller, or give it more data."
        )
        return [Finding(what, advice)]
    if len(found) >= 3 and best == len(found) - 1 and stopped in ("epochs", "max-steps", "max-time"):
        step = values[-2] - values[-1]
        if step > max(0.01 * fall, 1e-3):
            what = f"Validation was still falling at the end, by {step:.3f} nats per step since the one before."
            return [Finding(what, _longer(stopped, updates, run))]
    return []


def _longer(stopped: str, updates: int, run: str) -> str:
    """How to train for longer, by what ended the training."""
    more = {
        "epochs": f"pyro-vrnn train --resume {run} --epochs N, with N above the epochs that are done",
        "max-steps": f"pyro-vrnn train --resume {run} --max-steps N, with N above {updates:,}",
        "max-time": f"pyro-vrnn train --resume {run}, with another --max-time or without one",
    }
    return f"Train for longer: {more[stopped]}."


def _gradient(rows: Rows, clip_norm: float) -> list[Finding]:
    found = [(int(row["step"]), float(row["grad_norm"])) for row in rows if _is_number(row.get("grad_norm"))]
    found = found[len(found) // 10 :]  # the first updates are from random weights
    if len(found) < 3:
        return []
    norms = np.array([norm for _, norm in found])
    median, most = float(np.median(norms)), int(norms.argmax())
    told = []
    if norms[most] > JUMP * median:
        what = (
            f"The gradient's norm was {norms[most]:.3g} at update {found[most][0]:,}, "
            f"{norms[most] / max(median, 1e-12):.0f} times its median."
        )
        advice = f"Gradients explode: try a smaller training.learning_rate, or training.clip_norm below {clip_norm:g}."
        told.append(Finding(what, advice))
    if median > clip_norm:
        share = float((norms > clip_norm).mean())
        what = f"The gradient was clipped to {clip_norm:g} in {share:.0%} of the logged updates (median {median:.3g})."
        advice = "The clip sets the size of most updates: a larger training.clip_norm lets the gradient say it."
        told.append(Finding(what, advice))
    return told


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
