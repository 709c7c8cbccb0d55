"""Why `model.norm=batch` is refused: with batch statistics the "bound" of fair coins is above their exact log evidence.

    python benchmarks/batch_norm_bound.py [--updates 400] [--steps 6] [--repeats 8]

The data are sequences of T fair coins, so every one of the 2^T has the log-probability -T log 2 nats, and no model that
predicts each coin from those before it can do better on average (Gibbs' inequality). Models of this package are trained
on them twice: with layer normalisation, and with torch's BatchNorm1d in its place, whose mean and variance are over the
steps of a batch of one sequence. Three numbers for each, over all 2^T sequences:

- the mean bound, in nats a sequence: an honest one is at most -T log 2;
- the total of exp(bound): probabilities add up to 1, and lower bounds to less;
- the mean bound with running statistics, as BatchNorm is meant to be evaluated: a bound again, of a model that learned
  to read what it no longer sees. (Layer normalisation has none, so its number is the first one again.)
"""

from __future__ import annotations

import argparse
import itertools
import math
from typing import Any

import pyro
import torch
from pyro.infer import SVI
from torch import Tensor, nn

from pyro_vrnn.config import RunConfig, resolve
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.objectives.elbo import ElboObjective
from pyro_vrnn.programs import Stacked
from pyro_vrnn.runs.plan import build_net

REPEATS = 8
"""Bounds of each sequence that are averaged, where z is drawn; docs/normalisation.md has the numbers of so many."""


class OverSteps(nn.BatchNorm1d):
    """BatchNorm over all leading dims: sequences, steps and particles. [..., D] -> [..., D]."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise by this batch's statistics in training, by the running ones else."""
        if self.training and x[..., 0].numel() == 1:
            return x  # one vector has no variance: torch refuses it
        return super().forward(x.reshape(-1, x.shape[-1])).reshape(x.shape)


def network(model: str, norm: str) -> SequenceModel:
    """A small model of bits with layer normalisation, or with BatchNorm in its place."""
    sets = [f"model.name={model}", "model.hidden_dim=16", "model.network_dims=16", "model.norm=layer"]
    settings = resolve(sets=[*sets, *(["model.latent_dim=2"] if model != "rnn" else [])]).config
    form = DataFormat(kind="pianoroll", support="binary", x_dim=1, steps_per_second=1.0)
    net = build_net(RunConfig(model=settings.model, objective=settings.objective, format=form))
    if norm == "batch":
        for parent in list(net.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.LayerNorm):
                    setattr(parent, name, OverSteps(child.normalized_shape[0]))
    return net


def measure(
    model: str, norm: str, *, steps: int, updates: int, repeats: int = REPEATS, seed: int = 0
) -> dict[str, float]:
    """Train one, and find its numbers.

    Args:
        model, norm: see `network`.
        steps: T.
        updates: of the training.
        repeats: bounds of each sequence that are averaged, where z is drawn.
        seed: of all that is random.

    Returns:
        exact: -T log 2; bound, running: means over all sequences, nats a sequence; total: of exp(bound).
    """
    torch.manual_seed(seed)
    pyro.set_rng_seed(seed)
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=steps)))  # [2^T, T]
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        net = network(model, norm).train()
        program, loss = Stacked(net), ElboObjective().loss(net)
        svi = SVI(program.model, program.guide, pyro.optim.Adam({"lr": 1e-2}), loss)
        for i in torch.randint(len(every), (updates,)).tolist():
            svi.step(Batch.of(every[i, :, None, None]))

        def bound(x: Tensor) -> float:
            batch, times = Batch.of(x[:, None, None]), repeats if net.latent_dim else 1
            with torch.no_grad():
                return -sum(loss.loss(program.model, program.guide, batch) for _ in range(times)) / times

        bounds = torch.tensor([bound(x) for x in every], dtype=torch.float64)
        net.eval()
        running = [bound(x) for x in every]
    return {
        "exact": -steps * math.log(2),
        "bound": float(bounds.mean()),
        "total": float(bounds.exp().sum()),
        "running": sum(running) / len(every),
    }


def main() -> None:
    """Print a line for each model and normalisation."""
    arguments: Any = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("--updates", type=int, default=400)
    arguments.add_argument("--steps", type=int, default=6, help="T")
    arguments.add_argument("--repeats", type=int, default=REPEATS, help="bounds that are averaged, where z is drawn")
    given = arguments.parse_args()
    print(f"{given.steps} fair coins: log evidence {-given.steps * math.log(2):.3f} nats, total probability 1")
    for model, norm in itertools.product(("rnn", "vrnn"), ("layer", "batch")):
        found = measure(model, norm, steps=given.steps, updates=given.updates, repeats=given.repeats)
        print(
            f"{model:5} {norm:5}  bound {found['bound']:7.3f}  total of exp(bound) {found['total']:7.3f}  "
            f"with running statistics {found['running']:7.3f}"
        )


if __name__ == "__main__":
    main()
