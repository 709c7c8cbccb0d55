"""Updates as CUDA graphs: a shape's update is captured once, launches and all, and replayed on new data.

A GPU spends most of a small recurrent network's step waiting for Python to launch the next kernel. A graph has them all
in one launch. It needs fixed shapes (data/batch.padded) and an update that waits for nothing (update.py); whatever else
a run asks for goes the usual way, and the reason is told.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import pyro
import torch

from pyro_vrnn.config import RunConfig
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.networks import State
from pyro_vrnn.programs import Stacked
from pyro_vrnn.system.errors import NumericsError
from pyro_vrnn.training.parallel import Ranks
from pyro_vrnn.training.state import Progress, TrainingState
from pyro_vrnn.training.step import Step
from pyro_vrnn.training.update import Update

ASK_EVERY = 32
"""Updates after which the device is asked whether all numbers were finite, if no row is logged before."""
MOST_SHAPES = 48
WARM_UPS = 2


def why_not(config: RunConfig, ranks: Ranks) -> str:
    """What of a run's settings a graph cannot hold; nothing if it can."""
    training = config.training
    reasons = {
        "training.program=markov": training.program != "stacked",
        "several processes": ranks.world > 1,
        "training.replay": training.replay != "none",
        "training.input_noise": training.input_noise > 0,
        "training.scheduled_sampling": training.scheduled_sampling > 0,
        "missing values": config.format is not None and config.format.missing,
    }
    found = [name for name, asked in reasons.items() if asked]
    return ", ".join([*found, *filter(None, [config.objective.graph_refusal])])


@dataclass
class Captured:
    """One shape: the batch that the graph reads, what starts it, and what it leaves behind."""

    batch: Batch
    run: Callable[[], Any]
    after: tuple[State, State] | None = None

    def load(self, batch: Batch) -> None:
        """Copy a batch of this shape to where the graph reads."""
        assert batch.x is not None
        assert self.batch.x is not None
        self.batch.x.copy_(batch.x, non_blocking=True)
        self.batch.lengths.copy_(batch.lengths, non_blocking=True)
        if self.batch.given is not None and batch.given is not None:
            self.batch.given.copy_(batch.given, non_blocking=True)
        for mine, its in zip(self.batch.memory or (), batch.memory or (), strict=True):
            for to, source in zip(mine, its, strict=True):
                to.copy_(source)


