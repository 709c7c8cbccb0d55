"""The models by name; adding one is one file and one line here."""

from __future__ import annotations

from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.models.dmm import DMM
from pyro_vrnn.models.rnn import RNN
from pyro_vrnn.models.srnn import SRNN
from pyro_vrnn.models.storn import STORN
from pyro_vrnn.models.vrae import VRAE
from pyro_vrnn.models.vrnn import VRNN, VRNNI

MODELS: dict[str, type[SequenceModel]] = {
    "dmm": DMM,
    "rnn": RNN,
    "srnn": SRNN,
    "storn": STORN,
    "vrae": VRAE,
    "vrnn": VRNN,
    "vrnn-i": VRNNI,
}

__all__ = ["DMM", "MODELS", "RNN", "SRNN", "STORN", "VRAE", "VRNN", "VRNNI", "SequenceModel"]
