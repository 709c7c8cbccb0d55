"""What is claimed of a GPU, measured in one call of under ten minutes: rates, updates by graph, correctness, data.

    python benchmarks/gpu.py [--out gpu.json] [--data JSB.h5] [--seconds 540] [--device cuda|cpu] [--quick]

Prints JSON, and each goal of docs/performance.md with what was found. The file is written anew after every section, so
that a run that is killed leaves what it had; a section that fails says why under `error`, and the next one starts.
`--device cpu --quick` runs every line but the capture itself, at toy sizes (tests/project/test_benchmarks_gpu.py): its
numbers mean nothing. An update is all of it: loss, gradients, clipping, optimiser. Times are medians, in milliseconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyro
import torch
from gpu_cases import (
    EPOCH_WINDOWS,
    GOALS,
    PRECISIONS,
    Bench,
    ExampleTraining,
    Found,
    expected,
    flops_of,
    graph_step,
    write_audio,
    write_rolls,
)

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.models import DMM
from pyro_vrnn.models.precision import products
from pyro_vrnn.training.fit import fit


def device(run: Bench) -> Found:
    """What the machine can do at best: the yardsticks of all that follows."""
    n = run.size(8192, 256)
    a, b = torch.randn(2, n, n, device=run.where).unbind()
    found: Found = {"name": "cpu", "torch": torch.__version__, "cuda": torch.version.cuda}
    if run.where.type == "cuda":
        found["name"] = torch.cuda.get_device_name(run.where)
    for precision in PRECISIONS:
        kind = torch.bfloat16 if precision == "bf16" else torch.float32
        left, right = a.to(kind), b.to(kind)
        with products(precision, run.where):
            taken = run.ms(partial(torch.matmul, left, right))
        found[f"matmul_{precision}_tflops"] = 2 * n**3 / taken / 1e9
    big = torch.rand(run.size(2**29, 2**18), device=run.where)
    to = torch.empty_like(big)
    found["copy_gb_per_s"] = 2 * 4 * len(big) / run.ms(lambda: to.copy_(big)) / 1e6
    host = torch.rand(run.size(2**26, 2**16))
    host = host.pin_memory() if run.where.type == "cuda" else host
    found["host_to_device_gb_per_s"] = (
        4 * len(host) / run.ms(lambda: to[: len(host)].copy_(host, non_blocking=True)) / 1e6
    )
    run.rates = found
    return found


def jsb_vrnn(run: Bench) -> Found:
    """Recipe jsb-vrnn, B=16, T=64: the markov program, the stacked one, and that as a graph."""
    batch = run.batch(16, 64)
    found = {
        "markov_ms": run.update_ms(run.trainer("training.program=markov", graph=False), batch),
        "stacked_ms": run.update_ms(run.trainer(graph=False), batch),
        "graph_ms": run.update_ms(run.trainer(), batch),
    }
    return found | {"speedup": found["markov_ms"] / found["graph_ms"]}


def dmm_example(run: Bench) -> Found:
    """Pyro's DMM example's sizes, 20 chorales of up to 129 steps; ours pads them to 144."""
    sets = ["model.network_dims=200", "model.hidden_dim=600", "model.latent_dim=100", "training.weight_decay=0"]
    ours = run.trainer(*sets, recipe="jsb-dmm")
    batch = run.batch(20, 129, ragged=True)
    long = int(batch.lengths.max())
    assert batch.x is not None
    net = run.trainer(*sets, recipe="jsb-dmm", graph=False).state.net
    assert isinstance(net, DMM)
    example = ExampleTraining(net, Batch(batch.lengths, batch.x[:long]))
    with pyro.get_param_store().scope(), pyro.validation_enabled(False), products("float32", run.where):
        theirs = run.ms(example.step)
    mine = run.update_ms(ours, batch)
    return {"example_updates_per_s": 1e3 / theirs, "graph_updates_per_s": 1e3 / mine, "speedup": theirs / mine}


SRNN_TIMIT = ["model.name=srnn", "model.likelihood=gaussian", "model.latent_dim=256", "model.hidden_dim=1024"]
SRNN_TIMIT += ["model.network_dims=512,512", "training.weight_decay=0", "training.learning_rate=1e-5"]


def srnn_timit(run: Bench) -> Found:
    """SRNN's TIMIT setting (GRU 1024, z 256, two layers of 512, B=64, 40 frames of 200 samples)."""
    batch = run.batch(64, 40, 200, real=True)
    flops = flops_of(run.trainer(*SRNN_TIMIT, x_dim=200, graph=False).state.net.cpu(), batch.steps, 200) * batch.size
    found: Found = {"flops": flops}
    for precision in PRECISIONS:
        sets = [*SRNN_TIMIT, f"training.precision={precision}"]
        stacked = run.update_ms(run.trainer(*sets, x_dim=200, graph=False), batch)
        graph = run.update_ms(run.trainer(*sets, x_dim=200), batch)
        found[f"{precision}_stacked_ms"], found[f"{precision}_graph_ms"] = stacked, graph
        found[f"{precision}_speedup"] = stacked / graph
        if rate := run.rates.get(f"matmul_{precision}_tflops"):
            found[f"{precision}_share_of_matmul"] = flops / graph / 1e9 / rate
    return found


