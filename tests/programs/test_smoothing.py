"""Paths traced back are samples of the smoothing distribution: against the exact one of a linear-Gaussian chain."""

from __future__ import annotations

import pyro
import pytest
import torch
from oracle import COLUMNS, A, Chain, Q, R, conditional
from small import X, make_batch, make_net

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import MODELS
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.models.masked import Masked
from pyro_vrnn.programs import smoothing
from pyro_vrnn.programs.particle_filter import systematic
from pyro_vrnn.programs.smoothing import DRAWS, at_end, smooth


def chain(steps: int, seed: int = 0) -> torch.Tensor:
    """Two columns of the chain, [T, 2]."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(steps, 3, generator=generator, dtype=torch.float64)
    z = noise[0, 0]
    rows = []
    for t in range(steps):
        z = noise[t, 0] if t == 0 else A * z + Q * noise[t, 0]
        rows.append(COLUMNS * z + R * noise[t, 1:])
    return torch.stack(rows)


def holed(steps: int = 9) -> torch.Tensor:
    """Holes of entries and of whole steps, at both ends too."""
    x = chain(steps)
    x[0] = x[3] = x[4] = float("nan")
    x[2, 0] = x[6, 1] = x[steps - 1, 0] = float("nan")
    return x


def wide() -> Masked:
    """A guide that is nowhere narrower than the posterior, or a few weights would decide."""
    net = Masked(Chain(), 2).double()
    with torch.no_grad():
        net.net.log_s.zero_()
    return net


def test_what_is_missing_has_the_smoothers_mean_and_interval() -> None:
    """Eight runs on average: one has an error of about 0.03 in the mean, 0.04 in the interval's ends."""
    x = holed()
    mean, var = conditional(x)
    torch.manual_seed(0)
    with pyro.validation_enabled(False):
        runs = [smooth(wide(), Batch.of(x[:, None]), 20_000) for _ in range(8)]
    assert sorted(runs[0].mean) == [0, 2, 3, 4, 6, 8]
    ends = torch.tensor([0.1, 0.9], dtype=torch.float64)
    for t in runs[0].samples:
        hole, spread = x[t].isnan(), 1.28155 * var[t].sqrt()
        assert all(found.samples[t].shape == (DRAWS * 20_000, 2) for found in runs)
        assert all(1000 < found.ancestors[t] <= 20_000 for found in runs)
        middle = torch.stack([found.mean[t] for found in runs]).mean(0)
        low, high = torch.stack([found.samples[t].quantile(ends, 0) for found in runs]).mean(0)
        assert (middle - mean[t])[hole].abs().max() < 0.04
        assert (low - (mean[t] - spread))[hole].abs().max() < 0.05
        assert (high - (mean[t] + spread))[hole].abs().max() < 0.05
    assert runs[0].ess.shape == (9,)


def test_few_ancestors_are_told() -> None:
    """With few particles and a long way to the end, the paths come from one particle."""
    x = chain(200)
    x[5] = float("nan")
    torch.manual_seed(0)
    with pyro.validation_enabled(False):
        found = smooth(wide(), Batch.of(x[:, None]), 8)
    assert found.ancestors[5] == 1


def test_letting_go_of_the_dead_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    x = chain(60)
    x[::4] = float("nan")
    found = []
    for every in (1, 7, 1000):
        monkeypatch.setattr(smoothing, "PRUNE_EVERY", every)
        torch.manual_seed(0)
        with pyro.validation_enabled(False):
            found.append(smooth(Masked(Chain(), 2).double(), Batch.of(x[:, None]), 40))
    assert found[0].ancestors == found[1].ancestors == found[2].ancestors
    for t, samples in found[2].samples.items():
        assert torch.equal(samples, found[0].samples[t])
        assert torch.equal(samples, found[1].samples[t])
        assert torch.equal(found[2].mean[t], found[1].mean[t])


def test_the_end_is_filtered() -> None:
    """The state after the last step is a sample of p(z_T | x), also where the end is missing."""
    x = holed()
    x[-1] = float("nan")
    mean, var = conditional(torch.cat([x, torch.full((1, 2), float("nan"))]))
    torch.manual_seed(0)
    with pyro.validation_enabled(False):
        (z, first), _ = at_end(wide(), Batch.of(x[:, None]), 20_000, 20_000)
    assert z.shape == (20_000, 1)
    assert (first == 0).all()
    assert float(COLUMNS[0] * A * z.mean()) == pytest.approx(float(mean[-1, 0]), abs=0.03)
    spread = (COLUMNS[0] * A) ** 2 * z.var() + (COLUMNS[0] * Q) ** 2 + R**2
    assert float(spread) == pytest.approx(float(var[-1, 0]), rel=0.04)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_is_smoothed_and_continued(model: str) -> None:
    net = Masked(make_net(f"model.name={model}"), X).double()
    batch = make_batch([6])
    assert batch.x is not None
    x = batch.x.clone()
    x[0, 0] = x[3, 0, 2] = x[5, 0] = float("nan")
    torch.manual_seed(0)
    with pyro.validation_enabled(False), torch.no_grad():
        found = smooth(net, Batch.of(x), 16)
        state, ess = at_end(net, Batch.of(x), 16, 5)
    assert sorted(found.samples) == [0, 3, 5]
    assert all(((s == 0) | (s == 1)).all() for s in found.samples.values())
    assert all(part.shape[0] == 5 for part in state)
    assert len(ess) == 6


def test_systematic_choices_are_within_one_of_their_share() -> None:
    torch.manual_seed(0)
    weights = torch.rand(7, 3).softmax(0)
    for count in (3, 7, 500):
        found = systematic(weights, count)
        assert found.shape == (count, 3)
        for b in range(3):
            times = torch.bincount(found[:, b], minlength=7)
            assert ((times - count * weights[:, b]).abs() <= 1).all()


def test_missing_columns_of_a_mixture_know_the_observed_ones() -> None:
    torch.manual_seed(0)
    likelihood = LIKELIHOODS["gmm"](5, 4).double()
    for p in likelihood.parameters():
        torch.nn.init.normal_(p)
    p_x = likelihood(torch.randn(7, 5, dtype=torch.float64))
    x, mask = torch.randn(7, 4, dtype=torch.float64), torch.rand(7, 4) < 0.5
    found = likelihood.observed(likelihood.completed(p_x, x, mask), ~mask).log_prob(x)
    torch.testing.assert_close(found, p_x.log_prob(x) - likelihood.observed(p_x, mask).log_prob(x))
    whole = torch.ones_like(mask)
    assert torch.isfinite(likelihood.completed(p_x, x, whole).sample()).all()
