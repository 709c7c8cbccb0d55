"""What an update and a bound of each arm cost here, timed in turn in one process.

With one thread on a CPU it is the processor's time, so that what else runs on the machine does not count. Of several
threads that is the sum, and a GPU's time is not in it: there it is the time of the clock.
Equal time is updates times that, and so is the time that is expected.
"""

from __future__ import annotations

import copy
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyro
import torch

from pyro_vrnn.data.batch import Batch, padded
from pyro_vrnn.data.batching import in_order
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.experiments.tasks import Planned, epoch_pieces, expected_updates
from pyro_vrnn.objectives import make_objective
from pyro_vrnn.objectives.evaluation import sequence_bounds
from pyro_vrnn.programs import Stacked
from pyro_vrnn.system.devices import device as pick_device
from pyro_vrnn.system.errors import NumericsError
from pyro_vrnn.training.trainer import Trainer

ROUNDS, UPDATES = 5, 3
"""Medians are taken over so many rounds, in which every arm makes so many updates."""
MOST_SEQUENCES = 8
"""Of the validation split, that a bound is timed on."""


@dataclass(frozen=True)
class Cost:
    """Seconds."""

    update: float | None
    """One update; None where its numbers are not finite."""
    bound: float
    """The validated bound, per step of a sequence and particle."""


def timing(device: str) -> tuple[str, Callable[[], float]]:
    """By which clock updates are timed on a device with torch's present threads: in words, and its seconds."""
    where, threads = pick_device(device), torch.get_num_threads()
    if where.type != "cpu":
        return f"the clock, on {where.type}", time.perf_counter
    if threads > 1:
        return f"the clock, with {threads} threads, so that what else runs here counts", time.perf_counter
    return "the processor time of one thread", time.process_time


def measure(arms: Sequence[Planned], device: str, progress: Callable[[int, int], None]) -> list[Cost]:
    """The costs of each arm, with its first weights."""
    where, (_, clock) = pick_device(device), timing(device)
    jobs = [_Job(one, where) for one in arms]
    times: list[list[float]] = [[] for _ in jobs]
    with (
        pyro.get_param_store().scope(),
        pyro.validation_enabled(False),
        warnings.catch_warnings(),
        torch.random.fork_rng(devices=[where] if where.type == "cuda" else []),
    ):
        warnings.filterwarnings("ignore", message="Encountered NaN")  # Pyro's word for what is noted as broken
        for round_ in range(ROUNDS + 1):  # the first one is not taken: memory is new then, and graphs are made
            for n, (own, job) in enumerate(zip(times, jobs, strict=True)):
                seconds = job.seconds(clock)
                if round_:
                    own.append(seconds)
                progress(round_ * len(jobs) + n + 1, (ROUNDS + 1) * len(jobs))
        bounds = [job.bound_seconds(clock) for job in jobs]
    return [
        Cost(None if job.broken else statistics.median(own), bound)
        for own, job, bound in zip(times, jobs, bounds, strict=True)
    ]


class _Job:
    """One arm's network, and a few batches of its data."""

    def __init__(self, one: Planned, where: torch.device) -> None:
        plan = one.plan
        self.plan, self.where, self.broken = plan, where, False
        self.trainer = Trainer(plan.settings, copy.deepcopy(plan.net).to(where), where)
        fresh = [piece for piece in epoch_pieces(plan, 0, 0) if not piece.rows][:UPDATES]
        self.batches = []
        for piece in fresh:
            indices = piece.indices + self._replayed(piece.indices)
            self.batches.append((self._batch(plan.train, indices, piece.begin, piece.steps), indices))

    def _batch(self, dataset: SequenceDataset, indices: list[int], begin: int, steps: int | None) -> Batch:
        batch, data = collate(dataset, indices, begin, steps), self.plan.settings.data
        if self.trainer.padded:
            batch = padded(batch, data.batch_size, steps if data.carry else None)
        return batch.to(self.where)

    def _replayed(self, indices: list[int]) -> list[int]:
        """As many other sequences as replay puts beside these."""
        replay, here = self.trainer.state.replay, set(indices)
        others = [i for i in range(len(self.plan.train)) if i not in here]
        return [] if replay.kind == "none" else others[: round(replay.share * len(indices))]

    def _finish(self) -> None:
        self.trainer.settle()
        if self.where.type == "cuda":
            torch.cuda.synchronize(self.where)

    def seconds(self, clock: Callable[[], float]) -> float:
        """Time of an update, the mean over a few."""
        self.trainer.state.net.train()
        pyro.clear_param_store()
        begin = clock()
        try:
            for batch, indices in [] if self.broken else self.batches:
                self.trainer.step(batch, indices=indices, log=False)
            self._finish()
        except NumericsError:  # training will tell it, as this run's outcome
            self.broken = True
        return (clock() - begin) / len(self.batches)

    def bound_seconds(self, clock: Callable[[], float]) -> float:
        """Time of the validated bound, per step and particle."""
        valid, net = self.plan.valid, self.trainer.state.net.eval()
        indices = in_order(valid.lengths, len(valid))[0]
        batch = collate(valid, indices[:: max(1, len(indices) // MOST_SEQUENCES)]).to(self.where)
        pyro.clear_param_store()
        begin = clock()
        sequence_bounds(Stacked(net), batch, self.trainer.validated)
        self._finish()
        return (clock() - begin) / (int(batch.lengths.sum()) * self.trainer.validated.particles)


def expected_seconds(one: Planned, cost: Cost) -> list[float]:
    """How long each run of an arm takes: its updates, the validations between them, and the bounds at its end.

    A bound's time is taken as proportional to steps and particles, and that of another bound as the validated one's.
    """
    settings, info = one.plan.settings, one.plan.info
    after = 0.0
    for bound in one.tasks[0].bounds:
        particles = make_objective(bound.objective, bound.particles, settings.objective).particles
        after += cost.bound * particles * info.splits[bound.split].steps
    epoch = len(epoch_pieces(one.plan, 0, 0))
    look = cost.bound * settings.validated.particles * info.splits["valid"].steps
    found = []
    for task in one.tasks:
        updates = expected_updates(task, one.plan)
        if task.seconds is not None or updates is None:
            found.append((task.seconds or 0.0) + after)
            continue
        looks = updates / (epoch * settings.training.validate_every) + 1
        found.append(updates * (cost.update or 0.0) + looks * look + after)
    return found
