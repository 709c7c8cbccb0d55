"""Variational RNN (Chung et al. 2015, arXiv:1506.02216), and VRNN-I, whose prior does not see the past.

    p:  z_t ~ N(z_t | mu, sigma = phi_prior(h_{t-1}))                  eq. (5); VRNN-I: N(0, I)
        x_t ~ p(x_t | phi_dec(phi_z(z_t), h_{t-1}))                    eq. (6)
        h_t = f(phi_x(x_t), phi_z(z_t), h_{t-1})                       eq. (7)
    q:  z_t ~ N(z_t | mu, sigma = phi_enc(phi_x(x_t), h_{t-1})), the same f    eq. (9)

Departures from the paper: h_0 is learned (zero there); f is a GRU by default, `cell = "lstm"` is the paper's;
the prior's scale has the same floor as the posterior's.
Shapes: B sequences, T steps, widths X, Z, H; `|` parts batch from event dims; `...` as in base.py.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal

from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.likelihoods import LIKELIHOODS
from pyro_vrnn.models.base import LatentConfig, SequenceModel, standard_normal
from pyro_vrnn.networks import MLP, Cell, DiagonalNormal, State, cat
from pyro_vrnn.sequences import Batch


@dataclass(frozen=True, kw_only=True)
class VRNNConfig(LatentConfig):
    """Settings of a VRNN: `model.*`."""

    name: Literal["vrnn", "vrnn-i"] = "vrnn"
    cell: Literal["gru", "lstm", "tanh"] = "gru"


class _VRNN(SequenceModel):
    """All but the prior. State: (h_{t-1},), or (h_{t-1}, c_{t-1}) with an LSTM."""

    Config = VRNNConfig

    def __init__(self, config: VRNNConfig, x_dim: int) -> None:
        super().__init__()
        z_dim, h_dim, dims, dropout = config.latent_dim, config.hidden_dim, config.network_dims, config.dropout
        self.latent_dim = z_dim
        self.phi_x = MLP(x_dim, dims)
        self.phi_z = MLP(z_dim, dims)
        self.phi_enc = DiagonalNormal(self.phi_x.out_dim + h_dim, dims, z_dim, dropout=dropout)
        self.phi_dec = MLP(self.phi_z.out_dim + h_dim, dims, dropout=dropout)
        self.likelihood = LIKELIHOODS[config.likelihood](self.phi_dec.out_dim, x_dim)
        self.f = Cell(config.cell, self.phi_x.out_dim + self.phi_z.out_dim, h_dim)

    def start(self, size: int) -> State:
        """h_0, learned. [B, H]."""
        return self.f.start(size)

    def features(self, x: Tensor) -> Tensor:
        """phi_x(x_t). [..., X] -> [..., F]."""
        return self.phi_x(x)

    @abstractmethod
    def p_z(self, state: State) -> Distribution:
        """Eq. (5)."""

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """Eq. (6)."""
        return self.likelihood(self.phi_dec(cat(self.phi_z(z), state[0])))

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """Eq. (7)."""
        return self.f(cat(features, self.phi_z(z)), state)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """A filtering guide: at t it reads phi_x(x_t), and the past through the state."""
        return features

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """Eq. (9)."""
        return self.phi_enc(e_t, state[0])


class VRNN(_VRNN):
    """See the module's docstring."""

    def __init__(self, config: VRNNConfig, x_dim: int) -> None:
        super().__init__(config, x_dim)
        self.phi_prior = DiagonalNormal(
            config.hidden_dim, config.network_dims, config.latent_dim, dropout=config.dropout
        )

    def p_z(self, state: State) -> Distribution:
        """Eq. (5)."""
        return self.phi_prior(state[0])


class VRNNI(_VRNN):
    """VRNN-I: z_t ~ N(0, I), independent of the past (section 4 of the paper)."""

    def p_z(self, state: State) -> Distribution:
        """N(0, I)."""
        return standard_normal(state[0], self.latent_dim)
