"""The fast pair: two sites in all, `z` [..., B | T, Z] and `x` [..., B | T, X]; time is an event dim.

The guide's draw runs the one loop that must run: sample z_t, step the state. All that does not feed back into
it (features, prior, emission, their log-probabilities, the KL) is one batched call over the T steps, and the
model reuses the states that the guide's loop went through. Same losses and gradients as markov.py, by test.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import pyro
import torch
from pyro.distributions import Distribution, TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.kl import register_kl

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.fast import loop_of
from pyro_vrnn.models.base import SequenceModel, over_particles
from pyro_vrnn.models.latents import kl_by_unit
from pyro_vrnn.models.networks import State
from pyro_vrnn.models.precision import exact, full
from pyro_vrnn.programs.markov import annealed, memory, register, seen_by_guide


class StackedSteps(TorchDistribution):
    """The factors of T steps as one distribution over [..., B | T, D].

    Args:
        steps: value [..., B, T, D] -> the distributions of all its steps at once, [T, ..., B | D].
        alive: [T, B]; steps that a sequence does not have count for nothing.
        draw: batch shape -> value [..., B, T, D]; the guide's site only.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012  (torch's own attribute)
    support = constraints.independent(constraints.real, 2)
    has_rsample = True

    def __init__(
        self,
        steps: Callable[[Tensor], Distribution],
        alive: Tensor,
        batch_shape: torch.Size,
        event_shape: torch.Size,
        draw: Callable[[torch.Size], Tensor] | None = None,
        drawn: list[Tensor] | None = None,
    ) -> None:
        self.steps, self.alive, self.draw = steps, alive, draw
        self.drawn: list[Tensor] = [] if drawn is None else drawn  # the value, shared with expanded copies
        super().__init__(batch_shape, event_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> StackedSteps:
        """What plates call: a particle plate makes the batch shape [K, B]."""
        shape = torch.Size(batch_shape)
        return StackedSteps(self.steps, self.alive, shape, self.event_shape, self.draw, self.drawn)

    def rsample(self, sample_shape: torch.Size = torch.Size()) -> Tensor:  # noqa: B008
        """One draw of the whole path, [..., B, T, D]."""
        assert self.draw is not None, "only the guide's site is drawn; x is drawn by programs/markov.py"
        self.drawn[:] = [self.draw(torch.Size(sample_shape) + self.batch_shape)]
        return self.drawn[0]

    def log_prob_by_step(self, value: Tensor) -> Tensor:
        """[..., B, T, D] -> [T, ..., B], zero where a sequence has ended."""
        missing = len(self.batch_shape) + 2 - value.dim()  # an observed x has no particle dim
        v = value.reshape(*(1,) * missing, *value.shape).movedim(-2, 0)
        return self.where_alive(self.steps(value).log_prob(v))

    def log_prob(self, value: Tensor) -> Tensor:
        """[..., B, T, D] -> [..., B]: the sum over each sequence's own steps."""
        return self.log_prob_by_step(value).sum(0).expand(self.batch_shape)

    def where_alive(self, terms: Tensor) -> Tensor:
        """Terms [T, ..., B] with those of the padding zeroed."""
        alive = self.alive.reshape(len(self.alive), *(1,) * (terms.dim() - 2), -1)
        return torch.where(alive, terms, torch.zeros_like(terms))


def kl_by_step(q: StackedSteps, p: StackedSteps) -> Tensor:
    """KL(q(z_t | ·) || p(z_t | ·)) of each step along the path that q drew. [T, ..., B]."""
    (value,) = q.drawn
    z = value.movedim(-2, 0)
    return q.where_alive(kl_by_unit(q.steps(value), p.steps(value), z).sum(-1))


@register_kl(StackedSteps, StackedSteps)
def _kl(q: StackedSteps, p: StackedSteps) -> Tensor:
    """What TraceMeanField_ELBO asks for: [..., B]."""
    return kl_by_step(q, p).sum(0).expand(q.batch_shape)


class Path:
    """What the model and the guide say along one path z of one batch; each is computed at most once.

    Args:
        z: [..., B, T, Z].
        states: the states before each step, [T, ..., B, ·], if a loop has computed them already.
        q_z: the posteriors of the steps, [T, ..., B | Z], likewise.
        p_z: the priors, likewise.
    """

    def __init__(
        self,
        net: SequenceModel,
        batch: Batch,
        z: Tensor,
        states: State | None = None,
        q_z: Distribution | None = None,
        p_z: Distribution | None = None,
    ) -> None:
        self.net, self.batch, self.z = net, batch, z
        if states is not None:
            self.states = states
        if q_z is not None:
            self.q_z = q_z
        if p_z is not None:
            self.p_z = p_z
        self.made_by = _fingerprint(net)

    def serves(self, batch: Batch, z: Tensor) -> bool:
        """Whether it is about this very z, with these very parameters, unchanged since."""
        if self.z is not z or self.batch is not batch:
            return False
        now = _fingerprint(self.net)
        return len(now) == len(self.made_by) and all(
            a is c and b == d for (a, b), (c, d) in zip(now, self.made_by, strict=True)
        )

    @cached_property
    def features(self) -> Tensor:
        """[T, B, F]."""
        return self.net.features(self.batch.read)

    @cached_property
    def states(self) -> State:
        """The states before each step, each part [T, ..., B, ·]."""
        return loop_of(self.net).states(self.features, self.z.movedim(-2, 0), self.net.begin(self.batch))

    @cached_property
    def p_z(self) -> Distribution:
        """[T, ..., B | Z]."""
        return self.net.p_z(self.states)

    @cached_property
    def q_z(self) -> Distribution:
        """[T, ..., B | Z]."""
        e = self.net.encode(self.batch, seen_by_guide(self.net, self.batch, self.features))  # [T, B, E]
        return self.net.q_z(self.states, over_particles(e, self.z.movedim(-2, 0)))

    @cached_property
    def p_x(self) -> Distribution:
        """[T, ..., B | X]. After the prior: dropout draws its masks in this order, whichever is asked for first."""
        _ = self.p_z
        return self.net.p_x(self.states, self.z.movedim(-2, 0))

    @property
    def of_observed(self) -> Distribution:
        """p_x of the entries that were observed."""
        if self.batch.observed is None:
            return self.p_x
        lead = (1,) * (len(self.p_x.batch_shape) - 2)
        mask = self.batch.observed
        return self.net.likelihood.observed(self.p_x, mask.reshape(len(mask), *lead, *mask.shape[1:]))


def _fingerprint(net: SequenceModel) -> list[tuple[Any, int]]:
    """Parameters with their versions, and what else decides what a pass computes: gradients on, training."""
    flags = [(torch.is_grad_enabled(), 0), (net.training, 0)]
    return flags + [(p, p._version) for p in net.parameters()]


class Stacked:
    """The pair of a model. It scores whole sequences; drawing x is the markov program's."""

    def __init__(self, net: SequenceModel) -> None:
        self.net = net
        self._path: Path | None = None

    def model(self, batch: Batch, beta: float | Tensor = 1.0) -> None:
        """p(x, z), all of x given: sites z and x."""
        register(self.net)
        x = batch.x
        assert x is not None, "the stacked model scores x; drawing it is programs/markov.py's"
        assert len(x) == batch.steps, "the stacked model scores whole sequences"
        size = torch.Size([batch.size])
        z_shape = torch.Size([batch.steps, self.net.latent_dim])
        with pyro.plate("sequences", batch.size, dim=-1):
            with annealed(beta):
                p_z = StackedSteps(lambda z: self.path(batch, z).p_z, batch.alive, size, z_shape)
                z = pyro.sample("z", p_z)  # [..., B, T, Z]
            p_x = StackedSteps(lambda _: self.path(batch, z).of_observed, batch.scored, size, x.shape[::2])
            pyro.sample("x", p_x, obs=x.movedim(0, 1))  # [B, T, X]

    def guide(self, batch: Batch, beta: float | Tensor = 1.0) -> None:
        """q(z | x): the site z."""
        register(self.net)
        size = torch.Size([batch.size])
        z_shape = torch.Size([batch.steps, self.net.latent_dim])
        q_z = StackedSteps(
            lambda z: self.path(batch, z).q_z,
            batch.alive,
            size,
            z_shape,
            lambda shape: self._draw(batch, shape),
        )
        with pyro.plate("sequences", batch.size, dim=-1), annealed(beta):
            pyro.sample("z", q_z)  # [..., B, T, Z]

    def path(self, batch: Batch, z: Tensor) -> Path:
        """The one path at hand if it is about this z, else a new one: states are a function of (x, z)."""
        if self._path is None or not self._path.serves(batch, z):
            self._path = Path(self.net, batch, z)
        return self._path

    def forget(self) -> None:
        """Let go of the path at hand, and of what its gradients needed."""
        self._path = None

    def carry(self, batch: Batch) -> tuple[State, State]:
        """What the next piece starts from, after the guide ran on this one."""
        path = self._path
        assert path is not None, "run the guide first"
        assert path.batch is batch, "the guide ran on another batch last"
        with torch.no_grad():
            state = loop_of(self.net).after(
                full(path.features), path.z.movedim(-2, 0), path.states, self.net.begin(batch)
            )
        return memory(self.net, batch, state)

    def _draw(self, batch: Batch, shape: torch.Size) -> Tensor:
        """Run the model's own loop once; leave its path for the model's pass. [..., B, T, Z]."""
        self._path = None  # the last one's memory is free for this one
        features = self.net.features(batch.read)  # [T, B, F]
        e = self.net.encode(batch, seen_by_guide(self.net, batch, features))  # [T, B, E]
        with exact(features):
            drawn = loop_of(self.net).infer(full(features), full(e), self.net.begin(batch), shape)
        self._path = Path(self.net, batch, drawn.z, drawn.states, drawn.q_z, drawn.p_z)
        return drawn.z
