"""Classifiers of sequences: networks that begin as an encoder and a linear layer, and regressions on frozen encoders.

What an encoder says of a sequence, its summary, is all that the posterior of z reads. With one z per sequence (VRAE)
that is the last state of the encoder's network. With a z for every step it is the mean over the steps of the model's
state, of what the guide knows of x, and of the posterior's center.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.dataset import collate
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.models.latents import center
from pyro_vrnn.runs.posteriors.labelled import Labelled
from pyro_vrnn.system.errors import ConfigError, NumericsError

BATCH, RATE, CLIP = 32, 1e-3, 1.0
"""Sequences an update, Adam's rate, and the norm at which gradients are clipped."""
LOOK_EVERY, PATIENCE = 10, 100
"""Updates between two looks at validation, and without a better log-loss before training stops."""
PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""The inverse strengths of regularisation among which validation chooses for a regression."""
MOST_STEPS = 20_000
"""Steps of sequences that are encoded at once."""
LEAST = float(np.log(np.finfo(np.float64).tiny))
"""Of a log-probability, nats: a probability below that is taken for this one, since it may have become 0."""
ROUNDING = 1e-6
"""Of float32, of what an encoder says."""
DIVERGED = "the run's own numbers may have diverged: evaluate it, or take another checkpoint"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fitted:
    """What became of one classifier."""

    accuracy: float
    """On test, from 0 to 1."""
    log_loss: float
    """On test, nats a sequence."""
    updates: int = 0
    """At which the validation log-loss was lowest; 0 for a regression."""
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    """(update, accuracy, log-loss) on validation."""


@dataclass(frozen=True)
class Parts:
    """The labelled sequences of the three splits, and their classes in order."""

    train: Labelled
    valid: Labelled
    test: Labelled
    classes: list[str]

    def targets(self, part: Labelled, rows: Sequence[int]) -> list[int]:
        """The class of each row, as a number."""
        number = {label: i for i, label in enumerate(self.classes)}
        return [number[part.labels[i]] for i in rows]


class Classifier(nn.Module):
    """A model's encoder, and a linear layer on its summary of a sequence.

    Args:
        net: the model.
        width: E, of the summary.
        classes: C.
    """

    def __init__(self, net: SequenceModel, width: int, classes: int) -> None:
        super().__init__()
        self.net, self.head = net, nn.Linear(width, classes)

    def forward(self, batch: Batch) -> Tensor:
        """Logits, [B, C]."""
        logits: Tensor = self.head(summary(self.net, batch))
        return logits


def summary(net: SequenceModel, batch: Batch) -> Tensor:
    """What an encoder says of each sequence; see the module's docstring. [B, E]."""
    features = net.features(batch.shown)
    e = net.encode(batch, features)  # [T, B, E]
    if not net.per_step:
        return e[0]
    alive, state, said = batch.alive[..., None].to(e), net.begin(batch), []
    for t, e_t in enumerate(e):
        z = center(net.q_z(state, e_t))
        said.append(alive[t] * torch.cat([*state, e_t, z], dim=-1))
        state = net.next(state, z, features[t])
    return torch.stack(said).sum(0) / batch.lengths[:, None]


def train(net: SequenceModel, parts: Parts, chosen: Sequence[int], seed: int, max_updates: int) -> Fitted:
    """Train a network and a linear layer on the chosen training sequences; it is kept as it was best on validation.

    Args:
        net: the network, whose weights are changed; what is drawn from torch's random state is the layer on top.
        parts: the labelled sequences.
        chosen: places in `parts.train`.
        seed: of the order in which sequences are taken.
        max_updates: at most so many.

    Raises:
        NumericsError: the log-loss on validation is not finite at the start, or that on test is not at the end.
    """
    device = next(net.parameters()).device
    with torch.no_grad():
        width = summary(net, _batch(parts.train, chosen[:1], device)).shape[1]
    model = Classifier(net, width, len(parts.classes)).to(device)
    optimizer = torch.optim.Adam(model.parameters(), RATE)
    random = np.random.default_rng(seed)
    best, curve, kept = (float("inf"), 0), [], {}
    for update in range(max_updates + 1):
        if update % LOOK_EVERY == 0 or update == max_updates:
            accuracy, loss = _judge(model, parts, parts.valid)
            if not math.isfinite(loss):
                break  # it has diverged; the best before is kept
            curve.append((update, accuracy, loss))
            if loss < best[0]:
                best, kept = (loss, update), copy.deepcopy(model.state_dict())
            if update == max_updates or update - best[1] >= PATIENCE:
                break
        model.train()
        rows = random.choice(chosen, min(BATCH, len(chosen)), replace=False).tolist()
        targets = torch.tensor(parts.targets(parts.train, rows), device=device)
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(_batch(parts.train, rows, device)), targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
    if not kept:
        raise NumericsError("a network's log-loss on validation is not finite before its first update", DIVERGED)
    model.load_state_dict(kept)
    accuracy, loss = _judge(model, parts, parts.test)
    if not math.isfinite(loss):
        raise NumericsError("a network's log-loss on test is not finite", DIVERGED)
    return Fitted(accuracy, loss, best[1], curve)


