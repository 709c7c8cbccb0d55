"""Which loop runs which network: the fast one of its exact type, or the readable one; an overridden arrow is heard."""

from __future__ import annotations

from typing import Any

import pyro
import pytest
import torch
from pyro.distributions import Distribution, Normal
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from small import X, make_batch, make_net
from torch import Tensor

from pyro_vrnn.fast import LOOPS, loop_of
from pyro_vrnn.fast.direct import DirectLoop
from pyro_vrnn.models import DMM, MODELS, RNN, SRNN, STORN, VRAE, VRNN, SequenceModel
from pyro_vrnn.models.direct import Direct
from pyro_vrnn.models.loop import Loop
from pyro_vrnn.models.networks import State
from pyro_vrnn.programs import PROGRAMS


def shifted(parent: type[SequenceModel]) -> type[SequenceModel]:
    """A subclass whose posterior lies elsewhere."""

    class Shifted(parent):  # type: ignore[misc, valid-type]
        def q_z(self, state: State, e_t: Tensor) -> Distribution:
            q = super().q_z(state, e_t).base_dist
            return Normal(q.loc + 0.5, 2 * q.scale).to_event(1)

    return Shifted


def halved(parent: type[SequenceModel]) -> type[SequenceModel]:
    """A subclass whose transition forgets half of the state that it is given."""

    class Halved(parent):  # type: ignore[misc, valid-type]
        def next(self, state: State, z: Tensor, features: Tensor) -> State:
            return super().next(tuple(0.5 * part for part in state), z, features)

    return Halved


def made(cls: type[SequenceModel], parent: type[SequenceModel]) -> SequenceModel:
    """A network of this class with the weights of one of its parent's."""
    name = next(name for name, model in MODELS.items() if model is parent)
    net = make_net(f"model.name={name}")
    net.__class__ = cls
    return net


def loss(net: SequenceModel, program: str, elbo: type[Any]) -> float:
    """The loss of one program under a fixed seed."""
    pair: Any = PROGRAMS[program](net)
    torch.manual_seed(3)
    with pyro.get_param_store().scope():
        found: float = elbo(num_particles=2, vectorize_particles=True, max_plate_nesting=1).loss(
            pair.model, pair.guide, make_batch()
        )
    return found


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize("change", [shifted, halved])
@pytest.mark.parametrize("parent", [VRNN, SRNN, DMM, STORN, VRAE, RNN])
def test_an_overridden_arrow_is_heard(parent: type[SequenceModel], change: Any, elbo: type[Any]) -> None:
    """A fast loop knows its parent's networks only: both programs run what the subclass says."""
    if parent is RNN and change is shifted:
        pytest.skip("an RNN has no z whose posterior could lie elsewhere")
    net = made(change(parent), parent)
    assert type(loop_of(net)) is Loop
    stacked = loss(net, "stacked", elbo)
    assert stacked == pytest.approx(loss(net, "markov", elbo), rel=1e-9)
    net.__class__ = parent
    theirs = loss(net, "stacked", elbo)
    assert theirs == pytest.approx(loss(net, "markov", elbo), rel=1e-9)
    if not (parent is DMM and change is halved):  # its next state is z alone: half a state before it changes nothing
        assert abs(stacked - theirs) > 1e-3


def test_every_shipped_model_has_a_fast_loop() -> None:
    assert set(LOOPS) == set(MODELS.values())


def test_direct_connections_run_their_own_models_loop() -> None:
    net = make_net("model.name=srnn", "model.direct=true")
    assert isinstance(net, Direct)
    found = loop_of(net)
    assert isinstance(found, DirectLoop)
    assert type(found.own) is LOOPS[SRNN]
    net.net = made(shifted(SRNN), SRNN)
    found = loop_of(net)
    assert isinstance(found, DirectLoop)
    assert type(found.own) is Loop
    assert loss(net, "stacked", Trace_ELBO) == pytest.approx(loss(net, "markov", Trace_ELBO), rel=1e-9)
    assert net.likelihood.x_dim == X


def test_an_arrow_replaced_on_one_object_is_heard() -> None:
    net = make_net("model.name=vrnn")
    q_z = net.q_z
    assert type(loop_of(net)) is LOOPS[VRNN]
    net.q_z = lambda state, e_t: Normal(q_z(state, e_t).base_dist.loc + 1, 1.0).to_event(1)  # type: ignore[method-assign]
    assert type(loop_of(net)) is Loop
    assert loss(net, "stacked", Trace_ELBO) == pytest.approx(loss(net, "markov", Trace_ELBO), rel=1e-9)
