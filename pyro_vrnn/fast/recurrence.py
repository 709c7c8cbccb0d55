"""The guide's loop over time with a backward pass of its own: what feeds back runs step by step, nothing else does.

Autograd would record some twenty small operations a step and multiply out each weight's gradient at every step. Here a
step writes into [T, N, ·] buffers, the backward loop carries gradients through the state alone, and each weight's
gradient is one product over all steps at the end. Same draws and numbers as `models.loop.Loop.infer`
(tests/fast/test_recurrence.py: gradcheck, and comparison), which stays the readable version and runs wherever a network
has no fast form.

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

from pyro_vrnn.fast.blocks import DenseStep, Layer, feed
from pyro_vrnn.models.cells import CELLS, by_step, product
from pyro_vrnn.models.loop import Inference
from pyro_vrnn.models.networks import Cell, State


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
    biases = [start[0].new_zeros(len(w)) if c.dim() > 1 else c for w, c in ((s[0].weight, s[0].const) for s in stacks)]
    gates: Layer | None = None
    if transition is not None:
        rnn = transition.cell.rnn
        order = CELLS[rnn.mode].order
        readers.append(order(rnn.weight_hh_l0))
        biases.append(order(rnn.bias_hh_l0))
        gates = feed(Layer(rnn.weight_ih_l0, rnn.bias_ih_l0), transition.fed, first=True)
    loop = _Loop(
        joint=torch.cat(readers),
        bias=torch.cat(biases),
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
        ctx.save_for_backward(*tensors)  # which the loop has too: so that autograd knows if one is changed meanwhile
        return loop.run(tensors[: loop.parts], keep=True)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of z, loc, scale and the states, carried back to the inputs."""
        _ = ctx.saved_tensors  # an error, if one has changed
        return None, *ctx.loop.back(*grads)


