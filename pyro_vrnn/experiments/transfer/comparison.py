"""Every classifier with every share of the labels and every seed, and what they say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.experiments.statistics import Paired, paired, spread
from pyro_vrnn.experiments.transfer import classifiers
from pyro_vrnn.experiments.transfer.classifiers import Fitted, Frozen, Parts
from pyro_vrnn.runs.plan import build_net
from pyro_vrnn.runs.posteriors.labelled import few, labelled
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, at_least, check_seed

COLD = "cold"
ARMS = {
    COLD: "a network from fresh weights: an encoder and a linear layer, all of it trained",
    "fine-tuned": "the same network, its encoder started from the run's weights and state; all of it trained",
    "frozen": "logistic regression on what the run's encoder says, which stays as it is",
    "latent": "logistic regression on the mean of the run's q(z | x)",
    "untrained": "logistic regression on what an encoder with fresh weights says, which stays as it is",
}
"""The classifiers, and what each is."""
MEASURES = ("accuracy", "log_loss")


@dataclass(frozen=True)
class Score:
    """One classifier of one share and seed."""

    arm: str
    share: float
    """Percent of the training labels that were asked for."""
    labelled: int
    """Training sequences whose label it saw."""
    seed: int
    fitted: Fitted

    def row(self) -> dict[str, Any]:
        """One JSON object."""
        first = {"arm": self.arm, "share": self.share, "labelled": self.labelled, "seed": self.seed}
        return first | asdict(self.fitted)


def compare(
    run: Trained,
    *,
    data: str | None = None,
    labels: str | None = None,
    shares: Sequence[float] = (1.0, 10.0, 100.0),
    seeds: int = 5,
    max_updates: int = 500,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Fit every classifier with every share of the labels and every seed.

    All classifiers of a seed and share see the same labelled sequences, so that their differences are paired. All
    labels of the validation split are used: they say when a network's training is to stop, and how strongly a
    regression is regularised. Of a run that cut its sequences into windows for one z each, windows are classified.

    Args:
        run: the trained model.
        data: another data file of the same kind; the run's own by default.
        labels: a regular expression that finds the label in an id; see `labelled`.
        shares: percent of the training labels; of each class at least one sequence is kept.
        seeds: how many: 0, 1, …
        max_updates: of the two networks.
        progress: called with (classifiers fitted, of how many).

    Returns:
        What results.json holds, see docs/transfer.md.

    Raises:
        ConfigError: an argument out of range, a model without latent variables, or scikit-learn is not installed.
        DataError: a split without labels, fewer than two classes, or no class that is in all splits.
        NumericsError: what the run's encoder says, or a network's log-loss, is not finite.
    """
    at_least("--seeds", seeds, 1)
    at_least("--max-updates", max_updates, 1)
    check_seed(seeds)
    for share in shares:
        if not 0 < share <= 100:
            raise ConfigError(
                f"--shares: {share:g}% of the labels", "percentages from above 0 to 100, such as 1,10,100"
            )
    if run.net.latent_dim == 0:
        raise ConfigError(f"{run.config.model.name!r} has no encoder to start from", "choose a run of another model")
    found = [labelled(_dataset(run, data, split), labels) for split in ("train", "valid", "test")]
    classes = sorted(set(found[0].labels))
    train, valid, test = (part.among(classes) for part in found)
    parts = Parts(train, valid, test, classes)
    shares = sorted(set(shares))
    own = {"frozen": Frozen.of(run.net, parts), "latent": Frozen.of(run.net, parts, means=True)}
    scores: list[Score] = []
    for seed in range(seeds):
        frozen = own | {"untrained": Frozen.of(_fresh(run, seed), parts)}
        for share in shares:
            chosen = few(parts.train, share, seed)
            for arm in ARMS:
                if arm in frozen:
                    fitted = classifiers.regress(frozen[arm], parts, chosen)
                else:
                    fitted = _train(run, parts, chosen, seed, max_updates, warm=arm != COLD)
                scores.append(Score(arm, share, len(chosen), seed, fitted))
                if progress is not None:
                    progress(len(scores), len(shares) * seeds * len(ARMS))
    return {
        "schema": 1,
        "run": str(run.step_folder),
        "model": run.config.model.name,
        "data": str(parts.train.dataset.info.path),
        "labels": parts.train.origin,
        "classes": classes,
        "sequences": {part.dataset.split: len(part.rows) for part in (parts.train, parts.valid, parts.test)},
        "left_out": {part.dataset.split: len(part.dataset) - len(kept.rows) for part, kept in _pairs(found, parts)},
        "window": run.config.data.window if _is_cut(run) else None,
        "seeds": list(range(seeds)),
        "max_updates": max_updates,
        "reference": COLD,
        "frequencies": asdict(_by_frequency(parts)),
        "shares": [_share([s for s in scores if s.share == share]) for share in shares],
        "scores": [score.row() for score in scores],
    }


