"""The files of a run folder, of a saved estimator and of an experiment, each damaged in its place."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from seeds import Reader

import pyro_vrnn as pv
from pyro_vrnn.config import resolve
from pyro_vrnn.experiments import parsing
from pyro_vrnn.media.pages import figures, findings
from pyro_vrnn.runs import comparison
from pyro_vrnn.runs.folder import read_config, read_content, read_environment, read_metrics, read_stop, updates_of
from pyro_vrnn.runs.pages import provenance
from pyro_vrnn.runs.train import check
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.trainer import Trainer

SMALL = {"model.hidden_dim": 4, "model.latent_dim": 2, "model.network_dims": [4], "data.batch_size": 6}
SMALL |= {"training.log_every": 1, "training.validate_every": 1}
FORMAT = {".json": "json", ".jsonl": "jsonl", ".toml": "toml", ".safetensors": "safetensors", ".csv": "csv"}
EXPERIMENT = b"""[experiment]
updates = 12
seeds = [0, 1]
recipe = "jsb-vrnn"

[settings]
model.hidden_dim = 4
training.log_every = 1

[[arm]]
name = "elbo"

[[arm]]
name = "iwae"
settings.objective = { name = "iwae", particles = 3 }

[[arm]]
name = "then"
init_from = "elbo"
times = 0.5
"""


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, by their paths in it."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if path.name != ".lock"}


def vouched(read: Callable[[Path], Any]) -> Callable[[Path, Path], Any]:
    """Read a run twice: as it is, and with a manifest that vouches for the damaged file, as an attacker would write."""

    def both(path: Path, scratch: Path) -> None:
        run = scratch / "in"
        manifest = path.parent / checkpoint.MANIFEST
        if path.parent.parent.name == "checkpoints" and path != manifest:
            whole, content = manifest.read_bytes(), path.read_bytes()
            said = json.loads(whole)
            said["files"][path.name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            manifest.write_text(json.dumps(said))
            try:
                read(run)
            finally:
                manifest.write_bytes(whole)
        else:
            read(run)

    return both


def run_files(scratch: Path) -> list[Reader]:
    """Every file of a run: opened, shown, compared, resumed."""
    data = scratch / "bits.h5"
    settings = {**SMALL, "training.replay": "hard", "training.average": 0.5}
    run = pv.train("chorales-vrnn", data=data, out=scratch / "run", max_steps=9, settings=settings, device="cpu",
                   log="csv")  # fmt: skip
    config, files = run.config, contents(run.folder)
    trainer = Trainer(config, run.net, torch.device("cpu"))

    def opened(folder: Path) -> None:
        read_stop(folder)
        read_environment(folder)
        read_content(folder)
        read_metrics(folder)
        pv.load(folder)

    def shown(folder: Path) -> None:
        rows = read_metrics(folder)
        findings.of_training(rows, 5.0, read_stop(folder), updates_of(folder, rows), str(folder))
        figures.training_curves(rows, 5.0, True)
        provenance.flat(read_environment(folder))
        provenance.facts(run, rows, read_stop(folder))
        provenance.commands(run, rows, read_stop(folder), 4, 0)
        comparison.read(folder).best  # noqa: B018

    def resumed(folder: Path) -> None:
        found, saved, _ = checkpoint.newest(folder)
        trainer.state.restore(saved, found)
        check(resolve(str(folder / "config.toml")), out=folder)

    seeds = [(name, content, FORMAT.get(Path(name).suffix, "text")) for name, content in files.items()]
    inner = [seed for seed in seeds if seed[0].startswith(("checkpoints/step-", "config", "env"))]
    extending = b"extends = 'jsb-vrnn'\n" + files["config.toml"]
    config_seed = [("a.toml", files["config.toml"], "toml"), ("a.toml", extending, "toml")]
    return [
        Reader("run, opened", seeds, vouched(opened), files),
        Reader("run, shown", [seed for seed in seeds if not seed[0].startswith("check")], vouched(shown), files),
        Reader("run, resumed", inner, vouched(resumed), files),
        Reader("run, settings", [s for s in seeds if s[0] == "config.toml"], vouched(read_config), files),
        Reader("recipes", config_seed, lambda path, _: resolve(str(path))),
        Reader("experiments", [("a.toml", EXPERIMENT, "toml")], lambda path, _: parsing.read(str(path))),
    ]  # fmt: skip


def estimator_files(scratch: Path) -> list[Reader]:
    """A saved estimator."""
    random = np.random.default_rng(0)
    X = [random.normal(size=(n, 2)) for n in (9, 5, 7, 6, 8)]
    pv.VRNN(2, hidden_dim=3, max_steps=3, random_state=0).fit(X).save(scratch / "saved")
    files = contents(scratch / "saved")
    seeds = [(name, content, FORMAT.get(Path(name).suffix, "text")) for name, content in files.items()]
    seeds += [seed for seed in seeds if seed[0] == "estimator.json"] * 8
    return [Reader("estimator", seeds, vouched(pv.VRNN.load), files)]
