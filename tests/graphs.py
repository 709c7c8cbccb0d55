"""Trainings as on a GPU, but that nothing is captured, for the tests of updates and graphs."""

from __future__ import annotations

from typing import Any

import torch
from small import make_net, suits
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from pyro_vrnn.config import resolve
from pyro_vrnn.models import MODELS
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.training.graph_step import GraphStep
from pyro_vrnn.training.trainer import Trainer

CPU = torch.device("cpu")


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the CPU wait for a GPU: numbers and shapes that depend on values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__
        waits = name.startswith(("_local_scalar_dense", "nonzero", "masked_select", "equal.", "unique", "_assert_"))
        if name.startswith("index") and "_put" not in name and len(args) > 1 and isinstance(args[1], list | tuple):
            waits |= any(isinstance(i, Tensor) and i.dtype == torch.bool for i in args[1])
        assert not waits, f"{name} waits for the device"
        return func(*args, **kwargs or {})


def graph_step(trainer: Trainer) -> GraphStep:
    """The way that `make_trainer(graphs=True)` put first."""
    found = trainer.steps[0]
    assert isinstance(found, GraphStep)
    return found


def make_trainer(*sets: str, graphs: bool, seed: int = 0) -> Trainer:
    """As on a GPU, but that nothing is captured; or as ever."""
    base = ["model.hidden_dim=8", "model.network_dims=8", "data.batch_size=5"]
    config = resolve(sets=[*base, *sets]).config
    net = make_net(*[s for s in sets if s.startswith(("model.", "objective.name="))], dtype=torch.float32)
    trainer = Trainer(config, net, CPU)
    if graphs:
        trainer.state.optim.inner = torch.optim.AdamW(
            trainer.state.optim.params,
            lr=torch.tensor(config.training.learning_rate),
            betas=config.training.adam_betas,
            weight_decay=config.training.weight_decay,
            fused=True,
        )
        trainer.padded = True
        trainer.steps.insert(0, GraphStep(trainer.state, capture=False))
    torch.manual_seed(seed)
    return trainer


def settings(objective: str) -> list[str]:
    return [f"objective.name={objective}", f"objective.particles={3 if OBJECTIVES[objective].weighted else 1}"]


PAIRS = [(m, o) for m in MODELS for o in OBJECTIVES if suits(m, o)]
