"""The models by name. A model of ours is one file and one line here; an installed package may bring its own.

A package names its models in the entry-point group `pyro_vrnn.models` (docs/extending.md). They are looked up only when
a name is not in MODELS. There is no option that loads a file of code: a run folder that somebody sent names its model,
and must never be able to name code to execute.
"""

from __future__ import annotations

import dataclasses
import re
from importlib import metadata
from typing import Any

from pyro_vrnn.models.base import ModelConfig, SequenceModel
from pyro_vrnn.models.direct import Direct
from pyro_vrnn.models.direct_line import DirectLine
from pyro_vrnn.models.dmm import DMM
from pyro_vrnn.models.masked import Masked
from pyro_vrnn.models.rnn import RNN
from pyro_vrnn.models.srnn import SRNN
from pyro_vrnn.models.storn import STORN
from pyro_vrnn.models.vrae import VRAE
from pyro_vrnn.models.vrnn import VRNN, VRNNI
from pyro_vrnn.system.errors import ConfigError, ResourceError, choose, first_line

MODELS: dict[str, type[SequenceModel]] = {
    "dmm": DMM,
    "rnn": RNN,
    "srnn": SRNN,
    "storn": STORN,
    "vrae": VRAE,
    "vrnn": VRNN,
    "vrnn-i": VRNNI,
}
GROUP = "pyro_vrnn.models"
"""The entry-point group in which installed packages name their models."""

__all__ = ["DMM", "MODELS", "RNN", "SRNN", "STORN", "VRAE", "VRNN", "VRNNI", "SequenceModel", "build", "model_class"]


def model_class(name: str) -> type[SequenceModel]:
    """The model of this name: one of MODELS, or one that an installed package brings.

    Raises:
        ConfigError: there is none, its package cannot be imported, or what it names is no model.
    """
    if name in MODELS:
        return MODELS[name]
    found = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if name not in found:
        raise choose("model", name, [*MODELS, *found])
    entry = found[name]
    try:
        cls = entry.load()
    except Exception as error:  # whatever the package raises on import is its own affair, told in one line
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(f"model {name!r} ({entry.value}) cannot be imported: {why}", "mend its package") from error
    if not (isinstance(cls, type) and issubclass(cls, SequenceModel)):
        raise ConfigError(f"model {name!r}: {entry.value} is no SequenceModel", "see docs/extending.md")
    config: Any = getattr(cls, "Config", None)
    if not (isinstance(config, type) and issubclass(config, ModelConfig) and dataclasses.is_dataclass(config)):
        raise ConfigError(f"model {name!r}: its Config is no ModelConfig", "see docs/extending.md")
    return cls


def build(config: ModelConfig, x_dim: int, *, missing: bool = False) -> SequenceModel:
    """A network with fresh weights.

    Args:
        config: an instance of the Config class of the model that it names.
        x_dim: X, values in a step.
        missing: whether the data has missing values.

    Raises:
        ResourceError: there is no memory for so many weights.
    """
    cls: Any = model_class(config.name)
    try:
        net: SequenceModel = cls(config, x_dim)
        if config.direct and config.likelihood != "gaussian":
            net = Direct(net, x_dim)
        if missing:
            net = Masked(net, x_dim)
        return DirectLine(net, x_dim) if config.direct and config.likelihood == "gaussian" else net
    except RuntimeError as error:  # torch has no class of its own for it
        if not re.search("allocat|Storage size|[Oo]verflow", str(error)):
            raise
        hint = "make it smaller: model.hidden_dim, model.network_dims"
        raise ResourceError(f"no memory for a network of these widths: {first_line(error)}", hint) from error
