"""What an update costs is timed on batches as large as a training's."""

from __future__ import annotations

from pathlib import Path

import grids
import torch

from pyro_vrnn.experiments import costs
from pyro_vrnn.experiments.parsing import read
from pyro_vrnn.experiments.tasks import planned


def test_an_arm_with_replay_is_timed_with_what_comes_again(tmp_path: Path) -> None:
    arms = planned(read(str(grids.write(tmp_path)), out=tmp_path / "out", sets=["training.replay=hard"]), print)
    assert all(cost.update is not None and cost.update > 0 for cost in costs.measure(arms, "cpu", lambda *at: None))
    batch, indices = costs._Job(arms[0], torch.device("cpu")).batches[0]
    size = arms[0].plan.settings.data.batch_size
    assert batch.size == len(indices) == len(set(indices)) == size + round(size / 4)