class GraphStep(Step):
    """Makes updates as CUDA graphs, one for each shape of batch.

    Args:
        state: with a fused optimiser.
        capture: make graphs; without it the same updates run one launch at a time (tests on a CPU).
    """

    def __init__(self, state: TrainingState, *, capture: bool) -> None:
        super().__init__(state)
        self.capture = capture
        assert isinstance(state.program, Stacked)
        self.update = Update(
            state.program,
            state.config.objective.tensor_loss(state.net),
            state.optim,
            state.average,
            carry=state.config.data.carry,
            precision=state.config.training.precision,
        )
        self.shapes: dict[Any, Captured] = {}
        self.pool: Any = None
        self.stream: Any = None  # all captures share it, as they share memory
        self.full = False
        self.reason = ""
        """Why there will be no more graphs, if something went wrong with one."""
        self.pending: list[tuple[Batch, Progress, tuple[State, State] | None]] = []
        """The updates since the device was last asked: on what, and where run and carried state stood before."""
        self.at_fault: Batch | None = None
        """The batch of the last update whose numbers were not finite."""

    def prepares(self, batch: Batch | None) -> bool:
        """Capture the graph of a new shape; whether there is one: never of the first update, whose numbers are checked
        in the usual way."""
        if batch is None or self.reason or self.state.at.step == 0:
            return False
        if _shape(batch) not in self.shapes:
            if len(self.shapes) == MOST_SHAPES:
                if not self.full:
                    self.notes.append(f"{MOST_SHAPES} shapes are CUDA graphs; others go one launch at a time")
                self.full = True
                return False
            try:
                self.shapes[_shape(batch)] = self._captured(batch)
            except RuntimeError as error:  # what torch and CUDA raise for all that can go wrong with a graph
                self.reason = str(error).splitlines()[0]
                self.notes.append(f"no CUDA graphs from here on: {self.reason}")
                return False
        return True

    def step(self, batch: Batch | None, *, log: bool, indices: Sequence[int] = ()) -> dict[str, Any] | None:
        """Make one update on a batch that it `prepares`; see Step."""
        assert batch is not None
        state = self.state
        beta, learning_rate, keep = state.schedule()
        state.optim.set_learning_rate(learning_rate)
        self.update.set(beta=beta, steps=batch.scored_steps, keep=keep)
        captured = self.shapes[_shape(batch)]
        captured.load(batch)
        held = state.memory and tuple(tuple(part.clone() for part in side) for side in state.memory)
        self.pending.append((batch, copy(state.at), held))  # type: ignore[arg-type]
        captured.run()
        state.memory = captured.after
        state.at.step += 1
        if log or len(self.pending) >= ASK_EVERY:
            self.settle()
        if not log:
            return None
        *sums, norm = self.update.report.tolist()
        return self.row([v / batch.scored_steps for v in sums], norm, beta=beta, learning_rate=learning_rate)

    def fault(self) -> Batch | None:
        """The batch of the last update whose numbers were not finite."""
        return self.at_fault

    def settle(self) -> None:
        """Wait for the device, and see whether all updates were made; see Step."""
        pending, self.pending = self.pending, []
        if not pending:
            return
        done = int(self.update.done)
        self.update.done.zero_()
        if done == len(pending):
            return
        self.at_fault, before, self.state.memory = pending[done]
        vars(self.state.at).update(vars(before))
        loss, _, _, norm = self.update.report.tolist()
        self.update.bad.zero_()
        raise NumericsError(f"the loss is {loss}, the gradient's norm {norm}")

    def _captured(self, batch: Batch) -> Captured:
        """A shape's first batch, captured. Random numbers continue as if nothing had run."""
        found = Captured(_copy(batch), lambda: None)

        def update() -> None:
            with pyro.validation_enabled(False):
                found.after = self.update(replace(found.batch))  # a new object: which steps count changes with lengths

        found.run = update
        if not self.capture:
            return found
        device = self.state.device
        with torch.cuda.device(device):
            random, before = torch.cuda.get_rng_state(device), torch.cuda.current_stream()
            stream = self.stream = self.stream or torch.cuda.Stream()
            stream.wait_stream(before)
            try:
                # All on one stream: gradients are added up on the one where a parameter was read first.
                with torch.cuda.stream(stream):
                    self._warm_up(update)
                    graph = torch.cuda.CUDAGraph()
                    # The thread that reads ahead allocates page-locked memory meanwhile: not this capture's affair.
                    with torch.cuda.graph(graph, self.pool, stream, capture_error_mode="thread_local"):
                        update()
                self.pool, found.run = graph.pool(), graph.replay
            except RuntimeError:
                _leave_capture(device)
                raise
            finally:
                self.update.program.forget()
                before.wait_stream(stream)
                torch.cuda.set_rng_state(random, device)
                for p in self.state.optim.params:
                    p.grad = None
        return found

    def _warm_up(self, update: Callable[[], None]) -> None:
        """Whole updates that change nothing: kernels are loaded, libraries set themselves up in their first calls."""
        bad = self.update.bad.clone()
        self.update.bad.fill_(1)
        try:
            for _ in range(WARM_UPS):
                update()
        finally:
            self.update.bad.copy_(bad)


def _leave_capture(device: torch.device) -> None:
    """A capture that broke off leaves the generator in it, which would refuse to draw: one of the same state instead.

    Graphs of other shapes would continue the old one; there are no more replays after a failure.
    """
    generator = torch.cuda.default_generators[device.index]
    generator.graphsafe_set_state(generator.clone_state())


def _copy(batch: Batch) -> Batch:
    """Tensors of its own, of the same shape."""
    assert batch.x is not None
    memory = None
    if batch.memory is not None:
        state, own = (tuple(part.clone() for part in side) for side in batch.memory)
        memory = state, own
    given = None if batch.given is None else batch.given.clone()
    return replace(batch, lengths=batch.lengths.clone(), x=batch.x.clone(), given=given, memory=memory)


def _shape(batch: Batch) -> tuple[Any, ...]:
    """What has to be the same for a graph to be replayed."""
    assert batch.x is not None
    return batch.x.shape, batch.given is not None, batch.memory is not None
