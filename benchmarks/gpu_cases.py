"""What benchmarks/gpu.py measures by: clock, trainers, goals, Pyro's way of a DMM, float64, files of noise."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from pyro.infer import SVI, Trace_ELBO
from pyro.optim import ClippedAdam
from pyro_dmm_example import Example
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pyro_vrnn.config import resolve
from pyro_vrnn.data.batch import Batch, padded
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.models import DMM, SequenceModel
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.models.precision import lowered, products
from pyro_vrnn.objectives import ElboObjective
from pyro_vrnn.programs import Stacked
from pyro_vrnn.programs.stacked import Path as Along
from pyro_vrnn.runs.run import build_net
from pyro_vrnn.training.graph_step import GraphStep
from pyro_vrnn.training.trainer import Trainer

Found = dict[str, Any]
PRECISIONS = ("float32", "tf32", "bf16")
BLOCK_SECONDS = 0.1
EPOCH_WINDOWS = 283 * 3600 * 2
"""Of half a second, in 283 hours."""


@dataclass(frozen=True)
class Goal:
    """One number of the report and what it should be."""

    what: str
    section: str
    key: str
    goal: float
    at_least: bool = False

    def judged(self, sections: dict[str, Any]) -> dict[str, Any]:
        """As far as it was measured."""
        found = sections.get(self.section, {}).get(self.key)
        met = None if found is None else bool(found >= self.goal if self.at_least else found <= self.goal)
        sign = ">=" if self.at_least else "<="
        return {"what": self.what, "found": found, "sign": sign, "goal": self.goal, "met": met}


GOALS = [
    Goal("VRNN on JSB: a graph against the markov program, times as fast", "jsb_vrnn", "speedup", 15, True),
    Goal("DMM: against Pyro's example's way, times as fast", "dmm_example", "speedup", 20, True),
    *(
        Goal(f"SRNN, TIMIT, {p}: graph against stacked", "srnn_timit", f"{p}_speedup", 3, True)
        for p in ("tf32", "bf16")
    ),
    *(
        Goal(f"SRNN, TIMIT, {p}: share of the matmul rate", "srnn_timit", f"{p}_share_of_matmul", 0.3, True)
        for p in ("float32", "tf32", "bf16")
    ),
    *(
        Goal(f"{m}, Blizzard, {p}: hours an epoch of 283 h", "blizzard", f"{m}_{p}_epoch_hours", 0.25)
        for m in ("vrnn", "srnn")
        for p in ("tf32", "bf16")
    ),
    *(Goal(f"{m}: an update in GRUs of its width", "against_gru", f"{m}_ratio", 3) for m in ("vrnn", "srnn")),
    *(Goal(f"IWAE, {d}: K=5 against K=1", "iwae", f"{d}_ratio", 1.5) for d in ("jsb", "speech")),
    Goal("FIVO, K=4, B=4, JSB: updates per second", "fivo", "updates_per_s", 100, True),
    Goal("losses of 200 updates, graph against one by one, relative", "correctness", "loss_apart", 1e-5),
    Goal("share of an update that waits for data", "data", "waiting_share", 0.05),
]


def graph_step(trainer: Trainer) -> GraphStep | None:
    """The trainer's way of making updates as CUDA graphs, if it has one."""
    return next((way for way in trainer.steps if isinstance(way, GraphStep)), None)


