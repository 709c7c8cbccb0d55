"""The blocks of a loop with a backward pass of its own: a dense layer and three recurrent cells, a step at a time.

Each has a step forward, which writes into [T, N, ·] buffers, a step back, which carries gradients through the states
alone, and gives its weights' gradients at the end, one product over all steps. recurrence.py puts them together.

Shapes: T steps, N = K B rows (particles x sequences), B sequences, width H. What does not feed back comes in as
constants: [T, B, D], the same for all particles, or a bias [D]. Weights are [out, in], as in nn.Linear.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_vrnn.networks import MLP, ClippedLeakyReLU


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


class DenseStep:
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
        return [product(self.grad, v), self.of_const(self.grad)]


def product(grad: Tensor, v: Tensor) -> Tensor:
    """Sum over steps and rows. [T, N, out], [T, N, in] -> [out, in]."""
    return grad.flatten(0, 1).t() @ v.flatten(0, 1)


class CellStep(ABC):
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


class GRUStep(CellStep):
    """r, u = sigmoid(given + own), n = tanh(given + r own), h = n + u (h - n); `given` is n, r, u and `own` r, u, n.

    The gradients are kept as n, r, u, r n: the first three are those of `given`, the last three those of `own`.
    """

    gates, lead = 3, 1

    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """r and u side by side, and n."""
        self.ru, self.n = empty(kept, rows, 2 * self.width), empty(kept, rows, self.width)

    def step(self, t: int, given: Tensor, own: Tensor) -> None:
        """See CellStep."""
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
        """See CellStep."""
        torch.mul(after[0][:, None], self.slopes[t], out=self.grads[t])
        return [after[0] * self.us[t]]


class LSTMStep(CellStep):
    """i, f, g, o = given + own; c = sigmoid(f) c + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c)."""

    gates, lead = 4, 0

    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """The gates, and tanh(c)."""
        self.a, self.tanh_c = empty(kept, rows, 4 * self.width), empty(kept, rows, self.width)

    def step(self, t: int, given: Tensor, own: Tensor) -> None:
        """See CellStep."""
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
        """See CellStep."""
        h, c = after
        torch.mul(h, self.of_h[t], out=self.by_h[t])
        c = torch.addcmul(c, h, self.to_c[t])
        torch.mul(c[:, None], self.of_c[t], out=self.by_c[t])
        return [torch.zeros_like(h), c * self.fs[t]]


class TanhStep(CellStep):
    """h = tanh(given + own)."""

    gates, lead = 1, 0

    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """None but the states."""

    def step(self, t: int, given: Tensor, own: Tensor) -> None:
        """See CellStep."""
        torch.add(given, own, out=self.states[0][t + 1]).tanh_()

    def ready(self, grads: Tensor) -> None:
        """See CellStep."""
        h = self.state_buffers[0][1:]
        self.slopes, self.grads = (1 - h * h).unbind(), grads[: self.steps, :, : self.width].unbind()

    def back(self, t: int, after: Sequence[Tensor]) -> list[Tensor]:
        """See CellStep."""
        torch.mul(after[0], self.slopes[t], out=self.grads[t])
        return [torch.zeros_like(after[0])]


CELLS: dict[str, type[CellStep]] = {"GRU": GRUStep, "LSTM": LSTMStep, "RNN_TANH": TanhStep}
