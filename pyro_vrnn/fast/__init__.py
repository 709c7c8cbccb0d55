"""Loops over time with a backward pass of their own; the readable loop (models/loop.py) gives the same results.

`loop_of(net)` is the one way in. A fast loop knows one model's networks by heart, so it is found by the *exact* type of
the network: a subclass may override an arrow that the fast loop does not ask, and runs the readable loop instead. So
does a network of which one object's arrow was replaced (`net.q_z = …`), and one with a part of somebody else's making
(`net.phi_enc = MyHead(…)`), whose weights the fast loop would read without calling it.
"""

from __future__ import annotations

from typing import Any

from pyro_vrnn.fast.direct import DirectLoop
from pyro_vrnn.fast.dmm import DMMLoop
from pyro_vrnn.fast.rnn import RNNLoop
from pyro_vrnn.fast.srnn import SRNNLoop
from pyro_vrnn.fast.storn import STORNLoop
from pyro_vrnn.fast.vrae import VRAELoop
from pyro_vrnn.fast.vrnn import VRNNLoop
from pyro_vrnn.models import DMM, RNN, SRNN, STORN, VRAE, VRNN, VRNNI, SequenceModel
from pyro_vrnn.models.direct import Connected, Direct
from pyro_vrnn.models.direct_line import DirectLine
from pyro_vrnn.models.loop import Loop
from pyro_vrnn.models.masked import Masked

LOOPS: dict[type[SequenceModel], type[Loop[Any]]] = {
    DMM: DMMLoop,
    RNN: RNNLoop,
    SRNN: SRNNLoop,
    STORN: STORNLoop,
    VRAE: VRAELoop,
    VRNN: VRNNLoop,
    VRNNI: VRNNLoop,
}
OURS = ("pyro_vrnn.models.", "torch.nn.")
ARROWS = ("features", "p_z", "p_x", "next", "encode", "q_z", "start", "begin")


def loop_of(net: SequenceModel) -> Loop[Any]:
    """The loop that runs this network: the fast one of its exact type, or else the readable one."""
    if not vars(net).keys().isdisjoint(ARROWS):
        return Loop(net)
    if isinstance(net, Connected) and type(net) in (
        Direct,
        DirectLine,
    ):  # the model that it wraps has its own loop
        return DirectLoop(net, loop_of(net.net))
    if type(net) is Masked:  # it changes what the features are made of, and nothing after
        return loop_of(net.net)
    fast = LOOPS.get(type(net))
    return fast(net) if fast is not None and _is_made_of_ours(net) else Loop(net)


def _is_made_of_ours(net: SequenceModel) -> bool:
    """Whether all parts of a network but its likelihood, which no loop asks, are the package's own or torch's."""
    parts = (m for name, child in net.named_children() if name != "likelihood" for m in child.modules())
    return all(type(part).__module__.startswith(OURS) and "forward" not in vars(part) for part in parts)
