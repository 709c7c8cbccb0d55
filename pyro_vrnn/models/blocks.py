"""The dense layer of a loop with a backward pass of its own, a step at a time; cells.py has its recurrent cells.

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

from pyro_vrnn.cells import by_step, product
from pyro_vrnn.networks import MLP, ClippedLeakyReLU


@dataclass(frozen=True)
class Activation:
    """In place; and on the way back from (gradient, output) into a third tensor."""

    apply: Callable[[Tensor], Tensor]
    back: Callable[[Tensor, Tensor, Tensor], Tensor]


def _clipped(y: Tensor) -> Tensor:
    return F.leaky_relu_(y, 1 / 3).clamp_(-3.0, 3.0)


def _clipped_back(grad: Tensor, y: Tensor, out: Tensor) -> Tensor:
    return aten.hardtanh_backward(aten.leaky_relu_backward(grad, y, 1 / 3, True), y, -3.0, 3.0, grad_input=out)


aten = torch.ops.aten
LINEAR = Activation(lambda y: y, lambda grad, y, out: out.copy_(grad))
ACTIVATIONS: dict[type[nn.Module], Activation] = {
    nn.ReLU: Activation(torch.relu_, lambda grad, y, out: aten.threshold_backward(grad, y, 0, grad_input=out)),
    nn.Tanh: Activation(torch.tanh_, lambda grad, y, out: aten.tanh_backward(grad, y, grad_input=out)),
    ClippedLeakyReLU: Activation(_clipped, _clipped_back),
}


@dataclass(frozen=True)
class Layer:
    """y_t = act(W v_t + c_t) + e_t."""

    weight: Tensor
    const: Tensor
    act: Activation = LINEAR
    plus: Tensor | None = None
    """e, if there is one: [T, B, out]. Not of a head or a transition."""

    @property
    def constants(self) -> list[Tensor]:
        """What it takes beside the weight and v."""
        return [self.const] if self.plus is None else [self.const, self.plus]


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
    assert layer.plus is None
    if first:
        known, rest = layer.weight[:, : fed.shape[-1]], layer.weight[:, fed.shape[-1] :]
    else:
        known, rest = layer.weight[:, -fed.shape[-1] :], layer.weight[:, : -fed.shape[-1]]
    return Layer(rest, F.linear(fed, known, layer.const), layer.act)


class DenseStep:
    """A layer at work."""

    def __init__(self, layer: Layer, steps: int, rows: int, kept: int) -> None:
        self.layer = layer
        self.y = layer.const.new_empty(kept, rows, layer.const.shape[-1])
        self.ys = by_step(self.y, steps)
        moving = layer.const.dim() > 1
        self.consts = layer.const.unbind() if moving else (layer.const,) * steps
        self.particles = moving and layer.const.shape[1] != rows
        self.weight_t = layer.weight.t()
        self.out = self.y if layer.plus is None else torch.empty_like(self.y)
        self.outs = self.ys if layer.plus is None else by_step(self.out, steps)
        self.pluses = () if layer.plus is None else layer.plus.unbind()

    def step(self, t: int, v: Tensor) -> Tensor:
        """[N, in] -> [N, out]."""
        y, const = self.ys[t], self.consts[t]
        if self.particles:
            torch.mm(v, self.weight_t, out=y).view(-1, *const.shape).add_(const)
        else:
            torch.addmm(const, v, self.weight_t, out=y)
        return self._end(t)

    def given(self, t: int, product: Tensor) -> Tensor:
        """The same where W v is at hand, [N, out]."""
        y, const = self.ys[t], self.consts[t]
        if self.particles:
            shape = (-1, *const.shape)
            torch.add(product.unflatten(0, shape[:2]), const, out=y.view(shape))
        else:
            torch.add(product, const, out=y)
        return self._end(t)

    def _end(self, t: int) -> Tensor:
        y, out = self.layer.act.apply(self.ys[t]), self.outs[t]
        if self.pluses:
            shape = (-1, *self.pluses[t].shape)
            torch.add(y.view(shape), self.pluses[t], out=out.view(shape))
        return out

    def ready(self, grad: Tensor | None = None) -> None:
        """For the way back, with the buffer for the gradients before the activation, if it is not to be its own."""
        self.grad = torch.empty_like(self.y) if grad is None else grad
        self.grads = self.grad.unbind()
        self.of_out = torch.empty_like(self.y) if self.pluses else None
        self.of_outs = (None,) * len(self.y) if self.of_out is None else self.of_out.unbind()

    def back(self, t: int, after: DenseStep) -> None:
        """From the gradient before the next layer's activation to the one before this layer's."""
        grad = torch.mm(after.grads[t], after.layer.weight, out=self.of_outs[t])
        self.layer.act.back(grad, self.ys[t], self.grads[t])

    def of_constants(self) -> list[Tensor]:
        """Their gradients, once all steps have theirs."""
        const = self.layer.const
        if const.dim() == 1:
            found = self.grad.sum((0, 1))
        else:
            found = over_particles(self.grad, const.shape[1])
            if len(found) < len(const):  # the last step has no transition
                found = torch.cat([found, found.new_zeros(len(const) - len(found), *found.shape[1:])])
        if self.layer.plus is None or self.of_out is None:
            return [found]
        return [found, over_particles(self.of_out, self.layer.plus.shape[1])]

    def of_weights(self, v: Tensor) -> list[Tensor]:
        """Of the weight and the constants, from all inputs [T, N, in]."""
        return [product(self.grad, v), *self.of_constants()]


def over_particles(grad: Tensor, sequences: int) -> Tensor:
    """The sum over particles, [T, K B, D] -> [T, B, D]."""
    return grad if grad.shape[1] == sequences else grad.unflatten(1, (-1, sequences)).sum(1)
