"""Recurrent cells with a backward pass of their own, and a whole sequence of one.

Each cell has a step forward, which writes into [T, N, ·] buffers, and a step back, which carries gradients through the
states alone; weights get theirs at the end, one product over all steps. Autograd would record some ten small
operations a step and multiply out each weight's gradient at every step (so does torch's own nn.GRU on a CPU).

Shapes: T steps, N rows, width H, G = the widths of all gates. Weights are [out, in], as in nn.Linear.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def product(grad: Tensor, v: Tensor) -> Tensor:
    """Sum over steps and rows. [T, N, out], [T, N, in] -> [out, in]."""
    return grad.flatten(0, 1).t() @ v.flatten(0, 1)


def by_step(v: Tensor, steps: int) -> tuple[Tensor, ...]:
    """A buffer's view of each step, of one that keeps all of them or one that keeps the last."""
    return v.unbind() * (1 if len(v) >= steps else steps)


def tanh_slope(y: Tensor) -> Tensor:
    """1 - y^2, of y = tanh. (torch's tanh_backward takes four times as long as a product.)"""
    return torch.addcmul(y.new_ones(()), y, y, value=-1)


class CellStep(ABC):
    """A recurrent cell at work, from W_i v + c (`given`, [N, G]) and W_h h + b (`own`, [N, gates H])."""

    gates: int
    """Widths of H in `own`."""
    tail: int
    """Widths of H that come after `own`'s gradient in the loop's buffer; `given`'s is the last ones of it."""
    summed = False
    """Whether only `given` + `own` counts: `given` may then be None, and `own` the sum, which `step` may overwrite."""

    @staticmethod
    def order(own: Tensor) -> Tensor:
        """Torch's own weights or bias, by rows, in the order of `own`."""
        return own

    def __init__(self, own: Tensor, states: Sequence[Tensor], width: int, kept: int) -> None:
        """Take views of the buffers [T, N, ·]."""
        self.width, self.steps = width, len(states[0]) - 1
        self.states = [part.unbind() for part in states]
        self.own_buffer, self.state_buffers = own, states
        self.start(own.new_empty, kept, own.shape[1])

    @abstractmethod
    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """Make buffers."""

    @abstractmethod
    def step(self, t: int, given: Tensor | None, own: Tensor) -> None:
        """Step from the state before t to the one after."""

    @abstractmethod
    def ready(self, grads: Tensor) -> None:
        """For the way back; gradients of `own`, and then of `given`, go to `grads` [T, N, (gates + tail) H]."""

    @abstractmethod
    def back(self, t: int, after: Sequence[Tensor], into: Sequence[Tensor]) -> list[Tensor]:
        """Carry gradients from the state after t straight to the one before, added to what comes `into` that."""


