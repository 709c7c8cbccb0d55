"""Objectives by name: settings -> a Pyro ELBO for SVI, and the bound on log p(x) that it stands for.

All are functions of the same log-weights, one per particle and *sequence* (never summed over the batch):

    log w = sum_t log p(x_t | ·) + beta (log p(z_t | ·) - log q(z_t | ·))       [K, B]

| name    | maximises                                                  | source                                  |
|---------|------------------------------------------------------------|-----------------------------------------|
| elbo    | E_q log p(x | z) - beta sum_t KL(q_t || p_t), analytic KL  | Chung et al. 2015, eq. (11)             |
| elbo-mc | mean_k log w_k, every term sampled (VAE_K)                 | Kingma & Welling 2014                   |
| stl     | the same, without the score of log q in its gradient       | Roeder et al. 2017, arXiv:1703.09194    |
| iwae    | log mean_k w_k                                             | Burda et al. 2016, eq. (8)              |
| dreg    | the same, the guide's gradient reparameterised twice       | Tucker et al. 2019, arXiv:1810.04152    |
| elbo-mk | mean over M groups of log mean_k w_k (MIWAE)               | Rainforth et al. 2018, arXiv:1802.04537 |
| ciwae   | (1 - mix) mean_k log w_k + mix log mean_k w_k              | Rainforth et al. 2018                   |
| renyi   | log (mean_k w_k^(1-alpha)) / (1-alpha)                     | Li & Turner 2016                        |
| fivo    | log-evidence of a particle filter                          | Maddison et al. 2017, arXiv:1705.09279  |
| sixo    | the same, with particles that suit their future kept       | Lawson et al. 2022, arXiv:2206.05952    |

beta < 1 inside an importance weight tends to log of the integral of q^(1-beta) p^beta p(x | z) dz: no bound. So
the weighted objectives have no KL weight to set (anneal `ciwae` instead). What is reported is always at beta = 1.
"""

from __future__ import annotations

from typing import Any

from pyro_vrnn.objectives.base import Annealed, Objective, Weighted
from pyro_vrnn.objectives.elbo import ElboMCObjective, ElboObjective, STLObjective
from pyro_vrnn.objectives.fivo import FivoObjective
from pyro_vrnn.objectives.importance import CiwaeObjective, DregObjective, IwaeObjective, MKObjective, RenyiObjective
from pyro_vrnn.objectives.sixo import SixoObjective
from pyro_vrnn.system.errors import choose

__all__ = [
    "OBJECTIVES",
    "Annealed",
    "CiwaeObjective",
    "DregObjective",
    "ElboMCObjective",
    "ElboObjective",
    "FivoObjective",
    "IwaeObjective",
    "MKObjective",
    "Objective",
    "RenyiObjective",
    "STLObjective",
    "SixoObjective",
    "Weighted",
    "make_objective",
]

OBJECTIVES: dict[str, type[Objective]] = {
    "ciwae": CiwaeObjective,
    "dreg": DregObjective,
    "elbo": ElboObjective,
    "elbo-mc": ElboMCObjective,
    "elbo-mk": MKObjective,
    "fivo": FivoObjective,
    "iwae": IwaeObjective,
    "renyi": RenyiObjective,
    "sixo": SixoObjective,
    "stl": STLObjective,
}


def make_objective(name: str, particles: int | None, trained: Objective) -> Objective:
    """An objective to evaluate with; its other settings are those that were trained with, if it is the same one.

    Raises:
        ConfigError: unknown, or that number of particles makes no sense for it.
    """
    if name not in OBJECTIVES:
        raise choose("objective", name, OBJECTIVES)
    settings: dict[str, Any] = dict(vars(trained)) if name == trained.name else {}
    settings.pop("particles", None)
    if particles is not None:
        settings["particles"] = particles
    return OBJECTIVES[name](**settings | {"name": name})
