"""`pyro-vrnn bench` of two source trees, interleaved round by round: does a change make a step slower?

    OMP_NUM_THREADS=1 python benchmarks/compare_trees.py OLD NEW [--rounds 15] [--case NAME …]

OLD and NEW are checkouts. Each has a process of its own that stays alive; a round times one loss with its gradients of
the stacked program in one tree, then in the other, so that what else the machine does meets both. Medians over rounds
and the median of the rounds' ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

WORKER = """
import importlib, json, sys, time
import pyro, torch
torch.set_num_threads(1)
try:
    bench = importlib.import_module("pyro_vrnn.cli.bench")
except ImportError:
    bench = importlib.import_module("pyro_vrnn.bench")
jobs = {}
pyro.enable_validation(False)
def job(name):
    case = bench.CASES[name]
    net, batch = bench._net(case), bench._batch(case)
    flags = {"objective.name": case.objective, "objective.particles": case.particles}
    loss = bench.resolve(flags=flags).config.objective.loss(net)
    pair = bench.PROGRAMS["stacked"](net)
    def run():
        net.zero_grad()
        loss.loss_and_grads(pair.model, pair.guide, batch)
    return run
for line in sys.stdin:
    name = line.strip()
    if name not in jobs:
        pyro.clear_param_store()
        jobs.clear()
        jobs[name] = job(name)
        jobs[name]()
    start = time.perf_counter()
    jobs[name]()
    print(time.perf_counter() - start, flush=True)
"""


class Tree:
    """A process that times steps in one source tree."""

    def __init__(self, path: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(path.resolve()), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", WORKER]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd="/"
        )

    def seconds(self, case: str) -> float:
        """One step of a case."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{case}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def main() -> None:
    """Print a row of JSON for each case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--case", action="append", help="repeat for more; default: all")
    options = parser.parse_args()
    cases = options.case or ["vrnn-small", "vrnn-wide", "vrnn-iwae5", "srnn-music", "dmm-jsb"]
    trees = {"old": Tree(options.old), "new": Tree(options.new)}
    for case in cases:
        times: dict[str, list[float]] = {name: [] for name in trees}
        for round_ in range(options.rounds + 1):  # the first one warms up
            order = list(trees) if round_ % 2 else list(trees)[::-1]
            for name in order:
                times[name].append(trees[name].seconds(case))
        old, new = (times[name][1:] for name in ("old", "new"))
        ratio = statistics.median(b / a for a, b in zip(old, new, strict=True))
        row = {"case": case, "old_ms": 1e3 * statistics.median(old), "new_ms": 1e3 * statistics.median(new)}
        print(json.dumps(row | {"new_of_old": ratio}), flush=True)
    for tree in trees.values():
        tree.process.kill()


if __name__ == "__main__":
    main()