def blizzard(run: Bench) -> Found:
    """An epoch of 283 h in windows of half a second, B=128: VRNN (LSTM 4000, GMM) and SRNN (GRU 2048, Gaussian)."""
    settings = {
        "vrnn": [
            *("model.cell=lstm", "model.likelihood=gmm", "model.latent_dim=200", "model.hidden_dim=4000"),
            *("model.network_dims=500", "training.weight_decay=0", "training.learning_rate=1e-5"),
        ],
        "srnn": [*SRNN_TIMIT, "model.hidden_dim=2048", "model.network_dims=1024,1024"],
    }
    batch, found = run.batch(128, 40, 200, real=True), {}
    for name, sets in settings.items():
        for precision in ("tf32", "bf16"):
            trainer = run.trainer(*sets, f"training.precision={precision}", x_dim=200)
            taken = found[f"{name}_{precision}_ms"] = run.update_ms(trainer, batch)
            found[f"{name}_{precision}_epoch_hours"] = taken * EPOCH_WINDOWS / 128 / 3.6e6
    return found


def against_gru(run: Bench) -> Found:
    """An update by graph against cuDNN's GRU of the same width on the same batch, in float32."""
    music, speech = run.batch(16, 64), run.batch(64, 40, 200, real=True)
    found = {
        "vrnn_ms": run.update_ms(run.trainer(), music),
        "vrnn_gru_ms": run.gru_ms(run.size(128, 8), music, "float32"),
        "srnn_ms": run.update_ms(run.trainer(*SRNN_TIMIT, x_dim=200), speech),
        "srnn_gru_ms": run.gru_ms(run.size(1024, 8), speech, "float32"),
    }
    return found | {f"{m}_ratio": found[f"{m}_ms"] / found[f"{m}_gru_ms"] for m in ("vrnn", "srnn")}


def iwae(run: Bench) -> Found:
    """Five particles against one."""
    found: Found = {}
    music: list[str] = []
    for name, sets, x_dim in (("jsb", music, 88), ("speech", [*SRNN_TIMIT, "training.precision=tf32"], 200)):
        batch = run.batch(64, 40, 200, real=True) if sets else run.batch(16, 64)
        for K, objective in ((1, "elbo-mc"), (5, "iwae")):
            trainer = run.trainer(*sets, f"objective.name={objective}", f"objective.particles={K}", x_dim=x_dim)
            found[f"{name}_{K}_ms"] = run.update_ms(trainer, batch)
        found[f"{name}_ratio"] = found[f"{name}_5_ms"] / found[f"{name}_1_ms"]
    return found


def fivo(run: Bench) -> Found:
    """FIVO with four particles on four chorales of up to 129 steps."""
    trainer = run.trainer("objective.particles=4", recipe="jsb-fivo")
    return {"updates_per_s": 1e3 / run.update_ms(trainer, run.batch(4, 129, ragged=True))}


def correctness(run: Bench) -> Found:
    """200 updates by graph and one by one from the same seed; a pass's loss against float64; a graph's memory."""
    batch, rows, steps, found = run.batch(16, 64, ragged=True), [], run.size(200, 6), {}
    for graph in (False, True):
        trainer = run.trainer(graph=graph)
        torch.manual_seed(1)
        before = run.held()
        with pyro.get_param_store().scope(), pyro.validation_enabled(False), products("float32", run.where):
            rows.append([(trainer.step(batch, log=True) or {})["loss"] for _ in range(steps)])
        found[f"{'graph' if graph else 'stacked'}_mb"] = run.held() - before
        graphs = graph_step(trainer)
        if graph and not (graphs and graphs.shapes):
            raise RuntimeError("no graph was made")
    one, other = np.array(rows)
    apart = np.abs(one - other) / np.abs(one)
    found |= {"updates": steps, "loss_apart": float(apart.max()), "loss_apart_second": float(apart[1])}
    net = run.trainer(graph=False).state.net
    z = torch.randn(batch.size, batch.steps, net.latent_dim, generator=torch.Generator().manual_seed(0))
    exact, exact_grad = expected(net, batch, z, torch.device("cpu"), torch.float64, "float32")
    for precision in PRECISIONS:
        with products(precision, run.where):
            loss, grad = expected(net, batch, z, run.where, torch.float32, precision)
        found[f"{precision}_loss_off"] = abs(loss - exact) / abs(exact)
        found[f"{precision}_gradient_off"] = float((grad - exact_grad).norm() / exact_grad.norm())
    return found


