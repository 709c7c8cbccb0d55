"""Which sequences of a split have which label, and a share of them drawn class by class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.system.errors import ConfigError, DataError

OWN, BEFORE = "the data file's", "what is before '#' in an id"
HINT = "prepare it again from a source with labels, or take them from the ids: --labels '^([0-9])_'"


@dataclass(frozen=True)
class Labelled:
    """The labelled sequences of a split: their places in it and their labels."""

    dataset: SequenceDataset
    rows: list[int]
    labels: list[str]
    origin: str
    """Where the labels come from, in words."""

    def among(self, classes: Sequence[str]) -> Labelled:
        """Leave out what is of another class.

        Args:
            classes: those of the training split.

        Raises:
            DataError: nothing is left, or there are fewer than two classes.
        """
        known = set(classes)
        kept = [(row, label) for row, label in zip(self.rows, self.labels, strict=True) if label in known]
        split, path = self.dataset.split, self.dataset.info.path
        if len(known) < 2:
            message = f"{path}: the only label of train is {classes[0]!r}: there is nothing to tell apart"
            raise DataError(message, HINT, path)
        if not kept:
            names = f"{split} has {self.labels[0]!r} and the like, train has {classes[0]!r}"
            message = f"{path}: no label of {split} is one of train's: {names} ({self.origin})"
            hint = "a label must be in all splits: split songs or speakers within, such as by prepare --split-by time"
            raise DataError(message, hint, path)
        return Labelled(self.dataset, [row for row, _ in kept], [label for _, label in kept], self.origin)


def labelled(dataset: SequenceDataset, pattern: str | None = None) -> Labelled:
    """The sequences of a split that have a label; `labels_of` says which.

    Raises:
        ConfigError: the pattern is no regular expression.
        DataError: no sequence has a label.
    """
    path, split = dataset.info.path, dataset.split
    labels, origin = labels_of(dataset, pattern)
    rows = [i for i, label in enumerate(labels) if label]
    if not rows:
        message = f"{path}: no sequence of {split} has a label; an id there is {dataset.ids[0]!r}"
        raise DataError(message, HINT, path)
    return Labelled(dataset, rows, [labels[i] for i in rows], origin)


def labels_of(dataset: SequenceDataset, pattern: str | None = None) -> tuple[list[str], str]:
    """The label of each sequence of a split, empty where it has none, and where labels come from, in words.

    A label is what a pattern finds in an id; or the data file's own; or else, for windows of songs, recordings or
    other sequences (`NAME#0`, `NAME#1`, …), what they are windows of.

    Args:
        dataset: the split; pieces of a sequence have its label.
        pattern: a regular expression whose first group, or else whole match, is the label.

    Raises:
        ConfigError: the pattern is no regular expression.
        DataError: the data file's labels are not one for each sequence.
    """
    path, split, ids = dataset.info.path, dataset.split, dataset.ids
    kept = dataset.info.extra.get("labels")
    if pattern is not None:
        return [_found(pattern, name) for name in ids], f"{pattern} in the ids"
    if isinstance(kept, dict):
        own = kept.get(split)
        owners = range(len(ids.names)) if ids.owners is None else ids.owners.tolist()
        if not isinstance(own, list) or len(own) != len(ids.names):
            raise DataError(f"{path}: its labels of {split} are not one for each sequence", HINT, path)
        return [str(own[i]) for i in owners], OWN
    return [name.rpartition("#")[0] for name in ids], BEFORE


def _found(pattern: str, name: str) -> str:
    """What a pattern finds in an id; empty where that is nothing."""
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise ConfigError(f"--labels {pattern!r}: {error}", "a regular expression, such as '^([0-9])_'") from None
    return "" if match is None else (match.group(1) if match.re.groups else match.group()) or ""


def few(part: Labelled, share: float, seed: int) -> list[int]:
    """Draw a share of the labelled sequences, class by class, at least one of each.

    What is drawn for a small share is among what the same seed draws for a larger one.

    Args:
        part: the labelled sequences.
        share: percent.
        seed: of the draw.

    Returns:
        Their places in `part`.
    """
    random = np.random.default_rng(seed)
    chosen: list[int] = []
    for label in sorted(set(part.labels)):
        rows = random.permutation([i for i, known in enumerate(part.labels) if known == label])
        chosen += rows[: max(1, round(len(rows) * share / 100))].tolist()
    return sorted(chosen)
