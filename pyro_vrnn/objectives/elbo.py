"""The evidence lower bounds: each step's KL in closed form (elbo), sampled (elbo-mc), or sticking the landing (stl)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pyro.infer import ELBO, Trace_ELBO
from torch import Tensor

from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.objectives.base import Annealed
from pyro_vrnn.objectives.estimators import (
    FreeBits,
    MeanField,
    StickingTheLanding,
)
from pyro_vrnn.programs.weights import Terms
from pyro_vrnn.system.errors import at_least


@dataclass(frozen=True, kw_only=True)
class ElboObjective(Annealed):
    """The ELBO with each step's KL in closed form: the least variance, and the default."""

    name: Literal["elbo"] = "elbo"
    free_bits: float = 0.0
    """A step's KL counts as this many nats where it is less; 0 is the ELBO. In training only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("objective.free_bits", self.free_bits, 0)

    @property
    def needs_steps(self) -> str:
        """Free bits are those of a step."""
        return "objective.free_bits" if self.free_bits else ""

    def loss(self, net: SequenceModel) -> ELBO:
        """Pyro's `TraceMeanField_ELBO`: its condition holds because z is drawn forward in time on both sides."""
        if self.free_bits > 0:
            return FreeBits(self.particles, self.free_bits)
        return MeanField(**self._particles())

    def weigh(self, found: Terms, beta: float | Tensor) -> Tensor:
        """Without log-weights."""
        return -(found.nll + beta * found.kl).mean(0)

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """-mean_k (nll + KL)."""
        return -(nll + kl).mean(0)


@dataclass(frozen=True, kw_only=True)
class ElboMCObjective(Annealed):
    """The ELBO with every term sampled; with K particles the papers' VAE_K."""

    name: Literal["elbo-mc"] = "elbo-mc"

    def loss(self, net: SequenceModel) -> ELBO:
        """`Trace_ELBO`."""
        return Trace_ELBO(**self._particles())

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """mean_k log w_k."""
        return log_weights.mean(0)


@dataclass(frozen=True, kw_only=True)
class STLObjective(ElboMCObjective):
    """The sampled ELBO, sticking the landing: its gradient has no noise left where q is the posterior."""

    name: Literal["stl"] = "stl"  # type: ignore[assignment]
    scores_twice: ClassVar[bool] = True

    def loss(self, net: SequenceModel) -> ELBO:
        """Ours: Pyro has none for a recurrent guide."""
        return StickingTheLanding(net, self.particles)
