"""Features to the distribution of one observed step, p(x_t | features): the likelihoods by name.

Adding one is one file and one line in LIKELIHOODS.
A likelihood is an `nn.Module` made with `(in_dim, x_dim)`; `forward` returns a distribution with event shape [X].
"""

from __future__ import annotations

from pyro_vrnn.models.likelihoods.base import Likelihood
from pyro_vrnn.models.likelihoods.bernoulli import Bernoulli
from pyro_vrnn.models.likelihoods.categorical import Categorical
from pyro_vrnn.models.likelihoods.frame_ar import FrameAR
from pyro_vrnn.models.likelihoods.gaussian import FixedGaussian, Gaussian
from pyro_vrnn.models.likelihoods.gmm import GaussianMixture
from pyro_vrnn.models.likelihoods.logistic import LogisticMixture
from pyro_vrnn.models.likelihoods.made import MADE
from pyro_vrnn.models.likelihoods.nade import NADE
from pyro_vrnn.models.likelihoods.strokes import BivariateMixturePen

LIKELIHOODS: dict[str, type[Likelihood]] = {
    "bernoulli": Bernoulli,
    "bivariate-gmm-pen": BivariateMixturePen,
    "categorical": Categorical,
    "frame-ar": FrameAR,
    "gaussian": Gaussian,
    "gaussian-fixed": FixedGaussian,
    "gmm": GaussianMixture,
    "logistic-mixture": LogisticMixture,
    "made": MADE,
    "nade": NADE,
}

__all__ = [
    "LIKELIHOODS",
    "MADE",
    "NADE",
    "Bernoulli",
    "BivariateMixturePen",
    "Categorical",
    "FixedGaussian",
    "FrameAR",
    "Gaussian",
    "GaussianMixture",
    "Likelihood",
    "LogisticMixture",
]