def _is_cut(run: Trained) -> bool:
    """Whether the run's z is about a window, and not about a whole sequence or a step."""
    return not run.net.per_step and run.config.data.window > 0


def _dataset(run: Trained, data: str | None, split: str) -> SequenceDataset:
    """A split as the run's encoder was trained to read it."""
    whole, settings = run.data(data, split), run.config.data
    if not _is_cut(run):
        return whole
    cut = (settings.window, settings.hop or None)
    return SequenceDataset(whole.info.path, split, *cut, encoding=whole.encoding, dither=settings.dither)


def _fresh(run: Trained, seed: int) -> Any:
    """The run's network with fresh weights, which a run of this seed would begin with."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return build_net(run.config).to(run.device)


def _train(run: Trained, parts: Parts, chosen: Sequence[int], seed: int, max_updates: int, *, warm: bool) -> Fitted:
    """The cold network, or the one that is started from the run; the same random numbers for both."""
    net = _fresh(run, seed)
    if warm:
        net.load_state_dict(run.net.state_dict())
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(seed)
        return classifiers.train(net, parts, chosen, seed, max_updates)


def _pairs(found: Sequence[Any], parts: Parts) -> Any:
    return zip(found, (parts.train, parts.valid, parts.test), strict=True)


def _by_frequency(parts: Parts) -> Fitted:
    """What the frequencies of the training labels alone would score on test."""
    counts, test = Counter(parts.train.labels), Counter(parts.test.labels)
    total, tests = len(parts.train.rows), len(parts.test.rows)
    log_loss = -sum(n * float(np.log(counts[label] / total)) for label, n in test.items()) / tests
    return Fitted(test[counts.most_common(1)[0][0]] / tests, log_loss)


def _share(scores: Sequence[Score]) -> dict[str, Any]:
    """All classifiers of one share."""
    by_arm = {arm: {s.seed: s.fitted for s in scores if s.arm == arm} for arm in ARMS}
    return {
        "share": scores[0].share,
        "labelled": scores[0].labelled,
        "arms": [
            {
                "arm": arm,
                **{m: asdict(_some(spread(_values(found, m)))) for m in MEASURES},
                "updates": sum(f.updates for f in found.values()) / len(found),
                "difference": None
                if arm == COLD
                else {m: asdict(_difference(_values(found, m), _values(by_arm[COLD], m), m)) for m in MEASURES},
            }
            for arm, found in by_arm.items()
        ],
    }


def _values(found: Mapping[int, Fitted], measure: str) -> dict[int, float]:
    """One measure by seed."""
    return {seed: getattr(fitted, measure) for seed, fitted in found.items()}


def _difference(values: Mapping[int, float], reference: Mapping[int, float], measure: str) -> Paired:
    """A classifier minus the cold network, paired by seed; it wins with the higher accuracy or the lower log-loss."""
    sign = -1.0 if measure == "accuracy" else 1.0  # `paired` counts the lower value as a win
    found = _some(paired({s: sign * v for s, v in values.items()}, {s: sign * v for s, v in reference.items()}))
    if sign > 0:
        return found
    low, high = (None if v is None else -v for v in (found.high, found.low))
    return Paired(-found.mean, low, high, found.wins, found.seeds)


def _some(found: Any) -> Any:
    """What is there, as there is a seed at least."""
    assert found is not None
    return found
