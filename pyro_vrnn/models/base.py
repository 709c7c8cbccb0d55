"""The contract: a model is its arrows.

programs/ turns the arrows into model/guide pairs. What runs them over time is loop.py, the readable way, and fast/.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.likelihoods import LIKELIHOODS, Likelihood
from pyro_vrnn.models.networks import Layers, State
from pyro_vrnn.system.errors import ConfigError, at_least

OTHERS = "others"
"""In `network_dims` by network: the networks that are not named."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Settings that all models have, `model.*`; a model's own Config adds its own."""

    latent: ClassVar[bool] = False
    """Whether the model has latent variables."""
    networks: ClassVar[tuple[str, ...]] = ()
    """The networks with hidden layers, by the names that `network_dims` has for them."""

    name: str
    likelihood: str = "bernoulli"
    """The distribution of x_t (pyro_vrnn/models/likelihoods)."""
    hidden_dim: int = 128
    """Width of the recurrent state."""
    components: int = 0
    """Components of the likelihood's mixture; 0 is the likelihood's own number: 20, and 10 of the logistic one."""
    network_dims: tuple[int, ...] | dict[str, tuple[int, ...]] = (128,)
    """Widths of the hidden layers: of every network alike, or in a table by network, with those that it does not name
    under `others`."""
    learned_start: bool = True
    """Whether what stands before the first step, states of recurrent networks and z_0, is learned; else it is zero."""
    dropout: float = 0.0
    """In training, in the networks that are evaluated once for a draw: not in those that model and guide both run."""
    norm: Literal["none", "layer", "batch"] = "none"
    """Normalisation in the networks; batch is refused, with the reason."""
    direct: bool = False
    """Whether each column of x_t also reads the same column of x_{t-1} directly (models/direct.py)."""

    def __post_init__(self) -> None:
        at_least("model.hidden_dim", self.hidden_dim, 1)
        self._check_networks()
        self._check_components()
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"model.dropout={self.dropout}: must be in [0, 1)")
        if self.direct and self.likelihood not in ("bernoulli", "gaussian"):
            raise ConfigError(
                f"model.direct with model.likelihood={self.likelihood!r}: direct connections are for independent bits "
                "or Gaussian columns",
                "add --set model.direct=false (a recipe may have set it), or use --likelihood bernoulli or gaussian",
            )
        if self.norm == "batch":
            raise ConfigError(
                "model.norm='batch': batch statistics mix time steps, sequences and particles, so p(x_t | past) would "
                "see the future and the bound would be none",
                "use model.norm=layer, which looks at one vector at a time",
            )

    def _check_networks(self) -> None:
        """ConfigError for widths below 1, and for a network that the model does not have."""
        by_network = self.network_dims if isinstance(self.network_dims, dict) else {"": self.network_dims}
        for network, widths in by_network.items():
            at = f"model.network_dims.{network}".rstrip(".")
            if network not in ("", OTHERS, *self.networks):
                known = ", ".join([*self.networks, OTHERS])
                raise ConfigError(f"{at}: {self.name!r} has no such network; choose from {known}")
            if any(width < 1 for width in widths):
                raise ConfigError(f"{at}={list(widths)}: widths must be at least 1")

    def _check_components(self) -> None:
        """ConfigError for a number of components that the likelihood cannot have."""
        likelihood = LIKELIHOODS.get(self.likelihood)  # an unknown name is told when everything else is known
        if self.components == 0 or likelihood is None:
            return
        if not likelihood.components:
            mixtures = ", ".join(name for name, cls in LIKELIHOODS.items() if cls.components)
            raise ConfigError(
                f"model.components={self.components}: likelihood {self.likelihood!r} is no mixture",
                f"leave it out, or choose a mixture: {mixtures}",
            )
        at_least("model.components", self.components, 2)

    def widths(self, network: str = "") -> tuple[int, ...]:
        """Widths of the hidden layers of one of `networks`, or of one that has no name there."""
        if not isinstance(self.network_dims, dict):
            return self.network_dims
        default: Any = type(self).__dataclass_fields__["network_dims"].default
        widths: tuple[int, ...] = self.network_dims.get(network, self.network_dims.get(OTHERS, default))
        return widths

    def layers(self, network: str = "", activation: type[nn.Module] = nn.ReLU) -> Layers:
        """Hidden layers of a network where the recurrence passes: no dropout."""
        return Layers(self.widths(network), activation=activation, norm=self.norm == "layer")

    def dropped(self, network: str = "", activation: type[nn.Module] = nn.ReLU) -> Layers:
        """Hidden layers of a network off the recurrent path, where dropout is possible."""
        return replace(self.layers(network, activation), dropout=self.dropout)

    def make_likelihood(self, in_dim: int, x_dim: int) -> Likelihood:
        """The likelihood, reading features of this width, with the components that were asked for."""
        cls: Any = LIKELIHOODS[self.likelihood]
        made: Likelihood = cls(in_dim, x_dim, components=self.components) if self.components else cls(in_dim, x_dim)
        return made


