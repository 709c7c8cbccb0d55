"""The contract of a likelihood, and what several of them share: scales, and mixtures that start at the data."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from pyro.distributions import Distribution
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_vrnn.models.precision import exact, full

SCALE_FLOOR = 1e-4
"""Added to every Gaussian's scale, so that densities stay finite (Chung et al. 2015's code)."""
SCALE_BIAS = 0.6
"""A new scale's bias before `fit_start`, likewise: softplus(0.6) = 1.04."""
RATE_FLOOR = 1e-4
"""`fit_start`'s least probability of a bit that never (or always) sounds in the training split."""
SPREAD = 0.1
"""How far apart a mixture's components start, in deviations of the data."""


class Likelihood(nn.Module, ABC):
    """The contract. `support` says which data it can score (data/supports.py: binary, real, categorical).

    The distribution takes part in any batch shape: values and features broadcast against each other. Zeros,
    the padding, have a finite log-probability. Log-probabilities are in nats.
    """

    support: str
    quantised: ClassVar[bool] = False
    """Whether it gives whole 16-bit steps a probability, so that noise within a step adds nothing."""

    usual_temperature: ClassVar[float] = 1.0
    """At which x is drawn where nobody asks for another: as it was trained."""

    components: int = 0
    """Of a mixture, how many; its class says how many by default, and takes `components` to be made with others."""

    factorised: ClassVar[bool] = False
    """Whether the entries of a step are independent given its features, so that some of them may be missing."""

    def __init__(self, in_dim: int, x_dim: int) -> None:
        super().__init__()
        self.in_dim, self.x_dim = in_dim, x_dim

    def __call__(self, features: Tensor) -> Distribution:
        """`forward`, never in bf16."""
        with exact(features):
            found: Distribution = super().__call__(full(features))
            return found

    @abstractmethod
    def forward(self, features: Tensor) -> Distribution:
        """[..., D] -> a distribution over [... | X]."""

    @abstractmethod
    def fit_start(self, mean: Tensor, std: Tensor) -> None:
        """Put the output's bias at the training split's mean and deviation, [X] each: free nats at step 0.

        In the units of x. Features of zero then give this mean and deviation.
        """

    @abstractmethod
    def temper(self, p_x: Distribution, temperature: float) -> Distribution:
        """The distribution to draw from at a temperature: below 1 surer, above 1 wilder, at 1 itself.

        Everywhere logits are divided by it and variances multiplied by it, as Ha & Eck 2017 (arXiv:1704.03477)
        do: for one Bernoulli, categorical or Gaussian that is its density to the power 1/temperature.
        """

    def observed(self, p_x: Distribution, mask: Tensor) -> Distribution:
        """The density of what was observed alone: by entry where entries are independent, else of whole steps.

        Args:
            p_x: what `forward` gave, [... | X].
            mask: which entries were observed, [..., X] bool; its leading dims broadcast against those of p_x.
        """
        if self.factorised:
            return p_x.base_dist.mask(mask).to_event(1)
        return p_x.mask(mask.all(-1))

    def completed(self, p_x: Distribution, x: Tensor, mask: Tensor) -> Distribution:
        """What a step's missing entries are drawn from, given its observed ones; the other entries are to be ignored.

        Args:
            p_x: what `forward` gave, [... | X]. Where entries are independent, and where a whole step is missing, it is
                the answer.
            x: the step, [..., X].
            mask: which entries were observed, as in `observed`.
        """
        return p_x

    def set_units(self, mean: Tensor, std: Tensor) -> None:
        """Told of audio: x = (amplitude - mean) / std, the amplitude in [-1, 1) by steps of 1/32768."""

    def output(self, p_x: Distribution) -> Tensor:
        """What the model is fed of its own in scheduled sampling: a draw. [..., X]."""
        drawn: Tensor = p_x.sample()
        return drawn


def positive(raw: Tensor) -> Tensor:
    """Any number to a scale: softplus + floor."""
    return F.softplus(raw) + SCALE_FLOOR


def raw_scale(scale: Tensor, floor: float | Tensor = SCALE_FLOOR) -> Tensor:
    """The inverse of softplus + floor. A scale below ten times the floor (a column that never changes) starts there."""
    above = torch.maximum(scale, 10 * torch.as_tensor(floor).to(scale)) - floor
    return above + torch.log(-torch.expm1(-above))


def around(mean: Tensor, std: Tensor, components: int) -> tuple[Tensor, Tensor]:
    """Equally likely components that differ a little and together have this mean and deviation, exactly.

    Components that start the same would get the same gradient from the bias; ones far apart would cost
    nats in a frame of many columns. The directions are fixed ones, not of the global random state.

    Args:
        mean, std: [X].
        components: K, at least 2.

    Returns:
        Locations [K, X]; one deviation for all, [X].
    """
    directions = torch.randn(components, *mean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    directions = directions - directions.mean(0)
    directions = (directions / directions.std(0, correction=0)).to(mean)
    return mean + SPREAD * std * directions, std * math.sqrt(1 - SPREAD**2)
