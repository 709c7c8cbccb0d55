"""The models as scikit-learn estimators: fit, transform, score and the others, over a run folder of their own.

They need scikit-learn (extra `estimators`), which nothing else here imports: `pyro_vrnn.VRNN` imports this package when
it is first used.
"""

from __future__ import annotations

import importlib.util

from pyro_vrnn.system.errors import ConfigError

if importlib.util.find_spec("sklearn") is None:
    raise ConfigError("estimators need scikit-learn, and it is not installed", "pip install 'pyro-vrnn[estimators]'")

from pyro_vrnn.estimators.models import DMM, RNN, SRNN, STORN, VRAE, VRNN

__all__ = ["DMM", "RNN", "SRNN", "STORN", "VRAE", "VRNN"]
