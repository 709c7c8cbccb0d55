"""Sequence models with latent variables (VRNN, SRNN, VRAE, DMM, STORN) as Pyro model/guide pairs.

    import pyro_vrnn as pv
    run = pv.train("chorales-vrnn", objective="iwae", particles=5, out="runs/a")
    run = pv.train("vowels", data=pv.dataset(list_of_arrays), out="runs/b")
    run = pv.load("runs/a");  run.evaluate(split="test", objective="iwae", particles=100);  run.sample(4, steps=200)
    vrae = pv.VRAE(latent_dim=2).fit(list_of_arrays);  z = vrae.transform(list_of_arrays)

Names are imported when first used, so that `pyro-vrnn --help` does not wait for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyro_vrnn.system.version import __version__

if TYPE_CHECKING:
    from pyro_vrnn.data.sources.datasets import Dataset as Dataset
    from pyro_vrnn.data.sources.datasets import dataset as dataset
    from pyro_vrnn.estimators import DMM as DMM
    from pyro_vrnn.estimators import RNN as RNN
    from pyro_vrnn.estimators import SRNN as SRNN
    from pyro_vrnn.estimators import STORN as STORN
    from pyro_vrnn.estimators import VRAE as VRAE
    from pyro_vrnn.estimators import VRNN as VRNN
    from pyro_vrnn.runs.api import train as train
    from pyro_vrnn.runs.run import Run as Run
    from pyro_vrnn.runs.run import load as load
    from pyro_vrnn.training.observer import Observer as Observer
    from pyro_vrnn.training.observer import StopTraining as StopTraining

_WHERE = {
    "DMM": "estimators",
    "Dataset": "data.sources.datasets",
    "Observer": "training.observer",
    "RNN": "estimators",
    "Run": "runs.run",
    "SRNN": "estimators",
    "STORN": "estimators",
    "StopTraining": "training.observer",
    "VRAE": "estimators",
    "VRNN": "estimators",
    "dataset": "data.sources.datasets",
    "load": "runs.run",
    "train": "runs.api",
}
__all__ = [
    "DMM",
    "RNN",
    "SRNN",
    "STORN",
    "VRAE",
    "VRNN",
    "Dataset",
    "Observer",
    "Run",
    "StopTraining",
    "__version__",
    "dataset",
    "load",
    "train",
]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'pyro_vrnn' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"pyro_vrnn.{_WHERE[name]}"), name)
