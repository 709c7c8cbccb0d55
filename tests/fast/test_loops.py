"""Which loop runs which network: the fast one of its exact type, or the readable one; an overridden arrow is heard."""

from __future__ import annotations

from typing import Any

import pyro
import pytest
import torch
from pyro.distributions import Distribution, Laplace, LogNormal, Normal, StudentT
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from small import X, make_batch, make_net
from torch import Tensor, nn

from pyro_vrnn.fast import LOOPS, loop_of
from pyro_vrnn.fast.direct import DirectLoop
from pyro_vrnn.models import DMM, MODELS, RNN, SRNN, STORN, VRAE, VRNN, SequenceModel
from pyro_vrnn.models.direct import Direct
from pyro_vrnn.models.loop import Loop
from pyro_vrnn.models.networks import DiagonalNormal, State, cat
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


def loss(net: SequenceModel, program: str, elbo: type[Any], seed: int = 3) -> float:
    """The loss of one program under a fixed seed."""
    pair: Any = PROGRAMS[program](net)
    torch.manual_seed(seed)
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


@pytest.mark.parametrize("elbo", [Trace_ELBO, TraceMeanField_ELBO])
@pytest.mark.parametrize(
    ("parent", "made_of"),
    [(VRNN, Laplace), (VRNN, LogNormal), (VRNN, StudentT), (SRNN, Laplace), (DMM, LogNormal), (STORN, StudentT)],
)
def test_a_posterior_that_is_not_gaussian_is_scored_as_what_it_is(
    parent: type[SequenceModel], made_of: Any, elbo: type[Any]
) -> None:
    """By both programs alike, in the mean of many draws (they draw in another order)."""

    class Other(parent):  # type: ignore[misc, valid-type]
        def q_z(self, state: State, e_t: Tensor) -> Distribution:
            q = super().q_z(state, e_t).base_dist
            if made_of is StudentT:
                return StudentT(torch.full_like(q.loc, 6.0), q.loc, q.scale).to_event(1)
            return made_of(0.3 * q.loc, 0.3 * q.scale).to_event(1)

    net = made(Other, parent)
    found = torch.tensor([[loss(net, program, elbo, seed) for seed in range(40)] for program in PROGRAMS])
    assert len(found) == 2
    error = (found.var(1) / found.shape[1]).sum().sqrt()
    assert abs(found[0].mean() - found[1].mean()) < 4 * error + 1e-6


class Shouting(DiagonalNormal):
    """A head that says something else than its parent."""

    def forward(self, *v: Tensor) -> Distribution:
        q = super().forward(*v).base_dist
        return Normal(q.loc + 1, 2 * q.scale).to_event(1)


class Plain(nn.Module):
    """A head that has nothing in common with ours."""

    def __init__(self, width: int, z_dim: int) -> None:
        super().__init__()
        self.net = nn.Linear(width, z_dim, dtype=torch.float64)

    def forward(self, *v: Tensor) -> Distribution:
        return Normal(self.net(cat(*v)), 0.5).to_event(1)


@pytest.mark.parametrize("kind", ["subclass", "other", "forward"])
@pytest.mark.parametrize(
    ("model", "head"),
    [("vrnn", "phi_enc"), ("srnn", "nn_q"), ("dmm", "posterior"), ("storn", "phi_enc"), ("vrae", "phi_enc")],
)
def test_a_head_of_somebody_elses_making_is_heard(model: str, head: str, kind: str) -> None:
    net = make_net(f"model.name={model}")
    ours = getattr(net, head)
    before = loss(net, "stacked", Trace_ELBO)
    if kind == "subclass":
        ours.__class__ = Shouting
    elif kind == "other":
        torch.manual_seed(5)
        first = next(p for p in ours.parameters() if p.dim() == 2)
        setattr(net, head, Plain(first.shape[1], net.latent_dim))
    else:
        forward = ours.forward
        ours.forward = lambda *v: Normal(forward(*v).base_dist.loc + 1, 1.0).to_event(1)
    assert type(loop_of(net)) is Loop
    stacked = loss(net, "stacked", Trace_ELBO)
    assert abs(stacked - before) > 1e-3
    assert stacked == pytest.approx(loss(net, "markov", Trace_ELBO), rel=1e-9)


def test_an_arrow_replaced_on_one_object_is_heard() -> None:
    net = make_net("model.name=vrnn")
    q_z = net.q_z
    assert type(loop_of(net)) is LOOPS[VRNN]
    net.q_z = lambda state, e_t: Normal(q_z(state, e_t).base_dist.loc + 1, 1.0).to_event(1)  # type: ignore[method-assign]
    assert type(loop_of(net)) is Loop
    assert loss(net, "stacked", Trace_ELBO) == pytest.approx(loss(net, "markov", Trace_ELBO), rel=1e-9)