@dataclass(frozen=True, kw_only=True)
class LatentConfig(ModelConfig):
    """Settings that all models with latent variables have."""

    latent: ClassVar[bool] = True
    latent_dim: int = 32
    """Units of z."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.latent_dim", self.latent_dim, 1)


@dataclass(frozen=True)
class Statistics:
    """What a network may know of the training split before its first update."""

    mean: Tensor
    """Mean of each column as models read it, float64. [X]"""
    std: Tensor
    """Its standard deviation, float64. [X]"""
    after: Callable[[], tuple[Tensor, Tensor]]
    """Of bits: the probability of a 1 after a 0 and after a 1, [X] each. It reads the split when it is called."""
    line: Callable[[], tuple[Tensor, Tensor, Tensor]]
    """Of real numbers: offset and slope of the line from the value before, and the deviation around it, [X] each."""


class SequenceModel(nn.Module, ABC):
    """p(x, z) and q(z | x) over sequences, as one method per arrow of the graph.

    Every arrow takes any number of leading dims: `...` is nothing, a batch, particles x batch, or
    time x batch. A distribution's batch dims end in B and its event dim is [Z] or [X].

    A subclass may override any arrow: both programs ask the arrows of whatever class the network has.
    """

    Config: ClassVar[type[Any]]
    """A frozen dataclass of this model's own settings (see config/)."""
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

    def remember(self, batch: Batch, features: Tensor) -> State:
        """Where the guide's own forward networks stand after the batch, each part [B, ·]; most guides have none."""
        return ()

    def fit_start(self, data: Statistics) -> None:
        """Let the output start where the training data is: free nats in the first updates."""
        self.likelihood.fit_start(data.mean, data.std)

    def begin(self, batch: Batch) -> State:
        """The state before the batch's first step: carried over, or the start. Each part [B, ·]."""
        return self.start(batch.size) if batch.memory is None else batch.memory[0]


class Wrapped(SequenceModel):
    """Another model with something around it: what a subclass does not say is the wrapped model's.

    Args:
        net: the model.
        x_dim: X.
    """

    def __init__(self, net: SequenceModel, x_dim: int) -> None:
        super().__init__()
        self.net, self.x_dim, self.latent_dim = net, x_dim, net.latent_dim

    @property
    def likelihood(self) -> Likelihood:  # type: ignore[override]
        """The model's own."""
        return self.net.likelihood

    @property
    def per_step(self) -> bool:  # type: ignore[override]
        """The model's own."""
        return self.net.per_step

    def fit_start(self, data: Statistics) -> None:
        """Start where the wrapped model starts."""
        self.net.fit_start(data)

    def start(self, size: int) -> State:
        """The wrapped model's start."""
        return self.net.start(size)

    def features(self, x: Tensor) -> Tensor:
        """The wrapped model's features."""
        return self.net.features(x)

    def p_z(self, state: State) -> Distribution:
        """The wrapped model's prior."""
        return self.net.p_z(state)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """The wrapped model's emission."""
        return self.net.p_x(state, z)

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """The wrapped model's next state."""
        return self.net.next(state, z, features)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """The wrapped model's guide features."""
        return self.net.encode(batch, features)

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """The wrapped model's posterior."""
        return self.net.q_z(state, e_t)

    def remember(self, batch: Batch, features: Tensor) -> State:
        """The wrapped model's memory of its guide."""
        return self.net.remember(batch, features)


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
