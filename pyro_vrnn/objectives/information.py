"""What z tells of the sequence: mutual information and the gap between aggregated posterior and prior.

Hoffman & Johnson (2016, "ELBO surgery", NIPS workshop on approximate inference) split the mean KL of N sequences, for
one z a sequence whose prior is the same for all:

    1/N sum_n KL(q(z | x_n) || p(z)) = I_q(n; z) + KL(q(z) || p(z)),   q(z) = 1/N sum_n q(z | x_n)

I_q is at most log N. Where z_t has a prior of its own past, p_n = p(z_t | past of sequence n), which differs between
sequences, a third term appears. With p(z_t) = 1/N sum_n p_n and expectations under 1/N sum_n q_n:

    1/N sum_n KL(q_n || p_n) = information + gap - predicted
    information = E log q_n(z_t) / q(z_t)     what the posterior knows of which sequence it is: I_q(n; z_t), <= log N
    predicted   = E log p_n(z_t) / p(z_t)     how much of that the prior of the same past tells already; below 0
                                              where the prior expects another sequence's z_t
    gap         = E log q(z_t) / p(z_t)       KL of the aggregated posterior from the aggregated prior, >= 0

Here n stands for a sequence together with one past of it that the guide drew: at t = 1 there is no past, `predicted`
is 0, and the split is Hoffman and Johnson's. All expectations are estimated by draws of z_t; both aggregates are exact
mixtures over the N sequences, so what is said is about those N and grows with them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from pyro.distributions import Distribution
from torch import Tensor
from torch.nn.functional import pad

from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.models.networks import State
from pyro_vrnn.programs.markov import seen_by_guide

BATCH = 32
VALUES_AT_ONCE = 4_000_000
"""Draws x sequences x sequences x units, which bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class Information:
    """The split of the mean KL at each step; nats, [T] each."""

    information: list[float]
    """I_q(n; z_t)."""
    predicted: list[float]
    """What the prior tells of it already; 0 at the first step."""
    gap: list[float]
    """KL of the aggregated posterior from the aggregated prior."""
    sequences: list[int]
    """N at each step: sequences that last so long."""

    @property
    def kl(self) -> list[float]:
        """The mean KL of the posterior from the prior at each step, nats, from the draws. [T]."""
        return [i + g - p for i, g, p in zip(self.information, self.gap, self.predicted, strict=True)]

    @property
    def limit(self) -> list[float]:
        """Log N at each step, nats: the information cannot be more. [T]."""
        return [math.log(n) for n in self.sequences]


def split_kl(q: Distribution, p: Distribution, z: Tensor) -> tuple[float, float, float]:
    """Information, what the prior predicts of it, and the gap, nats; see the module's docstring.

    Args:
        q: the posteriors of N sequences, [N | Z].
        p: their priors, [N | Z].
        z: draws of q, [draws, N, Z].
    """
    found = torch.zeros(3, dtype=torch.float64)
    sequences, units = z.shape[1:]
    at_once = max(1, VALUES_AT_ONCE // (sequences**2 * max(1, units)))
    for each in z.split(at_once):  # [draws, N, Z]; all pairs of sequences are held at once
        pairs = each[:, :, None]  # [draws, N, 1, Z]
        q_own, p_own = q.log_prob(each).double(), p.log_prob(each).double()  # [draws, N]
        q_all, p_all = (torch.logsumexp(side.log_prob(pairs).double(), -1) - math.log(sequences) for side in (q, p))
        found += torch.stack([(q_own - q_all).sum(), (p_own - p_all).sum(), (q_all - p_all).sum()]).cpu()
    information, predicted, gap = (found / z[..., 0].numel()).tolist()
    return information, predicted, gap


@torch.no_grad()
def information(
    net: SequenceModel,
    dataset: SequenceDataset,
    *,
    sequences: int = 200,
    steps: int = 40,
    draws: int = 4,
    seed: int = 0,
) -> Information:
    """Estimate the split of the KL for the first steps of some sequences, as long as half of them last.

    Of a model with one z per sequence there is one step, and its guide reads the sequences whole; other guides read
    the first `steps` steps of each.

    Args:
        net: a model with latent variables, in evaluation mode.
        dataset: at most `sequences` of its sequences are taken, evenly spaced.
        sequences: N, at most.
        steps: T, at most.
        draws: of each z_t.
        seed: of the draws.
    """
    chosen = np.unique(np.linspace(0, len(dataset) - 1, min(sequences, len(dataset))).astype(int))
    chosen = chosen[np.argsort(-dataset.lengths[chosen], kind="stable")]  # those that last are the first ones
    device = next(net.parameters()).device
    e, features, lengths = _read(net, dataset, chosen.tolist(), steps if net.per_step else None, device)
    e, features = (e, features) if net.per_step else (e[:1], features[:1])
    state = net.start(len(chosen))
    terms: list[tuple[float, float, float]] = []
    counts: list[int] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for t in range(len(e)):
            alive = int((lengths > t).sum())
            if alive < max(1, len(chosen) / 2):
                break
            state = _first(state, alive)
            q, p = net.q_z(state, e[t, :alive]), net.p_z(state)  # [N | Z]
            z = q.rsample(torch.Size([draws]))  # [draws, N, Z]
            terms.append(split_kl(q, p, z))
            counts.append(alive)
            if t < len(e) - 1:
                state = net.next(state, z[0], features[t, :alive])
    held, predicted, gap = (list(term) for term in zip(*terms, strict=True))
    return Information(information=held, predicted=predicted, gap=gap, sequences=counts)


def _read(
    net: SequenceModel, dataset: SequenceDataset, chosen: list[int], steps: int | None, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """What the guide knows of each sequence, what the transition reads, and how many steps are left of each.

    Returns:
        [T, N, E], [T, N, F], [N].
    """
    longest = int(dataset.lengths[chosen[0]])
    most = longest if steps is None else min(steps, longest)
    known: list[Tensor] = []
    read: list[Tensor] = []
    for i in range(0, len(chosen), BATCH):
        batch = collate(dataset, chosen[i : i + BATCH], 0, steps).to(device)
        features = net.features(batch.read)
        encoded = net.encode(batch, seen_by_guide(net, batch, features))
        more = most - batch.steps
        known.append(pad(encoded, (0, 0, 0, 0, 0, more)))
        read.append(pad(features, (0, 0, 0, 0, 0, more)))
    lengths = torch.as_tensor(np.minimum(dataset.lengths[chosen], most))
    return torch.cat(known, dim=1), torch.cat(read, dim=1), lengths


def _first(state: State, count: int) -> State:
    return tuple(part[:count] for part in state)
