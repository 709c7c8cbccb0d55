"""The updates of a run, each by the fastest way that can make it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from pyro_vrnn.config import RunConfig
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.objectives.evaluation import Evaluation, evaluate
from pyro_vrnn.programs import Stacked
from pyro_vrnn.training.eager_step import EagerStep
from pyro_vrnn.training.graph_step import GraphStep, why_not
from pyro_vrnn.training.parallel import Ranks
from pyro_vrnn.training.state import ALONE, TrainingState
from pyro_vrnn.training.step import Step


class Trainer:
    """Chooses how each update is made: as a CUDA graph where the settings and the batch allow it, else eagerly.

    Args:
        config: the complete settings.
        net: with its first weights, on the device.
        device: where it is trained.
        ranks: the processes that share the training.
    """

    def __init__(self, config: RunConfig, net: SequenceModel, device: torch.device, ranks: Ranks = ALONE) -> None:
        training = config.training
        self.state = TrainingState(config, net, device, ranks)
        self.padded = device.type == "cuda" and training.replay == "none" and ranks.world == 1
        """Whether batches come in few shapes (batch.padded)."""
        wanted = device.type == "cuda" and training.graph == "auto"
        self.no_graphs = why_not(config, ranks) if wanted else ""
        """Why a run that could be CUDA graphs is not."""
        self.steps: list[Step] = [EagerStep(self.state)]
        """Ways to make an update, the fastest first."""
        if wanted and not self.no_graphs:
            self.steps.insert(0, GraphStep(self.state, capture=True))
        self.validated = config.validated
        """The bound that is validated."""

    def step(self, batch: Batch | None, *, log: bool, indices: Sequence[int] = ()) -> dict[str, Any] | None:
        """Make one update; see Step."""
        way = next(way for way in self.steps if way.prepares(batch))
        for other in self.steps:
            if other is not way:
                other.settle()  # a fault among its updates would not hold this one back
        return way.step(batch, log=log, indices=indices)

    def validation_bound(self, valid: SequenceDataset, progress: Callable[[int, int], None]) -> Evaluation:
        """The bound that is validated, at beta = 1, with averaged weights and the same random numbers each time.

        Args:
            valid: the validation split.
            progress: called with (sequences done, in all).
        """
        config = self.state.config
        with self.state.averaged():
            return evaluate(
                Stacked(self.state.net),
                valid,
                self.validated,
                split="valid",
                batch_size=max(config.data.batch_size, 32),
                seed=config.training.seed,
                device=self.state.device,
                progress=progress,
            )

    def settle(self) -> None:
        """Wait until all updates are done.

        Raises:
            NumericsError: see Step.
        """
        for way in self.steps:
            way.settle()

    def fault(self) -> Batch | None:
        """The batch of the update whose numbers were not finite, if it is not the one at hand."""
        return next((batch for way in self.steps if (batch := way.fault()) is not None), None)

    def beforehand(self) -> list[str]:
        """What people should be told before the first update."""
        slow = {"tf32": "float32 here", "bf16": "most CPUs are slower by it"}
        precision, on_cpu = self.state.config.training.precision, self.state.device.type == "cpu"
        found = (
            [f"training.precision={precision} is for GPUs: {slow[precision]}"] if on_cpu and precision in slow else []
        )
        return [*found, f"no CUDA graphs: {self.no_graphs}"] if self.no_graphs else found

    def notes(self) -> list[str]:
        """What people should be told since the last call."""
        found = [note for way in self.steps for note in way.notes]
        for way in self.steps:
            way.notes.clear()
        return found