@dataclass
class Bench:
    """Where and how much."""

    where: torch.device
    quick: bool
    data: Path | None
    each: float = 0.0
    """Seconds that one measurement of the section at hand may take."""
    left: float = 0.0
    """Seconds until the end, when the section began."""
    rates: Found = field(default_factory=dict)
    """What `device` found."""

    def size(self, real: int, toy: int) -> int:
        return toy if self.quick else real

    def sync(self) -> None:
        if self.where.type == "cuda":
            torch.cuda.synchronize(self.where)

    def held(self) -> float:
        """MiB of the device that stay taken, the driver's share for graphs too."""
        gc.collect()
        if self.where.type == "cpu":
            return 0.0
        torch.cuda.empty_cache()
        free, total = torch.cuda.mem_get_info(self.where)
        return (total - free) / 2**20

    def ms(self, job: Callable[[], Any]) -> float:
        """Of one call: the median over blocks of calls, as many as the time allows (three at least)."""
        end = time.perf_counter() + self.each
        for _ in range(3):
            job()
        self.sync()
        block = 1
        found: list[float] = []
        while len(found) < 3 or (time.perf_counter() < end and len(found) < 50):
            start = time.perf_counter()
            for _ in range(block):
                job()
            self.sync()
            taken = time.perf_counter() - start
            found.append(1e3 * taken / block)
            if block == 1 and taken < BLOCK_SECONDS and not self.quick:
                block, found = min(32, 1 + int(BLOCK_SECONDS / taken)), []
        return statistics.median(found)

    def trainer(self, *sets: str, recipe: str = "jsb-vrnn", x_dim: int = 88, graph: bool = True) -> Trainer:
        """As `train` makes one; on a CPU graphs are not captured."""
        toy = ["model.hidden_dim=8", "model.network_dims=8"] if self.quick else []
        config = resolve(recipe, sets=[*sets, *toy, f"training.graph={'auto' if graph else 'off'}"]).config
        support = LIKELIHOODS[config.model.likelihood].support
        form = DataFormat(kind="vectors", support=support, x_dim=x_dim)
        torch.manual_seed(0)
        trainer = Trainer(config, build_net(replace(config, format=form)).to(self.where), self.where)
        if self.where.type == "cpu":
            rate, betas = torch.tensor(config.training.learning_rate), config.training.adam_betas
            trainer.state.optim.inner = torch.optim.AdamW(
                trainer.state.optim.params, lr=rate, betas=betas, weight_decay=config.training.weight_decay, fused=True
            )
            trainer.padded = True
            if graph:
                trainer.steps.insert(0, GraphStep(trainer.state, capture=False))
        return trainer

    def batch(self, B: int, T: int, X: int = 88, *, real: bool = False, ragged: bool = False) -> Batch:
        """Random numbers, of full length or from a quarter of it on."""
        B, T = self.size(B, 3), self.size(T, 5)
        x = torch.rand(T, B, X)
        x = 2 * x - 1 if real else (x < 0.05).float()
        lengths = torch.linspace(max(1, T // 4), T, B).long() if ragged else torch.full((B,), T)
        x = x * (torch.arange(T)[:, None] < lengths)[..., None]
        return padded(Batch(lengths, x), B).to(self.where)

    def update_ms(self, trainer: Trainer, batch: Batch) -> float:
        """Of a whole update."""
        with (
            pyro.get_param_store().scope(),
            pyro.validation_enabled(False),
            products(trainer.state.config.training.precision, self.where),
        ):
            found = self.ms(lambda: trainer.step(batch, log=False))
            trainer.settle()
        graphs = graph_step(trainer)
        if graphs is not None and not graphs.shapes:
            raise RuntimeError(f"no graph was made: {graphs.reason}")
        return found

    def gru_ms(self, width: int, batch: Batch, precision: str) -> float:
        """Of cuDNN's GRU of this width over the batch's steps, forward and back."""
        gru = nn.GRU(width, width).to(self.where)
        u = torch.randn(batch.steps, batch.size, width, device=self.where, requires_grad=True)

        def job() -> None:
            gru.zero_grad()
            gru(u)[0].sum().backward()

        with products(precision, self.where):
            return self.ms(job)


class ExampleTraining:
    """Pyro's DMM example with its optimiser; no weight decay, so ours is to have none."""

    def __init__(self, net: DMM, batch: Batch) -> None:
        settings = {"lr": 3e-4, "betas": (0.96, 0.999), "clip_norm": 10.0, "lrd": 0.99996}
        example = Example(net, batch)
        self.svi = SVI(example.model, example.guide, ClippedAdam(settings), Trace_ELBO())

    def step(self) -> None:
        """One update."""
        self.svi.step(0.5)


def expected(
    net: SequenceModel, batch: Batch, z: Tensor, where: torch.device, kind: torch.dtype, precision: str
) -> tuple[float, Tensor]:
    """Minus the sampled ELBO along a path z [B, T, Z], and its gradient by all parameters, float64 on the CPU."""
    assert batch.x is not None
    own, v = deepcopy(net).to(where, kind), z.to(where, kind)
    here = replace(batch, lengths=batch.lengths.to(where), x=batch.x.to(where, kind))
    with lowered(precision, where):
        along, by_step = Along(own, here, v), v.movedim(1, 0)
        total = along.p_x.log_prob(here.x) + along.p_z.log_prob(by_step) - along.q_z.log_prob(by_step)  # [T, B]
    loss = -torch.where(here.alive, total, torch.zeros_like(total)).sum()
    loss.backward()
    grads = [p.grad.flatten().cpu().double() for p in own.parameters() if p.grad is not None]
    return float(loss.detach()), torch.cat(grads)


def flops_of(net: SequenceModel, steps: int, x_dim: int) -> int:
    """Of loss and gradients, for each sequence: counted on the CPU, as a GPU's fused kernels are not counted."""
    batch, pair = Batch(torch.full((2,), steps), torch.zeros(steps, 2, x_dim)), Stacked(net)
    loss = ElboObjective().loss(net)
    with (
        pyro.get_param_store().scope(),
        pyro.validation_enabled(False),
        FlopCounterMode(display=False) as counter,
    ):
        loss.loss_and_grads(pair.model, pair.guide, batch)
    return int(counter.get_total_flops()) // 2


def write_audio(path: Path, *, sequences: int, frame: int = 200, steps: int = 160) -> Path:
    """Noise, in pieces of 160 frames."""
    random = np.random.default_rng(0)
    counts = {"train": sequences, "valid": 2}
    splits = {
        k: [(3000 * random.normal(size=(steps, frame))).astype(np.int16) for _ in range(n)] for k, n in counts.items()
    }
    return _write(path, splits, "audio", "real", 80.0, frame)


def write_rolls(path: Path) -> Path:
    """A few piano-rolls of noise."""
    random = np.random.default_rng(0)
    counts = {"train": 8, "valid": 3}
    splits = {k: [(random.random((6 + i, 88)) < 0.05).astype(np.uint8) for i in range(n)] for k, n in counts.items()}
    return _write(path, splits, "pianoroll", "binary", 2.0, 1)


def _write(path: Path, splits: Any, kind: str, support: str, rate: float, frame: int) -> Path:
    write_sequences(
        path,
        splits,
        ids={name: [f"{name}-{i}" for i in range(len(rows))] for name, rows in splits.items()},
        kind=kind,
        support=support,
        steps_per_second=rate,
        frame_length=frame,
        source="noise",
        licence="none",
        extra={"lowest_pitch": 21} if kind == "pianoroll" else None,
    )
    return path
