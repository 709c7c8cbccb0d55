"""The filter of many particles computes what the readable filter does, for every model, to rounding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small import X, equipped, make_batch, make_net, suits, variants

from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.models.masked import Masked
from pyro_vrnn.programs import many_particles, particle_filter
from pyro_vrnn.programs.many_particles import log_evidence
from pyro_vrnn.programs.particle_filter import Resampling
from pyro_vrnn.programs.twist import lookahead, twist_of


@torch.no_grad()
def both(net: SequenceModel, *, resampling: Resampling = "systematic", **options: float) -> None:
    net.eval()
    batch = replace(make_batch([9, 4, 7]), given=torch.tensor([1, 0, 0]))
    own = twist_of(net)
    twist = None if own is None else lookahead(net, own, batch)
    torch.manual_seed(0)
    found = particle_filter(net, batch, 23, resampling=resampling, twist=twist, **options)
    torch.manual_seed(0)
    bound, kl = log_evidence(net, batch, 23, resampling=resampling, twist=twist, **options)
    torch.testing.assert_close(bound, found.log_evidence)
    torch.testing.assert_close(kl, found.kl.sum(0))


@pytest.mark.parametrize("sets", variants(), ids=lambda sets: " ".join(s.removeprefix("model.") for s in sets))
def test_equals_the_readable_filter(sets: tuple[str, ...]) -> None:
    both(make_net(*sets))
    if suits(sets[0].removeprefix("model.name="), "sixo"):
        both(equipped(make_net(*sets), "sixo"))


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("resampling", ["systematic", "multinomial"])
def test_equals_it_whenever_and_however_particles_are_drawn_anew(resampling: Resampling, threshold: float) -> None:
    both(make_net("model.name=dmm"), resampling=resampling, threshold=threshold)
    both(equipped(make_net("model.name=dmm"), "sixo"), resampling=resampling, threshold=threshold)


@torch.no_grad()
def test_states_that_are_shared_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no other shortcut hides it: the readable filter is not asked."""
    monkeypatch.setattr(many_particles, "particle_filter", None)
    net, seen = make_net("model.name=dmm").eval(), []
    p_z = net.p_z
    monkeypatch.setattr(net, "p_z", lambda state: (seen.append(len(state[0])), p_z(state))[1])
    log_evidence(net, make_batch([6]), 500, threshold=1.0)
    assert seen[:2] == [1, 1]  # asked once what kind it is; all start from one state
    assert all(1 < states < 450 for states in seen[2:])


@pytest.mark.fault(52)
@torch.no_grad()
def test_missing_values_are_not_scored() -> None:
    net, batch = Masked(make_net("model.name=vrnn"), X).double().eval(), make_batch([5, 5])
    observed = torch.ones_like(batch.x, dtype=torch.bool)
    observed[2, 0, :4] = False
    seen = replace(batch, observed=observed)
    torch.manual_seed(0)
    found = particle_filter(net, seen, 11).log_evidence
    torch.manual_seed(0)
    torch.testing.assert_close(log_evidence(net, seen, 11)[0], found)
    torch.manual_seed(0)
    whole = replace(batch, observed=torch.ones_like(observed))
    assert not torch.allclose(log_evidence(net, whole, 11)[0], found)
