"""An update that nothing waits for: loss, gradients, clipping, optimiser and average as tensors on the device.

EagerStep asks at every update whether the loss is finite, which stalls a GPU; here the answer stays on the
device. Where a number is not finite, that update and all that follow change nothing, until somebody asks.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.networks import State
from pyro_vrnn.models.precision import lowered
from pyro_vrnn.objectives.estimators import Estimator, own_terms
from pyro_vrnn.objectives.evaluation import Recorder
from pyro_vrnn.programs import Stacked
from pyro_vrnn.training.optimizer import TorchOptim


class Update:
    """Loss to new weights, as a function of a batch and of tensors that are set beforehand.

    Args:
        program: the pair, and its network.
        loss: an estimator that does not wait.
        optim: a fused optimiser with its learning rate as a tensor.
        average: running averages of the network's parameters, or nothing.
        carry: whether where model and guide stand afterwards is wanted.
        precision: of the networks.
    """

    def __init__(
        self,
        program: Stacked,
        loss: Estimator,
        optim: TorchOptim,
        average: dict[str, Tensor],
        *,
        carry: bool,
        precision: str,
    ) -> None:
        self.program, self.loss, self.optim, self.carry, self.precision = program, loss, optim, carry, precision
        device = optim.params[0].device
        self.beta, self.steps, self.keep = (torch.ones((), device=device) for _ in range(3))
        """The KL weight; the scored steps of the batch; the share of the average that is replaced."""
        self.bad, self.done = (torch.zeros((), device=device) for _ in range(2))
        """1 once a number was not finite; how many updates were made since `done` was last set to 0."""
        self.report = torch.zeros(4, device=device)
        """Of the last update, or of the first whose numbers were not finite: loss, NLL and KL, sums over the batch, and
        the gradient's norm before clipping."""
        names = dict(program.net.named_parameters())
        self.averages: list[Tensor] = list(average.values())
        self.averaged: list[Tensor] = [names[name] for name in average]

    def set(self, *, beta: float, steps: int, keep: float) -> None:
        """For the next update."""
        self.beta.fill_(beta)
        self.steps.fill_(steps)
        self.keep.fill_(keep)

    def loss_and_grads(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, NLL and KL, sums over the batch; fresh gradients."""
        for p in self.optim.params:
            p.grad = None
        seen = Recorder()
        with nullcontext() if self.loss.keeps_terms else seen, lowered(self.precision, self.beta.device):
            loss = self.loss.differentiable_loss(self.program.model, self.program.guide, batch, self.beta)
        loss.backward()
        nll, kl = seen.nll, seen.kl
        if (kept := own_terms(self.loss)) is not None:
            nll, kl = kept
        return loss.detach(), nll.sum(), kl.sum()

    def __call__(self, batch: Batch) -> tuple[State, State] | None:
        """One update; where model and guide stand after it, if that is wanted."""
        loss, nll, kl = self.loss_and_grads(batch)
        after = self.program.carry(batch) if self.carry else None
        self.program.forget()
        with torch.no_grad():
            grads: list[Tensor] = []
            for p in self.optim.params:
                if p.grad is None:  # not read by this batch
                    p.grad = torch.zeros_like(p)
                grads.append(p.grad)
            torch._foreach_div_(grads, self.steps)
            norm = clip_grad_norm_(self.optim.params, self.optim.clip_norm)
            finite = torch.isfinite(norm) & torch.isfinite(loss)
            before = self.bad.clone()
            self.bad.copy_(torch.where(finite, self.bad, torch.ones_like(self.bad)))
            self.done.add_(1 - self.bad)
            # A fused optimiser reads it on the device, and does nothing where it is 1 (torch's loss scaling uses it).
            self.optim.inner.found_inf = self.bad  # type: ignore[attr-defined]
            self.optim.inner.step()
            if self.averages:
                # Not torch._foreach_lerp_: with a tensor as its weight that would wait for it.
                way = torch._foreach_sub(self.averaged, self.averages)
                torch._foreach_mul_(way, self.keep * (1 - self.bad))
                torch._foreach_add_(self.averages, way)
            report = torch.stack([loss, nll, kl, norm]).to(self.report)
            self.report.copy_(torch.where(before > 0, self.report, report))
        for p in self.optim.params:
            p.grad = None
        return after