class GRUStep(CellStep):
    """r, u = sigmoid(given + own), n = tanh(given + r own), h = n + u (h - n); `given` is r, u, n and `own` n, r, u.

    The gradients are kept as r n, r, u, n: the first three are those of `own`, the last three those of `given`.
    """

    gates, tail = 3, 1

    @staticmethod
    def order(own: Tensor) -> Tensor:
        """n, r, u, from torch's r, u, n."""
        return own.roll(len(own) // 3, 0)

    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """r and u side by side, and n."""
        self.ru, self.n = empty(kept, rows, 2 * self.width), empty(kept, rows, self.width)

    def step(self, t: int, given: Tensor | None, own: Tensor) -> None:
        """See CellStep."""
        assert given is not None
        H, at = self.width, t % len(self.n)
        ru = torch.add(given[:, : 2 * H], own[:, H:], out=self.ru[at]).sigmoid_()
        n = torch.addcmul(given[:, 2 * H :], ru[:, :H], own[:, :H], out=self.n[at]).tanh_()
        torch.lerp(n, self.states[0][t], ru[:, H:], out=self.states[0][t + 1])

    def ready(self, grads: Tensor) -> None:
        """All that does not depend on the gradient, at once."""
        H, (r, u), n = self.width, self.ru.chunk(2, dim=-1), self.n
        h, own_n = self.state_buffers[0][: self.steps], self.own_buffer[: self.steps, :, :H]
        slopes = n.new_empty(*n.shape[:2], 4, H)
        of_rn, of_r, of_u, of_n = slopes.unbind(2)
        torch.mul(1 - u, tanh_slope(n), out=of_n)
        torch.mul(of_n, r, out=of_rn)
        torch.mul(of_rn, own_n, out=of_r).mul_(1 - r)
        torch.mul(h - n, u, out=of_u).mul_(1 - u)
        self.slopes, self.us = slopes.unbind(), u.unbind()
        self.grads = grads[: self.steps].unflatten(-1, (4, H)).unbind()

    def back(self, t: int, after: Sequence[Tensor], into: Sequence[Tensor]) -> list[Tensor]:
        """See CellStep."""
        torch.mul(after[0][:, None], self.slopes[t], out=self.grads[t])
        return [torch.addcmul(into[0], after[0], self.us[t])]


class LSTMStep(CellStep):
    """i, f, g, o = given + own; c = sigmoid(f) c + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c)."""

    gates, tail, summed = 4, 0, True

    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """The gates take the place of `own`; and tanh(c)."""
        self.a, self.tanh_c = self.own_buffer[:kept], empty(kept, rows, self.width)

    def step(self, t: int, given: Tensor | None, own: Tensor) -> None:
        """See CellStep."""
        H, at = self.width, t % len(self.a)
        a = own if given is None else own.add_(given)
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
        grads = grads[: self.steps].unflatten(-1, (4, self.width))
        self.by_c, self.by_h = grads[:, :, :3].unbind(), grads[:, :, 3].unbind()

    def back(self, t: int, after: Sequence[Tensor], into: Sequence[Tensor]) -> list[Tensor]:
        """See CellStep."""
        h, c = after
        torch.mul(h, self.of_h[t], out=self.by_h[t])
        c = torch.addcmul(c, h, self.to_c[t])
        torch.mul(c[:, None], self.of_c[t], out=self.by_c[t])
        return [into[0], torch.addcmul(into[1], c, self.fs[t])]


class TanhStep(CellStep):
    """h = tanh(given + own)."""

    gates, tail, summed = 1, 0, True

    def start(self, empty: Callable[..., Tensor], kept: int, rows: int) -> None:
        """None but the states."""

    def step(self, t: int, given: Tensor | None, own: Tensor) -> None:
        """See CellStep."""
        h = self.states[0][t + 1]
        if given is None:
            torch.tanh(own, out=h)
        else:
            torch.add(given, own, out=h).tanh_()

    def ready(self, grads: Tensor) -> None:
        """All that does not depend on the gradient, at once."""
        self.slopes = tanh_slope(self.state_buffers[0][1:]).unbind()
        self.grads = grads[: self.steps].unbind()

    def back(self, t: int, after: Sequence[Tensor], into: Sequence[Tensor]) -> list[Tensor]:
        """See CellStep."""
        torch.mul(after[0], self.slopes[t], out=self.grads[t])
        return list(into)


CELLS: dict[str, type[CellStep]] = {"GRU": GRUStep, "LSTM": LSTMStep, "RNN_TANH": TanhStep}


def unroll(rnn: nn.RNNBase, u: Tensor, start: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """A one-layer recurrent network over a whole sequence: what `rnn(u, start)` gives, with less to do on the way back.

    Args:
        rnn: an nn.GRU, nn.LSTM or tanh nn.RNN.
        u: [T, N, D].
        start: h, and with an LSTM c, before the first step. [N, H] each.

    Returns:
        The same after each step, [T, N, H] each.
    """
    weight, own_weight, bias, own_bias = rnn.all_weights[0]
    kind = CELLS[rnn.mode]
    biases = (bias + own_bias, None) if kind.summed else (bias, kind.order(own_bias))
    found: tuple[Tensor, ...] = _Unrolled.apply(rnn.mode, u, weight, kind.order(own_weight), *biases, *start)  # type: ignore[no-untyped-call]
    return found


class _Unrolled(torch.autograd.Function):
    """A cell over u [T, N, D] from a start, with own weights in the cell's order.

    Where `own_bias` is None, `own` holds the sum of both products. The tanh cell has it where its next state will be.
    """

    @staticmethod
    def forward(
        ctx: Any,
        mode: str,
        u: Tensor,
        weight: Tensor,
        own_weight: Tensor,
        bias: Tensor,
        own_bias: Tensor | None,
        *start: Tensor,
    ) -> tuple[Tensor, ...]:
        """h and what else there is after each step."""
        (T, N, _), H, kind = u.shape, start[0].shape[-1], CELLS[mode]
        states = [part.new_empty(T + 1, N, H) for part in start]
        for part, first in zip(states, start, strict=True):
            part[0] = first
        own = states[0][1:] if kind is TanhStep else u.new_empty(T, N, len(own_weight))
        given = own if own_bias is None else u.new_empty(T, N, len(weight))
        torch.addmm(bias, u.flatten(0, 1), weight.t(), out=given.flatten(0, 1))
        cell = kind(own, states, H, T)
        own_weight_t = own_weight.t()
        before = cell.states[0][:-1]
        for t, (h, given_t, own_t) in enumerate(zip(before, given.unbind(), own.unbind(), strict=True)):
            if own_bias is None:
                cell.step(t, None, own_t.addmm_(h, own_weight_t))
            else:
                cell.step(t, given_t, torch.addmm(own_bias, h, own_weight_t, out=own_t))
        ctx.cell, ctx.states = cell, states
        ctx.save_for_backward(u, weight, own_weight)
        return tuple(part[1:] for part in states)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of u, the weights and the start."""
        cell, states, (u, weight, own_weight) = ctx.cell, ctx.states, ctx.saved_tensors
        T, N, H = grads[0].shape
        both = weight.new_empty(T, N, len(own_weight) + cell.tail * H)
        own, given = both[..., : len(own_weight)], both[..., cell.tail * H :]
        cell.ready(both)
        into = [[torch.zeros_like(part[0]), *part.unbind()] for part in grads]
        after = [part[-1] for part in into]
        for t, own_t in reversed(list(enumerate(own.unbind()))):
            after = cell.back(t, after, [part[t] for part in into])
            after[0] = torch.addmm(after[0], own_t, own_weight)
        of_u = (given.flatten(0, 1) @ weight).view_as(u) if ctx.needs_input_grad[1] else None
        of_own_bias = None if cell.summed else own.sum((0, 1))
        of_weights = product(given, u), product(own, states[0][:T])
        return None, of_u, *of_weights, given.sum((0, 1)), of_own_bias, *after
