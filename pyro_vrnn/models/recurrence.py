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

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions.utils import _standard_normal
from torch.nn import functional as F

from pyro_vrnn.cells import CELLS, product
from pyro_vrnn.models.base import Inference
from pyro_vrnn.models.blocks import DenseStep, Layer, feed
from pyro_vrnn.networks import Cell, State


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
        residual: from the state to the prior's [loc_t, raw_t], whose loc_t is added to the posterior's (SRNN's Res_q).

    Returns:
        The draw, its `states` being those of the cell, or z before each step; with the prior of a residual.
    """
    stacks = [posterior, residual] if residual else [posterior]
    readers = [stack[0].weight for stack in stacks]
    bias = start[0].new_zeros(sum(map(len, readers)))
    gates: Layer | None = None
    if transition is not None:
        rnn = transition.cell.rnn
        order = CELLS[rnn.mode].order
        readers.append(order(rnn.weight_hh_l0))
        bias = torch.cat([bias, order(rnn.bias_hh_l0)])
        gates = feed(Layer(rnn.weight_ih_l0, rnn.bias_ih_l0), transition.fed, first=True)
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
    p_z = None
    if residual:
        prior, spread = states.pop(0).chunk(2, dim=-1)
        p_z = dist.Normal(prior, F.softplus(spread) + floor, validate_args=False).to_event(1)
    q_z = dist.Normal(loc, scale, validate_args=False).to_event(1)
    return Inference(z.movedim(0, -2), q_z, tuple(states), p_z)


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


class _Loop:
    """One run forward, and one back.

    Args:
        joint: weights of all that reads the state, one below the other: each stack's first layer, then the cell's own.
        bias: of that product.
        stacks: the posterior's layers, and those of the prior if its mean is added to the posterior's.
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
        """From the first state [N, ·] to z, loc, scale, a residual prior's [loc, raw] and the states before each step.

        With `keep`, buffers are kept for the way back.
        """
        (T, N, Z), empty = self.eps.shape, self.eps.new_empty
        kept, moves = (T, T - 1) if keep else (1, 1)
        self.loc, self.scale = empty(T, N, Z), empty(T, N, Z)
        self.prior = [empty(T, N, 2 * Z) for _ in self.stacks[1:]]
        self.states = [part.new_empty(T if self.kind else T + 1, *part.shape) for part in start]
        for part, first in zip(self.states, start, strict=True):
            part[0] = first
        self.z = empty(T, N, Z) if self.kind else self.states[0][1:]
        self.read = empty(kept, N, len(self.joint))
        self.work = [[DenseStep(layer, T, N, kept) for layer in stack] for stack in self.stacks]
        self.moving = [DenseStep(layer, T - 1, N, moves) for layer in self.transition]
        width, cuts = start[0].shape[-1], [stack[0].const.shape[-1] for stack in self.stacks]
        self.firsts = sum(cuts)
        self.cell = CELLS[self.kind](self.read[..., self.firsts :], self.states, width, moves) if self.kind else None
        cuts.append(len(self.joint) - self.firsts)
        joint_t = self.joint.t()
        for t in range(T):
            *firsts, own = torch.addmm(self.bias, self.states[0][t], joint_t, out=self.read[t % kept]).split(cuts, 1)
            raw = self._through(self.work[0], t, firsts[0])
            loc, spread = raw.chunk(2, dim=-1)
            if len(firsts) > 1:
                prior = self._through(self.work[1], t, firsts[1])
                self.prior[0][t] = prior
                torch.add(loc, prior[:, :Z], out=self.loc[t])
            else:
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
            *self.prior,
            *(part[:T] for part in self.states),
        )

    @staticmethod
    def _through(stack: Sequence[DenseStep], t: int, product: Tensor) -> Tensor:
        v = stack[0].given(t, product)
        for layer in stack[1:]:
            v = layer.step(t, v)
        return v

    def back(self, z: Tensor, loc: Tensor, scale: Tensor, *rest: Tensor) -> list[Tensor]:
        """Gradients of all that `run` returned, to those of the start's parts and of `weights`."""
        T, N, Z = self.eps.shape
        of_prior, states = rest[: len(self.prior)], rest[len(self.prior) :]
        tail = self.cell.tail * states[0].shape[-1] if self.cell else 0
        grads = self.read.new_empty(T, N, len(self.joint) + tail)
        reads, given = grads[..., : len(self.joint)], grads[..., self.firsts + tail :]
        for stack in self.work:
            for n, layer in enumerate(stack):
                layer.ready(own=n > 0)  # those of the first layers are in `grads`
        for layer in self.moving:
            layer.ready(own=True)
        if self.cell:
            grads[T - 1, :, self.firsts :] = 0.0  # after the last step there is no transition
            self.cell.ready(grads[..., self.firsts :])
        spread = torch.sigmoid(self.work[0][-1].y[..., Z:])
        of_raw, by_eps = self.work[0][-1].y.new_empty(N, 2 * Z), spread * self.eps
        scale = scale * spread
        after: list[Tensor] = []
        for t in reversed(range(T)):
            into = [part[t] for part in states]
            z_t = z[t]
            if self.cell and after:
                straight = self.cell.back(t, after)
                v = given[t]
                for layer in reversed(self.moving):
                    v = layer.back(t, v)
                z_t = z_t + v
                into = [a + b for a, b in zip(into, straight, strict=True)]
            elif after:
                z_t = z_t + after[0]
            of_loc = torch.add(loc[t], z_t, out=of_raw[:, :Z])
            torch.addcmul(scale[t], z_t, by_eps[t], out=of_raw[:, Z:])
            ends = [of_raw]
            for prior in of_prior:
                ends.append(prior[t].clone())
                ends[1][:, :Z] += of_loc
            at = 0
            for stack, v in zip(self.work, ends, strict=True):
                for layer in reversed(stack[1:]):
                    v = layer.back(t, v)
                first = grads[t, :, at : at + stack[0].y.shape[-1]]
                stack[0].layer.act.back(v, stack[0].ys[t], first)
                at += first.shape[-1]
            after = [torch.addmm(into[0], reads[t], self.joint), *into[1:]]
        found = [*after, product(reads, self.states[0][:T]), reads.sum((0, 1))]
        at = 0
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
