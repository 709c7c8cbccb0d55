"""Pyro's DMM example, as benchmarks/ times ours against it, computes what ours does."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO

from pyro_vrnn.cli import bench
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import DMM
from pyro_vrnn.programs import Stacked

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")


def test_the_example_has_the_programs_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pyro's DMM as its example writes it, on ragged sequences: the same draws, so the same numbers."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from pyro_dmm_example import Example, examples

    case = bench.Case(model="dmm", B=3, T=5, X=7, Z=2, H=11, dims=13)
    net, batch = bench._net(case).double(), bench._batch(case)
    assert isinstance(net, DMM)
    batch = Batch(torch.tensor([5, 2, 4]), batch.x.double())
    found = []
    pair, example = Stacked(net), Example(net, batch)
    for model, guide in (
        (example.model, example.guide),
        (partial(pair.model, batch), partial(pair.guide, batch)),
    ):
        net.zero_grad()
        torch.manual_seed(0)
        with pyro.get_param_store().scope():
            loss = Trace_ELBO(num_particles=1, max_plate_nesting=1).loss_and_grads(model, guide, 0.3)
        found.append([torch.tensor(loss), *(p.grad.clone() for p in net.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-9, check_dtype=False)
    row = bench.time_case("small", case, device="cpu", repeats=1, others=examples)
    assert min(row["example_ms"], row["example_unchecked_ms"], row["stacked_ms"]) > 0
