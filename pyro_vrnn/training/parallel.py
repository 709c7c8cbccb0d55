"""Several processes on one run, as torchrun starts them: each takes its share of every batch, gradients are added up.

    torchrun --nproc-per-node=4 -m pyro_vrnn train RECIPE

data.batch_size is that of all processes together: the run is the one that a single process would make, with other
random numbers. Every rank validates, and rank 0's numbers decide; rank 0 alone writes, but for diagnostics/.

Not torch's DistributedDataParallel: that averages what each rank's mean gives, while ragged sequences must be weighed
by their steps, and it hooks a module's `forward`, which a model of arrows does not have.
"""

from __future__ import annotations

import atexit
import hashlib
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed
from torch.distributed.rendezvous import rendezvous

from pyro_vrnn.system.devices import device as pick_device
from pyro_vrnn.system.errors import ConfigError, ResourceError

T = TypeVar("T")
PATIENCE = timedelta(minutes=30)
"""How long a rank waits for another, which may be preparing data, saving, or busy in an observer."""
MEETING = timedelta(minutes=5)
"""How long a rank waits for the others to start."""
IN_AN_UPDATE, SLACK = timedelta(seconds=20), 20
"""How long a rank waits, on CPUs, for another one's gradient once all have begun the same update: 20 s, if that is 20
times as long as any update before took, and `PATIENCE` where updates are slower. torchrun gives a process that hangs
30 s more before it kills it."""


