"""The posterior trace of a sequence: what the guide drew, what the model says of it, what each step and unit cost."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyro_vrnn import media
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.media import figures
from pyro_vrnn.runs.posteriors.contents import groups
from pyro_vrnn.runs.posteriors.diagnostics import diagnose
from pyro_vrnn.runs.posteriors.draws import Posterior, posterior
from pyro_vrnn.runs.posteriors.export import exporting
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, check_seed
from pyro_vrnn.system.files import make_folder, safe_name

ACTIVE_NATS = 0.01
"""A latent unit is active if its KL, averaged over steps and particles, is above this."""


def selected(dataset: SequenceDataset, sequence: str) -> tuple[list[int], bool]:
    """Which sequences are meant, and whether several may be: an id or number; `all`, `A:B` or a list with commas.

    `A:B` are those from number A to B - 1. An id is looked for first.

    Raises:
        ConfigError: there is no such sequence.
    """
    if sequence not in dataset.ids:
        if sequence == "all":
            return list(range(len(dataset))), True
        if match := re.fullmatch(r"([0-9]*):([0-9]*)", sequence):
            begin, end = int(match[1] or 0), int(match[2] or len(dataset))
            if not begin < end <= len(dataset):
                hint = f"A:B are sequences A to B - 1 of 0 to {len(dataset) - 1}; all takes every one"
                raise ConfigError(f"--sequence {sequence}: no sequences of the {dataset.split} split", hint)
            return list(range(begin, end)), True
        if "," in sequence:
            return list(dict.fromkeys(dataset.find(name.strip()) for name in sequence.split(","))), True
    return [dataset.find(sequence)], False


@torch.no_grad()
def inspect(
    run: Trained,
    *,
    split: str = "test",
    sequence: str | int = "0",
    particles: int = 1,
    seed: int = 0,
    out: Path | None = None,
    export: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """The report of `inspect --json` on one sequence of a split, or on several.

    Of one sequence figures are written below `out`, and the report has each site. Of several it has a line each; the
    random numbers of number i are those of seed + i, so that no two sequences share theirs.

    Where `per_step` is false z_1 is about the whole sequence, and the later z are there for the programs alone.

    Args:
        run: the trained model.
        split: of the run's data.
        sequence: see `selected`.
        particles: K draws of the posterior; means over them are reported.
        seed: of the draws.
        out: folder of the figures; default RUN/figures.
        export: a .nc file for the posteriors (contents.py says what is in it).
        progress: called with (sequences done, of how many).

    Raises:
        ConfigError: no such sequence, numbers out of range, or a file that cannot be written.
        NumericsError: the model's probabilities are not finite.
    """
    dataset = run.data(split=split)
    chosen, several = selected(dataset, str(sequence))
    check_seed(seed + (max(chosen) if several else 0))
    names, lengths = [dataset.ids[i] for i in chosen], [int(dataset.lengths[i]) for i in chosen]
    sequences: list[dict[str, Any]] = []
    writing = nullcontext() if export is None else exporting(export, run, names, lengths, several=several)
    with writing as write:
        for done, i in enumerate(chosen):
            given = int(dataset.given[i])
            found = posterior(run, dataset[i], particles, seed=seed + i if several else seed, given=given)
            about = {"sequence": dataset.ids[i], "index": i, "split": split, **report(run, found)}
            sequences.append(_summary(about, found.seed) if several else about)
            if write is not None:
                write(groups(run, found))
            progress(done + 1, len(chosen))
    exported = [] if export is None else [str(export)]
    if several:
        return {"schema": 1, "split": split, "particles": particles, "sequences": sequences, "files": exported}
    files = [*map(str, _figures(run, found, about, out)), *exported]
    return {"schema": 1, **about, "files": files}


def report(run: Trained, found: Posterior) -> dict[str, Any]:
    """What is said of one sequence: its sites, KL by step and by unit, bound and diagnosis; nats.

    The KL by unit is a mean over steps; where one z is about the whole sequence, that z's.
    """
    kl = found.kl()  # [K, T, Z]
    by_step = kl.sum(-1).mean(0)
    by_unit = (kl if run.net.per_step else kl[:, :1]).mean(
        (0, 1)
    )  # one z of a whole sequence is no mean over its steps
    sites = []
    for t in range(1, found.steps + 1):
        sites.append(
            {
                "name": f"z_{t}",
                "kind": "latent",
                "shape": list(found.guide.nodes[f"z_{t}"]["value"].shape),
                "log_prob_p": float(found.log_prob("model", f"z_{t}").mean()),
                "log_prob_q": float(found.log_prob("guide", f"z_{t}").mean()),
                "kl": float(by_step[t - 1]),
            }
        )
        sites.append(
            {
                "name": f"x_{t}",
                "kind": "observed",
                "shape": list(found.model.nodes[f"x_{t}"]["value"].shape),
                "log_prob_p": float(found.log_prob("model", f"x_{t}").mean()),
                "log_prob_q": None,
                "kl": None,
            }
        )
    log_weights = found.log_weights()
    told = diagnose(log_weights)
    return {
        "steps": found.steps,
        "particles": len(log_weights),
        "per_step": run.net.per_step,
        "sites": sites,
        "kl_by_step": by_step.tolist(),
        "kl_by_unit": by_unit.tolist(),
        "active_units": int((by_unit > ACTIVE_NATS).sum()),
        "bound": told.bound,
        "ess": told.ess,
        "pareto_k": told.pareto_k,
        "diagnosis": told.words,
    }


def _summary(about: dict[str, Any], seed: int) -> dict[str, Any]:
    """A sequence among several."""
    kept = ("sequence", "index", "steps", "active_units", "bound", "ess", "pareto_k", "diagnosis")
    return {**{key: about[key] for key in kept}, "kl": sum(about["kl_by_step"]), "seed": seed}


def _figures(run: Trained, found: Posterior, about: dict[str, Any], out: Path | None) -> list[Path]:
    """The pictures of one sequence."""
    split, name = about["split"], about["sequence"]
    folder = make_folder(out or run.output("figures"))
    stem = f"posterior-{split}-{safe_name(name)}"
    title, steps_kl = f"{run.folder.name}: {split} {name}", np.asarray(about["kl_by_step"], np.float32)
    x, mean = found.x.cpu().numpy(), found.mean_x().cpu().numpy()
    pictures = []
    picture = media.posterior(run.format, x, steps_kl, mean, folder / f"{stem}.png", title)
    if picture is not None:
        pictures.append(picture)
    if run.net.latent_dim > 0:
        pictures += [folder / f"{stem}-kl-by-step.png", folder / f"{stem}-kl-by-unit.png"]
        figures.kl_by_step(steps_kl, pictures[-2], title=title)
        unit = "nats per step" if run.net.per_step else "nats per sequence"
        figures.kl_by_unit(np.asarray(about["kl_by_unit"], np.float32), pictures[-1], ACTIVE_NATS, unit=unit)
    return pictures
