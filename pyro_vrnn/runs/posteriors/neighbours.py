"""Which sequences lie next to which in latent space, and how often they are of one kind: the purity of neighbours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.media.tables import write_rows
from pyro_vrnn.runs.posteriors.labelled import labelled, labels_of
from pyro_vrnn.system.errors import ConfigError
from pyro_vrnn.system.files import write_json

COLUMNS = ("id", "label", "rank", "neighbour", "neighbour_label", "distance")
DATA_STEPS = 200
"""Steps at most that sequences are compared by in data space; of longer ones so many are taken, evenly spaced."""
MOST_VALUES = 2**26
"""Of all points in data space together, 256 MiB; of more sequences fewer steps are taken."""
Floats = NDArray[np.float64]
Points = NDArray[np.float64] | NDArray[np.float32]


@dataclass(frozen=True)
class Nearest:
    """The nearest others of N points, nearest first."""

    rows: NDArray[np.int64]
    """Their places. [N, K]."""
    distances: Floats
    """Euclidean. [N, K]."""

    def purity(self, labels: Sequence[str]) -> float:
        """The share of neighbours that have the label of the point whose neighbours they are."""
        known = np.array(labels)
        return float(np.mean(known[self.rows] == known[:, None]))


def nearest(points: Points, count: int, seed: int = 0) -> Nearest:
    """The `count` nearest others of each point; among those equally far away chance decides, not their order.

    Args:
        points: [N, D].
        count: K, below N.
        seed: of that chance.

    Raises:
        ConfigError: K is out of range, or scikit-learn is not installed.
    """
    if not 1 <= count < len(points):
        hint = f"at most {len(points) - 1}: all others" if len(points) > 1 else "choose a split of several sequences"
        raise ConfigError(f"--neighbours {count}: there are {len(points)} sequences", hint)
    try:
        from sklearn.neighbors import NearestNeighbors
    except ImportError:
        raise ConfigError("neighbours need scikit-learn", "pip install 'pyro-vrnn[map]'") from None
    order = np.random.default_rng(seed).permutation(len(points))
    found: Any = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(points[order])
    distances, rows = found.kneighbors()  # of no other points than these: a point is none of its own neighbours
    back = np.argsort(order)
    return Nearest(order[rows[back]], np.asarray(distances[back], np.float64))


def chance(labels: Sequence[str]) -> float:
    """The purity of neighbours that are drawn at random from the others."""
    counts = Counter(labels)
    return sum(n * (n - 1) for n in counts.values()) / (len(labels) * (len(labels) - 1))


def in_data(dataset: SequenceDataset) -> tuple[NDArray[np.float32], str]:
    """Sequences as points in data space, [N, steps · X], and in words how they came to be equally long.

    Values are as models read them; a missing one is the mean. Sequences of several lengths are read at as many
    evenly spaced steps as the median has, at most `DATA_STEPS`, and at most so many that all points together have
    `MOST_VALUES` (one step of each at least).
    """
    lengths = dataset.lengths
    room = max(1, MOST_VALUES // (len(lengths) * dataset.x_dim))
    steps = min(int(np.median(lengths)), DATA_STEPS, room)
    points = np.empty((len(lengths), steps, dataset.x_dim), np.float32)
    for i, n in enumerate(lengths):
        points[i] = np.nan_to_num(dataset[i][np.linspace(0, n - 1, steps).round().astype(int)])
    same = (lengths == steps).all()
    words = f"all {steps} steps" if same else f"{steps} evenly spaced steps of each"
    return points.reshape(len(lengths), -1), words


@dataclass(frozen=True)
class Around:
    """The nearest others of every sequence in latent space, and how pure they are."""

    ids: list[str]
    labels: list[str]
    nearest: Nearest
    facts: dict[str, Any]

    def write(self, stem: Path, about: dict[str, Any]) -> list[Path]:
        """Write a row for each neighbour as STEM.csv, and the purity as STEM.json.

        Args:
            stem: path of the files, without its suffix.
            about: what else the .json says.
        """
        rows = [
            [self.ids[i], self.labels[i], rank, self.ids[j], self.labels[j], distance]
            for i, (others, distances) in enumerate(
                zip(self.nearest.rows.tolist(), self.nearest.distances.tolist(), strict=True)
            )
            for rank, (j, distance) in enumerate(zip(others, distances, strict=True), 1)
        ]
        table, numbers = (stem.with_name(f"{stem.name}{suffix}") for suffix in (".csv", ".json"))
        write_rows(table, list(COLUMNS), rows)
        write_json(numbers, {"schema": 1, **about, **self.facts})
        return [table, numbers]


def around(
    dataset: SequenceDataset, points: Floats, count: int, *, pattern: str | None = None, seed: int = 0
) -> Around:
    """Each sequence's nearest others, and the share of them with its label.

    That share, the purity, stands beside that of others drawn at random and beside that of the nearest in data space.
    It is of the sequences that have a label, each among the others that have one; None if they are too few.

    Args:
        dataset: the sequences.
        points: one for each in latent space, [N, Z].
        count: how many neighbours.
        pattern: a regular expression that finds the label in an id; see `labels_of`.
        seed: decides between those that are equally far away.

    Raises:
        ConfigError: as `nearest`; the pattern is no regular expression.
        DataError: the pattern finds no label.
    """
    labels, origin = labels_of(dataset, pattern)
    if pattern is not None:
        labelled(dataset, pattern)  # it has to find something
    found = nearest(points, count, seed)
    named = [i for i, label in enumerate(labels) if label]
    some = [labels[i] for i in named]
    facts: dict[str, Any] = {
        "neighbours": count,
        "seed": seed,
        "sequences": len(labels),
        "labelled": len(named),
        "labels": origin if named else None,
        "classes": len(set(some)),
        **dict.fromkeys(("purity", "chance", "purity_in_data", "in_data")),
    }
    if len(named) > count:
        space, how = in_data(dataset)
        facts["purity"] = nearest(points[named], count, seed).purity(some)
        facts["chance"] = chance(some)
        space = space if len(named) == len(labels) else space[named]
        facts["purity_in_data"], facts["in_data"] = nearest(space, count, seed).purity(some), how
    return Around(list(dataset.ids), labels, found, facts)


def groups_of(dataset: SequenceDataset, pattern: str | None = None) -> list[str]:
    """What a map colours each sequence by: its label, or its id where no sequence has one.

    Raises:
        ConfigError, DataError: as `labelled`, of a pattern.
    """
    labels, _ = labels_of(dataset, pattern)
    if pattern is not None:
        labelled(dataset, pattern)
    return [label or "no label" for label in labels] if any(labels) else list(dataset.ids)


def words(facts: Mapping[str, Any]) -> str:
    """What `around` found, in one line for people."""
    count = facts["neighbours"]
    if facts["purity"] is None:
        return f"{count} neighbours of each; too few sequences have a label to say how pure they are"
    return (
        f"purity of {count} neighbours: {facts['purity']:.3f}; by chance {facts['chance']:.3f}, in data space "
        f"{facts['purity_in_data']:.3f} ({facts['classes']} classes by {facts['labels']})"
    )
