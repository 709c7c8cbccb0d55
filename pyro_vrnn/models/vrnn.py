"""Variational RNN (Chung et al. 2015, arXiv:1506.02216), and VRNN-I, whose prior does not see the past.

    p:  z_t ~ N(z_t | mu, sigma = phi_prior(h_{t-1}))                  eq. (5); VRNN-I: N(0, I)
        x_t ~ p(x_t | phi_dec(phi_z(z_t), h_{t-1}))                    eq. (6)
        h_t = f(phi_x(x_t), phi_z(z_t), h_{t-1})                       eq. (7)
    q:  z_t ~ N(z_t | mu, sigma = phi_enc(phi_x(x_t), h_{t-1})), the same f    eq. (9)

`stochastic_layers = L`: z_t = (z^L, …, z^1), p(z_t | ·) = prod_l p(z^l | z^{l+1}, h_{t-1}) and q likewise, from the top
down, so that each layer's KL has a closed form (Burda et al. 2016, arXiv:1509.00519, draw q from the bottom up, and
decode from z^1 alone; here phi_z reads all layers). The lower layers have no dropout: they are asked twice.

Departures from the paper: h_0 is learned (`learned_start = false`: zero, as there); f is a GRU by default (`cell =
"lstm"` is the paper's); the prior's scale has the same floor as the posterior's.
Shapes: B sequences, T steps, widths X, Z, H; `|` parts batch from event dims; `...` as in base.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import LatentConfig, SequenceModel, standard_normal
from pyro_vrnn.models.latents import ladder
from pyro_vrnn.models.networks import MLP, Cell, DiagonalNormal, State, cat
from pyro_vrnn.system.errors import at_least


@dataclass(frozen=True, kw_only=True)
class VRNNConfig(LatentConfig):
    """Settings of a VRNN: `model.*`."""

    networks = ("phi_x", "phi_z", "prior", "encoder", "decoder")
    name: Literal["vrnn", "vrnn-i"] = "vrnn"
    cell: Literal["gru", "lstm", "tanh"] = "gru"
    """Kind of the recurrent network."""
    stochastic_layers: int = 1
    """L layers of latent_dim units each: z_t = (z^L, …, z^1), each given the one above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.stochastic_layers", self.stochastic_layers, 1)


class _VRNN(SequenceModel):
    """What VRNN and VRNN-I share: everything but the prior. State: (h_{t-1},), or (h_{t-1}, c_{t-1}) with an LSTM."""

    Config = VRNNConfig

    def __init__(self, config: VRNNConfig, x_dim: int) -> None:
        super().__init__()
        z_dim, h_dim, learned = config.latent_dim, config.hidden_dim, config.learned_start
        self.stochastic_layers, self.latent_dim = config.stochastic_layers, config.stochastic_layers * z_dim
        self.phi_x = MLP(x_dim, config.layers("phi_x"))
        self.phi_z = MLP(self.latent_dim, config.layers("phi_z"))
        self.phi_enc = DiagonalNormal(self.phi_x.out_dim + h_dim, config.dropped("encoder"), z_dim)
        self.phi_dec = MLP(self.phi_z.out_dim + h_dim, config.dropped("decoder"))
        self.likelihood = config.make_likelihood(self.phi_dec.out_dim, x_dim)
        self.f = Cell(config.cell, self.phi_x.out_dim + self.phi_z.out_dim, h_dim, learned_start=learned)
        above, layers = z_dim + self.phi_x.out_dim + h_dim, config.layers("encoder")
        below = range(self.stochastic_layers - 1)
        self.phi_enc_below = nn.ModuleList(DiagonalNormal(above, layers, z_dim) for _ in below)

    def start(self, size: int) -> State:
        """h_0. [B, H]."""
        return self.f.start(size)

    def features(self, x: Tensor) -> Tensor:
        """phi_x(x_t). [..., X] -> [..., F]."""
        return self.phi_x(x)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """Eq. (6)."""
        return self.likelihood(self.phi_dec(self.phi_z(z), state[0]))

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """Eq. (7)."""
        return self.f(cat(features, self.phi_z(z)), state)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """A filtering guide: at t it reads phi_x(x_t), and the past through the state."""
        return features

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """Eq. (9), layer by layer."""
        return ladder(self.phi_enc(e_t, state[0]), self.phi_enc_below, e_t, state[0])


class VRNN(_VRNN):
    """See the module's docstring."""

    def __init__(self, config: VRNNConfig, x_dim: int) -> None:
        super().__init__(config, x_dim)
        z_dim, h_dim = config.latent_dim, config.hidden_dim
        self.phi_prior = DiagonalNormal(h_dim, config.dropped("prior"), z_dim)
        layers, below = config.layers("prior"), range(self.stochastic_layers - 1)
        self.phi_prior_below = nn.ModuleList(DiagonalNormal(z_dim + h_dim, layers, z_dim) for _ in below)

    def p_z(self, state: State) -> Distribution:
        """Eq. (5), layer by layer."""
        return ladder(self.phi_prior(state[0]), self.phi_prior_below, state[0])


class VRNNI(_VRNN):
    """VRNN-I: z_t ~ N(0, I), independent of the past (section 4 of the paper)."""

    def __init__(self, config: VRNNConfig, x_dim: int) -> None:
        super().__init__(config, x_dim)
        z_dim, layers, below = config.latent_dim, config.layers("prior"), range(self.stochastic_layers - 1)
        self.top_dim = z_dim
        self.phi_prior_below = nn.ModuleList(DiagonalNormal(z_dim, layers, z_dim) for _ in below)

    def p_z(self, state: State) -> Distribution:
        """N(0, I) at the top."""
        return ladder(standard_normal(state[0], self.top_dim), self.phi_prior_below)
