"""Where a training stands: network, optimiser, schedules and place; all of it is saved, and all of it comes back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyro_vrnn.config import RunConfig
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.models.networks import State
from pyro_vrnn.objectives.annealing import decayed
from pyro_vrnn.programs import PROGRAMS, Markov, Stacked
from pyro_vrnn.system.errors import CheckpointError
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.checkpoint import Checkpoint
from pyro_vrnn.training.optimizer import TorchOptim, flatten, unflatten
from pyro_vrnn.training.parallel import Ranks
from pyro_vrnn.training.replay import Replay

ALONE = Ranks()


@dataclass
class Progress:
    """Where a run stands: all of it is saved, all of it comes back on resume."""

    step: int = 0
    sequences: int = 0
    """That were trained on, with those that came again; of a sequence in pieces each piece."""
    epoch: int = 0
    position: int = 0
    """Batches of this epoch that are done."""
    best_step: int = 0
    """Of the checkpoint BEST; a look between validations, as at a stop, may have chosen it."""
    best_nll: float = math.inf
    scheduled_nll: float = math.inf
    """The best of the scheduled validations, by which patience counts: stops have no part in it."""
    stale: int = 0
    """Scheduled validations since their best."""
    validated: int = 0
    """Epochs that were done at the last scheduled validation."""
    seconds: float = 0.0
    metrics_bytes: int = 0


class TrainingState:
    """The network of a run, its optimiser, its schedules and its place.

    Args:
        config: the complete settings.
        net: with its first weights, on the device.
        device: where it is trained.
        ranks: the processes that share the training.
    """

    def __init__(self, config: RunConfig, net: SequenceModel, device: torch.device, ranks: Ranks = ALONE) -> None:
        self.config, self.net, self.device, self.ranks = config, net, device, ranks
        training = config.training
        # On a GPU the learning rate is on the device: the same optimiser with a graph and without.
        learning_rate, on_device = training.learning_rate, device.type == "cuda"
        self.program: Markov | Stacked = PROGRAMS[training.program](net)
        self.optim = TorchOptim(
            config.objective.learner(net),
            lambda params: torch.optim.AdamW(
                params,
                lr=torch.tensor(learning_rate, device=device) if on_device else learning_rate,
                betas=training.adam_betas,
                eps=training.adam_eps,
                weight_decay=training.weight_decay,
                fused=True,
                capturable=on_device,
            ),
            training.clip_norm,
        )
        self.optim.reduce = ranks.add_gradients
        self.average = {k: v.detach().clone() for k, v in net.named_parameters()} if training.average else {}
        """The running average of each parameter, or nothing."""
        self.at = Progress()
        self.replay = Replay(training.replay, training.replay_share, training.replay_size, training.seed)
        self.memory: tuple[State, State] | None = None
        """Where model and guide stood after the last batch, for the pieces that continue it."""

    def schedule(self) -> tuple[float, float, float]:
        """For the next update: the KL weight, the learning rate, and the share of the average that is replaced."""
        training, step = self.config.training, self.at.step
        learning_rate = decayed(
            step,
            training.learning_rate,
            training.learning_rate * training.decay_to,
            training.decay,
            training.decay_begin,
            training.decay_steps,
        )
        keep = 1.0 - min(training.average, (2 + step) / (11 + step))
        return self.config.objective.beta(step), learning_rate, keep

    def continuing(self, batch: Batch, rows: Sequence[int]) -> Batch:
        """A batch that continues from these rows of the one before."""
        assert self.memory is not None, "no batch before this one"
        index = torch.tensor(
            [*rows, *[0] * (batch.size - len(rows))]
        )  # those that a padded batch has more have no steps
        if self.device.type == "cuda":
            index = index.pin_memory().to(self.device, non_blocking=True)  # nothing waits
        state, own = (tuple(part[index] for part in side) for side in self.memory)
        return replace(batch, memory=(state, own))

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The running average in the place of the weights, for validation and saving."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.net.named_parameters():
            if name in self.average:
                held = value.clone()
                value.copy_(self.average[name])
                self.average[name].copy_(held)

    def snapshot(self) -> Checkpoint:
        """All of the state, copied."""
        extra = flatten(self.optim.get_state())
        extra["random.cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            extra["random.cuda"] = torch.cuda.get_rng_state(self.device)
        extra |= self.replay.state()
        for side, parts in enumerate(self.memory or ()):
            extra |= {f"memory.{side}.{i:02d}": part for i, part in enumerate(parts)}
        if self.average:
            extra |= {f"raw.{k}": v.detach().clone() for k, v in self.net.state_dict().items()}
        with self.averaged():
            model = {k: v.detach().clone() for k, v in self.net.state_dict().items()}
        return Checkpoint(model, extra, {k: None if v == math.inf else v for k, v in vars(self.at).items()})

    def restore(self, saved: Checkpoint, path: Path) -> None:
        """Back to a snapshot, exactly.

        Raises:
            CheckpointError: it lacks something, has something else, or has values that are not finite.
        """
        own = dict(saved.optimizer)
        random = {k: own.pop(k) for k in list(own) if k.startswith("random.")}
        raw = {k.removeprefix("raw."): own.pop(k) for k in list(own) if k.startswith("raw.")}
        kept = {k: own.pop(k) for k in list(own) if k.startswith(("replay.", "memory."))}
        if self.replay.kind == "none":
            kept = {k: v for k, v in kept.items() if not k.startswith("replay.")}
        at = _progress(saved.state, path)
        expected: dict[str, Tensor] = {}
        for i, p in enumerate(self.optim.params if at.step else ()):
            expected |= {f"{i}.step": torch.zeros(()), f"{i}.exp_avg": p, f"{i}.exp_avg_sq": p}
        checkpoint.expect(expected, own, path, "optimiser state")
        checkpoint.expect({"random.cpu": torch.get_rng_state()}, random | {"random.cuda": None}, path, "random state")
        checkpoint.expect(self._kept(kept), kept, path, "training state")
        checkpoint.load_weights(self.net, saved.model, path)
        self.replay.restore(kept)
        if "memory.0.00" in kept:
            state, own_state = (
                tuple(kept[k].to(self.device) for k in sorted(kept) if k.startswith(f"memory.{side}."))
                for side in (0, 1)
            )
            self.memory = state, own_state
        if self.average:
            with torch.no_grad():
                for name, value in self.net.named_parameters():
                    self.average[name].copy_(value)  # in place: graphs know these tensors
            checkpoint.load_weights(self.net, raw, path)
        self.optim.set_state(unflatten(own, self.optim.get_state()))
        torch.set_rng_state(random["random.cpu"])
        if self.device.type == "cuda" and "random.cuda" in random:
            torch.cuda.set_rng_state(random["random.cuda"], self.device)
        self.at = at

    def _kept(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """What replay and memory should look like in a checkpoint; their lengths are their own affair."""
        expected: dict[str, Tensor] = {}
        if self.replay.kind != "none" and "replay.index" in found:
            count = len(found["replay.index"])
            expected["replay.index"] = torch.zeros(count, dtype=torch.int64)
            expected["replay.score"] = torch.zeros(count, dtype=torch.float64)
        if self.config.data.carry and "memory.0.00" in found:
            size = len(found["memory.0.00"])
            one = Batch(torch.ones(size, dtype=torch.int64, device=self.device))
            x = torch.zeros(1, size, self.net.likelihood.x_dim, device=self.device)
            with torch.no_grad():
                sides = self.net.start(size), self.net.remember(one, self.net.features(x))
            expected |= {
                f"memory.{side}.{i:02d}": part for side, parts in enumerate(sides) for i, part in enumerate(parts)
            }
        return expected

    def is_finite(self) -> bool:
        """Whether weights, their average, the optimiser's and carried state are all finite: worth continuing from."""
        carried = [part for side in self.memory or () for part in side]
        weights = [*self.net.state_dict().values(), *self.average.values()]
        moments = flatten(self.optim.get_state()).values()
        return all(bool(torch.isfinite(v).all()) for v in [*carried, *weights, *moments])


def _progress(state: dict[str, Any], path: Path) -> Progress:
    """The place in a checkpoint's state.json; CheckpointError if it is not one."""
    values: dict[str, Any] = {}
    for field in fields(Progress):
        value: Any = state.get(field.name, 0 if field.name == "sequences" else None)  # not there before 2026-11-21
        if field.name == "scheduled_nll" and field.name not in state:  # not there before 2026-11-29
            value = values["best_nll"]
        if field.name in ("best_nll", "scheduled_nll") and value is None:
            value = math.inf
        count = field.type == "int"
        if type(value) not in ((int,) if count else (int, float)) or (count and value < 0):
            message = f"{path}: state.json has no good {field.name!r} ({value!r})"
            raise CheckpointError(message, "the checkpoint is damaged; name another one", path)
        values[field.name] = value
    return Progress(**values)
