"""Direct connections from x_{t-1} to x_t around any model with Gaussian outputs: `model.direct` of real numbers.

    x_t ~ N(loc_t + b + a * x_{t-k}, k scale_t^2),   or N(loc_t, (scale_t / r)^2) before the first value

where loc and scale are the model's own, and x_{t-k} is the last value that was observed of a column: k = 1 where none
is missing. A series that moves slowly is near its last value, which a network that reads standardised levels has to
copy to as many digits as the steps are small. a, b and r, the deviation around the line from the last value, start at
what the training split says. Shapes: as in direct.py.
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
    """A Gaussian model with direct connections. State before t: its own, x_{t-k}, and k (0 before the first value)."""

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
        """The wrapped model's start, x_0 = 0, and that there is no value yet."""
        return *super().start(size), self.hold.new_zeros(size, self.x_dim)

    def features(self, x: Tensor) -> Tensor:
        """The wrapped model's features, x, and 1 where it was observed. [..., X] or [..., 2 X] -> [..., F + 2 X]."""
        marks = x if x.shape[-1] > self.x_dim else torch.cat([x, torch.ones_like(x)], dim=-1)
        return torch.cat([self.net.features(x), marks], dim=-1)

    def own_features(self, features: Tensor) -> Tensor:
        """The wrapped model's part of the features. [..., F + 2 X] -> [..., F]."""
        return features[..., : -2 * self.x_dim]

    def before(self, features: Tensor, start: State) -> State:
        """The last values and their ages before each step, without a loop: where the last mark was."""
        x, mark = features[..., -2 * self.x_dim :].split(self.x_dim, dim=-1)
        first, age = start[-2:]
        t = torch.arange(len(x), device=x.device)[:, None, None]
        latest = torch.where(mark > 0, t, -1).cummax(0).values[:-1]  # before steps 2, ..., T
        known, since = latest >= 0, torch.where(age > 0, age + t[1:], age)
        last = torch.where(known, x.gather(0, latest.clamp(min=0)), first)
        return torch.cat([first[None], last]), torch.cat([age[None], torch.where(known, t[1:] - latest, since)])

    def after(self, state: State, features: Tensor) -> State:
        """The last values after a step, and their ages."""
        x, mark = features[..., -2 * self.x_dim :].split(self.x_dim, dim=-1)
        last, age = state
        older = torch.where(age > 0, age + 1, age)
        return torch.where(mark > 0, x, last), torch.where(mark > 0, torch.ones_like(mark), older)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """The wrapped model's Gaussian around the line from the last value."""
        *own, last, age = state
        p_x = self.net.p_x(tuple(own), z).base_dist
        line = self.offset + (self.slope + self.hold) * last
        loc = p_x.loc + torch.where(age > 0, line, torch.zeros_like(line))
        wider = torch.where(age > 0, age.clamp(min=1.0).sqrt(), 1 / self.around)
        return dist.Normal(loc, p_x.scale * wider).to_event(1)
