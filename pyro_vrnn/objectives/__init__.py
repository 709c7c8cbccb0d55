"""Objectives by name: settings -> a Pyro ELBO for SVI, and the bound on log p(x) that it stands for.

All are functions of the same log-weights, one per particle and *sequence* (never summed over the batch):

    log w = sum_t log p(x_t | ·) + beta (log p(z_t | ·) - log q(z_t | ·))       [K, B]

| name    | maximises                                                  | source                                  |
|---------|------------------------------------------------------------|-----------------------------------------|
| elbo    | E_q log p(x | z) - beta sum_t KL(q_t || p_t), analytic KL  | Chung et al. 2015, eq. (11)             |
| elbo-mc | mean_k log w_k, every term sampled (VAE_K)                 | Kingma & Welling 2014                   |
| stl     | the same, without the score of log q in its gradient       | Roeder et al. 2017, arXiv:1703.09194    |
| iwae    | log mean_k w_k                                             | Burda et al. 2016, eq. (8)              |
| dreg    | the same, the guide's gradient reparameterised twice       | Tucker et al. 2019, arXiv:1810.04152    |
| elbo-mk | mean over M groups of log mean_k w_k (MIWAE)               | Rainforth et al. 2018, arXiv:1802.04537 |
| ciwae   | (1 - mix) mean_k log w_k + mix log mean_k w_k              | Rainforth et al. 2018                   |
| renyi   | log (mean_k w_k^(1-alpha)) / (1-alpha)                     | Li & Turner 2016                        |
| fivo    | log-evidence of a particle filter                          | Maddison et al. 2017, arXiv:1705.09279  |

beta < 1 inside an importance weight tends to log of the integral of q^(1-beta) p^beta p(x | z) dz: no bound. So
the weighted objectives have no KL weight to set (anneal `ciwae` instead). What is reported is always at beta = 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from pyro.infer import ELBO, RenyiELBO, Trace_ELBO
from torch import Tensor

from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.objectives.annealing import Ramp, ramp
from pyro_vrnn.objectives.estimators import (
    DoublyReparameterised,
    Estimator,
    Filtering,
    FreeBits,
    Grouped,
    MeanField,
    Mixed,
    StickingTheLanding,
    TensorLoss,
    grouped,
    log_mean_exp,
)
from pyro_vrnn.programs.particle_filter import Resampling
from pyro_vrnn.programs.weights import Terms
from pyro_vrnn.system.errors import ConfigError, at_least, choose


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

    def __post_init__(self) -> None:
        at_least("objective.particles", self.particles, 1)

    @abstractmethod
    def loss(self, net: SequenceModel) -> ELBO:
        """The estimator of a network's program, for SVI."""

    @abstractmethod
    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """The bound at beta = 1 for each sequence, nats. All three are [draws, B]; the result is [B]."""

    def tensor_loss(self, net: SequenceModel) -> Estimator:
        """The same loss as `loss`, without waiting for the device: what a CUDA graph can hold."""
        own = self.loss(net)
        return own if isinstance(own, Estimator) else TensorLoss(self.draws, self.weigh)

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
class ElboObjective(Annealed):
    """The ELBO with each step's KL in closed form: the least variance, and the default."""

    name: Literal["elbo"] = "elbo"
    free_bits: float = 0.0
    """A step's KL counts as this many nats where it is less; 0 is the ELBO. In training only."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("objective.free_bits", self.free_bits, 0)

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


@dataclass(frozen=True, kw_only=True)
class IwaeObjective(Weighted):
    """The importance-weighted bound."""

    name: Literal["iwae"] = "iwae"

    def loss(self, net: SequenceModel) -> ELBO:
        """`RenyiELBO(alpha=0)`; every site is in the batch plate, so it has one weight a sequence."""
        return RenyiELBO(alpha=0, **self._particles())


@dataclass(frozen=True, kw_only=True)
class DregObjective(Weighted):
    """IWAE's bound, with a gradient of the guide that does not fade as K grows."""

    name: Literal["dreg"] = "dreg"
    scores_twice: ClassVar[bool] = True

    def loss(self, net: SequenceModel) -> ELBO:
        """Ours."""
        return DoublyReparameterised(net, self.particles)


