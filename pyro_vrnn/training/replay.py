"""Training sequences that come again: a share of each batch is drawn anew from hard or recent ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Kind = Literal["none", "recent", "hard"]


class Replay:
    """Which sequences have been trained on lately, and how badly they went.

    Args:
        kind: "recent" draws from the `size` sequences trained on last, "hard" from the `size` of highest loss per step
            when they were last seen; "none" draws nothing.
        share: of a batch's size, drawn on top of it; an epoch still holds every sequence once.
        size: how many to draw from.
        seed: of the draws; they are a function of it, the update and what was seen.
    """

    def __init__(self, kind: Kind, share: float, size: int, seed: int) -> None:
        self.kind, self.share, self.size, self.seed = kind, share, size, seed
        self.scores: dict[int, float] = {}  # in the order in which they were seen last

    def draw(self, step: int, batch: Sequence[int]) -> list[int]:
        """What comes again beside this batch, none of it twice."""
        if self.kind == "none":
            return []
        seen = list(self.scores)[::-1]
        if self.kind == "hard":
            seen.sort(key=lambda i: -self.scores[i])
        here = set(batch)
        others = [i for i in seen[: self.size] if i not in here]
        count = min(len(others), round(self.share * len(batch)))
        return [int(i) for i in np.random.default_rng([self.seed, step]).choice(others, count, replace=False)]

    def saw(self, batch: Sequence[int], scores: Tensor) -> None:
        """A batch was trained on; its losses per step, [B]."""
        if self.kind != "none":
            for i, score in zip(batch, scores.tolist(), strict=True):
                self.scores.pop(i, None)
                self.scores[i] = score

    def state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        if self.kind == "none":
            return {}
        score = torch.tensor(list(self.scores.values()), dtype=torch.float64)
        return {"replay.index": torch.tensor(list(self.scores), dtype=torch.int64), "replay.score": score}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Back from `state`."""
        if self.kind != "none" and "replay.index" in state:
            self.scores = dict(zip(state["replay.index"].tolist(), state["replay.score"].tolist(), strict=True))
