"""Variational recurrent auto-encoder (Fabius & van Amersfoort 2014, arXiv:1412.6581): one z per sequence.

    p:  z ~ N(0, I);  h_0 = tanh(W_z z + b_z)
        x_t ~ p(x_t | phi_dec(h_{t-1}));  h_t = f(h_{t-1}, phi_x(x_t))
    q:  h_T^enc = f_enc(h_{T-1}^enc, phi_x(x_T)), over the whole sequence
        z ~ N(z | mu, sigma of h_T^enc)

It is written with the arrows of the others: z is z_1. The z_t of later steps are N(0, I) under p and q alike and
nothing reads them, so they add exactly 0 to every bound; in return all programs, bounds and commands apply.
Departures: the posterior's scale is a softplus, not an exponential; h_0^enc is learned; a GRU or LSTM by choice.
`free_running`: h reads the mean of its own output in the place of x_t. `reverse_input`: f_enc reads x_T first.
Shapes: B sequences, T steps, widths X, Z, H; `|` parts batch from event dims; `...` as in base.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyro.distributions as dist
import torch
from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import LatentConfig, SequenceModel, standard_normal
from pyro_vrnn.models.networks import MLP, Cell, DiagonalNormal, Layers, State, reverse_padded


@dataclass(frozen=True, kw_only=True)
class VRAEConfig(LatentConfig):
    """Settings of a VRAE: `model.*`."""

    networks = ("phi_x", "decoder")
    name: Literal["vrae"] = "vrae"
    latent_dim: int = 20
    hidden_dim: int = 500
    network_dims: tuple[int, ...] | dict[str, tuple[int, ...]] = ()
    cell: Literal["gru", "lstm", "tanh"] = "tanh"
    """Kind of the recurrent network."""
    free_running: bool = False
    """Whether the decoder reads its own state alone, and not x_{t-1} too."""
    reverse_input: bool = False
    """Whether the encoder reads each sequence from its end."""


class VRAE(SequenceModel):
    """See the module's docstring. State before t: (1 at t = 1, else 0; h_{t-1}[, c_{t-1}])."""

    Config = VRAEConfig
    per_step = False  # its z is about the whole sequence

    def __init__(self, config: VRAEConfig, x_dim: int) -> None:
        super().__init__()
        z_dim, h_dim = config.latent_dim, config.hidden_dim
        self.latent_dim, self.hidden_dim = z_dim, h_dim
        self.free_running, self.reverse_input = config.free_running, config.reverse_input
        self.phi_x = MLP(x_dim, config.layers("phi_x"))
        self.f_enc = Cell(config.cell, self.phi_x.out_dim, h_dim, learned_start=config.learned_start)
        self.phi_enc = DiagonalNormal(h_dim, Layers(()), z_dim)
        self.f = Cell(config.cell, self.phi_x.out_dim, h_dim, learned_start=False)
        self.from_z = nn.Linear(z_dim, h_dim * self.f.parts)
        self.phi_dec = MLP(h_dim, config.dropped("decoder"))
        self.likelihood = config.make_likelihood(self.phi_dec.out_dim, x_dim)

    def start(self, size: int) -> State:
        """t = 1 is marked; h_0 waits for z."""
        one = self.from_z.bias.new_ones(size, 1)
        return one, *(one.new_zeros(size, self.hidden_dim) for _ in range(self.f.parts))

    def features(self, x: Tensor) -> Tensor:
        """phi_x(x_t). [..., X] -> [..., F]."""
        return self.phi_x(x)

    def p_z(self, state: State) -> Distribution:
        """N(0, I)."""
        return standard_normal(state[0], self.latent_dim)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """x_t given h_{t-1}."""
        return self.likelihood(self.phi_dec(self.hidden(state, z)[0]))

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """h_t."""
        if self.free_running:
            features = self.phi_x(self.p_x(state, z).mean)
        h = self.f(features, self.hidden(state, z))
        return h[0].new_zeros(*h[0].shape[:-1], 1), *h

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """h_T^enc and a mark at t = 1, zeros after. [T, B, H + 1]."""
        read = reverse_padded(features, batch.lengths) if self.reverse_input else features
        h = self.f_enc.path(read)  # [T, B, H]
        last = h[batch.lengths - 1, torch.arange(batch.size, device=h.device)]  # [B, H]
        marked = torch.cat([last, torch.ones_like(last[:, :1])], dim=-1)
        return torch.cat([marked[None], marked.new_zeros(len(h) - 1, *marked.shape)])

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """N(mu, sigma of h_T^enc) at t = 1; N(0, I) after it."""
        first, q = e_t[..., -1:] > 0, self.phi_enc(e_t[..., :-1]).base_dist
        loc = torch.where(first, q.loc, torch.zeros_like(q.loc))
        return dist.Normal(loc, torch.where(first, q.scale, torch.ones_like(q.scale))).to_event(1)

    def hidden(self, state: State, z: Tensor) -> State:
        """The state that x_t is drawn from: at t = 1."""
        h_0 = torch.tanh(self.from_z(z)).chunk(self.f.parts, dim=-1)
        return tuple(torch.where(state[0] > 0, a, b) for a, b in zip(h_0, state[1:], strict=True))
