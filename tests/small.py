"""Small networks and ragged batches for tests: B, T, X, Z, H are different primes, so no two dims can be mixed up."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import torch

from pyro_vrnn.config import RunConfig, resolve
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.models import MODELS, SequenceModel
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.runs.run import build_net

B, T, X, Z, H = 5, 7, 11, 3, 13
LENGTHS = [7, 3, 5, 1, 6]


def settings_of(model: str) -> set[str]:
    """The names of a model's own settings."""
    return {f.name for f in dataclasses.fields(MODELS[model].Config)}


def variants() -> list[tuple[str, ...]]:
    """Every model with every choice that changes its graph, as settings."""
    found = []
    for name, cls in MODELS.items():
        hints = get_type_hints(cls.Config)
        choices = {k: get_args(hints[k]) for k in ("cell", "posterior") if k in hints}
        choices |= {k: ("true", "false") for k in ("res_q", "free_running", "reverse_input") if k in hints}
        for values in itertools.product(*choices.values()):
            pairs = zip(choices, values, strict=True)
            found += [(f"model.name={name}", *(f"model.{k}={v}" for k, v in pairs))]
    found += [(f"model.name={name}", *(f"model.{s}" for s in sets)) for name, *sets in EXTRAS]
    return found


EXTRAS = [
    ("vrnn", "stochastic_layers=2"),
    ("vrnn-i", "stochastic_layers=3", "cell=lstm"),
    ("dmm", "flows=2"),
    ("rnn", "rnn_layers=3", "cell=lstm"),
    ("rnn", "rnn_layers=2", "cell=gru"),
    ("vrnn", "network_dims.prior=5", "network_dims.phi_z=7,3", "network_dims.phi_x=", "learned_start=false"),
    ("vrnn", "norm=layer"),
    ("srnn", "norm=layer", "posterior=smoothing"),
    ("vrae", "norm=layer", "free_running=true"),
    *((name, "direct=true") for name in ("dmm", "rnn", "storn", "vrae", "vrnn")),
    ("srnn", "direct=true", "posterior=filtering"),
]


def make_net(*sets: str, dtype: torch.dtype = torch.float64, seed: int = 0) -> SequenceModel:
    """A model of these widths; its weights are scaled up so that nothing hides near zero."""
    name = next((s.partition("=")[2] for s in sets if s.startswith("model.name=")), "vrnn")
    base = [f"model.hidden_dim={H}", "model.network_dims=17"]
    if "latent_dim" in settings_of(name):
        base.append(f"model.latent_dim={Z}")
    settings = resolve(sets=[*base, *sets]).config
    form = DataFormat(kind="pianoroll", support="binary", x_dim=X, steps_per_second=2.0, lowest_pitch=40)
    torch.manual_seed(seed)
    net = build_net(RunConfig(model=settings.model, objective=settings.objective, format=form)).to(dtype)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(torch.randn_like(p) * 0.4)
    return net


def suits(model: str, objective: str) -> bool:
    """Whether a bound can be had of a model: a weighted one needs z, and a twisted one a z for every step."""
    cls, latent = MODELS[model], MODELS[model].Config.latent
    return (latent or not OBJECTIVES[objective].weighted) and (cls.per_step or objective != "sixo")


def equipped(net: SequenceModel, objective: str) -> SequenceModel:
    """The network with what this objective trains beside it, if anything; the weights of that are random too."""
    before = {id(p) for p in net.parameters()}
    OBJECTIVES[objective](name=objective, particles=2).equip(net)
    with torch.no_grad():
        for p in net.parameters():
            if id(p) not in before:
                p.copy_(torch.randn_like(p) * 0.4)
    return net


def make_batch(lengths: list[int] | None = None, dtype: torch.dtype = torch.float64, seed: int = 1) -> Batch:
    """Random bits, padded with zeros."""
    lengths = lengths or LENGTHS
    generator = torch.Generator().manual_seed(seed)
    n = torch.tensor(lengths)
    x = (torch.rand(max(lengths), len(lengths), X, generator=generator) < 0.4).to(dtype)
    return Batch(n, x * (torch.arange(max(lengths))[:, None] < n)[..., None])


