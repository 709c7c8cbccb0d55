"""`bench` times what it says: the three ways compute the same loss, and its JSON has what scripts read."""

from __future__ import annotations

import json

import pyro
import pytest
import torch

from pyro_vrnn import cli
from pyro_vrnn.cli import bench
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.programs import Stacked

SMALL = bench.Case(B=3, T=5, X=7, Z=2, H=11, dims=13)


@pytest.mark.parametrize(
    "case",
    [SMALL, bench.Case(B=3, T=5, X=7, Z=2, H=11, dims=13, objective="iwae", particles=3)]
    + [bench.Case(model=model, B=3, T=5, X=7, Z=2, H=11, dims=13) for model in ("srnn", "dmm")],
)
def test_the_plain_loop_has_the_programs_gradients(case: bench.Case) -> None:
    net, batch = bench._net(case).double(), bench._batch(case)
    batch = type(batch)(batch.lengths, batch.x.double())
    torch.manual_seed(0)
    bench._plain(net, batch, case)
    plain = {k: p.grad.clone() for k, p in net.named_parameters()}
    net.zero_grad()
    pair = Stacked(net)
    torch.manual_seed(0)
    with pyro.get_param_store().scope():
        loss = OBJECTIVES[case.objective](name=case.objective, particles=case.particles).loss(net)
        loss.loss_and_grads(pair.model, pair.guide, batch)
    for key, p in net.named_parameters():
        torch.testing.assert_close(plain[key], p.grad, rtol=1e-8, atol=1e-10, msg=key)


def test_the_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(bench.CASES, "vrnn-small", SMALL)
    argv = ["bench", "--case", "vrnn-small", "--repeats", "2", "--device", "cpu", "--json"]
    assert cli._run(argv) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["device"] == "cpu"
    (row,) = found["cases"]
    names = {"name", "B", "T", "X", "Z", "H", "objective", "particles"}
    times = {"markov_ms", "stacked_ms", "plain_loop_ms", "arithmetic_ms"}
    assert row.keys() >= names | times | {"graph_ms"}
    assert all(row[key] > 0 for key in times)
    assert row["graph_ms"] is None
    assert cli._run(["bench", "--case", "nonsense"]) == 2
    assert "choose from dmm-jsb" in capsys.readouterr().err


def test_the_cases_that_scripts_ask_for() -> None:
    assert bench.CASES.keys() >= {"vrnn-small", "vrnn-wide", "vrnn-iwae5", "srnn-music", "dmm-jsb"}
    wide = bench.CASES["vrnn-wide"]
    assert (wide.B, wide.T, wide.H) == (64, 40, 512)
