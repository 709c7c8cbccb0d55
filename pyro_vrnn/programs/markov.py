"""The reference pair: one `pyro.sample` per z_t and x_t in a `pyro.markov` loop. What one reads, traces, inspects.

p(x, z) = prod_t p(z_t | state_{t-1}) p(x_t | state_{t-1}, z_t);  q(z | x) = prod_t q(z_t | state_{t-1}, e_t)
Shapes: B sequences, T steps; a leading particle dim K comes from the objective's own plate.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch
from pyro import poutine
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch, marked
from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.models.networks import State


@contextmanager
def annealed(beta: float | Tensor) -> Iterator[None]:
    """Weight log p(z) and log q(z) by beta in (0, 1]: both programs enter it on both sides, or the KL is wrong."""
    with poutine.scale(scale=beta):
        yield


def register(net: nn.Module) -> None:
    """`pyro.module` under one name for both programs, so that SVI finds the parameters.

    Raises:
        RuntimeError: the param store holds another network under this name. Pyro would then put that one's
            parameters into ours, and SVI would train nothing, without a word.
    """
    store = pyro.get_param_store()
    name, first = next(net.named_parameters())
    if f"net$$${name}" in store and store[f"net$$${name}"].unconstrained() is not first:
        raise RuntimeError(
            "the Pyro param store holds another network: run each under `with pyro.get_param_store().scope():`"
        )
    pyro.module("net", net)


def seen_by_guide(net: SequenceModel, batch: Batch, features: Tensor) -> Tensor:
    """Features of x itself, whatever the transition reads. `features` are of `batch.read`. [T, B, F]."""
    if batch.seen is None or batch.x is None:
        return features
    return net.features(batch.shown)


@torch.no_grad()
def memory(net: SequenceModel, batch: Batch, state: State) -> tuple[State, State]:
    """A batch's `memory` for the steps that follow it: no gradient goes back through it.

    Args:
        net: the model.
        batch: the steps before.
        state: after its last step, each part [..., B, ·]; of several particles the first one continues.
    """
    first = tuple(part.reshape(-1, *part.shape[-2:])[0].detach() for part in state)
    own = net.remember(batch, seen_by_guide(net, batch, net.features(batch.read)))
    return first, tuple(part.detach() for part in own)


class Markov:
    """The pair of a model. `model` scores what the batch has of x and draws the rest; `guide` draws z given x."""

    def __init__(self, net: SequenceModel) -> None:
        self.net = net
        self._after: tuple[Batch, State] | None = None

    def model(self, batch: Batch, beta: float | Tensor = 1.0, temperature: float = 1.0) -> Tensor:
        """p(x, z): sites z_1, x_1, …, z_T, x_T.

        Args:
            batch: its x may be absent or shorter than its lengths; the steps it lacks are drawn.
            beta: KL weight; 1 for everything that is reported.
            temperature: of the drawn x_t (see models/likelihoods/); scored steps are never tempered.

        Returns:
            x, [T, ..., B, X].
        """
        register(self.net)
        given = 0 if batch.x is None else len(batch.x)
        state, path = self.net.begin(batch), []
        with pyro.plate("sequences", batch.size, dim=-1):
            # markov claims a history of 1, yet the state carries all of the past: right for estimators that
            # sample z, as ours do; wrong for enumeration, which we do not offer.
            for t in pyro.markov(range(1, batch.steps + 1)):
                with poutine.mask(mask=batch.alive[t - 1]):  # [B]
                    with annealed(beta):
                        z_t = pyro.sample(f"z_{t}", self.net.p_z(state))  # [..., B, Z]
                    p_x = self.net.p_x(state, z_t)  # [..., B | X]
                    if batch.x is not None and t <= given:
                        if batch.observed is not None:
                            p_x = self.net.likelihood.observed(p_x, batch.observed[t - 1])
                        with poutine.mask(mask=batch.scored[t - 1]):
                            x_t = pyro.sample(f"x_{t}", p_x, obs=batch.x[t - 1])  # [B, X]
                    else:
                        if temperature != 1.0:
                            p_x = self.net.likelihood.temper(p_x, temperature)
                        x_t = pyro.sample(f"x_{t}", p_x)  # [..., B, X]
                read = x_t if batch.seen is None else batch.seen[t - 1]
                if batch.observed is not None and t <= given:
                    read = marked(read, batch.observed[t - 1])
                state = self.net.next(state, z_t, self.net.features(read))  # each [..., B, ·]
                path.append(x_t)
        return torch.stack(path)

    def guide(self, batch: Batch, beta: float | Tensor = 1.0) -> None:
        """q(z | x): sites z_1, …, z_T (as many as x has steps), drawn forward in time."""
        register(self.net)
        features = self.net.features(batch.read)  # [T, B, F]
        e = self.net.encode(batch.shortened(len(features)), seen_by_guide(self.net, batch, features))  # [T, B, E]
        state, read, seen = self.net.begin(batch), features.unbind(), e.unbind()
        with pyro.plate("sequences", batch.size, dim=-1):
            for t in pyro.markov(range(1, len(features) + 1)):
                with poutine.mask(mask=batch.alive[t - 1]), annealed(beta):
                    z_t = pyro.sample(f"z_{t}", self.net.q_z(state, seen[t - 1]))  # [..., B, Z]
                state = self.net.next(state, z_t, read[t - 1])  # each [..., B, ·]
        self._after = batch, state

    def forget(self) -> None:
        """Nothing is held: see stacked.py."""

    def carry(self, batch: Batch) -> tuple[State, State]:
        """What the next piece starts from, after the guide ran on this one."""
        assert self._after is not None, "run the guide first"
        assert self._after[0] is batch, "the guide ran on another batch last"
        return memory(self.net, batch, self._after[1])
