"""The contract: a model is its arrows. programs/ turns them into model/guide pairs; nothing else loops over time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.latents import stack_steps
from pyro_vrnn.models.likelihoods import Likelihood
from pyro_vrnn.models.networks import Layers, State
from pyro_vrnn.system.errors import ConfigError, at_least


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Settings that all models have, `model.*`; a model's own Config adds its own."""

    name: str
    likelihood: str = "bernoulli"
    """The distribution of x_t (pyro_vrnn/likelihoods)."""
    hidden_dim: int = 128
    """Width of the recurrent state."""
    network_dims: tuple[int, ...] = (128,)
    """Widths of the hidden layers of each network."""
    dropout: float = 0.0
    """In training, in the networks that are evaluated once for a draw: not in those that model and guide both run."""
    norm: Literal["none", "layer", "batch"] = "none"
    """Normalisation in the networks; batch is refused, with the reason."""
    direct: bool = False
    """Whether each bit of x_t also reads the same bit of x_{t-1} directly (models/direct.py)."""

    def __post_init__(self) -> None:
        at_least("model.hidden_dim", self.hidden_dim, 1)
        if any(width < 1 for width in self.network_dims):
            raise ConfigError(f"model.network_dims={list(self.network_dims)}: widths must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"model.dropout={self.dropout}: must be in [0, 1)")
        if self.direct and self.likelihood != "bernoulli":
            raise ConfigError(
                f"model.direct with model.likelihood={self.likelihood!r}: direct connections are for independent bits",
                "add --set model.direct=false (a recipe may have set it); binary data can have --likelihood bernoulli",
            )
        if self.norm == "batch":
            raise ConfigError(
                "model.norm='batch': batch statistics mix time steps, sequences and particles, so p(x_t | past) would "
                "see the future and the bound would be none",
                "use model.norm=layer, which looks at one vector at a time",
            )

    def layers(self, activation: type[nn.Module] = nn.ReLU) -> Layers:
        """Hidden layers where the recurrence passes: no dropout."""
        return Layers(self.network_dims, activation=activation, norm=self.norm == "layer")

    def dropped(self, activation: type[nn.Module] = nn.ReLU) -> Layers:
        """The same off the recurrent path."""
        return replace(self.layers(activation), dropout=self.dropout)


@dataclass(frozen=True, kw_only=True)
class LatentConfig(ModelConfig):
    """The same with latent variables."""

    latent_dim: int = 32
    """Units of z."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.latent_dim", self.latent_dim, 1)


@dataclass(frozen=True)
class Inference:
    """One draw of the guide over all steps, and what was computed on the way."""

    z: Tensor  # [..., B, T, Z]
    q_z: Distribution  # [T, ..., B | Z]
    states: State  # before each step, each part [T, ..., B, ·]
    p_z: Distribution | None = None  # [T, ..., B | Z], where the loop needed it


class SequenceModel(nn.Module, ABC):
    """p(x, z) and q(z | x) over sequences, as one method per arrow of the graph.

    Every arrow takes any number of leading dims: `...` is nothing, a batch, particles x batch, or
    time x batch. A distribution's batch dims end in B and its event dim is [Z] or [X]. Every concrete model
    is final.
    """

    Config: ClassVar[type[Any]]
    """A frozen dataclass of this model's own settings (see config.py)."""
    likelihood: Likelihood
    latent_dim: int
    """Z; 0 for a model without latent variables, whose bounds are all its exact likelihood."""
    per_step: ClassVar[bool] = True
    """Whether there is a z_t for every step; else z_1 is about the whole sequence, which has no pieces then."""

    @abstractmethod
    def start(self, size: int) -> State:
        """The state before t = 1, each part [size, ·]."""

    @abstractmethod
    def features(self, x: Tensor) -> Tensor:
        """What `next` and `encode` read of x_t; of x_t alone, so all T at once. [..., X] -> [..., F]."""

    @abstractmethod
    def p_z(self, state: State) -> Distribution:
        """Prior of z_t given the state before t. [..., B | Z]."""

    @abstractmethod
    def p_x(self, state: State, z: Tensor) -> Distribution:
        """Emission of x_t given the state before t and z_t. [..., B | X]."""

    @abstractmethod
    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """The deterministic transition: the state after t, from z_t and features(x_t)."""

    @abstractmethod
    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """What the guide knows of x at each t, from features(x) [T, B, F]. [T, B, E].

        A network of its own that runs forward in time starts where `batch.memory` says.
        """

    @abstractmethod
    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """Posterior of z_t given the state before t and e_t. [..., B | Z]."""

    def after(self, features: Tensor, z: Tensor, states: State, start: State) -> State:
        """The state after the last step, from what `states` takes and returns; each part [..., B, ·]."""
        return self.next(tuple(part[-1] for part in states), z[-1], features[-1])

    def remember(self, batch: Batch, features: Tensor) -> State:
        """Where the guide's own forward networks stand after the batch, each part [B, ·]; most guides have none."""
        return ()

    def begin(self, batch: Batch) -> State:
        """The state before the batch's first step: carried over, or the start. Each part [B, ·]."""
        return self.start(batch.size) if batch.memory is None else batch.memory[0]

    # The two loops; a model overrides them only for speed, with the same results and the same random numbers.

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """The states *before* each step, given both paths.

        Args:
            features: [T, B, F].
            z: [T, ..., B, Z].
            start: the state before the first step, each part [B, ·].

        Returns:
            The state's parts, each [T, ..., B, ·].
        """
        state = expand(start, z.shape[1:-1])
        path = [state]
        for t in range(len(z) - 1):
            state = expand(self.next(state, z[t], features[t]), z.shape[1:-1])
            path.append(state)
        return stack(path)

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """Draw z_t ~ q(z_t | state, e_t) and step the state, from t = 1 to T.

        Args:
            features: [T, B, F].
            e: from `encode`, [T, B, E].
            start: the state before the first step, each part [B, ·].
            shape: of the draw's batch, [..., B].
        """
        state = expand(start, shape)
        states, posteriors, draws = [state], [], []
        for t, (e_t, features_t) in enumerate(zip(e.unbind(), features.unbind(), strict=True)):
            q = self.q_z(state, e_t)  # [..., B | Z]
            posteriors.append(q if q.batch_shape == shape else q.expand(shape))
            draws.append(posteriors[-1].rsample())
            if t < len(e) - 1:
                state = expand(self.next(state, draws[-1], features_t), shape)  # each [..., B, ·]
                states.append(state)
        z = torch.stack(draws, dim=-2)
        return Inference(z, stack_steps(posteriors, z), stack(states))


def expand(state: State, shape: torch.Size) -> State:
    """Each part [B, ·] to [..., B, ·]."""
    return tuple(part.expand(*shape, part.shape[-1]) for part in state)


def over_particles(h: Tensor, z: Tensor) -> Tensor:
    """[T, B, H], the same for all particles, to the leading dims of z [T, ..., B, Z]."""
    return h.reshape(len(h), *(1,) * (z.dim() - 3), *h.shape[1:]).expand(*z.shape[:-1], -1)


def stack(path: list[State]) -> State:
    """A list of T states to one state whose parts have a leading time dim."""
    return tuple(torch.stack(parts) for parts in zip(*path, strict=True))


def no_latent(state: State) -> Distribution:
    """The distribution of a z of width 0: a model without latent variables needs no second code path. [..., B | 0]."""
    empty = state[0][..., :0]
    return dist.Normal(empty, torch.ones_like(empty), validate_args=False).to_event(1)


def standard_normal(like: Tensor, latent_dim: int) -> Distribution:
    """N(0, I) with the leading dims of `like` [..., B, ·]. [..., B | Z]."""
    zeros = like.new_zeros(*like.shape[:-1], latent_dim)
    return dist.Normal(zeros, torch.ones_like(zeros), validate_args=False).to_event(1)
