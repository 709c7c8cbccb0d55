"""Short trainings, for the tests of fit and of run folders."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import pyro_vrnn as pv
from pyro_vrnn import runs
from pyro_vrnn.config import resolve
from pyro_vrnn.data.format import format_of
from pyro_vrnn.data.schema import read_info
from pyro_vrnn.models import MODELS
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.training import checkpoint

FIRST_RECIPES = sorted(json.loads((Path(__file__).parent / "fixtures" / "first_losses.json").read_text("utf-8")))
"""Recipes whose full size is small: tests train them as they are."""
SMALL = {
    "model.latent_dim": 3,
    "model.hidden_dim": 8,
    "model.network_dims": [8],
    "data.batch_size": 5,
    "training.log_every": 1,
    "training.validate_every": 1,
}


def fit(data: Path, out: Path | None, **options: Any) -> runs.Run:
    settings = SMALL | options.pop("settings", {})
    if options.get("model") == "rnn":
        del settings["model.latent_dim"]
    return pv.train("chorales-vrnn", data=data, out=out, device="cpu", settings=settings, **options)


def untrained(data: Path, *sets: str) -> runs.Run:
    """A run of this data as it would be before its first update, with no folder."""
    chosen = [f"model.{k}={v}" for k, v in (("latent_dim", 3), ("hidden_dim", 8), ("network_dims", 8))]
    if "model.name=rnn" in sets:
        chosen = chosen[1:]
    settings = resolve(flags={"data.path": str(data)}, sets=[*chosen, *sets]).config
    settings = dataclasses.replace(settings, format=format_of(read_info(data)))
    torch.manual_seed(0)
    net = runs.build_net(settings)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn_like(p))  # so that no gate is closed
    return runs.Run(data.parent, data.parent / "step-0", settings, net.eval(), {})


def losses(run: Path) -> list[dict[str, Any]]:
    """The rows, without what time decides."""
    return [{k: v for k, v in r.items() if k not in ("seconds", "steps_per_second")} for r in runs.read_metrics(run)]


def weights(run: Path) -> dict[str, Tensor]:
    saved = checkpoint.load(checkpoint.find(run, "LATEST")[1])
    return saved.model | {f"optimizer.{k}": v for k, v in saved.optimizer.items()}


CASES = [(m, "elbo", 0.0) for m in MODELS] + [("vrnn", o, a) for o in OBJECTIVES for a in (0.0, 0.9)]


def start(data: Path, out: Path, *more: str, **options: Any) -> subprocess.Popen[str]:
    """`pyro-vrnn train` that would take forever, in its own process; returns when it is training."""
    sets = [
        part
        for k, v in SMALL.items()
        for part in ("--set", f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}")
    ]
    command = [
        sys.executable,
        "-m",
        "pyro_vrnn",
        "train",
        "chorales-vrnn",
        "--data",
        str(data),
        "--out",
        str(out),
        "--threads",
        "1",
    ]
    process = subprocess.Popen(
        [*command, "--epochs", "1000000", *sets, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        **options,
    )
    deadline = time.monotonic() + 60
    while not (out / "checkpoints" / "LATEST").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process
