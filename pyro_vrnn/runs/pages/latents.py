"""What a page says of z: the posterior of one test sequence, what z tells of all of them, and their map."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.media.pages import figures
from pyro_vrnn.media.pages.findings import Finding, of_units
from pyro_vrnn.media.pages.report import Figure
from pyro_vrnn.objectives.information import Information, information
from pyro_vrnn.runs.posteriors import draws, inspection, latent_space
from pyro_vrnn.runs.trained import Trained

POSTERIOR_STEPS = 200
"""Scored steps of the test sequence that the posterior is taken of."""
MOST_POINTS = 500
"""Sequences on the map; of more, evenly spaced ones."""


def posterior(run: Trained, dataset: SequenceDataset, seed: int, told: list[Finding]) -> tuple[list[Figure], str]:
    """Charts of the posterior of the first test sequence, and what they are about; `told` hears of idle units."""
    given = int(dataset.given[0])
    x = dataset[0][: given + POSTERIOR_STEPS]
    kl = draws.posterior(run, x, seed=seed, given=given).kl()[0].double().cpu().numpy()  # [T, Z]
    unit = "nats per step"
    if not run.net.per_step:
        kl, unit = (
            kl[:1],
            "nats",
        )  # later z are there for the programs alone: a mean over them is too small
    by_unit = kl.mean(0)
    active = int((by_unit > inspection.ACTIVE_NATS).sum())
    told += of_units(by_unit.tolist(), active, inspection.ACTIVE_NATS, unit)
    steps = f"the first {len(x)} steps" if len(x) < int(dataset.lengths[0]) else f"{len(x)} steps"
    words = (
        f"Test sequence {dataset.ids[0]}, {steps}: {active} of {len(by_unit)} latent units are active (KL above "
        f"{inspection.ACTIVE_NATS:g} {unit}); KL {kl.sum():.3f} nats in all."
    )
    if not run.net.per_step:
        words += " One z is about the whole sequence; there is no z of single steps."
    return figures.posterior_curves(kl, run.net.per_step, inspection.ACTIVE_NATS), words


@dataclass(frozen=True, kw_only=True)
class Told:
    """What z tells of the sequences of a split, as a page says it."""

    figures: Sequence[Figure] = ()
    words: Sequence[str] = ()
    scores: Sequence[tuple[str, str, str]] = field(default=())


def told(run: Trained, dataset: SequenceDataset, seed: int) -> Told:
    """The information that z has of the test sequences, and their map."""
    found = information(run.net, dataset, seed=seed)
    curves = [] if len(found.kl) == 1 else figures.information_curves(
        {"information": found.information, "predicted": found.predicted, "gap": found.gap, "log N": found.limit}
    )  # fmt: skip
    return Told(figures=[map_of(run, dataset, seed), *curves], words=_words(run, found), scores=_scores(run, found))


def _words(run: Trained, found: Information) -> list[str]:
    count, steps = found.sequences[0], len(found.kl)
    if not run.net.per_step:
        return [
            f"Estimated on {count} test sequences. The mean KL of the posterior is the mutual information of z and "
            "the sequence, at most log N, plus the KL of the aggregated posterior from the prior, the gap "
            "(Hoffman & Johnson 2016)."
        ]
    return [
        f"Estimated on the first {steps} steps of {count} test sequences, each with one past of z that the guide drew. "
        "Information is what the posterior of z_t knows of which of the N sequences it reads, at most log N. "
        "Predicted is how much of that the prior of the same past tells already. The gap is the KL of the aggregated "
        "posterior from the aggregated prior. The mean KL at a step is information + gap - predicted; at step 1 "
        "nothing is predicted, and that is the split of Hoffman & Johnson (2016)."
    ]


def _scores(run: Trained, found: Information) -> list[tuple[str, str, str]]:
    # Information and gap are not below 0; their estimates may be, by a little.
    held, gap = (np.maximum(part, 0.0) for part in (found.information, found.gap))
    n, limit = found.sequences, f"of {found.sequences[0]} sequences at most {found.limit[0]:.3f}"
    first = "z_1" if run.net.per_step else "z"
    apart = "KL of the aggregated posterior from the prior; near 0 is better"
    rows = [
        (f"information in {first}", f"{held[0]:.3f}", f"mutual information; {limit}"),
        (f"gap of {first}", f"{gap[0]:.3f}", apart),
    ]
    if len(n) == 1:
        return rows
    of, means = "z_t", [f"{np.mean(part) + 0.0:.3f}" for part in (held, found.predicted, gap)]
    over = f"mean of {len(n)} steps"
    return [
        *rows,
        (f"information in {of}", means[0], f"{over}; {limit}"),
        (f"predicted of {of}", means[1], f"{over}; what the prior tells of it already; below 0 it misleads"),
        (f"gap of {of}", means[2], f"{over}; {apart}"),
    ]


def map_of(run: Trained, dataset: SequenceDataset, seed: int) -> Figure:
    """The map of the test split: one point a sequence, the mean over its steps of the posterior's centers."""
    held = latent_space.latents(run, dataset)
    points = np.asarray(held.by_sequence(), np.float64)  # [N, Z]
    chosen = np.unique(np.linspace(0, len(points) - 1, min(len(points), MOST_POINTS)).astype(int))
    names = [held.ids[i] for i in chosen]
    places, how = latent_space.project(points[chosen], seed)
    some = f"{len(chosen)} of {len(points)}" if len(chosen) < len(points) else f"all {len(points)}"
    over = "the mean of z over its steps" if run.net.per_step else "its z"
    words = f"Map of the test split ({some} sequences), a point for each: {over}, {how}"
    return figures.latent_map(places, names, groups_of(names), words)


def groups_of(ids: Sequence[str]) -> list[str]:
    """What the ids say of groups: a folder, a first word, or what windows of one sequence share; else empty names.

    The first of these that makes from two groups to half as many as there are sequences.
    """
    for ends in ("/", "[-_/# .]", "#"):
        found = [re.split(ends, name)[0] for name in ids]
        if 2 <= len(set(found)) <= len(ids) / 2:
            return found
    return [""] * len(ids)
