"""SIXO: the particle filter's bound with a twist, which is learned by telling futures apart.

Lawson, Raventos, Warrington & Linderman (2022, arXiv:2206.05952). The weight of step t is

    p(z_t | state_{t-1}) p(x_t | ·) / q(z_t | ·) * r(state_t, x_{t+1:T}) / r(state_{t-1}, x_{t:T}),   r_0 = r_T = 1

and the product of the mean weights is an unbiased estimate of p(x) for every r (programs/particle_filter.py). The best
r is p(x_{t+1:T} | state_t) up to a factor of x, which is a ratio of densities (SIXO-DRE):

    r = p(state_t, x_{t+1:T}) / (p(state_t) p(x_{t+1:T}))

So r is learned as a classifier's odds, on sequences that are drawn from the model itself: a state with its own future
is from above the line, with another sequence's future from below it.

    loss = mean over t < T of softplus(-log r(state_t, own future)) + softplus(log r(state_t, another's future))

Model and guide are trained by the bound, in which r is fixed and the choice of ancestors has no gradient (as in FIVO);
the twist by this loss alone. The bound's own gradient for r (SIXO-u) needs the score of the choice of ancestors, whose
variance is large; without that score it points the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.objectives.estimators import Estimator
from pyro_vrnn.objectives.fivo import Filter
from pyro_vrnn.programs.markov import register
from pyro_vrnn.programs.particle_filter import Filtered, Lookahead, Resampling, particle_filter
from pyro_vrnn.programs.twist import Twist, add_twist, dream, future, lookahead, twist_of
from pyro_vrnn.programs.weights import Side
from pyro_vrnn.system.errors import ConfigError, at_least


@contextmanager
def without_dropout(net: nn.Module) -> Iterator[None]:
    """The network in evaluation mode, and afterwards as it was."""
    training = net.training
    net.eval()
    try:
        yield
    finally:
        net.train(training)


def density_ratio(net: SequenceModel, twist: Twist, batch: Batch) -> Tensor:
    """The classifier's loss on sequences drawn from the model, nats per step; 2 log 2 where r is 1.

    Args:
        net: the model.
        twist: its own.
        batch: says how many, and how long. With a single step there is no future to tell apart: 0.
    """
    with without_dropout(net):
        drawn, states = dream(net, batch)  # [T, B, ·]
    b = future(net, twist, drawn)[:-1]  # [T - 1, B, H]; r_T is 1
    states = tuple(part[:-1] for part in states)
    own, others = twist(states, b), twist(states, b.roll(1, dims=1))  # [T - 1, B]
    return (softplus(-own) + softplus(others)).sum() / max(1, own.numel())


class Twisted(Estimator):
    """SIXO: minus the twisted filter's log-evidence; the twist's gradient is the classifier's.

    The value is the bound's alone, to be compared with FIVO's.
    """

    keeps_terms = True

    def __init__(
        self, net: SequenceModel, twist: Twist, particles: int, threshold: float, resampling: Resampling
    ) -> None:
        super().__init__(particles)
        self.net, self.twist, self.threshold, self.resampling = net, twist, threshold, resampling

    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """The filter runs the network's arrows itself: `model` and `guide` say one whole path, with no choice in it."""
        register(self.net)
        found = self.filtered(batch)
        self.terms = parts(found)
        ratio = batch.scored_steps * density_ratio(self.net, self.twist, batch)
        return ratio - ratio.detach() - found.log_evidence.sum()

    def filtered(self, batch: Batch) -> Filtered:
        """What the twisted filter says of a batch."""
        return particle_filter(
            self.net,
            batch,
            self.num_particles,
            threshold=self.threshold,
            resampling=self.resampling,
            twist=lookahead(self.net, self.twist, batch, fixed=True),
        )


class TwistAlone(Estimator):
    """The classifier's loss alone, nats per step times the steps of the batch: a twist for a model that stays as it is.

    NLL and KL are the twisted filter's, which runs where they are asked for: it would be most of an update.
    """

    keeps_terms = True

    def __init__(self, bound: Twisted) -> None:
        super().__init__(bound.num_particles)
        self.bound = bound

    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """Neither `model` nor `guide` is run."""
        register(self.bound.twist)
        self.terms = partial(self.measured, batch)
        return batch.scored_steps * density_ratio(self.bound.net, self.bound.twist, batch)

    @torch.no_grad()
    def measured(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """NLL and KL of a batch; the random numbers of the training are left as they were. [B], [B]."""
        devices = [batch.lengths.device] if batch.lengths.is_cuda else []
        with torch.random.fork_rng(devices=devices), without_dropout(self.bound.net):
            return parts(self.bound.filtered(batch))


def parts(found: Filtered) -> tuple[Tensor, Tensor]:
    """NLL and KL, whose sum is minus the bound. [B], [B]."""
    kl = found.kl.sum(0)
    return -found.log_evidence.detach() - kl, kl


@dataclass(frozen=True, kw_only=True)
class SixoObjective(Filter):
    """The particle filter's bound with a learned lookahead (a twist): particles are kept that suit what is to come."""

    name: Literal["sixo"] = "sixo"
    twist_dim: int = 128
    """Width of the twist's recurrent network and of its two hidden layers."""
    twist_only: bool = False
    """Whether model and guide stay as they are, as `--init-from` gives them, and the twist alone learns. The loss of
    training is then the classifier's, 2 log 2 nats per step at first; NLL, KL and what is validated are the bound's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("objective.twist_dim", self.twist_dim, 1)

    def loss(self, net: SequenceModel) -> Twisted | TwistAlone:
        """`Twisted`: Pyro has no such ELBO; or the classifier's loss, if the twist alone learns."""
        bound = Twisted(net, self._twist(net), self.particles, self.threshold, self.resampling)
        return TwistAlone(bound) if self.twist_only else bound

    @property
    def graph_refusal(self) -> str:
        """Sequences are drawn from the model in every update, and not all likelihoods can do that in a graph."""
        return "objective.name=sixo"

    def equip(self, net: SequenceModel) -> None:
        """Give the network its twist."""
        add_twist(net, self.twist_dim)

    def learner(self, net: SequenceModel) -> nn.Module:
        """The whole network, or its twist alone."""
        return self._twist(net) if self.twist_only else net

    def drawn(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """See Objective: the loss of a twist alone is a classifier's, on another scale."""
        return [{k: v for k, v in row.items() if k != "loss" or not self.twist_only} for row in rows]

    def check(self, net: SequenceModel) -> None:
        """ConfigError unless it has a z for every step, and a twist."""
        self._twist(net)

    def twist(self, net: SequenceModel) -> Callable[[Batch], Lookahead]:
        """The network's own."""
        return partial(lookahead, net, self._twist(net))

    def _twist(self, net: SequenceModel) -> Twist:
        if not (net.per_step and net.latent_dim):
            raise ConfigError(
                "objective 'sixo': the model has no z for every step, so no particle's future differs from another's",
                "use --objective iwae, or a model such as dmm, srnn, storn or vrnn",
            )
        if (found := twist_of(net)) is None:
            raise ConfigError(
                "objective 'sixo': this run has no twist, which is what looks ahead",
                "train one on it first: pyro-vrnn train --init-from RUN --objective sixo --particles 16 "
                "--set objective.twist_only=true; then evaluate that run",
            )
        return found
