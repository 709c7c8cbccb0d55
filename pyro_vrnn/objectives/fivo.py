"""The particle filter's bound as an objective."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pyro.infer import ELBO
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.objectives.base import Weighted, widest
from pyro_vrnn.objectives.estimators import (
    Filtering,
)
from pyro_vrnn.programs import Program
from pyro_vrnn.programs.many_particles import log_evidence
from pyro_vrnn.programs.particle_filter import Lookahead, Resampling
from pyro_vrnn.system.errors import ConfigError

VALUES_IN_CACHE = 500_000
"""Particles x sequences x the widest layer at once on a CPU: what goes through a step's networks stays in its cache."""


@dataclass(frozen=True, kw_only=True)
class Filter(Weighted):
    """What the bounds of a particle filter share: when and how particles are drawn anew, and the estimate."""

    stepwise: ClassVar[bool] = True
    carries_state: ClassVar[bool] = False
    threshold: float = 0.5
    """Particles are drawn anew when their effective number is below this share of K."""
    resampling: Resampling = "systematic"
    """How ancestors are drawn; systematic has less variance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"objective.threshold={self.threshold}: must be in [0, 1]", "0 never resamples: IWAE")

    @abstractmethod
    def twist(self, net: SequenceModel) -> Callable[[Batch], Lookahead | None]:
        """What weighs the future of a batch's particles, if anything does."""

    def estimate(
        self, program: Program, batch: Batch, *, values_at_once: int, progress: Callable[[int], None]
    ) -> tuple[Tensor, Tensor]:
        """Estimate by the particle filter, which needs all particles at once: sequences go in chunks."""
        most = values_at_once if batch.lengths.is_cuda else min(values_at_once, VALUES_IN_CACHE)
        size = max(1, most // (self.particles * widest(program)))
        twist, bounds, kls = self.twist(program.net), [], []
        for start in range(0, batch.size, size):
            part = batch.rows(slice(start, start + size))
            bound, kl = log_evidence(
                program.net,
                part,
                self.particles,
                threshold=self.threshold,
                resampling=self.resampling,
                twist=twist(part),
            )
            bounds.append(bound)
            kls.append(kl)
            progress(self.particles * min(start + size, batch.size) // batch.size)
        return torch.cat(bounds), torch.cat(kls)


@dataclass(frozen=True, kw_only=True)
class FivoObjective(Filter):
    """The particle filter's bound: particles that have gone wrong are dropped on the way."""

    name: Literal["fivo"] = "fivo"
    score: bool = False
    """Whether the gradient has the score of the choice of ancestors, which makes it unbiased; of much variance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score and self.threshold != 1:
            raise ConfigError(
                f"objective.score with objective.threshold={self.threshold}: whether to resample is a choice too, "
                "which has no score",
                "add --set objective.threshold=1",
            )
        if self.score and self.resampling == "systematic":
            raise ConfigError(
                "objective.score with systematic resampling: its choices are not independent, so their score is no "
                "sum over particles",
                "add --set objective.resampling=multinomial",
            )

    def loss(self, net: SequenceModel) -> ELBO:
        """Filtering: Pyro has no such ELBO; it runs programs/particle_filter.py."""
        return Filtering(net, self.particles, self.threshold, self.resampling, score=self.score)

    @property
    def graph_refusal(self) -> str:
        """torch.multinomial asks the device whether its weights are good."""
        return "objective.resampling=multinomial" if self.resampling == "multinomial" else ""

    def twist(self, net: SequenceModel) -> Callable[[Batch], None]:
        """Nothing: FIVO's particles are weighed by what is past."""
        return lambda batch: None
