"""Labels of sequences: who spoke, which digit was drawn; for `transfer` and for maps, no model is trained on them."""

from __future__ import annotations

from collections.abc import Mapping

from pyro_vrnn.data.schema import Array

NAMES = ("label", "labels", "class", "target", "y", "digit", "speaker")
"""What an array of labels may be called after its split, `train_label`; the first of these that is there."""


def labels_of(arrays: Mapping[str, Array], split: str, sequences: int) -> list[str] | None:
    """The label of each sequence of a split, from an array [N] of whole numbers or text; None if there is none."""
    for name in NAMES:
        found = arrays.get(f"{split}_{name}")
        if found is not None and found.shape == (sequences,) and found.dtype.kind in "iubU":
            return [str(label) for label in found.tolist()]
    return None
