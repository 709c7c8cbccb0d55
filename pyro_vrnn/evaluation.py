"""Bounds on log p(x) of a split, from per-sequence log-weights in bounded memory. What is reported is at beta = 1."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import pyro
import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions.kl import kl_divergence

from pyro_vrnn.errors import NumericsError
from pyro_vrnn.objectives import Objective
from pyro_vrnn.programs import Program, traces
from pyro_vrnn.sequences import Batch, SequenceDataset, collate, in_order

VALUES_AT_ONCE = 40_000_000
"""Particles x sequences x steps x the widest layer, held at once: what bounds the memory of any K (about 1 GB)."""


@dataclass(frozen=True)
class Terms:
    """The parts of the bound for each particle and sequence, nats, [K, B] each."""

    log_weights: Tensor  # log p(x, z) - log q(z | x)
    nll: Tensor  # -log p(x | z)
    kl: Tensor  # sum_t KL(q_t || p_t) along the drawn path, analytic


def terms(program: Program, batch: Batch, particles: int) -> Terms:
    """Run the pair once with a particle plate outside, at beta = 1, and read both traces.

    Args:
        program: either program; they give the same numbers.
        batch: whole sequences.
        particles: K.
    """
    guide, model = traces(program, batch, particles)
    log_px, log_pz, log_qz, kl = torch.zeros(4, particles, batch.size, device=batch.lengths.device).unbind()
    for name, site in model.nodes.items():
        if site["type"] != "sample" or site_is_subsample(site):
            continue
        if site["is_observed"]:
            log_px = log_px + site["log_prob"]
        else:
            q = guide.nodes[name]
            log_pz = log_pz + site["log_prob"]
            log_qz = log_qz + q["log_prob"]
            kl = kl + scale_and_mask(kl_divergence(q["fn"], site["fn"]), mask=q["mask"])
    return Terms(log_px + log_pz - log_qz, -log_px, kl)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """A bound on a split; nats. The field names are those of `evaluate --json`.

    `nll_per_step` is sum NLL / sum steps; `nll_per_step_sequence_mean` the mean over sequences of NLL / steps;
    `stderr` is the standard error of `nll_per_step` over sequences (a ratio's: residuals NLL_i - r steps_i).
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

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self)


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
        if msg["is_observed"]:
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
    widest = max((max(p.shape) for p in program.net.parameters() if p.dim() > 0), default=1)
    whole = batch.size * batch.steps * widest
    chunk = max(1, values_at_once // whole)
    parts, done = [], 0
    while done < objective.particles:
        parts.append(terms(program, batch, min(chunk, objective.particles - done)))
        done = min(done + chunk, objective.particles)
        progress(done)
    log_weights = torch.cat([part.log_weights for part in parts])  # [K, B]
    nll = torch.cat([part.nll for part in parts])
    kl = torch.cat([part.kl for part in parts])
    return objective.bound(log_weights, nll, kl), kl.mean(0)


def evaluate(
    program: Program,
    dataset: SequenceDataset,
    objective: Objective,
    *,
    split: str,
    batch_size: int,
    seed: int,
    device: torch.device,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """The bound of `objective` on every sequence of a dataset.

    The random state outside is left as it was, so that validation does not change training; the network is
    put in evaluation mode meanwhile.

    Args:
        program: stacked for speed.
        dataset: the split's sequences.
        objective: its estimator and its K.
        split: the split's name, for the report.
        batch_size: sequences at once.
        seed: of the particles.
        device: where the network lives.
        progress: called with (particles of sequences done, in all).
    """
    was_training = program.net.training
    program.net.eval()
    bounds, kls = (
        torch.zeros(len(dataset), dtype=torch.float64),
        torch.zeros(len(dataset), dtype=torch.float64),
    )
    done = 0
    devices = [device] if device.type == "cuda" else []
    try:
        with (
            pyro.get_param_store().scope(),
            pyro.validation_enabled(False),  # the reader has checked the data
            torch.random.fork_rng(devices=devices),
        ):
            torch.manual_seed(seed)
            for indices in in_order(dataset.lengths, batch_size):
                batch = collate(dataset, indices).to(device)
                tell = partial(_tell, progress, done, len(indices), len(dataset), objective.particles)
                bound, kl = sequence_bounds(program, batch, objective, progress=tell)
                bounds[indices], kls[indices] = bound.double().cpu(), kl.double().cpu()
                done += len(indices)
    finally:
        program.net.train(was_training)
    return summarise(objective, split, torch.as_tensor(dataset.lengths), -bounds, kls)


def _tell(
    progress: Callable[[int, int], None] | None, done: int, size: int, total: int, particles: int, particles_done: int
) -> None:
    """Progress in particles of sequences: `done` sequences before, `size` at hand."""
    if progress is not None:
        progress(done * particles + size * particles_done, total * particles)


def summarise(objective: Objective, split: str, lengths: Tensor, nll: Tensor, kl: Tensor) -> Evaluation:
    """Per-sequence NLL and KL [N] to the two averages and their error."""
    n, steps = len(nll), int(lengths.sum())
    if not bool(torch.isfinite(nll).all()):
        bad = int((~torch.isfinite(nll)).sum())
        raise NumericsError(
            f"the {objective.name} bound on {split} is not finite for {bad} of {n} sequences",
            "the model has diverged: try a smaller training.learning_rate",
        )
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
    )
