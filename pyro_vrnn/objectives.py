"""Objectives by name: settings -> a Pyro ELBO for SVI, and the bound on log p(x) that it stands for.

All are functions of the same log-weights, one per particle and *sequence* (never summed over the batch):

    log w = sum_t log p(x_t | ·) + beta (log p(z_t | ·) - log q(z_t | ·))       [K, B]

| name    | maximises                                                    | source                                  |
|---------|--------------------------------------------------------------|-----------------------------------------|
| elbo    | E_q log p(x | z) - beta sum_t KL(q_t || p_t), the KL analytic | Chung et al. 2015, eq. (11)             |
| elbo-mc | mean_k log w_k, every term sampled (VAE_K)                   | Kingma & Welling 2014                   |
| iwae    | log mean_k w_k                                               | Burda et al. 2016, eq. (8)              |
| renyi   | log (mean_k w_k^(1-alpha)) / (1-alpha)                       | Li & Turner 2016                        |

beta < 1 inside an importance weight tends to log of the integral of q^(1-beta) p^beta p(x | z) dz: no bound. So
the weighted objectives have no KL weight to set. What is reported is always at beta = 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pyro.infer import ELBO, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor

from pyro_vrnn.annealing import linear
from pyro_vrnn.errors import ConfigError, at_least


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """Settings of one objective, `objective.*`, and what they mean."""

    name: str
    particles: int = 1
    weighted: ClassVar[bool] = False
    """Whether particles are weighed against each other inside a logarithm."""

    def __post_init__(self) -> None:
        at_least("objective.particles", self.particles, 1)

    @abstractmethod
    def loss(self) -> ELBO:
        """Pyro's estimator, for SVI."""

    @abstractmethod
    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """The bound at beta = 1 for each sequence, nats. All three are [K, B]; the result is [B]."""

    def beta(self, step: int) -> float:
        """KL weight for the update after `step` updates."""
        return 1.0

    def _particles(self) -> dict[str, int | bool]:
        # The plate nesting is stated: when Pyro guesses it, it runs the pair once more and spends random numbers.
        return {"num_particles": self.particles, "vectorize_particles": True, "max_plate_nesting": 1}


@dataclass(frozen=True, kw_only=True)
class Annealed(Objective):
    """What the two ELBOs share: the KL weight, linear from kl_start to kl_end over kl_steps updates."""

    kl_start: float = 1.0
    kl_end: float = 1.0
    kl_steps: int = 0

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
        if self.kl_start != self.kl_end and self.kl_steps == 0:
            raise ConfigError(
                f"objective.kl_start={self.kl_start} with objective.kl_steps=0: the weight is at kl_end at once",
                "set objective.kl_steps to the updates of the warm-up",
            )

    def beta(self, step: int) -> float:
        """Linear warm-up; SRNN's "+ 0.0001 an update from 0.2" is kl_start=0.2, kl_steps=8000."""
        return linear(step, self.kl_start, self.kl_end, self.kl_steps)


@dataclass(frozen=True, kw_only=True)
class ElboObjective(Annealed):
    """The ELBO with each step's KL in closed form: the least variance, and the default."""

    name: Literal["elbo"] = "elbo"

    def loss(self) -> ELBO:
        """`TraceMeanField_ELBO`: its condition holds because z is drawn forward in time on both sides."""
        return TraceMeanField_ELBO(**self._particles())

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """-mean_k (nll + KL)."""
        return -(nll + kl).mean(0)


@dataclass(frozen=True, kw_only=True)
class ElboMCObjective(Annealed):
    """The ELBO with every term sampled; with K particles the papers' VAE_K."""

    name: Literal["elbo-mc"] = "elbo-mc"

    def loss(self) -> ELBO:
        """`Trace_ELBO`."""
        return Trace_ELBO(**self._particles())

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """mean_k log w_k."""
        return log_weights.mean(0)


@dataclass(frozen=True, kw_only=True)
class Weighted(Objective):
    """What the importance-weighted bounds share: at least two particles, and no KL weight."""

    particles: int = 5
    weighted: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.particles < 2:
            raise ConfigError(
                f"objective.particles=1: {self.name!r} with one particle is the ELBO",
                "use --objective elbo-mc, or --particles 5",
            )


@dataclass(frozen=True, kw_only=True)
class IwaeObjective(Weighted):
    """The importance-weighted bound."""

    name: Literal["iwae"] = "iwae"

    def loss(self) -> ELBO:
        """`RenyiELBO(alpha=0)`; every site is in the batch plate, so it has one weight a sequence."""
        return RenyiELBO(alpha=0, **self._particles())

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """log mean_k w_k."""
        return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


@dataclass(frozen=True, kw_only=True)
class RenyiObjective(Weighted):
    """The variational Rényi bound of order alpha: IWAE at 0, the ELBO as alpha -> 1."""

    name: Literal["renyi"] = "renyi"
    alpha: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha == 1 or self.alpha < 0:
            raise ConfigError(
                f"objective.alpha={self.alpha}: must be 0 or more, and not 1",
                "alpha = 1 is the ELBO: use --objective elbo-mc; alpha < 0 is no lower bound",
            )

    def loss(self) -> ELBO:
        """`RenyiELBO(alpha)`."""
        return RenyiELBO(alpha=self.alpha, **self._particles())

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """log (mean_k w_k^(1-alpha)) / (1-alpha)."""
        tilted = (1.0 - self.alpha) * log_weights
        return (torch.logsumexp(tilted, 0) - math.log(len(tilted))) / (1.0 - self.alpha)


OBJECTIVES: dict[str, type[Objective]] = {
    "elbo": ElboObjective,
    "elbo-mc": ElboMCObjective,
    "iwae": IwaeObjective,
    "renyi": RenyiObjective,
}