@dataclass
class Clock:
    """How long updates take, from when all ranks have begun to when they have added their gradients up."""

    short: distributed.ProcessGroup | None = None
    """The same ranks, with the timeout `IN_AN_UPDATE`: gloo's timeouts belong to a group, not to a call."""
    group: distributed.ProcessGroup | None = None
    """Who waits in the update at hand: `short`, or None for the group with `PATIENCE`."""
    began: float = 0.0
    """When all had begun the update at hand, by this process's monotonic clock."""
    slowest: float = math.inf
    """Seconds that the slowest update of this process took, but for the first, which has much to prepare; infinite
    before its end."""

    def begin(self, unhurried: float) -> None:
        """All ranks have begun an update; so many of them have seen slow ones."""
        self.group, self.began = None if unhurried else self.short, time.monotonic()

    def end(self) -> None:
        """All gradients are added up."""
        took = time.monotonic() - self.began
        self.slowest = 0.0 if self.slowest == math.inf else max(self.slowest, took)

    @property
    def unhurried(self) -> bool:
        """Whether a wait of `IN_AN_UPDATE` would be no sign that another rank hangs."""
        return self.short is None or SLACK * self.slowest > IN_AN_UPDATE.total_seconds()


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is. Alone, nothing here does anything."""

    rank: int = 0
    world: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009  (immutable)
    clock: Clock = field(default_factory=Clock, compare=False)

    def share(self, items: Sequence[T]) -> list[T]:
        """This rank's part of a batch; none of few may fall to it."""
        return list(items[self.rank :: self.world])

    def add(self, *values: float) -> list[float]:
        """Sums over the ranks.

        Raises:
            ResourceError: another rank has ended, or does not answer.
        """
        if self.world == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        with _answered():
            distributed.all_reduce(total)
            found: list[float] = total.tolist()
        return found

    def reseed(self, seed: int, step: int) -> None:
        """Begin the random numbers of an update; those of rank 0 continue.

        A checkpoint keeps the state of rank 0's random numbers; the others draw theirs anew in every update, so that a
        resumed run draws the same.

        Args:
            seed: of the run.
            step: the number of the update.
        """
        if self.rank:  # a hash, for a sum would give one run's next update what another seed's has now
            digest = hashlib.blake2b(f"{seed} {step} {self.rank}".encode(), digest_size=7).digest()
            torch.manual_seed(int.from_bytes(digest))

    def begin(self, value: float) -> float:
        """A sum over the ranks at the start of an update: from here on, a rank that does not answer soon hangs.

        Raises:
            ResourceError: another rank has ended, or does not answer within `PATIENCE`.
        """
        total, unhurried = self.add(value, self.clock.unhurried)  # all wait equally long, or they would not meet
        self.clock.begin(unhurried)
        return total

    def add_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up all gradients over the ranks in one call, and so end the update.

        Raises:
            ResourceError: another rank has ended, or does not answer within `IN_AN_UPDATE` (or `PATIENCE`: see there;
                on GPUs always, where torch's own watch ends the process).
        """
        if self.world == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.flatten() for g in grads])
        with _answered():
            distributed.all_reduce(flat, group=self.clock.group)
        self.clock.end()
        for g, total in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            g.copy_(total.view_as(g))

    def same(self, parameters: Sequence[Tensor]) -> None:
        """Rank 0's values for all."""
        if self.world > 1:
            for p in parameters:
                distributed.broadcast(p.data, 0)

    def first(self, work: Callable[[], T]) -> T:
        """What rank 0 makes of it, for all; the others wait."""
        if self.world == 1:
            return work()
        found: list[Any] = [work() if self.rank == 0 else None]
        distributed.broadcast_object_list(found, 0, device=self.device)
        result: T = found[0]
        return result

    def wait(self) -> None:
        """Until all are here."""
        self.add(0.0)


@contextmanager
def _answered() -> Iterator[None]:
    """torch's errors of a rank that ended or hangs as ours."""
    try:
        yield
    except RuntimeError as error:
        # gloo knows no class of its own; what else surfaces here, such as a GPU's own error, is not another's.
        if not isinstance(error, distributed.DistBackendError) and not re.search(
            "gloo|[Tt]ime.?out|[Tt]imed out|closed by peer", str(error)
        ):
            raise
        words = " ".join(str(error).split())[:160]
        hint = "the output of the other processes says why; the same command with --resume auto continues"
        raise ResourceError(f"another process has ended or does not answer: {words}", hint) from error


def world() -> int:
    """How many processes torchrun has started, of which this is one; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def leads() -> bool:
    """Whether this process is the one that talks and writes."""
    return world() == 1 or int(os.environ.get("RANK", "0")) == 0


@contextmanager
def joined(name: str) -> Iterator[Ranks]:
    """The group that torchrun made this process a part of, if it did, with the device that `name` means for it.

    Raises:
        ConfigError, DeviceError: see devices.py.
        ResourceError: another process has not come.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks(device=pick_device(name))
        return
    missing = [v for v in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if v not in os.environ]
    if missing:
        hint = "start it with torchrun --nproc-per-node=N -m pyro_vrnn train …, or unset WORLD_SIZE"
        raise ConfigError(f"WORLD_SIZE={world}, but {', '.join(missing)} is not set", hint)
    if ":" in name:
        raise ConfigError(f"--device {name} with {world} processes: each needs its own", "--device cuda, or auto")
    where = pick_device(name)
    if where.type == "cuda":
        where = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(where)
    if not distributed.is_initialized():
        _meet("nccl" if where.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)  # torch cannot make a second one by the same rendezvous
    short = _short() if where.type == "cpu" else None
    yield Ranks(distributed.get_rank(), world, where, Clock(short))


def _meet(backend: str) -> None:
    """Make the group of all ranks: as init_process_group does, which would wait for them with `PATIENCE` too."""
    try:
        store, rank, size = next(rendezvous("env://", timeout=MEETING))
        # torchrun's own process holds the store, so that a rank reaches it before the others have come.
        store.set(f"pyro_vrnn/{rank}", "here")
        store.wait([f"pyro_vrnn/{other}" for other in range(size)], MEETING)
    except distributed.DistError as error:
        waited = f"rank {os.environ['RANK']}: not all processes have met ({str(error).splitlines()[0]})"
        hint = f"start all of them at once, as torchrun does: {MEETING.total_seconds() / 60:g} minutes are waited"
        raise ResourceError(waited, hint) from error
    store.set_timeout(PATIENCE)
    store = distributed.PrefixStore("default_pg", store)  # type: ignore[attr-defined]  # documented, but not in __all__
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)


@cache
def _short() -> distributed.ProcessGroup:
    """All ranks, who wait `IN_AN_UPDATE` for each other; once in a process."""
    group: distributed.ProcessGroup = distributed.new_group(timeout=IN_AN_UPDATE)
    return group
