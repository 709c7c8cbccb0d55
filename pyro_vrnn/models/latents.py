"""Distributions of one step's z beyond a diagonal Gaussian, and what both programs ask of any of them.

A `Ladder` has several stochastic layers; a `Flowed` is a Gaussian pushed through autoregressive flows. Both remember
the value they drew last: their KL is only cheap, or only there at all, along a drawn value.
Shapes: `...` is any number of leading dims; `|` parts batch from event dims.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution, TorchDistribution
from pyro.nn import AutoRegressiveNN
from torch import Tensor, nn
from torch.distributions import constraints
from torch.distributions.kl import kl_divergence, register_kl


class Ladder(TorchDistribution):
    """z = (z^L, …, z^1), each layer conditioned on the one above: z^l ~ N(· | z^{l+1}). [... | L Z].

    Args:
        layer: (how many layers are above, the value of the one above [..., Z] or None) -> the layer's
            diagonal Gaussian [... | Z].
        layers: L.
        batch_shape: if not that of the top layer.
        drawn: the value drawn last, shared with expanded copies.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own attribute)
    support = constraints.independent(constraints.real, 1)
    has_rsample = True

    def __init__(
        self,
        layer: Callable[[int, Tensor | None], Distribution],
        layers: int,
        batch_shape: torch.Size | None = None,
        drawn: list[Tensor] | None = None,
    ) -> None:
        self.layer, self.layers, self.top = layer, layers, layer(0, None)
        self.drawn: list[Tensor] = [] if drawn is None else drawn
        shape = self.top.batch_shape if batch_shape is None else batch_shape
        super().__init__(shape, torch.Size([layers * self.top.event_shape[0]]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Ladder:
        """What plates call."""
        return Ladder(self.layer, self.layers, torch.Size(batch_shape), self.drawn)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """Draw the layers from the top down. [..., L Z]."""
        shape = torch.Size(sample_shape) + self.batch_shape
        path = [self.top.expand(shape).rsample()]
        while len(path) < self.layers:
            path.append(self.layer(len(path), path[-1]).rsample())
        self.drawn[:] = [torch.cat(path, dim=-1)]
        return self.drawn[0]

    def at(self, value: Tensor) -> Distribution:
        """The layers given the ones above them in `value`, side by side: one diagonal Gaussian. [... | L Z]."""
        above = value.split(self.top.event_shape[0], dim=-1)
        path = [self.top, *(self.layer(n, above[n - 1]) for n in range(1, self.layers))]
        shape = torch.broadcast_shapes(*(q.batch_shape for q in path))
        loc, scale = (
            torch.cat([getattr(q.base_dist, name).expand(*shape, -1) for q in path], dim=-1)
            for name in ("loc", "scale")
        )
        return dist.Normal(loc, scale, validate_args=False).to_event(1)

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., L Z] -> [...]."""
        log_prob: Tensor = self.at(value).log_prob(value)
        return log_prob


def ladder(top: Distribution, below: nn.ModuleList, *given: Tensor) -> Distribution:
    """The top layer's Gaussian alone, or a `Ladder` of it and of the layers below it.

    Args:
        top: [... | Z].
        below: a network for each layer below, from the value of the layer above and `given` to a Gaussian [... | Z].
        given: what all layers below read, [..., D] each.
    """
    if not len(below):
        return top
    return Ladder(lambda n, above: top if above is None else below[n - 1](above, *given), 1 + len(below))


class AutoregressiveFlow(nn.Module):
    """y_j = scale_j x_j + shift_j, both read off the units before x_j (Kingma et al. 2016, arXiv:1606.04934, eq. 10).

    Args:
        dim: Z.
        hidden_dim: of Pyro's masked network.
        backward: the units in reverse order, so that two flows in a row let every unit see every other.
    """

    def __init__(self, dim: int, hidden_dim: int, *, backward: bool) -> None:
        super().__init__()
        order = torch.arange(dim)
        self.arn = AutoRegressiveNN(dim, [hidden_dim], permutation=order.flip(0) if backward else order)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y, and the log of each unit's scale, clipped as Pyro's own flow does. [..., Z] -> [..., Z], [..., Z]."""
        shift, log_scale = self.arn(x)
        log_scale = log_scale.clamp(-5.0, 3.0)
        return log_scale.exp() * x + shift, log_scale

    def inverse(self, y: Tensor) -> Tensor:
        """x, unit by unit: Z calls of the network. [..., Z] -> [..., Z]."""
        x = torch.zeros_like(y)
        for j in self.arn.permutation.tolist():
            shift, log_scale = self.arn(x)
            x_j = (y[..., j] - shift[..., j]) * (-log_scale[..., j].clamp(-5.0, 3.0)).exp()
            x = torch.cat([x[..., :j], x_j[..., None], x[..., j + 1 :]], dim=-1)
        return x


class Flowed(TorchDistribution):
    """A diagonal Gaussian pushed through autoregressive flows. [... | Z].

    Scoring the value it drew costs nothing; another value is pulled back through the flows unit by unit.

    Args:
        base: the Gaussian, [... | Z].
        flows: applied in order.
        drawn: the value drawn last and its log-probability by unit, shared with expanded copies.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own attribute)
    support = constraints.independent(constraints.real, 1)
    has_rsample = True

    def __init__(
        self,
        base: Distribution,
        flows: Sequence[AutoregressiveFlow],
        drawn: list[tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.base, self.flows = base, flows
        self.drawn: list[tuple[Tensor, Tensor]] = [] if drawn is None else drawn
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Flowed:
        """What plates call."""
        return Flowed(self.base.expand(torch.Size(batch_shape)), self.flows, self.drawn)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """[..., Z]."""
        z = self.base.rsample(torch.Size(sample_shape))
        log_q = self.base.base_dist.log_prob(z)
        for flow in self.flows:
            z, log_scale = flow(z)
            log_q = log_q - log_scale
        self.drawn[:] = [(z, log_q)]
        return z

    def log_prob_by_unit(self, value: Tensor) -> Tensor:
        """log q of each unit given those before it. [..., Z] -> [..., Z]."""
        if self.drawn and _same(self.drawn[0][0], value):
            return self.drawn[0][1]
        log_q = torch.zeros_like(value)
        for flow in reversed(self.flows):
            value = flow.inverse(value)
            log_q = log_q - flow(value)[1]
        by_unit: Tensor = log_q + self.base.base_dist.log_prob(value)
        return by_unit

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., Z] -> [...]."""
        return self.log_prob_by_unit(value).sum(-1)


def _same(a: Tensor, b: Tensor) -> bool:
    """Whether both are views of the same numbers, for autograd too."""
    return (a.data_ptr(), a.shape, a.stride(), a.requires_grad) == (b.data_ptr(), b.shape, b.stride(), b.requires_grad)


def kl_by_unit(q: Distribution, p: Distribution, value: Tensor) -> Tensor:
    """KL(q || p) of each unit along a value that q drew; where there is no closed form, log q - log p. [..., Z]."""
    q, p = (side.at(value) if isinstance(side, Ladder) else side for side in (q, p))
    if isinstance(q, Flowed):
        sampled: Tensor = q.log_prob_by_unit(value) - p.base_dist.log_prob(value)
        return sampled
    try:
        return kl_divergence(q.base_dist, p.base_dist)
    except NotImplementedError:  # what torch says of a pair of distributions that has no closed form
        estimate: Tensor = q.base_dist.log_prob(value) - p.base_dist.log_prob(value)
        return estimate


@register_kl(Ladder, Ladder)
def _kl_ladder(q: Ladder, p: Ladder) -> Tensor:
    """What TraceMeanField_ELBO asks for, along the last draw. [...]."""
    return kl_by_unit(q, p, q.drawn[0]).sum(-1)


@register_kl(Flowed, dist.Independent)
def _kl_flowed(q: Flowed, p: Distribution) -> Tensor:
    """KL of a flowed Gaussian, estimated by the last draw. [...]."""
    return kl_by_unit(q, p, q.drawn[0][0]).sum(-1)


def stack_steps(path: list[Distribution], z: Tensor) -> Distribution | None:
    """The T steps' distributions [..., B | Z] as one over [T, ..., B | Z], along the path they drew [..., B, T, Z].

    None for distributions of a user's own, which are not made of Gaussians.
    """
    first, z = path[0], z.movedim(-2, 0)
    if not isinstance(first, Flowed | Ladder) and type(getattr(first, "base_dist", None)) is not dist.Normal:
        return None
    if isinstance(first, Flowed):
        logs = torch.stack([q.drawn[0][1] for q in path])
        return Flowed(_stack_normals([q.base for q in path]), first.flows, [(z, logs)])
    return _stack_normals([q.at(z_t) if isinstance(q, Ladder) else q for q, z_t in zip(path, z, strict=True)])


def center(q: Distribution) -> Tensor:
    """Where a step's z is to be looked for: a Gaussian's mean; of layers each one's mean given the one above; of flows
    where they take the mean. Not random. [..., Z]."""
    if isinstance(q, Ladder):
        path = [q.top.base_dist.loc]
        while len(path) < q.layers:
            path.append(q.layer(len(path), path[-1]).base_dist.loc)
        return torch.cat([part.expand(*q.batch_shape, -1) for part in path], dim=-1)
    z: Tensor = q.base.base_dist.loc if isinstance(q, Flowed) else q.base_dist.loc
    for flow in q.flows if isinstance(q, Flowed) else ():
        z = flow(z)[0]
    return z


def _stack_normals(path: list[Distribution]) -> Distribution:
    loc, scale = (torch.stack([getattr(normal.base_dist, name) for normal in path]) for name in ("loc", "scale"))
    return dist.Normal(loc, scale, validate_args=False).to_event(1)
