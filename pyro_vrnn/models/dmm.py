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

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.fast.blocks import ACTIVATIONS, Layer
from pyro_vrnn.fast.recurrence import draw
from pyro_vrnn.models.base import Inference, LatentConfig, SequenceModel
from pyro_vrnn.models.latents import AutoregressiveFlow, Flowed
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.models.networks import MLP, Cell, DiagonalNormal, Layers, State, reverse_padded
from pyro_vrnn.models.precision import exact, full
from pyro_vrnn.system.errors import at_least


@dataclass(frozen=True, kw_only=True)
class DMMConfig(LatentConfig):
    """Settings of a DMM: `model.*`."""

    name: Literal["dmm"] = "dmm"
    hidden_dim: int = 128
    """Width of the guide's recurrent network, and of the flows."""
    network_dims: tuple[int, ...] = (128,)
    """Widths of the hidden layers of transition and emitter."""
    cell: Literal["gru", "lstm", "tanh"] = "tanh"
    """Kind of the recurrent network."""
    flows: int = 0
    """Inverse autoregressive flows after the posterior's Gaussian; its KL is then sampled."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.flows", self.flows, 0)


class GatedTransition(nn.Module):
    """z_{t-1} to the Gaussian of z_t. [..., Z] -> [... | Z]."""

    def __init__(self, z_dim: int, layers: Layers, *, floor: float = 1e-4) -> None:
        super().__init__()
        self.gate, self.proposed = (MLP(z_dim, layers) for _ in range(2))
        self.to_gate, self.to_proposed = (nn.Linear(self.gate.out_dim, z_dim) for _ in range(2))
        self.to_loc, self.to_scale = nn.Linear(z_dim, z_dim), nn.Linear(z_dim, z_dim)
        self.floor = floor
        nn.init.zeros_(self.to_loc.weight)
        nn.init.zeros_(self.to_loc.bias)

    def forward(self, z: Tensor) -> Distribution:
        """[..., Z] -> [... | Z]."""
        for_gate, for_proposed = self.gate(z), self.proposed(z)
        with exact(z):
            gate = torch.sigmoid(self.to_gate(full(for_gate)))
            proposed = self.to_proposed(full(for_proposed))
            loc = (1 - gate) * (z + self.to_loc(z)) + gate * proposed
            return dist.Normal(loc, F.softplus(self.to_scale(F.relu(proposed))) + self.floor).to_event(1)


class DMM(SequenceModel):
    """See the module's docstring. State before t: (z_{t-1},)."""

    Config = DMMConfig

    def __init__(self, config: DMMConfig, x_dim: int) -> None:
        super().__init__()
        z_dim, h_dim, dropped = config.latent_dim, config.hidden_dim, config.dropped()
        self.latent_dim = z_dim
        self.z_0 = nn.Parameter(torch.zeros(z_dim))
        self.transition = GatedTransition(z_dim, dropped)
        self.emitter = MLP(z_dim, dropped)
        self.likelihood = LIKELIHOODS[config.likelihood](self.emitter.out_dim, x_dim)
        self.rnn = Cell(config.cell, x_dim, h_dim)
        self.from_z = nn.Linear(z_dim, h_dim)
        self.posterior = DiagonalNormal(h_dim, Layers(()), z_dim)
        self.flows = nn.ModuleList(AutoregressiveFlow(z_dim, h_dim, backward=bool(n % 2)) for n in range(config.flows))

    def start(self, size: int) -> State:
        """z_0, learned. [B, Z]."""
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

    def states(self, features: Tensor, z: Tensor, start: State) -> State:
        """z shifted by a step: no loop."""
        return (torch.cat([start[0].expand(1, *z.shape[1:]), z[:-1]]),)

    def infer(self, features: Tensor, e: Tensor, start: State, shape: torch.Size) -> Inference:
        """The loop with a backward pass of its own."""
        if self.flows:
            return super().infer(features, e, start, shape)
        head = self.posterior.linear
        return draw(
            [
                Layer(self.from_z.weight, self.from_z.bias, ACTIVATIONS[nn.Tanh], plus=e),
                Layer(0.5 * head.weight, head.bias),
            ],
            start,
            shape,
            steps=len(e),
            floor=self.posterior.floor,
        )
