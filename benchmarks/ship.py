"""A trained run as a model that is shipped: its best weights at half the size, its settings, and its score on the card.

    OMP_NUM_THREADS=1 python benchmarks/ship.py runs/bach bach [--objective iwae --particles 100 --seed 0]

pyro_vrnn/weights/NAME/card.toml is written by hand first: what is under [numbers] there is made here, and so are
card.md and the run folder's files beside it. What is shipped is what is evaluated: matrices as float16, all else as
float32. The optimiser's state, the log and what tells of the machine stay behind. It needs the run's data.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
import torch

from pyro_vrnn import runs, weights
from pyro_vrnn.data.baselines import baselines
from pyro_vrnn.objectives.evaluation import Evaluation
from pyro_vrnn.runs.folder import read_environment
from pyro_vrnn.system.files import write_bytes, write_json
from pyro_vrnn.training import checkpoint

KEPT = ("step", "epoch", "best_step", "best_nll", "seconds")
"""Of the state of the training."""
TOLD = ("pyro_vrnn", "python", "torch", "pyro", "threads", "init_from", "data")
"""Of the environment: nothing that is about a machine."""


def halved(model: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Matrices as float16; vectors and single numbers, which are few, stay as they are."""
    return {name: value.half() if value.ndim > 1 else value for name, value in model.items()}


def write_run(run: runs.Run, folder: Path) -> None:
    """A run folder of the run's best weights and nothing that training would need."""
    data = dataclasses.replace(run.config.data, path=f"data/{Path(run.config.data.path).name}")
    write_bytes(folder / "config.toml", dataclasses.replace(run.config, data=data).to_toml().encode())
    environment = read_environment(run.folder)
    write_json(folder / "environment.json", {key: environment.get(key) for key in TOLD})
    rows = [json.dumps(row) for row in runs.read_metrics(run.folder) if row["step"] <= run.state["best_step"]]
    write_bytes(folder / "metrics.jsonl", "".join(f"{row}\n" for row in rows).encode())
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    model = halved(checkpoint.load(run.step_folder).model)
    state = {key: run.state[key] for key in KEPT}
    checkpoint.save(folder / "checkpoints", checkpoint.Checkpoint(model, {}, state), best=True)


def numbers(run: runs.Run, trained: Evaluation, shipped: Evaluation, seed: int) -> dict[str, Any]:
    """What goes under [numbers]."""
    form, dataset = run.format, run.data()
    simple, words = baselines(dataset.info.path, run.encoding), form.traits.baseline_words(form.support)
    return {
        "split": shipped.split,
        "bound": shipped.bound,
        "particles": shipped.particles,
        "seed": seed,
        "nll_per_step": shipped.nll_per_step,
        "stderr": shipped.stderr,
        "kl_per_step": shipped.kl_per_step,
        "sequences": shipped.sequences,
        "steps": shipped.steps,
        "baselines": {what: simple[key] for key, what in words.items()},
        "nll_per_step_float32": trained.nll_per_step,
        "valid_nll_per_step": run.state["best_nll"],
        "updates": run.state["best_step"],
        "seconds": run.state["seconds"],
        "parameters": sum(p.numel() for p in run.net.parameters()),
    }


def ship(source: Path, name: str, *, objective: str, particles: int, seed: int) -> weights.Card:
    """Make the folder of a shipped model from a run and the card that was begun there; the whole card."""
    folder = weights.FOLDER / name
    begun = tomllib.loads((folder / "card.toml").read_text("utf-8"))
    run = runs.load(source)
    write_run(run, folder)
    trained, shipped = (
        one.evaluate("test", objective, particles, data=run.data().info.path, seed=seed)
        for one in (run, runs.load(folder))
    )
    begun["numbers"] = numbers(run, trained, shipped, seed)
    write_bytes(folder / "card.toml", tomli_w.dumps(begun).encode())
    card = weights.card(name)
    write_bytes(folder / "card.md", card.markdown().encode())
    return card


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--objective", default="iwae")
    parser.add_argument("--particles", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    card = ship(given.run, given.name, objective=given.objective, particles=given.particles, seed=given.seed)
    print(card.markdown())
    print(f"{weights.FOLDER / card.name}: {card.bytes:,} bytes")


if __name__ == "__main__":
    main()
