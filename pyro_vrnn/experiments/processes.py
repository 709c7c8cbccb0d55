"""Several runs of an experiment at once, each in a process of its own, which stops with the experiment."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.synchronize import Event
from typing import Any

import torch

from pyro_vrnn.experiments import work
from pyro_vrnn.experiments.tasks import Task
from pyro_vrnn.system.errors import ResourceError
from pyro_vrnn.training.observer import Observer
from pyro_vrnn.training.signals import Stop

POLL_SECONDS = 0.5

Outcome = dict[str, Any]


def together(
    left: Sequence[Task],
    jobs: int,
    device: str,
    carry: Callable[[Task], str],
    done: Callable[[Task, Outcome], None],
    poll: Callable[[Sequence[Task]], None],
) -> int | None:
    """Carry out runs, `jobs` of them at once.

    Args:
        left: the runs, each after the one that it starts from.
        jobs: how many processes.
        device: auto, cpu, cuda or cuda:N.
        carry: whether a run is "ready", "waiting" for another, or "failed" with it.
        done: takes the outcome of a run.
        poll: told now and then which runs are under way.

    Returns:
        The signal that stopped it; all runs are saved then.

    Raises:
        UserError: what a run raises; the others are stopped and saved first.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy torch's threads in the middle of something
    asked, waiting, running = context.Event(), list(left), dict[Future[Outcome], Task]()
    initial = asked, torch.get_num_threads()
    with Stop() as stop, ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=initial) as pool:
        try:
            while running or (waiting and stop.signal is None):
                if stop.signal is not None:
                    asked.set()
                    waiting.clear()
                for task in [t for t in waiting if carry(t) == "failed"]:
                    waiting.remove(task)
                    done(task, work.not_started(task))
                for task in [t for t in waiting if carry(t) == "ready"][: jobs - len(running)]:
                    waiting.remove(task)
                    running[pool.submit(_carry_out, task, device)] = task
                for future in wait(running, POLL_SECONDS, FIRST_COMPLETED).done:
                    task = running.pop(future)
                    try:
                        done(task, future.result())
                    except work.Stopped as stopped:  # by us, or somebody stopped that process alone
                        stop.signal = stop.signal or int(stopped.args[0])
                poll(list(running.values()))
        except BrokenProcessPool:
            message = "the process of a run was ended from outside, perhaps for its memory"
            raise ResourceError(message, "give fewer --jobs; the same command continues") from None
        finally:
            asked.set()
    return stop.signal


_asked: Event | None = None
"""Set in a process of runs: whether they should stop."""


def _begin(asked: Event, threads: int) -> None:
    """Make a process ready for runs: its parent stops it, not the Ctrl-C that a terminal sends to all."""
    global _asked
    _asked = asked
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)


def should_stop() -> bool:
    """Whether the parent asks for it, or is gone."""
    parent = multiprocessing.parent_process()
    return (_asked is not None and _asked.is_set()) or (parent is not None and not parent.is_alive())


class Obedient(Observer):
    """Stops a training, saved, when the parent asks for it or is gone."""

    def __init__(self) -> None:
        self.raised = False

    def stepped(self, step: int) -> None:
        """Ask after each update."""
        if not self.raised and should_stop():
            self.raised = True
            signal.raise_signal(signal.SIGTERM)


def _carry_out(task: Task, device: str) -> Outcome:
    """One run in a process of its own."""
    if should_stop():
        raise work.Stopped(signal.SIGTERM)
    return work.carry_out(task, device=device, watch=Obedient(), asked=should_stop)
