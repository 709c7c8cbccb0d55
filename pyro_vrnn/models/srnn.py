"""Stochastic RNN (Fraccaro et al. 2016, arXiv:1605.07571): an RNN under a state-space model.

    p:  d_t = f_d(d_{t-1}, u_t), with u_t = phi_x(x_{t-1})
        z_t ~ N(z_t | mu_p, v_p = NN_p(z_{t-1}, d_t))
        x_t ~ p(x_t | NN_x(z_t, d_t))
    q:  a_t = f_a(a_{t+1}, [d_t, phi_x(x_t)])   backward in time: smoothing
        a_t = NN_a([d_t, phi_x(x_t)])           `posterior = "filtering"`
        z_t ~ N(z_t | mu_q, v_q = NN_q(z_{t-1}, a_t))
        with Res_q: mu_q = mu_p + the mean of NN_q

phi_x is the feature network that model and guide share.
Departures from the paper: d_1 is learned (there from d_0 = 0 and u_1 = 0), z_0 is learned, unless
`learned_start = false`, where both are 0; scales are softplus + floor
(log-variances there); f_d and f_a start anew for each sequence, so that padding and batch mates change nothing.
Shapes: B sequences, T steps, widths X, Z, H; `|` parts batch from event dims; `...` as in base.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pyro.distributions as dist
from pyro.distributions import Distribution
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import LatentConfig, SequenceModel
from pyro_vrnn.models.networks import (
    MLP,
    Cell,
    ClippedLeakyReLU,
    DiagonalNormal,
    State,
    cat,
    reverse_padded,
    start_vector,
)


@dataclass(frozen=True, kw_only=True)
class SRNNConfig(LatentConfig):
    """Settings of an SRNN: `model.*`."""

    networks = ("phi_x", "prior", "encoder", "decoder")
    name: Literal["srnn"] = "srnn"
    posterior: Literal["smoothing", "filtering"] = "smoothing"
    """Whether q(z_t) sees what follows t or only what is up to t."""
    res_q: bool = True
    """Whether the posterior's mean is the prior's plus a correction."""


class SRNN(SequenceModel):
    """See the module's docstring. State before t: (z_{t-1}, d_t)."""

    Config = SRNNConfig

    def __init__(self, config: SRNNConfig, x_dim: int) -> None:
        super().__init__()
        z_dim, h_dim = config.latent_dim, config.hidden_dim
        act, learned = ClippedLeakyReLU, config.learned_start
        self.latent_dim, self.hidden_dim, self.res_q = z_dim, h_dim, config.res_q
        self.phi_x = MLP(x_dim, config.layers("phi_x", act))
        self.f_d = Cell("gru", self.phi_x.out_dim, h_dim, learned_start=learned)
        self.z_0 = start_vector(z_dim, learned=learned)
        # With Res_q the prior's mean is asked for twice, and two dropout masks would not cancel.
        of_p = config.layers("prior", act) if config.res_q else config.dropped("prior", act)
        self.nn_p = DiagonalNormal(z_dim + h_dim, of_p, z_dim)
        self.nn_x = MLP(z_dim + h_dim, config.dropped("decoder", act))
        self.likelihood = config.make_likelihood(self.nn_x.out_dim, x_dim)
        both, smoothing = h_dim + self.phi_x.out_dim, config.posterior == "smoothing"
        one = replace(config.layers("encoder", act), dims=(h_dim,))
        self.f_a = Cell("gru", both, h_dim, learned_start=learned) if smoothing else MLP(both, one)
        self.nn_q = DiagonalNormal(z_dim + h_dim, config.dropped("encoder", act), z_dim)

    def start(self, size: int) -> State:
        """(z_0, d_1). [B, Z], [B, H]."""
        return self.z_0.expand(size, -1), *self.f_d.start(size)

    def features(self, x: Tensor) -> Tensor:
        """phi_x(x_t). [..., X] -> [..., F]."""
        return self.phi_x(x)

    def p_z(self, state: State) -> Distribution:
        """NN_p."""
        return self.nn_p(*state)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        """NN_x."""
        return self.likelihood(self.nn_x(z, state[1]))

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        """(z_t, d_{t+1}): f_d reads x_t, which is the next step's u."""
        return z, *self.f_d(features, state[1:])

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        """[a_t, d_t]: d from one call over the sequence, a from one call backward. [T, B, 2H].

        d is what the transition makes of what it reads (in training that may be noise or own draws, `batch.seen`); a is
        about x. q_z reads the first half, a; `infer` takes d from the second.
        """
        fed = features if batch.seen is None else self.features(batch.seen)
        d = self.f_d.path_before(fed, self.begin(batch)[1:])  # [T, B, H]
        both = cat(d, features)
        if isinstance(self.f_a, Cell):
            a = reverse_padded(self.f_a.path(reverse_padded(both, batch.lengths)), batch.lengths)
        else:
            a = self.f_a(both)
        return cat(a, d)

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        """NN_q, with Res_q around the prior's mean."""
        q = self.nn_q(state[0], e_t[..., : self.hidden_dim])
        if not self.res_q:
            return q
        loc = self.p_z(state).base_dist.loc + q.base_dist.loc
        return dist.Normal(loc, q.base_dist.scale).to_event(1)
