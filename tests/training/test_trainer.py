"""The trainer chooses how an update is made, and what one way left under way is settled before another is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyro
import pytest
import torch
from small import X, make_batch

from pyro_vrnn.config import resolve
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.runs import build_net
from pyro_vrnn.system.errors import NumericsError
from pyro_vrnn.training.eager_step import EagerStep
from pyro_vrnn.training.step import Step
from pyro_vrnn.training.trainer import Trainer

FORM = DataFormat(kind="pianoroll", support="binary", x_dim=X, steps_per_second=2.0, lowest_pitch=40)


def make_trainer(*sets: str) -> Trainer:
    config = replace(resolve(sets=["model.hidden_dim=7", "model.network_dims=5", *sets]).config, format=FORM)
    torch.manual_seed(0)
    return Trainer(config, build_net(config), torch.device("cpu"))


class Small(Step):
    """Takes batches of few sequences, and does nothing with them."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__(trainer.state)
        self.made, self.settled = 0, 0

    def prepares(self, batch: Batch | None) -> bool:
        return batch is not None and batch.size < 3

    def step(self, batch: Batch | None, *, log: bool, indices: Sequence[int] = ()) -> dict[str, Any] | None:
        self.made += 1
        self.notes.append("small")
        return None

    def settle(self) -> None:
        self.settled += 1


def test_the_first_way_that_takes_a_batch_makes_the_update() -> None:
    trainer = make_trainer()
    small = Small(trainer)
    trainer.steps.insert(0, small)
    with pyro.get_param_store().scope():
        assert trainer.step(make_batch([3, 2], dtype=torch.float32), log=True) is None
        assert (small.made, small.settled, trainer.state.at.step) == (1, 0, 0)
        row = trainer.step(make_batch(dtype=torch.float32), log=True)
    assert (small.made, small.settled, trainer.state.at.step) == (1, 1, 1)
    assert row is not None
    assert row["loss"] == pytest.approx(row["nll"] + row["beta"] * row["kl"], rel=1e-5)
    assert trainer.notes() == ["small"]
    assert trainer.notes() == []


def test_the_optimiser_is_what_the_settings_say() -> None:
    (group,) = make_trainer("training.adam_eps=1e-4", "training.adam_betas=0.95,0.99").state.optim.inner.param_groups
    assert (group["eps"], group["betas"]) == (1e-4, (0.95, 0.99))


def test_every_update_can_be_made_eagerly() -> None:
    trainer = make_trainer()
    (way,) = trainer.steps
    assert isinstance(way, EagerStep)
    assert way.prepares(None)
    assert trainer.fault() is None


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_loss_that_is_not_finite_leaves_everything() -> None:
    trainer = make_trainer("training.average=0.9")
    batch = make_batch(dtype=torch.float32)
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        trainer.step(batch, log=False)
        before = trainer.state.snapshot()
        assert batch.x is not None
        with pytest.raises(NumericsError):
            trainer.step(replace(batch, x=batch.x * torch.nan), log=False)
    after = trainer.state.snapshot()
    assert all(torch.equal(v, after.model[k]) for k, v in before.model.items())
    assert trainer.state.at.step == 1
    assert trainer.state.is_finite()


def test_schedules_are_those_of_the_settings() -> None:
    sets = ["training.decay=linear", "training.decay_steps=10", "training.decay_to=0.5", "training.learning_rate=0.1"]
    trainer = make_trainer(*sets, "objective.kl_start=0.5", "objective.kl_steps=10")
    trainer.state.at.step = 5
    beta, learning_rate, _ = trainer.state.schedule()
    assert (beta, learning_rate) == (pytest.approx(0.75), pytest.approx(0.075))
