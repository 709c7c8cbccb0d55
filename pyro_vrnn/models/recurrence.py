"""The guide's loop over time with a backward pass of its own: what feeds back runs step by step, nothing else does.

Autograd would record some twenty small operations a step and multiply out each weight's gradient at every step. Here a
step writes into [T, N, ·] buffers, the backward loop carries gradients through the state alone, and each weight's
gradient is one product over all steps at the end. Same draws and numbers as `SequenceModel.infer`
(tests/test_recurrence.py: gradcheck, and comparison), which stays the readable version and runs wherever a network has
no fast form.

Shapes: T steps, N = K B rows (particles x sequences), B sequences, widths Z, H. What does not feed back comes in as
constants: [T, B, D], the same for all particles, or a bias [D]. Weights are [out, in], as in nn.Linear.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributions.utils import _standard_normal
from torch.nn import functional as F

from pyro_vrnn.models.base import Inference
from pyro_vrnn.networks import MLP, Cell, ClippedLeakyReLU, State


@dataclass(frozen=True)
class Activation:
    """In place; its slope is read off its output."""

    apply: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


def _clipped(y: Tensor) -> Tensor:
    return F.leaky_relu_(y, 1 / 3).clamp_(-3.0, 3.0)


def _clipped_slope(y: Tensor) -> Tensor:
    return torch.where(y > 0, y.new_ones(()), y.new_full((), 1 / 3)) * (y.abs() < 3.0)


LINEAR = Activation(lambda y: y, torch.ones_like)
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(torch.relu_, lambda y: (y > 0).to(y)),
    nn.Tanh: Activation(torch.tanh_, lambda y: 1 - y * y),
    ClippedLeakyReLU: Activation(_clipped, _clipped_slope),
}


@dataclass(frozen=True)
class Layer:
    """y_t = act(W v_t + c_t)."""

    weight: Tensor
    const: Tensor
    act: Activation = LINEAR


def layers_of(mlp: MLP) -> list[Layer] | None:
    """Its layers, or None where it has what has no fast form: normalisation, dropout at work, another activation."""
    found: list[Layer] = []
    for part in mlp:
        if isinstance(part, nn.Linear):
            found.append(Layer(part.weight, part.bias))
        elif type(part) in ACTIVATIONS and found:
            found[-1] = Layer(found[-1].weight, found[-1].const, ACTIVATIONS[type(part)])
        elif not (isinstance(part, nn.Dropout) and not part.training):
            return None
    return found


def feed(layer: Layer, fed: Tensor, *, first: bool) -> Layer:
    """The layer with a part of its input known beforehand.

    Args:
        layer: of [fed_t, v_t], or of [v_t, fed_t].
        fed: [T, B, D].
        first: which of the two.
    """
    if first:
        known, rest = layer.weight[:, : fed.shape[-1]], layer.weight[:, fed.shape[-1] :]
    else:
        known, rest = layer.weight[:, -fed.shape[-1] :], layer.weight[:, : -fed.shape[-1]]
    return Layer(rest, F.linear(fed, known, layer.const), layer.act)


@dataclass(frozen=True)
class Transition:
    """h_t = cell(W_i layers(z_t) + c_t, h_{t-1}); without one the next state is z_t itself."""

    cell: Cell
    layers: Sequence[Layer]
    fed: Tensor
    """What else the cell reads, before layers(z_t): [T, B, D]."""


def draw(
    posterior: Sequence[Layer],
    start: State,
    shape: torch.Size,
    *,
    steps: int,
    floor: float,
    transition: Transition | None = None,
    residual: Sequence[Layer] = (),
) -> Inference:
    """Run the guide: z_t ~ N(loc_t, softplus(raw_t) + floor) of the state, and step the state.

    Args:
        posterior: from the state to [loc_t, raw_t].
        start: the state before the first step, each part [B, ·].
        shape: of the draw's batch, [..., B].
        steps: T.
        floor: of the scale.
        transition: see there; without one the next state is z_t itself.
        residual: from the state to what is added to loc_t (SRNN's prior mean).

    Returns:
        The draw, its `states` being those of the cell, or z before each step.
    """
    stacks = [posterior, residual] if residual else [posterior]
    readers = [stack[0].weight for stack in stacks]
    bias = start[0].new_zeros(sum(map(len, readers)))
    gates: Layer | None = None
    if transition is not None:
        rnn, width = transition.cell.rnn, start[0].shape[-1]
        readers.insert(0, rnn.weight_hh_l0)
        bias = torch.cat([rnn.bias_hh_l0, bias])
        gates = feed(Layer(rnn.weight_ih_l0, rnn.bias_ih_l0), transition.fed, first=True)
        if rnn.mode == "GRU":  # r, z, n to the order n, r, z: see _GRU
            gates = Layer(gates.weight.roll(width, 0), gates.const.roll(width, -1))
    loop = _Loop(
        joint=torch.cat(readers),
        bias=bias,
        stacks=stacks,
        before_cell=() if transition is None else transition.layers,
        gates=gates,
        kind=None if transition is None else transition.cell.rnn.mode,
        eps=noise(steps, shape, len(stacks[0][-1].weight) // 2, start[0]),
        floor=floor,
        parts=len(start),
    )
    rows = tuple(part.expand(*shape, part.shape[-1]).reshape(-1, part.shape[-1]) for part in start)
    keep = torch.is_grad_enabled()
    found = _Run.apply(loop, *rows, *loop.weights) if keep else loop.run(rows, keep=False)  # type: ignore[no-untyped-call]
    z, loc, scale, *states = (v.view(steps, *shape, v.shape[-1]) for v in found)
    return Inference(z.movedim(0, -2), dist.Normal(loc, scale, validate_args=False).to_event(1), tuple(states))


def noise(steps: int, shape: torch.Size, width: int, like: Tensor) -> Tensor:
    """The standard normals that `rsample` would draw step by step, from the same random state. [T, ..., B, Z]."""
    one = shape + torch.Size([width])
    return torch.stack([_standard_normal(one, dtype=like.dtype, device=like.device) for _ in range(steps)])


class _Run(torch.autograd.Function):
    """Autograd's door to a loop."""

    @staticmethod
    def forward(ctx: Any, loop: _Loop, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The start's parts, then the loop's weights."""
        ctx.loop = loop
        return loop.run(tensors[: loop.parts], keep=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Of z, loc, scale and the states."""
        return None, *ctx.loop.back(*grads)


class _Dense:
    """A layer at work."""

    def __init__(self, layer: Layer, steps: int, rows: int, kept: int) -> None:
        self.layer, self.steps = layer, steps
        self.y = layer.const.new_empty(kept, rows, layer.const.shape[-1])
        self.ys = self.y.unbind() if kept == steps else self.y.unbind() * steps
        moving = layer.const.dim() > 1
        self.consts = layer.const.unbind() if moving else (layer.const,) * steps
        self.particles = moving and layer.const.shape[1] != rows
        self.weight_t = layer.weight.t()

    def step(self, t: int, v: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        y, const = self.ys[t], self.consts[t]
        if self.particles:
            torch.mm(v, self.weight_t, out=y).view(-1, *const.shape).add_(const)
        else:
            torch.addmm(const, v, self.weight_t, out=y)
        return self.layer.act.apply(y)

    def given(self, t: int, product: Tensor) -> Tensor:
        """The same where W v is at hand, [N, out]."""
        y, const = self.ys[t], self.consts[t]
        if self.particles:
            shape = (-1, *const.shape)
            torch.add(product.unflatten(0, shape[:2]), const, out=y.view(shape))
        else:
            torch.add(product, const, out=y)
        return self.layer.act.apply(y)

    def ready(self, *, own: bool) -> None:
        """For the way back, with a buffer of its own for the gradients before the activation, or without."""
        self.linear = self.layer.act is LINEAR
        self.slopes = () if self.linear else self.layer.act.slope(self.y).unbind()
        self.grad = torch.empty_like(self.y) if own else self.y
        self.grads = self.grad.unbind()

    def back(self, t: int, grad: Tensor) -> Tensor:
        """From y to v. [N, out] -> [N, in]."""
        before = self.grads[t]
        if self.linear:
            before.copy_(grad)
        else:
            torch.mul(grad, self.slopes[t], out=before)
        return before @ self.layer.weight

    def of_const(self, grad: Tensor) -> Tensor:
        """The constant's gradient from that before the activation, [T, N, out]."""
        const = self.layer.const
        if const.dim() == 1:
            return grad.sum((0, 1))
        found = grad.unflatten(1, (-1, const.shape[1])).sum(1) if self.particles else grad
        if len(found) < len(const):  # the last step has no transition
            found = torch.cat([found, found.new_zeros(len(const) - len(found), *found.shape[1:])])
        return found

    def of_weights(self, v: Tensor) -> list[Tensor]:
        """Of the weight and the constant, from all inputs [T, N, in]."""
        return [_product(self.grad, v), self.of_const(self.grad)]


def _product(grad: Tensor, v: Tensor) -> Tensor:
    """Sum over steps and rows. [T, N, out], [T, N, in] -> [out, in]."""
    return grad.flatten(0, 1).t() @ v.flatten(0, 1)


class _Cell(ABC):
    """A recurrent cell at work, from W_i v + c (`given`, [N, G]) and W_h h + b (`own`, [N, gates H])."""

    gates: int
    """Widths of H in `own`."""
    lead: int
    """Widths of H that stand before `own`'s gradient in the loop's buffer; `given`'s is the first ones of it."""

    def __init__(self, own: Tensor, states: Sequence[Tensor], width: int, kept: int) -> None:
        """Of buffers [T, N, ·]."""
        self.width, self.steps = width, len(states[0]) - 1
        self.states = [part.unbind() for part in states]
        self.own_buffer, self.state_buffers = own, states
        self.start(own.new_empty, kept, own.shape[1])

    @abstractmethod
    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """Make buffers."""

    @abstractmethod
    def step(self, t: int, given: Tensor, own: Tensor) -> None:
        """From the state before t to the one after."""

    @abstractmethod
    def ready(self, grads: Tensor) -> None:
        """For the way back; gradients of [given, own] go to `grads` [T, N, (lead + gates) H]."""

    @abstractmethod
    def back(self, t: int, after: Sequence[Tensor]) -> list[Tensor]:
        """From the state after t to what goes straight to the one before."""


class _GRU(_Cell):
    """r, u = sigmoid(given + own), n = tanh(given + r own), h = n + u (h - n); `given` is n, r, u and `own` r, u, n.

    The gradients are kept as n, r, u, r n: the first three are those of `given`, the last three those of `own`.
    """

    gates, lead = 3, 1

    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """r and u side by side, and n."""
        self.ru, self.n = empty(kept, rows, 2 * self.width), empty(kept, rows, self.width)

    def step(self, t: int, given: Tensor, own: Tensor) -> None:
        """See _Cell."""
        H, at = self.width, t % len(self.n)
        ru = torch.add(given[:, H:], own[:, : 2 * H], out=self.ru[at]).sigmoid_()
        n = torch.addcmul(given[:, :H], ru[:, :H], own[:, 2 * H :], out=self.n[at]).tanh_()
        torch.lerp(n, self.states[0][t], ru[:, H:], out=self.states[0][t + 1])

    def ready(self, grads: Tensor) -> None:
        """All that does not depend on the gradient, at once."""
        (r, u), n = self.ru.chunk(2, dim=-1), self.n
        h, own_n = (
            self.state_buffers[0][: self.steps],
            self.own_buffer[: self.steps, :, 2 * self.width : 3 * self.width],
        )
        to_n = (1 - u) * (1 - n * n)
        self.slopes = torch.stack([to_n, to_n * own_n * r * (1 - r), (h - n) * u * (1 - u), to_n * r], dim=2).unbind()
        self.us = u.unbind()
        self.grads = grads[: self.steps, :, : 4 * self.width].unflatten(-1, (4, self.width)).unbind()

    def back(self, t: int, after: Sequence[Tensor]) -> list[Tensor]:
        """See _Cell."""
        torch.mul(after[0][:, None], self.slopes[t], out=self.grads[t])
        return [after[0] * self.us[t]]


class _LSTM(_Cell):
    """i, f, g, o = given + own; c = sigmoid(f) c + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c)."""

    gates, lead = 4, 0

    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """The gates, and tanh(c)."""
        self.a, self.tanh_c = empty(kept, rows, 4 * self.width), empty(kept, rows, self.width)

    def step(self, t: int, given: Tensor, own: Tensor) -> None:
        """See _Cell."""
        H, at = self.width, t % len(self.a)
        a = torch.add(given, own, out=self.a[at])
        a[:, : 2 * H].sigmoid_()
        i, f, g, o = a.chunk(4, dim=-1)
        g.tanh_()
        o.sigmoid_()
        h, c = (part[t + 1] for part in self.states)
        torch.addcmul(torch.mul(f, self.states[1][t], out=c), i, g, out=c)
        torch.mul(o, torch.tanh(c, out=self.tanh_c[at]), out=h)

    def ready(self, grads: Tensor) -> None:
        """All that does not depend on the gradient, at once."""
        (i, f, g, o), tanh_c = self.a.chunk(4, dim=-1), self.tanh_c
        c = self.state_buffers[1][: self.steps]
        self.to_c = (o * (1 - tanh_c * tanh_c)).unbind()
        self.of_c = torch.stack([g * i * (1 - i), c * f * (1 - f), i * (1 - g * g)], dim=2).unbind()
        self.of_h, self.fs = (tanh_c * o * (1 - o)).unbind(), f.unbind()
        grads = grads[: self.steps, :, : 4 * self.width].unflatten(-1, (4, self.width))
        self.by_c, self.by_h = grads[:, :, :3].unbind(), grads[:, :, 3].unbind()

    def back(self, t: int, after: Sequence[Tensor]) -> list[Tensor]:
        """See _Cell."""
        h, c = after
        torch.mul(h, self.of_h[t], out=self.by_h[t])
        c = torch.addcmul(c, h, self.to_c[t])
        torch.mul(c[:, None], self.of_c[t], out=self.by_c[t])
        return [torch.zeros_like(h), c * self.fs[t]]


class _Tanh(_Cell):
    """h = tanh(given + own)."""

    gates, lead = 1, 0

    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """None but the states."""

    def step(self, t: int, given: Tensor, own: Tensor) -> None:
        """See _Cell."""
        torch.add(given, own, out=self.states[0][t + 1]).tanh_()

    def ready(self, grads: Tensor) -> None:
        """See _Cell."""
        h = self.state_buffers[0][1:]
        self.slopes, self.grads = (1 - h * h).unbind(), grads[: self.steps, :, : self.width].unbind()

    def back(self, t: int, after: Sequence[Tensor]) -> list[Tensor]:
        """See _Cell."""
        torch.mul(after[0], self.slopes[t], out=self.grads[t])
        return [torch.zeros_like(after[0])]


CELLS: dict[str, type[_Cell]] = {"GRU": _GRU, "LSTM": _LSTM, "RNN_TANH": _Tanh}


class _Loop:
    """One run forward, and one back.

    Args:
        joint: weights of all that reads the state, one below the other: the cell's own, then each stack's first layer.
        bias: of that product.
        stacks: the posterior's layers, and those of what is added to its mean.
        before_cell: layers from z to the cell.
        gates: from their output to the cell's gates; None where the next state is z.
        kind: of the cell, as torch names it.
        eps: [T, ..., B, Z].
        floor: of the scale.
        parts: of the state.
    """

    def __init__(
        self,
        *,
        joint: Tensor,
        bias: Tensor,
        stacks: Sequence[Sequence[Layer]],
        before_cell: Sequence[Layer],
        gates: Layer | None,
        kind: str | None,
        eps: Tensor,
        floor: float,
        parts: int,
    ) -> None:
        self.joint, self.bias, self.stacks, self.kind = joint, bias, stacks, kind
        self.transition = [*before_cell, *([] if gates is None else [gates])]
        self.eps, self.floor, self.parts = eps.flatten(1, -2), floor, parts
        self.weights = [joint, bias]
        for stack in stacks:
            self.weights += [stack[0].const, *(v for layer in stack[1:] for v in (layer.weight, layer.const))]
        self.weights += [v for layer in self.transition for v in (layer.weight, layer.const)]

    def run(self, start: Sequence[Tensor], *, keep: bool) -> tuple[Tensor, ...]:
        """From the first state [N, ·] to z, loc, scale and the states before each step.

        With `keep`, buffers are kept for the way back.
        """
        (T, N, Z), empty = self.eps.shape, self.eps.new_empty
        kept, moves = (T, T - 1) if keep else (1, 1)
        self.loc, self.scale = empty(T, N, Z), empty(T, N, Z)
        self.states = [part.new_empty(T if self.kind else T + 1, *part.shape) for part in start]
        for part, first in zip(self.states, start, strict=True):
            part[0] = first
        self.z = empty(T, N, Z) if self.kind else self.states[0][1:]
        self.read = empty(kept, N, len(self.joint))
        self.work = [[_Dense(layer, T, N, kept) for layer in stack] for stack in self.stacks]
        self.moving = [_Dense(layer, T - 1, N, moves) for layer in self.transition]
        width = start[0].shape[-1]
        self.cell = CELLS[self.kind](self.read, self.states, width, moves) if self.kind else None
        self.own = self.cell.gates * width if self.cell else 0
        cuts = [self.own, *(stack[0].const.shape[-1] for stack in self.stacks)]
        joint_t = self.joint.t()
        for t in range(T):
            own, *firsts = torch.addmm(self.bias, self.states[0][t], joint_t, out=self.read[t % kept]).split(cuts, 1)
            raw = self._through(self.work[0], t, firsts[0])
            loc, spread = raw.chunk(2, dim=-1)
            if len(firsts) > 1:
                loc = loc + self._through(self.work[1], t, firsts[1])
            self.loc[t] = loc
            torch.add(F.softplus(spread), self.floor, out=self.scale[t])
            v = torch.addcmul(self.loc[t], self.scale[t], self.eps[t], out=self.z[t])
            if self.cell and t < T - 1:
                for layer in self.moving:
                    v = layer.step(t, v)
                self.cell.step(t, v, own)
        return (
            self.z.view_as(self.z),
            self.loc.view_as(self.loc),
            self.scale.view_as(self.scale),
            *(part[:T] for part in self.states),
        )

    @staticmethod
    def _through(stack: Sequence[_Dense], t: int, product: Tensor) -> Tensor:
        v = stack[0].given(t, product)
        for layer in stack[1:]:
            v = layer.step(t, v)
        return v

    def back(self, z: Tensor, loc: Tensor, scale: Tensor, *states: Tensor) -> list[Tensor]:
        """Gradients of all that `run` returned, to those of the start's parts and of `weights`."""
        T, N, Z = self.eps.shape
        lead = self.cell.lead * states[0].shape[-1] if self.cell else 0
        grads = self.read.new_empty(T, N, lead + len(self.joint))
        reads = grads[..., lead:]
        for stack in self.work:
            for n, layer in enumerate(stack):
                layer.ready(own=n > 0)  # those of the first layers are in `grads`
        for layer in self.moving:
            layer.ready(own=True)
        if self.cell:
            grads[T - 1, :, : lead + self.own] = 0.0  # after the last step there is no transition
            self.cell.ready(grads)
        spread = torch.sigmoid(self.work[0][-1].y[..., Z:])
        of_raw, by_eps = self.work[0][-1].y.new_empty(N, 2 * Z), spread * self.eps
        scale = scale * spread
        after: list[Tensor] = []
        for t in reversed(range(T)):
            into = [part[t] for part in states]
            z_t = z[t]
            if self.cell and after:
                straight = self.cell.back(t, after)
                v = grads[t, :, : self.transition[-1].const.shape[-1]]
                for layer in reversed(self.moving):
                    v = layer.back(t, v)
                z_t = z_t + v
                into = [a + b for a, b in zip(into, straight, strict=True)]
            elif after:
                z_t = z_t + after[0]
            of_loc = torch.add(loc[t], z_t, out=of_raw[:, :Z])
            torch.addcmul(scale[t], z_t, by_eps[t], out=of_raw[:, Z:])
            at = lead + self.own
            for stack, v in zip(self.work, (of_raw, of_loc), strict=False):
                for layer in reversed(stack[1:]):
                    v = layer.back(t, v)
                first = grads[t, :, at : at + stack[0].y.shape[-1]]
                if stack[0].linear:
                    first.copy_(v)
                else:
                    torch.mul(v, stack[0].slopes[t], out=first)
                at += first.shape[-1]
            after = [torch.addmm(into[0], reads[t], self.joint), *into[1:]]
        found = [*after, _product(reads, self.states[0][:T]), reads.sum((0, 1))]
        at = lead + self.own
        for stack in self.work:
            stop = at + stack[0].y.shape[-1]
            found.append(stack[0].of_const(grads[..., at:stop]))
            for before, layer in pairwise(stack):
                found += layer.of_weights(before.y)
            at = stop
        v = self.z[: T - 1]
        for layer in self.moving:
            found += layer.of_weights(v)
            v = layer.y
        return found
