"""What every objective is: settings -> a Pyro ELBO for SVI, and the bound on log p(x) that it stands for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.infer import ELBO
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.objectives.annealing import Ramp, ramp
from pyro_vrnn.objectives.estimators import (
    Estimator,
    TensorLoss,
    log_mean_exp,
)
from pyro_vrnn.programs import Program, terms
from pyro_vrnn.programs.weights import Terms
from pyro_vrnn.system.errors import ConfigError, at_least


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """Settings of one objective, `objective.*`, and what they mean."""

    name: str
    particles: int = 1
    """K, paths of z drawn for each sequence."""
    weighted: ClassVar[bool] = False
    """Whether particles are weighed against each other inside a logarithm."""
    scores_twice: ClassVar[bool] = False
    """Whether the guide is run again on its own draw: dropout would then score another guide than the one that drew."""
    stepwise: ClassVar[bool] = False
    """Whether networks run step by step in time, in another precision than whole-sequence calls would."""
    carries_state: ClassVar[bool] = True
    """Whether a sequence's pieces can be trained on one after the other, with the state carried over."""

    def __post_init__(self) -> None:
        at_least("objective.particles", self.particles, 1)

    @abstractmethod
    def loss(self, net: SequenceModel) -> ELBO:
        """The estimator of a network's program, for SVI."""

    @abstractmethod
    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """The bound at beta = 1 for each sequence, nats. All three are [draws, B]; the result is [B]."""

    def equip(self, net: SequenceModel) -> None:  # noqa: B027  (most need nothing more)
        """Give a fresh network what this objective trains beside model and guide."""

    def learner(self, net: SequenceModel) -> nn.Module:
        """The part of the network whose parameters are trained: most train all of it."""
        return net

    def drawn(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows of metrics as their curves are drawn: beside validation, so without a loss that is no bound."""
        return [dict(row) for row in rows]

    def check(self, net: SequenceModel) -> None:  # noqa: B027  (most take every network)
        """ConfigError where a network has not what this bound needs."""

    def tensor_loss(self, net: SequenceModel) -> Estimator:
        """The loss of `loss` as an estimator that does not wait for the device, as a CUDA graph needs it."""
        own = self.loss(net)
        return own if isinstance(own, Estimator) else TensorLoss(self.draws, self.weigh)

    @property
    def graph_refusal(self) -> str:
        """The setting, if any, for which an update of this objective cannot be a CUDA graph."""
        return ""

    @property
    def needs_steps(self) -> str:
        """The setting, if any, that is about each step's own KL: it needs a model with a z for every step."""
        return ""

    def estimate(
        self, program: Program, batch: Batch, *, values_at_once: int, progress: Callable[[int], None]
    ) -> tuple[Tensor, Tensor]:
        """The bound and the KL of each sequence, nats, [B] each: particles in chunks, then one logsumexp over all.

        Args:
            program: its network in evaluation mode; call it without gradients.
            batch: whole sequences.
            values_at_once: particles x sequences x steps x the widest layer that are held at once.
            progress: called with the particles done.
        """
        chunk = max(1, values_at_once // (batch.size * batch.steps * widest(program)))
        parts, done = [], 0
        while done < self.draws:
            run = terms(program.model, program.guide, batch, min(chunk, self.draws - done))
            parts.append((run.log_weights, run.nll, run.kl))
            done = min(done + chunk, self.draws)
            progress(done * self.particles // self.draws)
        log_weights, nll, kl = (torch.cat(part) for part in zip(*parts, strict=True))  # [K, B]
        return self.bound(log_weights, nll, kl), kl.mean(0)

    def weigh(self, found: Terms, beta: float | Tensor) -> Tensor:
        """The bound of each sequence of one run, whose log-weights have the KL weight in them already. [B]."""
        return self.bound(found.log_weights, found.nll, found.kl)

    @property
    def draws(self) -> int:
        """Paths of z that it draws for each sequence."""
        return self.particles

    def beta(self, step: int) -> float:
        """KL weight for the update after `step` updates."""
        return 1.0

    def move(self, loss: ELBO, step: int) -> None:  # noqa: B027  (most have nothing to move)
        """Set what else is scheduled, before the update after `step` updates."""

    def _particles(self) -> dict[str, int | bool]:
        # The plate nesting is stated: when Pyro guesses it, it runs the pair once more and spends random numbers.
        return {"num_particles": self.particles, "vectorize_particles": True, "max_plate_nesting": 1}


@dataclass(frozen=True, kw_only=True)
class Annealed(Objective):
    """What the ELBOs share: the KL weight, from kl_start to kl_end over kl_steps updates."""

    kl_start: float = 1.0
    """Weight of the KL in the first update."""
    kl_end: float = 1.0
    """Weight of the KL at the end of its warm-up."""
    kl_steps: int = 0
    """Updates of the KL's warm-up."""
    kl_schedule: Ramp = "linear"
    """How the KL's weight rises; cyclical is four rises one after the other."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting in ("kl_start", "kl_end"):
            value = getattr(self, setting)
            if not 0 < value <= 1:
                raise ConfigError(
                    f"objective.{setting}={value}: must be in (0, 1]",
                    "poutine.scale rejects 0; start at a small weight such as 0.01",
                )
        at_least("objective.kl_steps", self.kl_steps, 0)
        if self.kl_start != self.kl_end and self.kl_schedule == "constant":
            raise ConfigError(
                f"objective.kl_schedule='constant' with objective.kl_start={self.kl_start}: it is at kl_end at once",
                "choose linear, cosine, sigmoid or cyclical",
            )
        if self.kl_start != self.kl_end and self.kl_steps == 0:
            raise ConfigError(
                f"objective.kl_start={self.kl_start} with objective.kl_steps=0: the weight is at kl_end at once",
                "set objective.kl_steps to the updates of the warm-up",
            )

    def beta(self, step: int) -> float:
        """SRNN's "+ 0.0001 an update from 0.2" is kl_start=0.2, kl_steps=8000, linear."""
        return ramp(step, self.kl_start, self.kl_end, self.kl_steps, self.kl_schedule)


@dataclass(frozen=True, kw_only=True)
class Weighted(Objective):
    """What the importance-weighted bounds share: at least two particles, and no KL weight."""

    particles: int = 5
    """K, paths of z drawn for each sequence."""
    weighted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.particles < 2:
            raise ConfigError(
                f"objective.particles=1: {self.name!r} with one particle is the ELBO",
                "use --objective elbo-mc, or --particles 5",
            )

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """log mean_k w_k."""
        return log_mean_exp(log_weights)


def widest(program: Program) -> int:
    """The width of the widest layer of a program's network."""
    return max((max(p.shape) for p in program.net.parameters() if p.dim() > 0), default=1)
