"""Missing values around any model: what was not observed is read as a learned combination of what is missing.

    x'_t = m_t * x_t + W (1 - m_t)        m_t is 1 where an entry was observed, W starts at zero

So guide and transition read zeros and the mask, and with nothing missing the wrapped model is what it was. That missing
entries have no score is the programs' part (Likelihood.observed). Shapes: as in base.py.
"""

from __future__ import annotations

from torch import Tensor, nn

from pyro_vrnn.models.base import SequenceModel, Wrapped


class Masked(Wrapped):
    """Another model, which is also told what is missing.

    Args:
        net: the model.
        x_dim: X.
    """

    def __init__(self, net: SequenceModel, x_dim: int) -> None:
        super().__init__(net, x_dim)
        self.W = nn.Linear(x_dim, x_dim, bias=False)
        nn.init.zeros_(self.W.weight)

    def features(self, x: Tensor) -> Tensor:
        """The wrapped model's features. [..., X], where all was observed, or [..., 2 X] with marks -> [..., F]."""
        if x.shape[-1] == self.x_dim:
            return self.net.features(x)
        values, mark = x.split(self.x_dim, dim=-1)
        return self.net.features(mark * values + self.W(1 - mark))
