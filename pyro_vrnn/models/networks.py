"""Small networks every model is made of: MLP, recurrent cells for any number of leading dims, Gaussian head.

Shapes: `...` is nothing, a batch, particles x batch, or time x batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_vrnn.models.cells import unroll
from pyro_vrnn.models.precision import exact, full

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
    rows = index * x.shape[1] + torch.arange(x.shape[1], device=x.device)
    found: Tensor = _Rows.apply(x, rows.flatten())  # type: ignore[no-untyped-call]
    return found


class _Rows(torch.autograd.Function):
    """Rows of [T, B, D] in an order that is its own inverse: then the way back is the same, with nothing to add up."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: Tensor) -> Tensor:
        """[T, B, D], order [T B]."""
        ctx.save_for_backward(order)
        return x.flatten(0, 1).index_select(0, order).view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        """The gradient's rows in the same order."""
        found: Tensor = _Rows.apply(grad, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return found, None


def start_vector(width: int, *, learned: bool) -> nn.Parameter | nn.Buffer:
    """What a model starts with: zeros that are learned, or zeros that stay and are in no checkpoint. [width]."""
    zeros = torch.zeros(width)
    return nn.Parameter(zeros) if learned else nn.Buffer(zeros, persistent=False)


class ClippedLeakyReLU(nn.Module):
    """min(max(x, x/3), 3), with -3 below: SRNN's published code (slope 1/3, clipped at +-3)."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return F.hardtanh(F.leaky_relu(x, 1 / 3), -3.0, 3.0)  # (clamp's way back takes four passes over the data)


@dataclass(frozen=True)
class Layers:
    """What the hidden layers of a network are like."""

    dims: tuple[int, ...]
    dropout: float = 0.0
    """After each activation, in training only. It must stay off the recurrent path, where model and guide would draw
    different masks."""
    activation: type[nn.Module] = nn.ReLU
    norm: bool = False
    """Layer normalisation before each activation (Ba et al. 2016): of each vector by itself, so nothing leaks."""


class MLP(nn.Sequential):
    """Dense layers, an activation after each; without any, the identity (and dropout). [..., D] -> [..., dims[-1]]."""

    def __init__(self, in_dim: int, layers: Layers) -> None:
        parts: list[nn.Module] = [] if layers.dims or not layers.dropout else [nn.Dropout(layers.dropout)]
        for before, after in pairwise((in_dim, *layers.dims)):
            parts += [nn.Linear(before, after)]
            if layers.norm:
                parts.append(nn.LayerNorm(after))
            parts.append(layers.activation())
            if layers.dropout > 0:
                parts.append(nn.Dropout(layers.dropout))
        super().__init__(*parts)
        self.out_dim = layers.dims[-1] if layers.dims else in_dim

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output for inputs side by side, which broadcast; what particles share is multiplied out once."""
        first = self[0] if len(self) else None
        if len(inputs) == 1 or not isinstance(first, nn.Linear):
            found: Tensor = super().forward(cat(*inputs))  # type: ignore[no-untyped-call]
            return found
        weights = first.weight.split([x.shape[-1] for x in inputs], dim=1)
        y, *others = (F.linear(_once(x), weight) for x, weight in zip(inputs, weights, strict=True))
        y = y + first.bias.to(y.dtype)  # or bf16 would end here
        for other in others:
            y = y + other
        y = y.expand(*leading(*inputs), -1)
        for layer in list(self)[1:]:
            y = layer(y)
        return y


def _once(x: Tensor) -> Tensor:
    """Dims that were expanded, as if they were not."""
    for dim, (size, stride) in enumerate(zip(x.shape[:-1], x.stride(), strict=False)):
        if stride == 0 and size > 1:
            x = x.narrow(dim, 0, 1)
    return x


class DiagonalNormal(nn.Module):
    """An MLP to a diagonal Gaussian: loc linear, scale = softplus + floor. [..., D] -> [... | Z].

    The floor keeps densities finite; VRNN's published code uses 1e-4 (Chung et al. 2015).
    """

    def __init__(self, in_dim: int, layers: Layers, out_dim: int, *, floor: float = 1e-4) -> None:
        super().__init__()
        self.mlp = MLP(in_dim, layers)
        self.linear = nn.Linear(self.mlp.out_dim, 2 * out_dim)
        self.floor = floor

    def forward(self, *inputs: Tensor) -> Distribution:
        """The Gaussian of the inputs side by side, event shape [Z]."""
        features = self.mlp(*inputs)
        with exact(features):
            loc, raw = self.linear(full(features)).chunk(2, dim=-1)
            return dist.Normal(loc, F.softplus(raw) + self.floor).to_event(1)


class GatedTransition(nn.Module):
    """The DMM's transition from z_{t-1} to the Gaussian of z_t (Krishnan et al. 2017). [..., Z] -> [... | Z]."""

    def __init__(self, z_dim: int, layers: Layers, *, floor: float = 1e-4) -> None:
        super().__init__()
        self.gate, self.proposed = (MLP(z_dim, layers) for _ in range(2))
        self.to_gate, self.to_proposed = (nn.Linear(self.gate.out_dim, z_dim) for _ in range(2))
        self.to_loc, self.to_scale = nn.Linear(z_dim, z_dim), nn.Linear(z_dim, z_dim)
        self.floor = floor
        nn.init.zeros_(self.to_loc.weight)
        nn.init.zeros_(self.to_loc.bias)

    def forward(self, z: Tensor) -> Distribution:
        """[..., Z] -> [... | Z]."""
        for_gate, for_proposed = self.gate(z), self.proposed(z)
        with exact(z):
            gate = torch.sigmoid(self.to_gate(full(for_gate)))
            proposed = self.to_proposed(full(for_proposed))
            loc = (1 - gate) * (z + self.to_loc(z)) + gate * proposed
            return dist.Normal(loc, F.softplus(self.to_scale(F.relu(proposed))) + self.floor).to_event(1)


class Cell(nn.Module):
    """A recurrent network for any number of leading dims (torch's own cells take at most one), with a first state.

    One set of weights, two ways to run it: a step at a time, or a whole sequence in one (cuDNN) call. Its state is the
    h of each layer, the last layer's (the output) first; with an LSTM then the c of each, in the same order.

    Args:
        kind: "gru", "lstm" or "tanh".
        in_dim: width of the input.
        hidden_dim: width of h.
        layers: one on top of the other.
        learned_start: whether the state before the first step is learned; else it is zero, or the model gives it.
    """

    def __init__(self, kind: str, in_dim: int, hidden_dim: int, *, layers: int = 1, learned_start: bool = True) -> None:
        super().__init__()
        self.layers, self.memories = layers, 2 if kind == "lstm" else 1
        self.parts = layers * self.memories
        self.rnn = {"gru": nn.GRU, "lstm": nn.LSTM, "tanh": nn.RNN}[kind](in_dim, hidden_dim, layers)
        self.step: Any = {"gru": torch.gru_cell, "lstm": torch.lstm_cell, "tanh": torch.rnn_tanh_cell}[kind]
        self.start_state = nn.ParameterList(
            nn.Parameter(torch.zeros(hidden_dim)) for _ in range(self.parts if learned_start else 0)
        )
        self.zero = nn.Buffer(torch.zeros(hidden_dim), persistent=False)

    def start(self, size: int) -> State:
        """The state before the first step, learned or zero, each part [size, H]."""
        return tuple(part.expand(size, -1) for part in self.start_state or [self.zero] * self.parts)

    def forward(self, u: Tensor, state: State) -> State:
        """One step on the input u [..., D]; each part of the state is [..., H]."""
        lead = leading(u, state[0])
        u, *parts = (full(v).expand(*lead, v.shape[-1]).reshape(-1, v.shape[-1]) for v in (u, *state))
        after: list[Tensor] = [u] * self.parts
        for layer in range(self.layers):
            places = [m * self.layers + self.layers - 1 - layer for m in range(self.memories)]
            hx = tuple(parts[i] for i in places)
            weights = (getattr(self.rnn, f"{name}_l{layer}") for name in WEIGHTS)
            with exact(u):
                out = self.step(u, hx if len(hx) > 1 else hx[0], *weights)
            for i, part in zip(places, out if isinstance(out, tuple) else (out,), strict=True):
                after[i] = part
            u = after[places[0]]
        return tuple(v.reshape(*lead, -1) for v in after)

    def path(self, u: Tensor, start: State | None = None) -> Tensor:
        """All outputs in one call: h after each step, from `start` (or the learned one). [T, ..., D] -> [T, ..., H]."""
        return self._run(u, start)[0]

    def after(self, u: Tensor, start: State | None = None) -> State:
        """The state after the last step of u [T, B, D], each part [B, H]."""
        return self._run(u, start)[1]

    def path_before(self, u: Tensor, start: State | None = None) -> Tensor:
        """h before each step: the start, then the outputs but the last. [T, ..., D] -> [T, ..., H]."""
        first = self.start(1)[0] if start is None else start[0]
        first = first.expand(1, *u.shape[1:-1], -1)
        return torch.cat([first, self.path(u[:-1], start)]) if len(u) > 1 else first

    def _run(self, u: Tensor, start: State | None) -> tuple[Tensor, State]:
        flat = full(u.reshape(len(u), -1, u.shape[-1]))  # [T, N, D]
        parts = self.start(flat.shape[1]) if start is None else start
        # torch wants [layers, N, H], the first layer first
        by_memory = [parts[m * self.layers : (m + 1) * self.layers][::-1] for m in range(self.memories)]
        hx = tuple(torch.stack([full(part).reshape(-1, part.shape[-1]) for part in memory]) for memory in by_memory)
        with exact(u):
            if self.layers == 1 and flat.device.type == "cpu":
                states = unroll(self.rnn, flat, tuple(memory[0] for memory in hx))
                return states[0].reshape(*u.shape[:-1], -1), tuple(part[-1] for part in states)
            out, last = self.rnn(flat, hx if len(hx) > 1 else hx[0])
        after = tuple(h for memory in (last if len(hx) > 1 else (last,)) for h in memory.flip(0).unbind())
        return out.reshape(*u.shape[:-1], -1), after


WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
