"""Missing values around any model: what was not observed is read as a learned combination of what is missing.

    x'_t = m_t * x_t + W (1 - m_t)        m_t is 1 where an entry was observed, W starts at zero

So guide and transition read zeros and the mask, and with nothing missing the wrapped model is what it was. That missing
entries have no score is the programs' part (Likelihood.observed). Shapes: as in base.py.
"""

from __future__ import annotations

from pyro.distributions import Distribution
from torch import Tensor, nn

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel, Statistics
from pyro_vrnn.models.likelihoods import Likelihood
from pyro_vrnn.models.networks import State


class Masked(SequenceModel):
    """Another model, which is also told what is missing.

    Args:
        net: the model.
        x_dim: X.
    """

    def __init__(self, net: SequenceModel, x_dim: int) -> None:
        super().__init__()
        self.net, self.x_dim, self.latent_dim = net, x_dim, net.latent_dim
        self.W = nn.Linear(x_dim, x_dim, bias=False)
        nn.init.zeros_(self.W.weight)

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

    def features(self, x: Tensor) -> Tensor:
        """The wrapped model's features. [..., X], where all was observed, or [..., 2 X] with marks -> [..., F]."""
        if x.shape[-1] == self.x_dim:
            return self.net.features(x)
        values, mark = x.split(self.x_dim, dim=-1)
        return self.net.features(mark * values + self.W(1 - mark))

    def start(self, size: int) -> State:
        """The wrapped model's start."""
        return self.net.start(size)

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