@dataclass(frozen=True, kw_only=True)
class MKObjective(Weighted):
    """The mean of M bounds of K particles: between the ELBO's gradient and IWAE's bound."""

    name: Literal["elbo-mk"] = "elbo-mk"
    particles: int = 5
    """K, paths of z in each of the M groups."""
    groups: int = 2
    """M, groups of K paths of z each for each sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("objective.groups", self.groups, 1)

    @property
    def draws(self) -> int:
        """M K."""
        return self.groups * self.particles

    def loss(self, net: SequenceModel) -> ELBO:
        """Ours."""
        return Grouped(self.groups, self.particles)

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """mean_m log mean_k w_mk."""
        return grouped(log_weights, self.groups)


@dataclass(frozen=True, kw_only=True)
class CiwaeObjective(Weighted):
    """A mix of the ELBO and IWAE that is a bound all the way: what to anneal in the place of beta."""

    name: Literal["ciwae"] = "ciwae"
    mix: float = 0.5
    """IWAE's share at the end."""
    mix_start: float | None = None
    """IWAE's share at the start; by default the same as at the end."""
    mix_steps: int = 0
    """Updates over which IWAE's share moves."""
    mix_schedule: Ramp = "linear"
    """How IWAE's share moves."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("mix", "mix_start"):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(
                    f"objective.{name}={value}: must be in [0, 1]", "0 is the ELBO (elbo-mc), 1 is IWAE (iwae)"
                )
        at_least("objective.mix_steps", self.mix_steps, 0)
        if self.mix_start not in (None, self.mix) and (self.mix_steps == 0 or self.mix_schedule == "constant"):
            raise ConfigError(
                f"objective.mix_start={self.mix_start} with objective.mix_steps={self.mix_steps}, "
                f"{self.mix_schedule}: the mix is at its end at once",
                "set objective.mix_steps to the updates that it should take, and a schedule that is not constant",
            )

    def loss(self, net: SequenceModel) -> ELBO:
        """Ours."""
        return Mixed(self.particles, self.mix)

    def move(self, loss: ELBO, step: int) -> None:
        """The mix."""
        assert isinstance(loss, Mixed)
        if self.mix_start is not None:
            loss.mix = ramp(step, self.mix_start, self.mix, self.mix_steps, self.mix_schedule)

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """At the final mix."""
        return (1 - self.mix) * log_weights.mean(0) + self.mix * log_mean_exp(log_weights)


@dataclass(frozen=True, kw_only=True)
class RenyiObjective(Weighted):
    """The variational Rényi bound of order alpha: IWAE at 0, the ELBO as alpha -> 1."""

    name: Literal["renyi"] = "renyi"
    alpha: float = 0.5
    """The order, not 1: 0 is IWAE, and towards 1 it is the ELBO."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha == 1 or self.alpha < 0:
            raise ConfigError(
                f"objective.alpha={self.alpha}: must be 0 or more, and not 1",
                "alpha = 1 is the ELBO: use --objective elbo-mc; alpha < 0 is no lower bound",
            )

    def loss(self, net: SequenceModel) -> ELBO:
        """`RenyiELBO(alpha)`."""
        return RenyiELBO(alpha=self.alpha, **self._particles())

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """log (mean_k w_k^(1-alpha)) / (1-alpha)."""
        tilted = (1.0 - self.alpha) * log_weights
        return (torch.logsumexp(tilted, 0) - math.log(len(tilted))) / (1.0 - self.alpha)


@dataclass(frozen=True, kw_only=True)
class FivoObjective(Weighted):
    """The particle filter's bound: particles that have gone wrong are dropped on the way."""

    name: Literal["fivo"] = "fivo"
    threshold: float = 0.5
    """Particles are drawn anew when their effective number is below this share of K."""
    resampling: Resampling = "systematic"
    """How ancestors are drawn; systematic has less variance."""
    score: bool = False
    """Whether the gradient has the score of the choice of ancestors, which makes it unbiased; of much variance."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.threshold <= 1:
            raise ConfigError(f"objective.threshold={self.threshold}: must be in [0, 1]", "0 never resamples: IWAE")
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
        """Ours, on programs/smc.py."""
        return Filtering(net, self.particles, self.threshold, self.resampling, score=self.score)


OBJECTIVES: dict[str, type[Objective]] = {
    "ciwae": CiwaeObjective,
    "dreg": DregObjective,
    "elbo": ElboObjective,
    "elbo-mc": ElboMCObjective,
    "elbo-mk": MKObjective,
    "fivo": FivoObjective,
    "iwae": IwaeObjective,
    "renyi": RenyiObjective,
    "stl": STLObjective,
}


def make_objective(name: str, particles: int | None, trained: Objective) -> Objective:
    """An objective to evaluate with; its other settings are those that were trained with, if it is the same one.

    Raises:
        ConfigError: unknown, or that number of particles makes no sense for it.
    """
    if name not in OBJECTIVES:
        raise choose("objective", name, OBJECTIVES)
    settings: dict[str, Any] = dict(vars(trained)) if name == trained.name else {}
    settings.pop("particles", None)
    if particles is not None:
        settings["particles"] = particles
    return OBJECTIVES[name](**settings | {"name": name})