@torch.no_grad()
def _judge(model: Classifier, parts: Parts, part: Labelled) -> tuple[float, float]:
    """Accuracy and log-loss on all of a part."""
    model.eval()
    device = model.head.weight.device
    right = loss = 0.0
    for rows in _chunks(part):
        logits, targets = model(_batch(part, rows, device)), torch.tensor(parts.targets(part, rows), device=device)
        right += float((logits.argmax(-1) == targets).sum())
        loss += float(F.cross_entropy(logits, targets, reduction="sum"))
    return right / len(part.rows), loss / len(part.rows)


@dataclass(frozen=True)
class Frozen:
    """What an encoder that is left as it is says of all sequences: [N, E] of each split, standardised by train."""

    train: Array
    valid: Array
    test: Array

    @classmethod
    def of(cls, net: SequenceModel, parts: Parts, *, means: bool = False) -> Frozen:
        """Summaries; or with `means` the posterior's center of each sequence, [N, Z].

        Raises:
            NumericsError: one is not finite.
        """
        found = [_said(net, part, means) for part in (parts.train, parts.valid, parts.test)]
        if not all(np.isfinite(x).all() for x in found):
            raise NumericsError("what the encoder says of a sequence is not finite", DIVERGED)
        middle, scale = found[0].mean(0), found[0].std(0)
        least = ROUNDING * np.abs(found[0]).max(0)  # a unit that is the same for all but its rounding is constant
        return cls(*((x - middle) / np.where(scale > least, scale, 1.0) for x in found))


@torch.no_grad()
def _said(net: SequenceModel, part: Labelled, means: bool) -> Array:
    """What a network says of each sequence of a part, [N, E]; or the posterior's center, [N, Z]."""
    device = next(net.parameters()).device
    net.eval()
    found: dict[int, Array] = {}
    for rows in _chunks(part):
        said = summary(net, _batch(part, rows, device))
        if means:  # of a z for every step its mean is the summary's last part
            said = said[:, -net.latent_dim :] if net.per_step else center(net.q_z(net.start(len(said)), said))
        found |= dict(zip(rows, said.double().cpu().numpy(), strict=True))
    return np.stack([found[i] for i in range(len(part.rows))])


def regress(frozen: Frozen, parts: Parts, chosen: Sequence[int]) -> Fitted:
    """Fit logistic regressions to the chosen training sequences; the one that is best on validation is kept.

    Raises:
        ConfigError: scikit-learn is not installed.
    """
    try:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise ConfigError("transfer needs scikit-learn", "pip install 'pyro-vrnn[estimators]'") from None
    targets = parts.targets(parts.train, chosen)
    fitted = []
    for penalty in PENALTIES:
        with warnings.catch_warnings():  # one that has not converged is chosen only if it is best all the same
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # one label of each
            model = LogisticRegression(C=penalty, max_iter=300).fit(frozen.train[chosen], targets)
        fitted.append((_score(model.predict_log_proba(frozen.valid), parts, parts.valid)[1], model))
    _, best = min(fitted, key=lambda found: found[0])
    return Fitted(*_score(best.predict_log_proba(frozen.test), parts, parts.test))


def _score(log_chances: Array, parts: Parts, part: Labelled) -> tuple[float, float]:
    """Accuracy and log-loss of log-probabilities [N, C], which are no less than LEAST.

    Each class has a column, as `few` draws one of each.
    """
    targets = np.array(parts.targets(part, range(len(part.rows))))
    log_loss = -float(np.mean(np.maximum(log_chances, LEAST)[np.arange(len(targets)), targets]))
    return float(np.mean(log_chances.argmax(1) == targets)), log_loss


def _chunks(part: Labelled) -> list[list[int]]:
    """All places of a part, those of like length together, in chunks of at most `MOST_STEPS` steps or one sequence."""
    lengths = np.array([part.dataset.lengths[i] for i in part.rows])
    chunks: list[list[int]] = [[]]
    for i in np.argsort(lengths, kind="stable").tolist():
        if chunks[-1] and (len(chunks[-1]) + 1) * lengths[i] > MOST_STEPS:
            chunks.append([])
        chunks[-1].append(i)
    return chunks


def _batch(part: Labelled, rows: Sequence[int], device: torch.device) -> Batch:
    """Some places of a part, side by side."""
    return collate(part.dataset, [part.rows[i] for i in rows]).to(device)