class _Loop:
    """One run forward, and one back.

    Args:
        joint: weights of all that reads the state, one below the other: each stack's first layer, then the cell's own.
        bias: of that product; first layers' own are in it.
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
        assert all(layer.plus is None for layer in (*(stack[-1] for stack in stacks), *self.transition))
        self.eps, self.floor, self.parts = eps.flatten(1, -2), floor, parts
        self.weights = [joint, bias]
        for stack in stacks:
            self.weights += [*stack[0].fed, *(v for layer in stack[1:] for v in layer.parameters)]
        self.weights += [v for layer in self.transition for v in layer.parameters]

    def run(self, start: Sequence[Tensor], *, keep: bool) -> tuple[Tensor, ...]:
        """Run from the first state [N, ·]: z, loc, scale, a residual prior's [loc, raw], the states before each step.

        With `keep`, buffers are kept for the way back.
        """
        (T, N, Z), empty = self.eps.shape, self.eps.new_empty
        kept, moves = (T, T - 1) if keep else (1, 1)
        loc, scale = empty(T, N, Z), empty(T, N, Z)
        self.prior = [empty(T, N, 2 * Z) for _ in self.stacks[1:]]
        self.states = [part.new_empty(T if self.kind else T + 1, *part.shape) for part in start]
        for part, first in zip(self.states, start, strict=True):
            part[0] = first
        self.z = empty(T, N, Z) if self.kind else self.states[0][1:]
        read = empty(kept, N, len(self.joint))
        cuts = [len(stack[0].weight) for stack in self.stacks]
        *firsts, own = read.split([*cuts, len(self.joint) - sum(cuts)], dim=-1)
        self.work = [
            [DenseStep(first, T, N, kept, y), *(DenseStep(layer, T, N, kept) for layer in rest)]
            for (first, *rest), y in zip(self.stacks, firsts, strict=True)
        ]
        self.moving = [DenseStep(layer, T - 1, N, moves) for layer in self.transition]
        cell = self.cell = CELLS[self.kind](own, self.states, start[0].shape[-1], moves) if self.kind else None
        # Views of each step, made at once: to index a tensor takes as long as to add up a thousand numbers.
        h, reads, owns, eps, zs = (by_step(v, T) for v in (self.states[0], read, own, self.eps, self.z))
        raws = [by_step(v, T) for v in self.work[0][-1].y.split(Z, dim=-1)]
        locs, scales, priors = loc.unbind(), scale.unbind(), [by_step(v, T) for v in self.prior]
        of_prior = [by_step(v[..., :Z], T) for v in self.prior]
        joint_t = self.joint.t()
        for t in range(T):
            torch.addmm(self.bias, h[t], joint_t, out=reads[t])
            self._through(self.work[0], t)
            if priors:
                priors[0][t].copy_(self._through(self.work[1], t))
                torch.add(raws[0][t], of_prior[0][t], out=locs[t])
            else:
                locs[t].copy_(raws[0][t])
            torch.add(F.softplus(raws[1][t]), self.floor, out=scales[t])
            v = torch.addcmul(locs[t], scales[t], eps[t], out=zs[t])
            if cell and t < T - 1:
                for layer in self.moving:
                    v = layer.step(t, v)
                cell.step(t, v, owns[t])
        # Views of what the loop holds: the same tensors would hold the loop, by their gradients, in a cycle.
        out = [part.view_as(part) for part in self.prior]
        return self.z.view_as(self.z), loc, scale, *out, *(part[:T] for part in self.states)

    @staticmethod
    def _through(stack: Sequence[DenseStep], t: int) -> Tensor:
        v = stack[0].given(t)
        for layer in stack[1:]:
            v = layer.step(t, v)
        return v

    def back(self, z: Tensor, loc: Tensor, scale: Tensor, *rest: Tensor) -> list[Tensor]:
        """Gradients of all that `run` returned, to those of the start's parts and of `weights`."""
        T, N, Z = self.eps.shape
        of_prior = [part.unbind() for part in rest[: len(self.prior)]]
        states = [part.unbind() for part in rest[len(self.prior) :]]
        cell = self.cell
        tail = cell.tail * self.states[0].shape[-1] if cell else 0
        grads = z.new_empty(T, N, len(self.joint) + tail)
        at = 0
        for stack in self.work:
            width = stack[0].y.shape[-1]
            stack[0].ready(grads[..., at : at + width])
            for layer in stack[1:]:
                layer.ready()
            at += width
        for layer in self.moving[:-1]:
            layer.ready()
        if cell:
            grads[T - 1, :, at:] = 0.0  # after the last step there is no transition
            cell.ready(grads[..., at:])
            self.moving[-1].ready(grads[: T - 1, :, at + tail :])  # the gates, linear as the heads are
        reads, heads = grads[..., : len(self.joint)].unbind(), [stack[-1].grad for stack in self.work]
        down = [pair for stack in self.work for pair in reversed([*pairwise(stack)])]
        from_gates = [*reversed([*pairwise(self.moving)])]
        of_locs, of_spreads = [v.unbind() for v in heads[0].split(Z, dim=-1)]
        prior_heads = [(head.unbind(), head[..., :Z].unbind()) for head in heads[1:]]
        slope = torch.sigmoid(self.work[0][-1].y[..., Z:])
        by_eps, scales = (slope * self.eps).unbind(), (scale * slope).unbind()
        zs, locs = z.unbind(), loc.unbind()
        after: list[Tensor] = []
        for t in reversed(range(T)):
            into, z_t = [part[t] for part in states], zs[t]
            if cell and after:
                into = cell.back(t, after, into)
                for layer, next_layer in from_gates:
                    layer.back(t, next_layer)
                z_t = torch.addmm(z_t, self.moving[0].grads[t], self.moving[0].layer.weight)
            elif after:
                z_t = z_t + after[0]
            torch.add(locs[t], z_t, out=of_locs[t])
            torch.addcmul(scales[t], z_t, by_eps[t], out=of_spreads[t])
            for part, (whole, its_loc) in zip(of_prior, prior_heads, strict=True):
                whole[t].copy_(part[t])
                its_loc[t].add_(of_locs[t])
            for layer, next_layer in down:
                layer.back(t, next_layer)
            after = [torch.addmm(into[0], reads[t], self.joint), *into[1:]]
        read = grads[..., : len(self.joint)]
        found = [*after, product(read, self.states[0][:T]), read.sum((0, 1))]
        for stack in self.work:
            found += stack[0].of_fed()
            for before, layer in pairwise(stack):
                found += layer.of_parameters(before.out)
        v = self.z[: T - 1]
        for layer in self.moving:
            found += layer.of_parameters(v)
            v = layer.out
        return found
