"""One update of a run on a batch: what EagerStep and GraphStep have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.training.state import TrainingState


class Step(ABC):
    """A way to make an update.

    Args:
        state: what is updated.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.notes: list[str] = []
        """What people should be told; whoever tells it takes it out."""

    @abstractmethod
    def prepares(self, batch: Batch | None) -> bool:
        """Make ready for the next update, on this batch, and tell whether this way can make it."""

    @abstractmethod
    def step(self, batch: Batch | None, *, log: bool, indices: Sequence[int] = ()) -> dict[str, Any] | None:
        """Make one update.

        Args:
            batch: some sequences, or pieces of them; of several processes, this one's, which may be none.
            log: whether to return a row of metrics.jsonl.
            indices: which sequences these are, for the replay.

        Raises:
            NumericsError: a number of this update, or of one that was still under way, is not finite; weights,
                optimiser and place are as before that update.
        """

    def settle(self) -> None:  # noqa: B027  (most have nothing to wait for)
        """Wait until all updates are done.

        Raises:
            NumericsError: as for `step`.
        """

    def fault(self) -> Batch | None:
        """The batch of the update whose numbers were not finite, if it is not the one at hand."""
        return None

    def row(self, means: list[float], norm: float, *, beta: float, learning_rate: float) -> dict[str, Any]:
        """A row of metrics.jsonl after the update.

        Args:
            means: loss, NLL and KL, nats per step.
            norm: of the gradient, before clipping.
            beta: the KL weight of the update.
            learning_rate: of the update.
        """
        at = self.state.at
        loss, nll, kl = means
        found = {"step": at.step, "epoch": at.epoch + 1, "loss": loss, "nll": nll, "kl": kl}
        return found | {"beta": beta, "lr": learning_rate, "grad_norm": norm}
