"""The importance-weighted bounds: iwae, dreg, elbo-mk (MIWAE), ciwae and renyi."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from pyro.infer import ELBO, RenyiELBO
from torch import Tensor

from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.objectives.annealing import Ramp, ramp
from pyro_vrnn.objectives.base import Weighted
from pyro_vrnn.objectives.estimators import (
    DoublyReparameterised,
    Grouped,
    Mixed,
    grouped,
    log_mean_exp,
)
from pyro_vrnn.system.errors import ConfigError, at_least


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

    @property
    def graph_refusal(self) -> str:
        """A graph would keep the mix of the update that was captured."""
        return "" if self.mix_start is None else "objective.mix_start"

    def loss(self, net: SequenceModel) -> ELBO:
        """Ours."""
        return Mixed(self.particles, self.mix)

    def move(self, loss: ELBO, step: int) -> None:
        """The mix."""
        assert isinstance(loss, Mixed)
        if self.mix_start is not None:
            loss.mix = ramp(step, self.mix_start, self.mix, self.mix_steps, self.mix_schedule)

    def bound(self, log_weights: Tensor, nll: Tensor, kl: Tensor) -> Tensor:
        """The mixed bound at the final mix."""
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
