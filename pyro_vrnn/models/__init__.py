"""The models by name; adding one is one file and one line here."""

from __future__ import annotations

from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.models.vrnn import VRNN

MODELS: dict[str, type[SequenceModel]] = {
    "vrnn": VRNN,
}

__all__ = ["MODELS", "VRNN", "SequenceModel"]
