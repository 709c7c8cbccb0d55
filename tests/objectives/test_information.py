"""Mutual information and the gap of the aggregated posterior: against what is known exactly, for every model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyro.distributions as dist
import pytest
import torch
from oracle import A, C, LinearGaussian, Q, R
from pyro.distributions import Distribution
from small import Z, make_net, variants, write_small
from torch import Tensor

from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.objectives.information import Information, information, split_kl


def normal(loc: Tensor, scale: float) -> Distribution:
    return dist.Normal(loc, torch.full_like(loc, scale)).to_event(1)


def prior(count: int) -> Distribution:
    return normal(torch.zeros(count, 1, dtype=torch.float64), 1.0)


def test_one_z_with_its_exact_posterior() -> None:
    """z ~ N(0, 1), x | z ~ N(c z, r²): I(x; z) = log(1 + c²/r²) / 2, and the aggregate of many is the prior."""
    torch.manual_seed(0)
    x = C * torch.randn(800, 1, dtype=torch.float64) + R * torch.randn(800, 1, dtype=torch.float64)
    gain = C / (C**2 + R**2)
    q = normal(gain * x, math.sqrt(1 - gain * C))
    held, predicted, gap = split_kl(q, prior(800), q.rsample(torch.Size([4])))
    assert held == pytest.approx(0.5 * math.log(1 + (C / R) ** 2), abs=0.02)
    assert predicted == pytest.approx(0, abs=1e-12)
    assert gap == pytest.approx(0, abs=0.01)


def test_a_few_sequences_by_integration() -> None:
    """Both terms of Hoffman and Johnson's split, by numerical integration over z."""
    loc, scale = torch.tensor([[-2.0], [0.3], [0.5], [3.0]], dtype=torch.float64), 0.4
    z = torch.linspace(-9, 9, 20_001, dtype=torch.float64)
    each = dist.Normal(loc, scale).log_prob(z).exp()  # [N, grid]
    mixture, step = each.mean(0), float(z[1] - z[0])
    exact_information = float((each * (each.clamp(min=1e-300) / mixture.clamp(min=1e-300)).log()).sum() * step / 4)
    log_p = dist.Normal(0.0, 1.0).log_prob(z)
    exact_gap = float((mixture * (mixture.clamp(min=1e-300).log() - log_p)).sum() * step)
    torch.manual_seed(0)
    q = normal(loc, scale)
    held, _, gap = split_kl(q, prior(4), q.rsample(torch.Size([3000])))
    assert held == pytest.approx(exact_information, abs=0.02)
    assert gap == pytest.approx(exact_gap, abs=0.05)
    kl = torch.distributions.kl_divergence(q.base_dist, prior(4).base_dist).mean()
    assert held + gap == pytest.approx(float(kl), abs=0.06)


@pytest.mark.parametrize(("spread", "says"), [(0.0, 0.0), (100.0, math.log(5))])
def test_its_limits(spread: float, says: float) -> None:
    """Posteriors that are all the same tell nothing; those far apart tell which of the N it is, and no more."""
    q = normal(spread * torch.arange(5, dtype=torch.float64)[:, None], 1.0)
    held, _, _ = split_kl(q, prior(5), q.rsample(torch.Size([50])))
    assert held == pytest.approx(says, abs=1e-12)


def test_what_the_prior_predicts() -> None:
    """Where the prior is the posterior there is no KL: what is known of the sequence was all predicted."""
    q = normal(torch.tensor([[0.0], [5.0], [9.0]]), 1.0)
    held, predicted, gap = split_kl(q, q, q.rsample(torch.Size([100])))
    assert held == pytest.approx(predicted)
    assert held > 0.5
    assert gap == pytest.approx(0)


def whole(found: Information) -> None:
    assert all(i <= limit + 1e-5 for i, limit in zip(found.information, found.limit, strict=True))
    assert all(np.isfinite(found.kl))
    assert found.predicted[0] == pytest.approx(0, abs=1e-3)  # float32


@pytest.mark.parametrize("sets", [v for v in variants() if v[0] != "model.name=rnn"], ids=" ".join)
def test_every_model(sets: tuple[str, ...], tmp_path: Path) -> None:
    net = make_net(*sets, dtype=torch.float32).eval()
    assert net.latent_dim % Z == 0
    data = SequenceDataset(write_small(tmp_path / "d.h5"), "test")
    found = information(net, data, steps=5)
    whole(found)
    assert len(found.kl) == (5 if net.per_step else 1)
    assert found == information(net, data, steps=5)
    assert found != information(net, data, steps=5, seed=1)


def test_the_parts_of_a_chain_are_those_of_its_kl(tmp_path: Path) -> None:
    """Along the linear-Gaussian chain: the parts sum to the KL, whose mean over draws of the past is known."""
    net = LinearGaussian().eval()
    data = SequenceDataset(write_small(tmp_path / "d.h5", x_dim=1, extra={"lowest_pitch": 40}), "train")
    found = information(net, data, sequences=24, steps=3, draws=300)
    whole(found)
    batch = collate(data, list(range(len(data))), 0, 3)
    assert batch.x is not None
    u, v, s = (float(p.detach()) for p in (net.u, net.v, net.log_s.exp()))
    first = v * batch.x[0, :, 0]
    kl = torch.distributions.kl_divergence(dist.Normal(first, s), dist.Normal(0.0, 1.0)).mean()
    assert found.kl[0] == pytest.approx(float(kl), abs=0.05)
    assert found.predicted[1] > 0
    exact = []  # of step 2, over the past z_1 ~ N(v x_1, s²), which is drawn once here: within its spread
    second = batch.x[1, :, 0]
    for past in torch.linspace(-2, 2, 9):
        z = first + past * s
        p, q = dist.Normal(A * z, Q), dist.Normal(u * z + v * second, s)
        exact.append(float(torch.distributions.kl_divergence(q, p).mean()))
    assert min(exact) - 0.05 < found.kl[1] < max(exact) + 0.05


def test_sequences_that_end_are_left_out(tmp_path: Path) -> None:
    data = SequenceDataset(write_small(tmp_path / "d.h5"), "train")
    found = information(make_net("model.name=vrnn", dtype=torch.float32).eval(), data, steps=40)
    assert found.sequences == [int((data.lengths > t).sum()) for t in range(len(found.sequences))]
    assert found.sequences[-1] >= len(data) / 2
    assert len(found.sequences) < data.lengths.max()
    assert information(make_net("model.name=vrnn", dtype=torch.float32), data, sequences=7).sequences[0] == 7
