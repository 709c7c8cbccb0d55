"""One run's network, program, optimiser and place; the guarded SVI step; all of its state, out and back."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from pyro.infer import SVI
from torch import Tensor

from pyro_vrnn.config import RunConfig
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.models.networks import State
from pyro_vrnn.models.precision import lowered
from pyro_vrnn.objectives import make_objective
from pyro_vrnn.objectives.annealing import decayed, linear
from pyro_vrnn.objectives.estimators import own_terms
from pyro_vrnn.objectives.evaluation import Recorder
from pyro_vrnn.programs import PROGRAMS, Markov, Stacked
from pyro_vrnn.system.errors import CheckpointError, NumericsError
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.checkpoint import Checkpoint
from pyro_vrnn.training.graphs import Graphs, why_not
from pyro_vrnn.training.optimizer import TorchOptim, flatten, unflatten
from pyro_vrnn.training.parallel import Ranks
from pyro_vrnn.training.replay import Replay
from pyro_vrnn.training.transition_inputs import feed

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
    best_nll: float = math.inf
    stale: int = 0
    """Validations since the best."""
    validated: int = 0
    """Epochs that were done at the last scheduled validation."""
    seconds: float = 0.0
    metrics_bytes: int = 0


class Trainer:
    """One run's network, program, optimiser and place, and the guarded step."""

    def __init__(self, config: RunConfig, net: SequenceModel, device: torch.device, ranks: Ranks = ALONE) -> None:
        self.config, self.net, self.device, self.ranks = config, net, device, ranks
        training = config.training
        self.padded = device.type == "cuda" and training.replay == "none" and ranks.world == 1
        """Whether batches come in few shapes (sequences.padded)."""
        # A fused optimiser with its learning rate on the device: the same one with a graph and without.
        learning_rate, fused = training.learning_rate, device.type == "cuda"
        self.program: Markov | Stacked = PROGRAMS[training.program](net)
        self.optim = TorchOptim(
            net,
            lambda params: torch.optim.AdamW(
                params,
                lr=torch.tensor(learning_rate, device=device) if fused else learning_rate,
                betas=training.adam_betas,
                weight_decay=training.weight_decay,
                fused=fused or None,
                capturable=fused,
            ),
            training.clip_norm,
        )
        self.optim.reduce = ranks.add_gradients
        self.loss = config.objective.loss(net)
        self.svi = SVI(
            self.program.model,
            self.program.guide,
            self.optim,
            self.loss.loss,
            loss_and_grads=self._loss_and_grads,
        )
        self.average = {k: v.detach().clone() for k, v in net.named_parameters()} if training.average else {}
        self.validated = config.objective
        if training.valid_objective != "own":
            self.validated = make_objective(
                training.valid_objective, training.valid_particles or None, config.objective
            )
        self.at = Progress()
        self.replay = Replay(training.replay, training.replay_share, training.replay_size, training.seed)
        self.memory: tuple[State, State] | None = None
        """Where model and guide stood after the last batch, for the pieces that go on from it."""
        self._carried: tuple[State, State] | None = None  # the same, until the update is done
        self.no_graphs = why_not(config, ranks) if device.type == "cuda" and training.graph == "auto" else ""
        """Why a run that could be CUDA graphs is not."""
        self.graphs: Graphs | None = None
        if device.type == "cuda" and training.graph == "auto" and not self.no_graphs:
            self.graphs = Graphs(self, capture=True)

    def step(self, batch: Batch | None, *, log: bool, indices: Sequence[int] = ()) -> dict[str, Any] | None:
        """One SVI update; the row of metrics if asked for.

        Args:
            batch: some sequences, or pieces of them; of several processes, this one's, which may be none.
            log: whether to return a row.
            indices: which sequences these are, for the replay.

        Raises:
            NumericsError: loss or gradient is not finite; parameters and optimiser are as before the step.
        """
        if batch is not None and self.graphs is not None and self.graphs.takes(batch):
            beta, learning_rate, _ = self.schedule()
            report = self.graphs.step(batch, log=log)
            if report is None:
                return None
            *sums, norm = report
            return self._row([v / batch.scored_steps for v in sums], beta, learning_rate, norm)
        self.settle()  # a fault among the graphs' updates would not hold the average back here
        training, at = self.config.training, self.at
        beta, learning_rate, keep = self.schedule()
        self.config.objective.move(self.loss, at.step)
        if batch is not None:
            batch = self.fed(batch)
        (steps,) = self.ranks.add(0 if batch is None else batch.scored_steps)
        self.optim.divide_by = steps
        self.optim.set_learning_rate(learning_rate)
        recorder = Recorder() if log or training.replay != "none" else None
        if batch is None:  # as much as a rank without a share has to do
            loss = 0.0
            for p in self.optim.params:
                p.grad = None
            self.optim(self.optim.params)
            for p in self.optim.params:
                p.grad = None
        elif recorder is None:
            loss = self.svi.step(batch, beta)
        else:
            with recorder:
                loss = self.svi.step(batch, beta)
        at.step += 1
        self.memory = self._carried
        self.program.forget()
        if self.average:
            with torch.no_grad():
                for name, value in self.net.named_parameters():
                    self.average[name].lerp_(value, keep)
        if recorder is None:
            return None
        nll, kl = recorder.nll, recorder.kl
        if batch is not None and (kept := own_terms(self.loss)) is not None:
            nll, kl = kept
        if training.replay != "none":
            assert batch is not None
            self.replay.saw(indices, (nll + kl) / batch.scored.sum(0).clamp(min=1))
        if not log:
            return None
        sums = self.ranks.add(loss, float(nll.sum()), float(kl.sum()))
        return self._row([v / steps for v in sums], beta, learning_rate, self.optim.grad_norm)

    def _row(self, means: list[float], beta: float, learning_rate: float, norm: float) -> dict[str, Any]:
        """Of metrics.jsonl, after the update; `means` are loss, NLL and KL."""
        at = {"step": self.at.step, "epoch": self.at.epoch + 1}
        return (
            at
            | dict(zip(("loss", "nll", "kl"), means, strict=True))
            | {
                "beta": beta,
                "lr": learning_rate,
                "grad_norm": norm,
            }
        )

    def schedule(self) -> tuple[float, float, float]:
        """Of the next update: the KL weight, the learning rate, and the share of the average that is replaced."""
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

    def settle(self) -> None:
        """Wait until all updates are done.

        Raises:
            NumericsError: see Graphs.
        """
        if self.graphs is not None:
            self.graphs.settle()

    def fed(self, batch: Batch) -> Batch:
        """With the noise and the share of own draws of this update."""
        training = self.config.training
        share = linear(self.at.step, 0.0, training.scheduled_sampling, training.scheduled_steps)
        return feed(self.net, batch, self.net.likelihood.support, training.input_noise, share)

    def _loss_and_grads(self, model: Any, guide: Any, *args: Any) -> float:
        with lowered(self.config.training.precision, self.device):
            loss = float(self.loss.loss_and_grads(model, guide, *args))
        if not math.isfinite(loss) and self.ranks.world == 1:
            raise NumericsError(f"the loss is {loss}")
        if not math.isfinite(loss):  # so that all ranks see it in the gradient, and stop together
            first = self.optim.params[0]
            first.grad = torch.full_like(first, math.nan)
        if self.config.data.carry:
            self._carried = self.program.carry(args[0])
        return loss

    def goes_on(self, batch: Batch, rows: Sequence[int]) -> Batch:
        """A batch that goes on from these rows of the one before."""
        assert self.memory is not None, "no batch before this one"
        index = torch.tensor(
            [*rows, *[0] * (batch.size - len(rows))]
        )  # those that a padded batch has more have no steps
        if self.device.type == "cuda":
            index = index.pin_memory().to(self.device, non_blocking=True)  # nothing waits
        state, own = (tuple(part[index] for part in side) for side in self.memory)
        return batch.having(memory=(state, own))

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
        best = {"best_nll": None if math.isinf(self.at.best_nll) else self.at.best_nll}
        return Checkpoint(model, extra, vars(self.at) | best)

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
        """Whether weights, their average, the optimiser's and carried state are all finite: worth going on from."""
        carried = [part for side in self.memory or () for part in side]
        weights = [*self.net.state_dict().values(), *self.average.values()]
        moments = flatten(self.optim.get_state()).values()
        return all(bool(torch.isfinite(v).all()) for v in [*carried, *weights, *moments])


def _progress(state: dict[str, Any], path: Path) -> Progress:
    """The place in a checkpoint's state.json; CheckpointError if it is not one."""
    values: dict[str, Any] = {}
    for field in fields(Progress):
        value: Any = state.get(field.name, 0 if field.name == "sequences" else None)  # not there before 2026-11-21
        if field.name == "best_nll" and value is None:
            value = math.inf
        count = field.type == "int"
        if type(value) not in ((int,) if count else (int, float)) or (count and value < 0):
            message = f"{path}: state.json has no good {field.name!r} ({value!r})"
            raise CheckpointError(message, "the checkpoint is damaged; name another one", path)
        values[field.name] = value
    return Progress(**values)
