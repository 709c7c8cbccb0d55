"""Direct connections from x_{t-1} to x_t around any model with Gaussian outputs: `model.direct` of real numbers.

    x_t ~ N(loc_t + b + a * x_{t-1}, scale_t^2),   x_1 ~ N(loc_1, (scale_1 / r)^2)

where loc and scale are the model's own. A series that moves slowly is near its last value, which a network that reads
standardised levels has to copy to as many digits as the steps are small. a, b and r, the deviation around the line from
the last value, start at what the training split says. Shapes: as in direct.py.
"""

from __future__ import annotations

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.models.base import SequenceModel, Statistics
from pyro_vrnn.models.direct import Connected
from pyro_vrnn.models.networks import State


class DirectLine(Connected):
    """A Gaussian model with direct connections. State before t: its own, x_{t-1}, and whether t = 1."""

    parts = 2
    slope: Tensor
    """a, where it starts. [X]"""
    offset: Tensor
    """b. [X]"""
    around: Tensor
    """r, the deviation around the line. [X]"""

    def __init__(self, net: SequenceModel, x_dim: int) -> None:
        super().__init__(net, x_dim)
        self.register_buffer("slope", torch.zeros(x_dim))
        self.register_buffer("offset", torch.zeros(x_dim))
        self.register_buffer("around", torch.ones(x_dim))

    @torch.no_grad()
    def fit_start(self, data: Statistics) -> None:
        """Start the wrapped model as it starts alone, then its outputs at the score of the last value."""
        self.net.fit_start(data)
        offset, slope, around = (part.to(self.hold) for part in data.line())
        self.offset.copy_(offset)
        self.slope.copy_(slope)
        self.around.copy_(around)
        self.likelihood.fit_start(torch.zeros_like(around), around)

    def start(self, size: int) -> State:
        """The wrapped model's start, x_0 = 0, and a 1."""
        return *super().start(size), self.hold.new_ones(size, 1)

    def before(self, x: Tensor, start: State) -> State:
        """x one step later, and a 1 before the first step alone."""
        first = torch.cat([start[-1][None], x.new_zeros(len(x) - 1, *start[-1].shape)])
        return torch.cat([start[-2][None], x[:-1]]), first

    def after(self, x: Tensor) -> State:
        """x, and that a step has been."""
        return x, torch.zeros_like(x[..., :1])

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """The wrapped model's Gaussian around the line from x_{t-1}."""
        *own, x, first = state
        p_x = self.net.p_x(tuple(own), z).base_dist
        line = self.offset + (self.slope + self.hold) * x
        loc = p_x.loc + torch.where(first > 0, torch.zeros_like(line), line)
        scale = p_x.scale * torch.where(first > 0, 1 / self.around, torch.ones_like(self.around))
        return dist.Normal(loc, scale).to_event(1)
