"""Bounds on log p(x) of a split, from per-sequence log-weights in bounded memory. What is reported is at beta = 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions.kl import kl_divergence

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.batching import in_order
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.models.precision import products
from pyro_vrnn.objectives.base import Objective
from pyro_vrnn.programs import Program
from pyro_vrnn.system.errors import NumericsError

VALUES_AT_ONCE = 40_000_000
"""Particles x sequences x steps x the widest layer, held at once: what bounds the memory of any K (about 1 GB)."""


@dataclass(frozen=True, eq=False)
class BySequence:
    """What an evaluation found of each sequence, in the data set's order."""

    nll: NDArray[np.float64]
    """Nats, mean over repeats. [N]"""
    steps: NDArray[np.int64]
    """How many are scored. [N]"""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A bound on a split; nats. The field names are those of `evaluate --json`.

    `nll_per_step` is sum NLL / sum steps; `nll_per_step_sequence_mean` the mean over sequences of NLL / steps;
    `stderr` is the standard error of `nll_per_step` over sequences (a ratio's: residuals NLL_i - r steps_i), and
    `stderr_repeats` that of its mean over repeats, which differ in the draws of z alone.
    """

    bound: str
    particles: int
    split: str
    sequences: int
    steps: int
    nll_per_step: float
    nll_per_step_sequence_mean: float
    nll_per_sequence: float
    kl_per_step: float
    stderr: float | None
    repeats: int = 1
    stderr_repeats: float | None = None
    by_sequence: BySequence | None = field(default=None, repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without what is found by sequence; with something of repeats only if there were any."""
        found = asdict(replace(self, by_sequence=None))
        del found["by_sequence"]
        return found if self.repeats > 1 else {k: v for k, v in found.items() if "repeats" not in k}


class Recorder(Messenger):
    """Reads NLL and KL off the very step that trains: wrap it round one evaluation of an ELBO.

    Both are by sequence, [B], and means over the particles, without the KL weight; nats.
    """

    def __init__(self) -> None:
        super().__init__()
        self.nll: Tensor = torch.zeros(())
        self.kl: Tensor = torch.zeros(())
        self._guide: dict[str, tuple[Any, Any]] = {}

    def _pyro_post_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            return
        name, fn, mask = msg["name"], msg["fn"], msg["mask"]
        sequences = fn.batch_shape[-1]
        if msg["is_observed"] and name not in self._guide:  # some estimators condition the model on the guide's draw
            log_prob = scale_and_mask(fn.log_prob(msg["value"]), mask=mask).detach()
            self.nll = self.nll - log_prob.reshape(-1, sequences).mean(0)
        elif name not in self._guide:
            self._guide[name] = fn, mask
        else:  # the model's pass, replayed on the guide's draw
            kl = scale_and_mask(kl_divergence(self._guide[name][0], fn), mask=mask).detach()
            self.kl = self.kl + kl.reshape(-1, sequences).mean(0)


@torch.no_grad()
def sequence_bounds(
    program: Program,
    batch: Batch,
    objective: Objective,
    *,
    values_at_once: int = VALUES_AT_ONCE,
    progress: Callable[[int], None] = lambda particles: None,
) -> tuple[Tensor, Tensor]:
    """The bound and the KL of each sequence, nats, [B] each: particles in chunks, then one logsumexp over all.

    Args:
        program: its network in evaluation mode.
        batch: whole sequences.
        objective: its estimator and its K.
        values_at_once: bounds the memory.
        progress: called with the particles done.
    """
    return objective.estimate(program, batch, values_at_once=values_at_once, progress=progress)


def evaluate(
    program: Program,
    dataset: SequenceDataset,
    objective: Objective,
    *,
    split: str,
    batch_size: int,
    seed: int,
    device: torch.device,
    repeats: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """The bound of `objective` on a dataset: what `bounds_of` finds of its sequences, summed up.

    Args:
        split: the split's name, for the report.
        program, dataset, objective, batch_size, seed, device, repeats, progress: see `bounds_of`.
    """
    bounds, kls = bounds_of(
        program,
        dataset,
        objective,
        batch_size=batch_size,
        seed=seed,
        device=device,
        repeats=repeats,
        progress=progress,
    )
    return summarise(objective, split, torch.as_tensor(dataset.lengths - dataset.given), -bounds, kls)


def bounds_of(
    program: Program,
    dataset: SequenceDataset,
    objective: Objective,
    *,
    batch_size: int,
    seed: int,
    device: torch.device,
    repeats: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Tensor, Tensor]:
    """The bound and the KL of every sequence of a dataset, nats, [repeats, N] float64 each, in the dataset's order.

    The random state outside is left as it was, so that validation does not change training; the network is
    put in evaluation mode meanwhile.

    Args:
        program: stacked for speed.
        dataset: the split's sequences.
        objective: its estimator and its K.
        batch_size: sequences at once.
        seed: of the particles.
        device: where the network lives.
        repeats: how often, with seeds seed, seed + 1, …
        progress: called with (particles of sequences done, in all).
    """
    was_training = program.net.training
    program.net.eval()
    bounds, kls = torch.zeros(2, repeats, len(dataset), dtype=torch.float64).unbind()
    done, total = 0, repeats * len(dataset)
    devices = [device] if device.type == "cuda" else []
    try:
        with (
            pyro.get_param_store().scope(),
            pyro.validation_enabled(False),  # the reader has checked the data
            products("float32", device),  # whatever a training does meanwhile: bounds are comparable
            torch.random.fork_rng(devices=devices),
        ):
            for repeat in range(repeats):
                torch.manual_seed(seed + repeat)
                for indices in in_order(dataset.lengths, batch_size):
                    batch = collate(dataset, indices).to(device)
                    tell = partial(_tell, progress, done, len(indices), total, objective.particles)
                    bound, kl = sequence_bounds(program, batch, objective, progress=tell)
                    bounds[repeat, indices], kls[repeat, indices] = bound.double().cpu(), kl.double().cpu()
                    done += len(indices)
    finally:
        program.net.train(was_training)
    return bounds, kls


def _tell(
    progress: Callable[[int, int], None] | None, done: int, size: int, total: int, particles: int, particles_done: int
) -> None:
    """Progress in particles of sequences: `done` sequences before, `size` at hand."""
    if progress is not None:
        progress(done * particles + size * particles_done, total * particles)


def summarise(objective: Objective, split: str, lengths: Tensor, nll: Tensor, kl: Tensor) -> Evaluation:
    """Per-sequence NLL and KL [repeats, N] to the two averages and their errors."""
    repeats, n = nll.shape
    steps = int(lengths.sum())
    if not bool(torch.isfinite(nll).all()):
        bad = int((~torch.isfinite(nll)).sum())
        raise NumericsError(
            f"the {objective.name} bound on {split} is not finite for {bad} of {n} sequences",
            "the model has diverged: try a smaller training.learning_rate",
        )
    by_repeat = nll.sum(1) / steps
    spread = float(by_repeat.std()) / math.sqrt(repeats) if repeats > 1 else None
    nll, kl = nll.mean(0), kl.mean(0)
    ratio = float(nll.sum()) / steps
    residuals = nll - ratio * lengths
    stderr = math.sqrt(n / (n - 1) * float((residuals**2).sum())) / steps if n > 1 else None
    return Evaluation(
        bound=objective.name,
        particles=objective.particles,
        split=split,
        sequences=n,
        steps=steps,
        nll_per_step=ratio,
        nll_per_step_sequence_mean=float((nll / lengths).mean()),
        nll_per_sequence=float(nll.mean()),
        kl_per_step=float(kl.sum()) / steps,
        stderr=stderr,
        repeats=repeats,
        stderr_repeats=spread,
        by_sequence=BySequence(nll.numpy(), lengths.numpy()),
    )
