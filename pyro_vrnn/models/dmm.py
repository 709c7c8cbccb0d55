"""Deep Markov model (Krishnan et al. 2017, arXiv:1609.09869): a state-space model of neural networks.

    p:  z_t ~ N(z_t | mu, sigma)                                                       gated transition:
            g = sigmoid(MLP(z_{t-1}));  c = MLP(z_{t-1})
            mu = (1 - g) * (z_{t-1} + W z_{t-1} + b) + g * c;  sigma = softplus(W' relu(c) + b')
        x_t ~ p(x_t | emitter(z_t))
    q:  h_t = RNN(h_{t+1}, x_t) backward in time
        z_t ~ N(z_t | mu, sigma of (tanh(W_q z_{t-1}) + h_t) / 2)                      the paper's "DKS"
        `flows = N`: z_t is then pushed through N inverse autoregressive flows (as in Pyro's DMM example)

Departures: softplus + floor gives a scale (a variance there); z_0 is one learned vector for model and guide; the
transition's linear part is written as z + W z with W from 0 (the authors' code starts their W at the identity), so that
weight decay pulls towards staying put; the guide's RNN starts anew, within each sequence's own length.
Shapes: B sequences, T steps, widths X, Z, H; `|` parts batch from event dims; `...` as in base.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import LatentConfig, SequenceModel
from pyro_vrnn.models.latents import AutoregressiveFlow, Flowed
from pyro_vrnn.models.networks import (
    MLP,
    Cell,
    DiagonalNormal,
    GatedTransition,
    Layers,
    State,
    reverse_padded,
    start_vector,
)
from pyro_vrnn.system.errors import at_least


@dataclass(frozen=True, kw_only=True)
class DMMConfig(LatentConfig):
    """Settings of a DMM: `model.*`."""

    networks = ("transition", "emitter")
    name: Literal["dmm"] = "dmm"
    hidden_dim: int = 128
    """Width of the guide's recurrent network, and of the flows."""
    cell: Literal["gru", "lstm", "tanh"] = "tanh"
    """Kind of the recurrent network."""
    flows: int = 0
    """Inverse autoregressive flows after the posterior's Gaussian; its KL is then sampled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.flows", self.flows, 0)


class DMM(SequenceModel):
    """See the module's docstring. State before t: (z_{t-1},)."""

    Config = DMMConfig

    def __init__(self, config: DMMConfig, x_dim: int) -> None:
        super().__init__()
        z_dim, h_dim, learned = config.latent_dim, config.hidden_dim, config.learned_start
        self.latent_dim = z_dim
        self.z_0 = start_vector(z_dim, learned=learned)
        self.transition = GatedTransition(z_dim, config.dropped("transition"))
        self.emitter = MLP(z_dim, config.dropped("emitter"))
        self.likelihood = config.make_likelihood(self.emitter.out_dim, x_dim)
        self.rnn = Cell(config.cell, x_dim, h_dim, learned_start=learned)
        self.from_z = nn.Linear(z_dim, h_dim)
        self.posterior = DiagonalNormal(h_dim, Layers(()), z_dim)
        self.flows = nn.ModuleList(AutoregressiveFlow(z_dim, h_dim, backward=bool(n % 2)) for n in range(config.flows))

    def start(self, size: int) -> State:
        """z_0. [B, Z]."""
        return (self.z_0.expand(size, -1),)

    def features(self, x: Tensor) -> Tensor:
        """x itself: only the guide reads it."""
        return x

    def p_z(self, state: State) -> Distribution:
        """The gated transition."""
        return self.transition(state[0])

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """p(x_t | emitter(z_t))."""
        return self.likelihood(self.emitter(z))

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """z_t is all there is to carry."""
        return (z,)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """h from one call backward over each sequence: the future of x, and x_t. [T, B, H]."""
        return reverse_padded(self.rnn.path(reverse_padded(features, batch.lengths)), batch.lengths)

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """The combiner, and the flows after it."""
        base = self.posterior(0.5 * (torch.tanh(self.from_z(state[0])) + e_t))
        return Flowed(base, list(self.flows)) if self.flows else base  # type: ignore[arg-type]
