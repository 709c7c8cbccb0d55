"""Small networks every model is made of: MLP, recurrent cells for any number of leading dims, Gaussian head.

Shapes: `...` is nothing, a batch, particles x batch, or time x batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn
from torch.nn import functional as F

State = tuple[Tensor, ...]
"""What a model carries from step to step; a cell's state is (h,) or, for the LSTM, (h, c). Output first."""


def leading(*parts: Tensor) -> torch.Size:
    """The shape that all but the last dims broadcast to."""
    return torch.broadcast_shapes(*(p.shape[:-1] for p in parts))


def cat(*parts: Tensor) -> Tensor:
    """`torch.cat` on the last dim that broadcasts the rest: a particle dim may be on some parts only."""
    if len(parts) == 1:
        return parts[0]
    lead = leading(*parts)
    return torch.cat([p.expand(*lead, p.shape[-1]) for p in parts], dim=-1)


def reverse_padded(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse each sequence within its own length; the padding stays on the right.

    Args:
        x: [T, B, D], right-padded.
        lengths: [B].

    Returns:
        [T, B, D]; applying it twice gives `x` back.
    """
    t = torch.arange(x.shape[0], device=x.device)[:, None]  # [T, 1]
    index = torch.where(t < lengths, lengths - 1 - t, t)  # [T, B]
    return x.gather(0, index[..., None].expand_as(x))


class MLP(nn.Sequential):
    """Dense layers with a ReLU after each, `dims` wide; no layers is the identity. [..., D] -> [..., dims[-1]].

    `dropout` acts after each activation, in training only. It must stay off the recurrent path, where the
    model and the guide would draw different masks.
    """

    def __init__(self, in_dim: int, dims: Sequence[int], *, dropout: float = 0.0) -> None:
        layers: list[nn.Module] = []
        for before, after in pairwise((in_dim, *dims)):
            layers += [nn.Linear(before, after), nn.ReLU()]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
        super().__init__(*layers)
        self.out_dim = dims[-1] if dims else in_dim


class DiagonalNormal(nn.Module):
    """An MLP to a diagonal Gaussian: loc linear, scale = softplus + floor. [..., D] -> [... | Z].

    The floor keeps densities finite; VRNN's published code uses 1e-4 (Chung et al. 2015).
    """

    def __init__(
        self, in_dim: int, dims: Sequence[int], out_dim: int, *, dropout: float = 0.0, floor: float = 1e-4
    ) -> None:
        super().__init__()
        self.mlp = MLP(in_dim, dims, dropout=dropout)
        self.linear = nn.Linear(self.mlp.out_dim, 2 * out_dim)
        self.floor = floor

    def forward(self, *inputs: Tensor) -> Distribution:
        """The Gaussian of the inputs side by side, event shape [Z]."""
        loc, raw = self.linear(self.mlp(cat(*inputs))).chunk(2, dim=-1)
        return dist.Normal(loc, F.softplus(raw) + self.floor).to_event(1)


class Cell(nn.Module):
    """A recurrent cell for any number of leading dims (torch's own take at most one), with a learned start.

    Args:
        kind: "gru", "lstm" or "tanh".
        in_dim: width of the input.
        hidden_dim: width of h.
    """

    KINDS = ("gru", "lstm", "tanh")

    def __init__(self, kind: str, in_dim: int, hidden_dim: int) -> None:
        super().__init__()
        cells = {"gru": nn.GRUCell, "lstm": nn.LSTMCell, "tanh": nn.RNNCell}
        self.cell = cells[kind](in_dim, hidden_dim)
        self.start_state = nn.ParameterList(
            nn.Parameter(torch.zeros(hidden_dim)) for _ in range(2 if kind == "lstm" else 1)
        )

    def start(self, size: int) -> State:
        """The learned state before the first step, each part [size, H]."""
        return tuple(part.expand(size, -1) for part in self.start_state)

    def forward(self, u: Tensor, state: State) -> State:
        """One step on the input u [..., D]; each part of the state is [..., H]."""
        lead = leading(u, state[0])
        u, *parts = (v.expand(*lead, v.shape[-1]).reshape(-1, v.shape[-1]) for v in (u, *state))
        out = self.cell(u, tuple(parts) if len(parts) > 1 else parts[0])
        return tuple(v.reshape(*lead, -1) for v in (out if isinstance(out, tuple) else (out,)))
