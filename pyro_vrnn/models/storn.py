"""Stochastic recurrent network (Bayer & Osendorp 2014, arXiv:1411.7610): independent z_t drive an RNN.

    p:  z_t ~ N(0, I)
        h_t = f(h_{t-1}, [phi_x(x_{t-1}), z_t]);  x_t ~ p(x_t | phi_dec(h_t))
    q:  r_t = f_q(r_{t-1}, phi_x(x_t));  z_t ~ N(z_t | mu, sigma of r_t)

Departures: h_0 and r_0 are learned; phi_x is shared by model and guide; phi_x(x_0) is a learned vector.
Shapes: B sequences, T steps, widths X, Z, H; `|` parts batch from event dims; `...` as in base.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import LatentConfig, SequenceModel, standard_normal
from pyro_vrnn.models.networks import MLP, Cell, DiagonalNormal, State, cat, start_vector


@dataclass(frozen=True, kw_only=True)
class STORNConfig(LatentConfig):
    """Settings of a STORN: `model.*`."""

    networks = ("phi_x", "encoder", "decoder")
    name: Literal["storn"] = "storn"
    cell: Literal["gru", "lstm", "tanh"] = "gru"
    """Kind of the recurrent network."""


class STORN(SequenceModel):
    """See the module's docstring. State before t: (phi_x(x_{t-1}), h_{t-1}[, c_{t-1}])."""

    Config = STORNConfig

    def __init__(self, config: STORNConfig, x_dim: int) -> None:
        super().__init__()
        z_dim, h_dim, learned = config.latent_dim, config.hidden_dim, config.learned_start
        self.latent_dim = z_dim
        self.phi_x = MLP(x_dim, config.layers("phi_x"))
        self.u_1 = start_vector(self.phi_x.out_dim, learned=learned)
        self.f = Cell(config.cell, self.phi_x.out_dim + z_dim, h_dim, learned_start=learned)
        self.phi_dec = MLP(h_dim, config.dropped("decoder"))
        self.likelihood = config.make_likelihood(self.phi_dec.out_dim, x_dim)
        self.f_q = Cell(config.cell, self.phi_x.out_dim, h_dim, learned_start=learned)
        self.phi_enc = DiagonalNormal(h_dim, config.dropped("encoder"), z_dim)

    def start(self, size: int) -> State:
        """(phi_x(x_0), h_0)."""
        return self.u_1.expand(size, -1), *self.f.start(size)

    def features(self, x: Tensor) -> Tensor:
        """phi_x(x_t). [..., X] -> [..., F]."""
        return self.phi_x(x)

    def p_z(self, state: State) -> Distribution:
        """N(0, I)."""
        return standard_normal(state[1], self.latent_dim)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """x_t given h_t."""
        return self.likelihood(self.phi_dec(self.hidden(state, z)[0]))

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """h_t."""
        return features, *self.hidden(state, z)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """r from one call over the sequence. [T, B, H]."""
        return self.f_q.path(features, batch.memory[1] if batch.memory else None)

    def remember(self, batch: Batch, features: Tensor) -> State:
        """r after the last step."""
        return self.f_q.after(features, batch.memory[1] if batch.memory else None)

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """It reads r_t alone: given x, the z_t are independent."""
        return self.phi_enc(e_t)

    def hidden(self, state: State, z: Tensor) -> State:
        """h_t from h_{t-1}, phi_x(x_{t-1}) and z_t."""
        return self.f(cat(state[0], z), state[1:])
