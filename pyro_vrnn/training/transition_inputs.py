"""What the transition reads in training in the place of x, against drift: x with noise, or the model's own draws.

A model that has only ever read real data does not know what to make of its own slightly wrong output, and drifts.
What is scored stays x, and so does what the guide sees: z_t is about the x_t that it is to explain. Validation,
evaluation and drawing read what there is: nothing here touches a reported bound.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from pyro_vrnn.data.batch import Batch, marked
from pyro_vrnn.models import SequenceModel


def noisy(x: Tensor, support: str, amount: float) -> Tensor:
    """x with noise, in its support.

    Args:
        x: [T, B, X].
        support: real adds Gaussian noise of deviation `amount`; binary flips each bit, and categorical draws each
            symbol anew, with probability `amount`.
        amount: above 0.
    """
    if support == "real":
        return x + amount * torch.randn_like(x)
    if support == "binary":
        return torch.where(torch.rand_like(x) < amount, 1 - x, x)
    other = torch.nn.functional.one_hot(torch.randint(x.shape[-1], x.shape[:-1], device=x.device), x.shape[-1])
    return torch.where(torch.rand_like(x[..., :1]) < amount, other.to(x), x)


@torch.no_grad()
def own_draws(net: SequenceModel, batch: Batch, share: float) -> Tensor:
    """Scheduled sampling (Bengio et al. 2015, arXiv:1506.03099): at a share of the steps, the model's own draw of x_t.

    The draw at t comes from the state that earlier draws have led to; z_t from the guide, which sees x. No gradient
    goes through the draws, as in the paper.

    Args:
        net: a model that feeds x_t back.
        batch: as the transition reads it without draws.
        share: the probability of a draw at each step of each sequence.

    Returns:
        [T, B, X].
    """
    e = net.encode(batch, net.features(batch.shown))  # [T, B, E]
    state, path = net.begin(batch), []
    for t, (x_t, e_t) in enumerate(zip(batch.input, e, strict=True)):
        z_t = net.q_z(state, e_t).sample()  # [B, Z]
        own = net.likelihood.output(net.p_x(state, z_t))  # [B, X]
        path.append(torch.where(torch.rand_like(x_t[:, :1]) < share, own.to(x_t), x_t))
        read = marked(path[-1], None if batch.observed is None else batch.observed[t])
        state = net.next(state, z_t, net.features(read))
    return torch.stack(path)


def feeds_back(net: SequenceModel) -> bool:
    """Whether what the model draws depends on the x it read before."""
    like = next(net.parameters())
    x = like.new_zeros(1, 1, net.likelihood.x_dim)
    features = net.features(x)[0].detach().requires_grad_()
    state = net.start(1)
    z = like.new_zeros(1, net.latent_dim)
    emission = net.p_x(net.next(state, z, features), z)
    total = emission.log_prob(x[0]).sum()
    return torch.autograd.grad(total, features, allow_unused=True)[0] is not None


def feed(net: SequenceModel, batch: Batch, support: str, noise: float, share: float) -> Batch:
    """The batch as it is read in training; the batch itself if there is neither noise nor a share."""
    if noise > 0:
        batch = replace(batch, seen=noisy(batch.input, support, noise))
    if share > 0:
        batch = replace(batch, seen=own_draws(net, batch, share))
    return batch
