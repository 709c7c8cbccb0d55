"""The dense layer of a loop with a backward pass of its own, a step at a time; models/cells.py has the recurrent cells.

Each has a step forward, which writes into [T, N, ·] buffers, a step back, which carries gradients through the states
alone, and gives its weights' gradients at the end, one product over all steps. recurrence.py puts them together.

Shapes: T steps, N = K B rows (particles x sequences), B sequences, width H. What does not feed back comes in as
constants: [T, B, D], the same for all particles, or a bias [D]. Weights are [out, in], as in nn.Linear.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_vrnn.models.cells import by_step, product, tanh_slope
from pyro_vrnn.models.networks import MLP, ClippedLeakyReLU, DiagonalNormal


@dataclass(frozen=True)
class Activation:
    """In place; and its slope as a function of its output, which is taken of all steps at once."""

    apply: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]


def _clipped(y: Tensor) -> Tensor:
    return F.leaky_relu_(y, 1 / 3).clamp_(-3.0, 3.0)


def _relu_slope(y: Tensor) -> Tensor:
    found: Tensor = aten.threshold_backward(_ones(y), y, 0)
    return found


def _clipped_slope(y: Tensor) -> Tensor:
    found: Tensor = aten.hardtanh_backward(aten.leaky_relu_backward(_ones(y), y, 1 / 3, True), y, -3.0, 3.0)
    return found


def _ones(y: Tensor) -> Tensor:
    return y.new_ones(()).expand_as(y)


aten = torch.ops.aten  # on a CPU `(y > 0).to(y.dtype)` takes ten times as long, and masks more
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(torch.relu_, _relu_slope),
    nn.Tanh: Activation(torch.tanh_, tanh_slope),
    ClippedLeakyReLU: Activation(_clipped, _clipped_slope),
}


@dataclass(frozen=True)
class Layer:
    """y_t = act(W v_t + c_t) + e_t; without an activation y_t = W v_t + c_t + e_t."""

    weight: Tensor
    const: Tensor
    act: Activation | None = None
    plus: Tensor | None = None
    """e, if there is one: [T, B, out]. Not of a head or a transition."""

    @property
    def fed(self) -> list[Tensor]:
        """What comes in at each step beside v: [T, B, out] each."""
        return [part for part in (self.const, self.plus) if part is not None and part.dim() > 1]

    @property
    def parameters(self) -> list[Tensor]:
        """The weight, a bias if that is what the constant is, and what is fed."""
        return [self.weight, *([self.const] if self.const.dim() == 1 else []), *self.fed]


def layers_of(mlp: nn.Module) -> list[Layer] | None:
    """The layers of an MLP; None where it is another network, or has what has no fast form: normalisation, dropout at
    work, another activation."""
    if type(mlp) is not MLP:
        return None
    found: list[Layer] = []
    for part in mlp:
        if type(part) is nn.Linear:
            found.append(Layer(part.weight, part.bias))
        elif type(part) in ACTIVATIONS and found:
            found[-1] = Layer(found[-1].weight, found[-1].const, ACTIVATIONS[type(part)])
        elif not (isinstance(part, nn.Dropout) and not part.training):
            return None
    return found


def head_of(head: nn.Module) -> list[Layer] | None:
    """The layers of a Gaussian head, hidden ones first; None where it is another network, or its layers have no fast
    form."""
    if not (isinstance(head, DiagonalNormal) and type(head) is DiagonalNormal):
        return None
    hidden = layers_of(head.mlp)
    return None if hidden is None else [*hidden, Layer(head.linear.weight, head.linear.bias)]


def feed(layer: Layer, fed: Tensor, *, first: bool) -> Layer:
    """The layer with a part of its input known beforehand.

    Args:
        layer: of [fed_t, v_t], or of [v_t, fed_t].
        fed: [T, B, D].
        first: which of the two.
    """
    assert layer.plus is None
    if first:
        known, rest = layer.weight[:, : fed.shape[-1]], layer.weight[:, fed.shape[-1] :]
    else:
        known, rest = layer.weight[:, -fed.shape[-1] :], layer.weight[:, : -fed.shape[-1]]
    return Layer(rest, F.linear(fed, known, layer.const), layer.act)


class DenseStep:
    """A layer at work.

    Args:
        layer: see there.
        steps: T.
        rows: N.
        kept: steps that buffers keep: all, or the last.
        y: the buffer, [kept, N, out], where W v comes from outside.
    """

    def __init__(self, layer: Layer, steps: int, rows: int, kept: int, y: Tensor | None = None) -> None:
        self.layer = layer
        self.y = layer.weight.new_empty(kept, rows, len(layer.weight)) if y is None else y
        self.ys = by_step(self.y, steps)
        self.moving = layer.const.dim() > 1
        self.consts = layer.const.unbind() if self.moving else (layer.const,) * steps
        self.particles = self.moving and layer.const.shape[1] != rows
        self.weight_t = layer.weight.t()
        self.out = self.y if layer.plus is None else torch.empty_like(self.y)
        self.outs = self.ys if layer.plus is None else by_step(self.out, steps)
        self.pluses = () if layer.plus is None else layer.plus.unbind()

    def step(self, t: int, v: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        if self.particles:
            torch.mm(v, self.weight_t, out=self.ys[t])
            return self.given(t)
        torch.addmm(self.consts[t], v, self.weight_t, out=self.ys[t])
        return self._end(t)

    def given(self, t: int) -> Tensor:
        """One step where W v is in the buffer already, with the bias if there is one."""
        if self.moving:
            _shared(self.ys[t], self.consts[t]).add_(self.consts[t])
        return self._end(t)

    def _end(self, t: int) -> Tensor:
        y, out = self.ys[t], self.outs[t]
        if self.layer.act:
            self.layer.act.apply(y)
        if self.pluses:
            plus = self.pluses[t]
            torch.add(_shared(y, plus), plus, out=_shared(out, plus))
        return out

    def ready(self, grad: Tensor | None = None) -> None:
        """For the way back, with the buffer for the gradients before the activation, if it is not to be its own."""
        act = self.layer.act
        self.grad = torch.empty_like(self.y) if grad is None else grad
        self.of_out = self.grad if act is None or self.layer.plus is None else torch.empty_like(self.out)
        self.grads, self.of_outs = self.grad.unbind(), self.of_out.unbind()
        self.slopes = act.slope(self.y).unbind() if act else ()

    def back(self, t: int, after: DenseStep) -> None:
        """Carry the gradient from before the next layer's activation to before this layer's."""
        grad = torch.mm(after.grads[t], after.layer.weight, out=self.of_outs[t])
        if self.slopes:
            torch.mul(grad, self.slopes[t], out=self.grads[t])

    def of_fed(self) -> list[Tensor]:
        """Gradients of `layer.fed`, once all steps have theirs."""
        before = [self.grad] * self.moving + [self.of_out] * bool(self.pluses)
        found = []
        for part, grad in zip(self.layer.fed, before, strict=True):
            of_part = over_particles(grad, part.shape[1])
            if len(of_part) < len(part):  # the last step has no transition
                of_part = torch.cat([of_part, of_part.new_zeros(len(part) - len(of_part), *of_part.shape[1:])])
            found.append(of_part)
        return found

    def of_parameters(self, v: Tensor) -> list[Tensor]:
        """Gradients of `layer.parameters`, from all inputs [T, N, in]."""
        return [product(self.grad, v), *([] if self.moving else [self.grad.sum((0, 1))]), *self.of_fed()]


def _shared(y: Tensor, part: Tensor) -> Tensor:
    """[K B, D] as [K, B, D], if `part` [B, D] is the same for K particles."""
    return y if y.shape == part.shape else y.unflatten(0, (-1, len(part)))


def over_particles(grad: Tensor, sequences: int) -> Tensor:
    """The sum over particles, [T, K B, D] -> [T, B, D]."""
    return grad if grad.shape[1] == sequences else grad.unflatten(1, (-1, sequences)).sum(1)
