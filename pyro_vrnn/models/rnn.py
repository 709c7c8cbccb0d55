"""The baseline without latent variables: RNN-Gauss, RNN-GMM, RNN-Bernoulli (Chung et al. 2015, section 4).

    p:  x_t ~ p(x_t | phi_dec(h_{t-1}))
        h_t = f(phi_x(x_t), h_{t-1})

z_t has width 0, so the same programs run it; its bounds are all its exact likelihood.
Departures: h_0 is learned, unless `learned_start = false`.
Shapes: B sequences, T steps, widths X, H; `...` as in base.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import ModelConfig, SequenceModel, no_latent
from pyro_vrnn.models.networks import MLP, Cell, State
from pyro_vrnn.system.errors import at_least


@dataclass(frozen=True, kw_only=True)
class RNNConfig(ModelConfig):
    """Settings of the baseline: `model.*`."""

    networks = ("phi_x", "decoder")
    name: Literal["rnn"] = "rnn"
    cell: Literal["gru", "lstm", "tanh"] = "lstm"
    """Kind of the recurrent network."""
    rnn_layers: int = 1
    """Recurrent layers, one on top of the other."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least("model.rnn_layers", self.rnn_layers, 1)


class RNN(SequenceModel):
    """See the module's docstring. State: h_{t-1} of each layer, the last layer's first; with an LSTM then the c."""

    Config = RNNConfig

    def __init__(self, config: RNNConfig, x_dim: int) -> None:
        super().__init__()
        self.latent_dim = 0
        self.phi_x = MLP(x_dim, config.layers("phi_x"))
        layers, learned = config.rnn_layers, config.learned_start
        self.f = Cell(config.cell, self.phi_x.out_dim, config.hidden_dim, layers=layers, learned_start=learned)
        self.phi_dec = MLP(config.hidden_dim, config.dropped("decoder"))
        self.likelihood = config.make_likelihood(self.phi_dec.out_dim, x_dim)

    def start(self, size: int) -> State:
        """h_0. [B, H]."""
        return self.f.start(size)

    def features(self, x: Tensor) -> Tensor:
        """phi_x(x_t). [..., X] -> [..., F]."""
        return self.phi_x(x)

    def p_z(self, state: State) -> Distribution:
        """A distribution of width 0: there is no latent variable."""
        return no_latent(state)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """p(x_t | phi_dec(h_{t-1}))."""
        return self.likelihood(self.phi_dec(state[0]))

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """h_t = f(phi_x(x_t), h_{t-1})."""
        return self.f(features, state)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """Nothing to infer."""
        return features[..., :0]

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """A distribution of width 0: there is no latent variable."""
        return no_latent(state)