def make_rolls(count: int, seed: int, x_dim: int = X, longest: int = 12) -> list[np.ndarray]:
    """Chains with something to learn: each bit mostly repeats itself."""
    generator = np.random.default_rng(seed)
    rolls = []
    for _ in range(count):
        roll = np.zeros((int(generator.integers(4, longest + 1)), x_dim), np.uint8)
        roll[0] = generator.random(x_dim) < 0.4
        for t in range(1, len(roll)):
            roll[t] = np.where(generator.random(x_dim) < 0.85, roll[t - 1], generator.random(x_dim) < 0.3)
        rolls.append(roll)
    return rolls


def write_small(
    path: Path,
    *,
    train: int = 24,
    seed: int = 0,
    x_dim: int = X,
    longest: int = 12,
    extra: dict[str, object] | None = None,
) -> Path:
    """A small piano-roll data set."""
    splits = {
        name: make_rolls(count, seed + i, x_dim, longest)
        for i, (name, count) in enumerate([("train", train), ("valid", 6), ("test", 7)])
    }
    write_sequences(
        path,
        splits,
        ids={name: [f"{name}-{i}" for i in range(len(rolls))] for name, rolls in splits.items()},
        kind="pianoroll",
        support="binary",
        steps_per_second=2.0,
        source="made by a test",
        licence="none",
        options={"resolution": "quarter"},
        extra={"lowest_pitch": 21} if x_dim > 50 else {"lowest_pitch": 40} if extra is None else extra,
        overwrite=True,
    )
    return path


def write_audio(
    path: Path,
    *,
    frame: int = 20,
    counts: tuple[int, int, int] = (12, 4, 4),
    normalise: tuple[int, int] | None = None,
) -> Path:
    """A small data set of audio: noisy tones, which are divided by a range if one is given."""
    generator = np.random.default_rng(0)
    splits = {}
    for name, count in zip(("train", "valid", "test"), counts, strict=True):
        tones = [9000 * np.sin(np.arange(12 * frame) * generator.uniform(0.1, 0.5)) for _ in range(count)]
        splits[name] = [
            (tone + 100 * generator.normal(size=tone.shape)).astype(np.int16).reshape(12, frame) for tone in tones
        ]
    write_sequences(
        path,
        splits,
        ids={name: [f"{name}-{i}" for i in range(len(rows))] for name, rows in splits.items()},
        kind="audio",
        support="real",
        steps_per_second=8000 / frame,
        frame_length=frame,
        extra={} if normalise is None else {"normalise": "range", "low": normalise[0], "high": normalise[1]},
        source="made by a test",
        licence="none",
        overwrite=True,
    )
    return path


SOUND = ("frame-ar", "gaussian", "gaussian-fixed", "gmm")


def write_like(path: Path, likelihood: str) -> Path:
    """A small data set that this likelihood can score."""
    if likelihood not in ("bivariate-gmm-pen", "categorical"):
        return write_audio(path) if likelihood in SOUND else write_small(path)
    generator, kind = np.random.default_rng(0), "symbols" if likelihood == "categorical" else "strokes"

    def sequence(n: int) -> np.ndarray:
        if kind == "symbols":
            return generator.integers(0, 4, (n, 1)).astype(np.uint8)
        return np.c_[generator.normal(size=(n, 2)), generator.random(n) < 0.2].astype(np.float32)

    splits = {name: [sequence(n) for n in (9, 4, 7)] for name in ("train", "valid", "test")}
    write_sequences(
        path,
        splits,
        ids={name: [f"{name}-{i}" for i in range(3)] for name in splits},
        kind=kind,
        support="categorical" if kind == "symbols" else "real",
        steps_per_second=None,
        source="made by a test",
        licence="none",
        extra={"symbols": list("abcd")} if kind == "symbols" else {},
        overwrite=True,
    )
    return path