def data(run: Bench) -> Found:
    """Updates of `fit` on an audio file (each batch read, padded, copied) against one batch that comes again."""
    sets = [*SRNN_TIMIT, "training.precision=tf32", f"data.batch_size={run.size(64, 3)}", "data.window=40"]
    sets += [f"training.log_every={run.size(50, 3)}", f"training.max_steps={run.size(400, 9)}"]
    sets += ["training.validate_every=1000"]
    with tempfile.TemporaryDirectory() as place:
        file = write_audio(Path(place) / "audio.h5", sequences=run.size(200, 4))
        trainer, train = run.trainer(*sets, x_dim=200), SequenceDataset(file, "train", 40)
        seconds = None if run.quick else 2 * run.each
        fit(trainer, train, SequenceDataset(file, "valid", 40), Path(place), max_seconds=seconds)
        lines = [json.loads(line) for line in (Path(place) / "metrics.jsonl").read_text().splitlines()]
    rates = [row["steps_per_second"] for row in lines if "steps_per_second" in row][1:]  # the first has the capture
    fitted = 1e3 / statistics.median(rates)
    alone = run.update_ms(run.trainer(*sets, x_dim=200), run.batch(64, 40, 200, real=True))
    return {"fit_ms": fitted, "one_batch_ms": alone, "waiting_share": max(0.0, 1 - alone / fitted)}


def training(run: Bench) -> Found:
    """Recipe jsb-vrnn by graph and one by one: seconds, and the validation bounds after as many updates."""
    found: Found = {"real_data": run.data is not None}
    bounds: list[dict[int, float]] = []
    began = time.perf_counter()
    sets = [f"training.max_steps={run.size(1500, 4)}", "objective.kl_steps=500", "training.decay_steps=1500"]
    with tempfile.TemporaryDirectory() as place:
        file = run.data or write_rolls(Path(place) / "rolls.h5")
        valid = SequenceDataset(file, "valid")
        for graph in (True, False):
            name, out = "graph" if graph else "stacked", Path(place) / str(graph)
            out.mkdir()
            trainer = run.trainer(*sets, x_dim=valid.x_dim, graph=graph)
            seconds = None if run.quick else max(5.0, run.left - (time.perf_counter() - began) - 15)
            done = fit(trainer, SequenceDataset(file, "train"), valid, out, max_seconds=seconds)
            found |= {f"{name}_s": done.seconds, f"{name}_updates": done.steps}
            lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
            bounds.append({row["step"]: row["valid_nll_per_step"] for row in lines if "valid_nll_per_step" in row})
            if (graphs := graph_step(trainer)) is not None:
                found["shapes"], found["reason"] = len(graphs.shapes), graphs.reason
    last = max(bounds[0].keys() & bounds[1].keys())
    return found | {"updates": last, "graph_nll": bounds[0][last], "stacked_nll": bounds[1][last]}


SECTIONS: dict[str, tuple[Callable[[Bench], Found], int, float]] = {
    "device": (device, 5, 0.04),
    "jsb_vrnn": (jsb_vrnn, 3, 0.1),
    "correctness": (correctness, 1, 0.1),
    "dmm_example": (dmm_example, 2, 0.12),
    "srnn_timit": (srnn_timit, 6, 0.15),
    "blizzard": (blizzard, 4, 0.12),
    "against_gru": (against_gru, 4, 0.07),
    "iwae": (iwae, 4, 0.07),
    "fivo": (fivo, 1, 0.04),
    "data": (data, 2, 0.06),
    "training": (training, 2, 0.13),
}
"""Each with how many measurements it makes and its share of the time."""


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seconds", type=float, default=540.0)
    parser.add_argument("--only", help="sections, by commas")
    asked = parser.parse_args()
    if asked.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no CUDA device; --device cpu --quick tries the script out")
    began = time.perf_counter()
    run = Bench(torch.device("cuda", 0) if asked.device == "cuda" else torch.device("cpu"), asked.quick, asked.data)
    report: Found = {"quick": run.quick, "complete": False, "sections": {}, "goals": []}
    names = asked.only.split(",") if asked.only else list(SECTIONS)
    for name in names:
        section, count, share = SECTIONS[name]
        start = time.perf_counter()
        run.left = asked.seconds - (start - began)
        # Half of a section's share: captures, first calls and networks of this size take time of their own.
        run.each = 0.0 if run.quick else max(0.2, 0.5 * share * asked.seconds / count)
        try:
            if run.left < 1.5 * run.each * count:
                raise TimeoutError(f"{run.left:.0f} s left")
            found = section(run)
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
        report["sections"][name] = found | {"seconds": time.perf_counter() - start}
        report["goals"] = [goal.judged(report["sections"]) for goal in GOALS]
        report["complete"] = name == names[-1]
        finite = json.loads(json.dumps(report), parse_constant=lambda _: None)  # JSON has no NaN
        text = json.dumps(finite, indent=1)
        if asked.out is not None:
            asked.out.write_text(text + "\n")
        print(f"{name}: {json.dumps(report['sections'][name])}", file=sys.stderr, flush=True)
        gc.collect()
        if run.where.type == "cuda":
            torch.cuda.empty_cache()
    print(text)
    for goal in report["goals"]:
        print(
            f"{goal['met']!s:5}  {goal['what']}: {goal['found']} (goal {goal['sign']} {goal['goal']})", file=sys.stderr
        )


if __name__ == "__main__":
    main()
