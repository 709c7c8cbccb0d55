"""An update that nothing waits for: no number goes to the CPU, and what is not finite changes nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyro
import pytest
import torch
from graphs import CPU, PAIRS, NoWaiting, graph_step, make_trainer, settings
from small import make_batch

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.models.precision import products
from pyro_vrnn.system.errors import NumericsError
from pyro_vrnn.training.diagnosis import guarded


@pytest.mark.parametrize(("model", "objective"), PAIRS)
def test_nothing_waits_for_the_device(model: str, objective: str) -> None:
    trainer = make_trainer(f"model.name={model}", *settings(objective), "training.average=0.9", graphs=True)
    batch = make_batch(dtype=torch.float32)
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        trainer.step(batch, log=False)
        graph_step(trainer).update.set(beta=1.0, steps=batch.scored_steps, keep=0.1)
        again = replace(batch, lengths=batch.lengths.clone())  # its steps are known beforehand, as of all batches
        with NoWaiting():
            graph_step(trainer).update(again)
        with pytest.raises(AssertionError, match="waits"), NoWaiting():
            float(graph_step(trainer).update.done)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_no_likelihood_waits(name: str) -> None:
    x_dim = 3 if name == "bivariate-gmm-pen" else 20
    like = LIKELIHOODS[name](6, x_dim)
    x = torch.zeros(4, 3, x_dim)
    x[..., 0] = 1.0
    features = torch.randn(4, 3, 6, requires_grad=True)
    with pyro.validation_enabled(False), NoWaiting():
        like(features).log_prob(x).sum().backward()
    assert features.grad is not None


@pytest.mark.fault(47)
def test_a_number_that_is_not_finite_stops_all_that_follows(tmp_path: Path) -> None:
    """Found out some updates later, the run stands where it stood before it."""
    trainer = make_trainer("training.average=0.9", graphs=True)
    good = make_batch(dtype=torch.float32)
    assert good.x is not None
    bad = Batch(good.lengths, good.x * float("nan"))
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for _ in range(4):
            trainer.step(good, log=False)
            trainer.state.at.position += 1
        before = {k: v.clone() for k, v in [*trainer.state.net.state_dict().items(), *trainer.state.average.items()]}
        moments = [v.clone() for s in trainer.state.optim.inner.state.values() for v in s.values()]
        trainer.step(bad, log=False)
        trainer.state.at.position += 1
        for _ in range(2):
            trainer.step(good, log=False)
            trainer.state.at.position += 1
        with pytest.raises(NumericsError, match="at step 5; first at guide:z_1") as error:
            guarded(trainer, good, tmp_path, log=True)
        assert (trainer.state.at.step, trainer.state.at.position) == (4, 4)
        assert error.value.exit_code == 5
        assert json.loads((tmp_path / "diagnostics" / "step-5.json").read_text())["first_site"] == "guide:z_1"
        after = dict([*trainer.state.net.state_dict().items(), *trainer.state.average.items()])
        assert all(torch.equal(after[k], before[k]) for k in before)
        now = [v for s in trainer.state.optim.inner.state.values() for v in s.values()]
        assert all(torch.equal(a, b) for a, b in zip(moments, now, strict=True))
        row = trainer.step(good, log=True)  # and it can continue
        assert row is not None
        assert row["step"] == 5


def test_products_are_as_asked_for_and_then_as_before() -> None:
    matmul, rnn = torch.backends.cuda.matmul, torch.backends.cudnn.rnn
    before = matmul.fp32_precision, rnn.fp32_precision
    gpu = torch.device("cuda")  # these are flags: none is needed
    with products("tf32", gpu):
        assert (matmul.fp32_precision, rnn.fp32_precision) == ("tf32", "tf32")
        with products("float32", gpu):
            assert (matmul.fp32_precision, rnn.fp32_precision) == ("ieee", "ieee")
        with products("float32", CPU):
            assert matmul.fp32_precision == "tf32"
    assert (matmul.fp32_precision, rnn.fp32_precision) == before
