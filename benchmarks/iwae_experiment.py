"""The IWAE experiment: one VRNN trained by several bounds, at equal sequences seen and at equal time, over seeds.

    python benchmarks/iwae_experiment.py --recipe iwae-jsb --out runs/iwae-jsb

Every run is validated by the same bound (the recipe's training.valid_objective), so the curves can be compared. It can
be stopped and started again: finished runs stay, an unfinished one resumes. Then an ELBO run of each seed continues as
IWAE and as FIVO, and as ELBO for as many updates. Prints a table, writes summary.json and two figures.

Equal time is updates times what an update costs: loss and gradients of all arms, timed in turn in one process at the
end (CPU time where there is no GPU), so that what else ran on the machine meanwhile does not count. The ELBO, the
cheapest, gets three times the updates, so that it has as much time as the others.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import pyro
import torch

import pyro_vrnn as pv
from pyro_vrnn import config
from pyro_vrnn.data.batching import epoch_plan
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.programs import Stacked
from pyro_vrnn.runs.comparison import compare
from pyro_vrnn.runs.folder import read_metrics

ARMS = {"elbo": 1, "elbo-mc": 5, "iwae": 5, "dreg": 5, "fivo": 5}
LONGER = {"elbo": 3}
"""Times the updates."""
ROUNDS = 7
CONTINUED = {"elbo": 1, "iwae": 5, "fivo": 5}


def validations(run: Path) -> list[dict[str, Any]]:
    return [row for row in read_metrics(run) if "valid_nll_per_step" in row]


def best_until(run: Path, key: str, limit: float) -> float | None:
    """The best validation up to so many sequences or seconds."""
    values = [row["valid_nll_per_step"] for row in validations(run) if row[key] <= limit]
    return min(values) if values else None


def spread(values: list[float | None]) -> dict[str, Any]:
    found = [v for v in values if v is not None]
    deviation = statistics.stdev(found) if len(found) > 1 else None
    return {"mean": statistics.mean(found) if found else None, "deviation": deviation, "seeds": len(found)}


def step_seconds(runs: list[Path]) -> list[float]:
    """What an update of each run costs, seconds: medians over rounds in which each does the same three batches."""
    jobs = []
    for run in runs:
        loaded = pv.load(run)
        net, settings = loaded.net.train(), loaded.config
        data = settings.data
        dataset = SequenceDataset(data.path, "train", data.window or None, data.hop or None, dither=data.dither)
        plan = epoch_plan(dataset.lengths, settings.data.batch_size, seed=0, epoch=0)[:3]
        jobs.append((settings.objective.loss(net), Stacked(net), [collate(dataset, b).to(loaded.device) for b in plan]))
    clock = time.process_time if jobs[0][2][0].lengths.device.type == "cpu" else time.perf_counter
    times: list[list[float]] = [[] for _ in runs]
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for _ in range(ROUNDS):
            for own, (loss, pair, batches) in zip(times, jobs, strict=True):
                pyro.clear_param_store()
                start = clock()
                for batch in batches:
                    loss.loss_and_grads(pair.model, pair.guide, batch, 1.0)
                own.append((clock() - start) / len(batches))
    return [statistics.median(own) for own in times]


def table(title: str, arms: dict[str, list[Path]], particles: int) -> list[dict[str, Any]]:
    """The arms of one experiment: mean and deviation over seeds."""
    costs = dict(zip(arms, step_seconds([runs[0] for runs in arms.values()]), strict=True))
    seconds = min(validations(run)[-1]["step"] * costs[name] for name, runs in arms.items() for run in runs)
    sequences = min(validations(run)[-1]["sequences"] for runs in arms.values() for run in runs)
    rows = []
    for name, runs in arms.items():
        loaded = [pv.load(run) for run in runs]
        test = {
            bound: [r.evaluate("test", bound, particles).nll_per_step for r in loaded] for bound in ("iwae", "fivo")
        }
        kl = [r.evaluate("test", "iwae", 2).kl_per_step for r in loaded]
        row = {
            "arm": name,
            "equal_sequences": spread([best_until(run, "sequences", sequences) for run in runs]),
            "equal_time": spread([best_until(run, "step", seconds / costs[name]) for run in runs]),
            "step_seconds": costs[name],
            "updates": max(validations(run)[-1]["step"] for run in runs),
            "test_iwae": spread(list(test["iwae"])),
            "test_fivo": spread(list(test["fivo"])),
            "kl_per_step": spread(list(kl)),
        }
        rows.append(row)

    def cell(value: dict[str, Any]) -> str:
        if value["mean"] is None:
            return "-"
        return f"{value['mean']:.3f}" + ("" if value["deviation"] is None else f" ± {value['deviation']:.3f}")

    print(f"\n{title}: {sequences} sequences, {seconds:.0f} s, test bounds at K={particles}")
    names = ["equal_sequences", "equal_time", "test_iwae", "test_fivo", "kl_per_step"]
    print("| trained by | " + " | ".join(n.replace("_", " ") for n in names) + " | updates | ms an update |")
    print("|" + "---|" * (len(names) + 3))
    for row in rows:
        cells = " | ".join(cell(row[n]) for n in names)
        print(f"| {row['arm']} | {cells} | {row['updates']} | {1e3 * row['step_seconds']:.0f} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="iwae-jsb")
    parser.add_argument("--data")
    parser.add_argument("--out", type=Path, default=Path("runs/iwae"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="updates of each run; the recipe's by default")
    parser.add_argument("--more", type=int, help="updates that an ELBO run continues for; half of --steps by default")
    parser.add_argument("--particles", type=int, default=128, help="of the bounds on the test split")
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="any setting of the runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = dict(pair.split("=", 1) for pair in options.set)
    common: dict[str, Any] = {"data": options.data, "device": options.device, "settings": settings}
    chosen = options.arms.split(",")

    def run(name: str, seed: int, objective: str, particles: int, **more: Any) -> Path:
        out = options.out / f"{name}-{seed}"
        print(out, flush=True)
        given = common | {"objective": objective, "particles": particles, "seed": seed} | more
        result = pv.train(options.recipe, out=out, **given).result
        if result is not None and result.stopped == "signal":
            sys.exit("stopped; the same command continues")
        return out

    steps = options.steps or config.resolve(options.recipe).config.training.max_steps
    # seed by seed, so that after the first one there is something to look at
    made = {
        (n, s): run(n, s, n, ARMS[n], max_steps=steps * LONGER.get(n, 1)) for s in range(options.seeds) for n in chosen
    }
    arms = {f"{n}, K={ARMS[n]}": [made[n, s] for s in range(options.seeds)] for n in chosen}
    summary: dict[str, Any] = {"recipe": options.recipe, "steps": steps, "particles": options.particles}
    summary["scratch"] = table("from scratch", arms, options.particles)
    compare([r for runs in arms.values() for r in runs], options.out)
    if "elbo" in chosen:
        more = options.more or steps // 2
        made = {
            (n, s): run(f"then-{n}", s, n, k, init_from=options.out / f"elbo-{s}", max_steps=more)
            for s in range(options.seeds)
            for n, k in CONTINUED.items()
        }
        continued = {f"elbo, then {n}": [made[n, s] for s in range(options.seeds)] for n in CONTINUED}
        summary["continued"] = table("an ELBO run continues", continued, options.particles)
        compare([r for runs in continued.values() for r in runs], options.out / "continued")
    (options.out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    print(f"\n{options.out}/summary.json, {options.out}/comparison.png")


if __name__ == "__main__":
    main()
