"""An update whose numbers are not finite is told with the first site where they are not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyro
import pytest
import torch
from small import X, make_batch

from pyro_vrnn.config import resolve
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.runs import build_net
from pyro_vrnn.system.errors import NumericsError
from pyro_vrnn.training.diagnosis import diagnose, guarded
from pyro_vrnn.training.trainer import Trainer

pytestmark = pytest.mark.filterwarnings("ignore:Encountered NaN")


def make_trainer() -> Trainer:
    form = DataFormat(kind="pianoroll", support="binary", x_dim=X, steps_per_second=2.0, lowest_pitch=40)
    config = replace(resolve(sets=["model.hidden_dim=7", "model.network_dims=5"]).config, format=form)
    torch.manual_seed(0)
    return Trainer(config, build_net(config), torch.device("cpu"))


def test_healthy_numbers_have_no_diagnosis() -> None:
    trainer, batch = make_trainer(), make_batch(dtype=torch.float32)
    with pyro.get_param_store().scope():
        found = diagnose(trainer.state.net, batch)
    assert found == {"first_site": None, "sites": [], "parameters": [], "lengths": batch.lengths.tolist()}


@pytest.mark.fault(15)
def test_the_first_site_is_named_and_kept(tmp_path: Path) -> None:
    trainer, batch = make_trainer(), make_batch(dtype=torch.float32)
    assert batch.x is not None
    x = batch.x.clone()
    x[2, 0] = torch.nan
    random = torch.get_rng_state()
    with (
        pyro.get_param_store().scope(),
        pyro.validation_enabled(False),
        pytest.raises(NumericsError, match="at step 1; first at ") as error,
    ):
        guarded(trainer, replace(batch, x=x), tmp_path, log=False)
    assert torch.equal(torch.get_rng_state(), random)
    kept = json.loads((tmp_path / "diagnostics" / "step-1.json").read_text())
    assert kept["step"] == 1
    assert kept["first_site"] in ("guide:z_3", "model:x_3")
    assert kept["first_site"] in str(error.value)
