"""The losses that Pyro does not have, as its own kind of object: SVI takes them as it takes `Trace_ELBO`.

A loss is a sum over the batch of minus the bound of each sequence. None waits for the device before its end.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from pyro import poutine
from pyro.infer import ELBO, TraceMeanField_ELBO
from pyro.infer.util import is_validation_enabled
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor, nn
from torch.func import functional_call

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.programs.markov import register
from pyro_vrnn.programs.particle_filter import Resampling, particle_filter
from pyro_vrnn.programs.stacked import Path
from pyro_vrnn.programs.weights import Side, Terms, draw, log_joint, terms, traces, whole


def log_mean_exp(log_weights: Tensor) -> Tensor:
    """Over the particles, [K, ...] -> [...]."""
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))


class Estimator(ELBO):
    """What they share. Subclasses say a surrogate loss: its value is minus the bound, its gradient the estimator's."""

    keeps_terms: ClassVar[bool] = False
    """Whether a run leaves its NLL and KL in `terms`; of the others they are read off the sites (`Recorder`)."""

    def __init__(self, particles: int) -> None:
        super().__init__(num_particles=particles, vectorize_particles=True, max_plate_nesting=1)
        self.terms: tuple[Tensor, Tensor] | Callable[[], tuple[Tensor, Tensor]] | None = None
        """NLL and KL of each sequence in the last run, means over the particles; or what computes them. [B]"""

    @abstractmethod
    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """A scalar."""

    def _get_trace(self, model: Side, guide: Side, args: Any, kwargs: Any) -> Any:
        """Pyro's abstract hook: (the model's trace, the guide's)."""
        batch, *beta = args
        drawn, scored = traces(model, guide, batch, self.num_particles, *beta, **kwargs)
        return scored, drawn

    @torch.no_grad()
    def loss(self, model: Side, guide: Side, *args: Any, **kwargs: Any) -> float:
        """The number alone."""
        return float(self.differentiable_loss(model, guide, *args, **kwargs))

    def loss_and_grads(self, model: Side, guide: Side, *args: Any, **kwargs: Any) -> float:
        """The number; gradients are added up in the parameters."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        loss.backward()
        return float(loss.detach())


def own_terms(loss: ELBO) -> tuple[Tensor, Tensor] | None:
    """NLL and KL of each sequence, [B] each, of the last run of an estimator that keeps them; else None."""
    found = loss.terms if isinstance(loss, Estimator) and loss.keeps_terms else None
    return found() if callable(found) else found


class TensorLoss(Estimator):
    """Minus a bound of the log-weights as one expression: what Pyro's own losses say, but they wait for the device.

    Args:
        particles: K.
        bound: what the pair's run says, and the KL weight, to the bound of each sequence, [B].
    """

    keeps_terms = True

    def __init__(self, particles: int, bound: Callable[[Terms, float | Tensor], Tensor]) -> None:
        super().__init__(particles)
        self.bound = bound

    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """See Estimator."""
        found = terms(model, guide, batch, self.num_particles, beta)
        self.terms = found.nll.detach().mean(0), found.kl.detach().mean(0)
        return -self.bound(found, beta).sum()


class MeanField(TraceMeanField_ELBO):
    """Pyro's ELBO with KLs in closed form, without log p(z) and log q(z): upstream computes them and drops them.

    With Pyro's checks on it is Pyro's own. All sites that are not observed must have a KL in closed form.
    """

    def _get_trace(self, model: Side, guide: Side, args: Any, kwargs: Any) -> Any:
        """(The model's trace, the guide's)."""
        if is_validation_enabled():
            return super()._get_trace(model, guide, args, kwargs)
        drawn = poutine.trace(guide).get_trace(*args, **kwargs)
        scored = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*args, **kwargs)
        drawn, scored = prune_subsample_sites(drawn), prune_subsample_sites(scored)
        scored.compute_log_prob(lambda name, site: site["is_observed"])
        return scored, drawn


class FreeBits(Estimator):
    """The ELBO whose KL counts as `free` nats at each step where it is less (Kingma et al. 2016, arXiv:1606.04934).

    Theirs is a mean over the minibatch of each group of units; here it is each sequence's own step, so that nothing
    depends on batch mates.
    """

    def __init__(self, particles: int, free: float) -> None:
        super().__init__(particles)
        self.free = free

    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """See Estimator."""
        found = terms(model, guide, batch, self.num_particles, beta)
        alive = batch.alive[:, None]  # [T, 1, B]
        kl = torch.where(alive, found.kl_by_step.clamp(min=self.free), torch.zeros_like(found.kl_by_step))
        return (found.nll + beta * kl.sum(0)).mean(0).sum()


class Mixed(Estimator):
    """CIWAE: (1 - mix) ELBO + mix IWAE_K of the same K draws (Rainforth et al. 2018, arXiv:1802.04537).

    A bound for every mix in [0, 1], so `mix` may be moved while training.
    """

    def __init__(self, particles: int, mix: float) -> None:
        super().__init__(particles)
        self.mix = mix

    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """See Estimator."""
        log_w = terms(model, guide, batch, self.num_particles).log_weights
        return -((1 - self.mix) * log_w.mean(0) + self.mix * log_mean_exp(log_w)).sum()


class Grouped(Estimator):
    """MIWAE: the mean of M IWAE bounds of K particles each (Rainforth et al. 2018, arXiv:1802.04537)."""

    def __init__(self, groups: int, particles: int) -> None:
        super().__init__(groups * particles)
        self.groups = groups

    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """See Estimator."""
        return -grouped(terms(model, guide, batch, self.num_particles).log_weights, self.groups).sum()


def grouped(log_weights: Tensor, groups: int) -> Tensor:
    """The mean over M groups of the log-mean-exp over K. [M K, B] -> [B]."""
    return log_mean_exp(log_weights.unflatten(0, (groups, -1)).transpose(0, 1)).mean(0)


class _GuideLogProb(nn.Module):
    """log q(z | x) as a module's call, so that it can be asked with other parameters."""

    def __init__(self, net: SequenceModel) -> None:
        super().__init__()
        self.net = net

    def forward(self, batch: Batch, z: Tensor) -> Tensor:
        """[..., B, T, Z] -> [..., B]."""
        log_q = Path(self.net, batch, z).q_z.log_prob(z.movedim(-2, 0))  # [T, ..., B]
        alive = batch.alive.reshape(len(batch.alive), *(1,) * (log_q.dim() - 2), -1)
        return torch.where(alive, log_q, torch.zeros_like(log_q)).sum(0)


class _Detached(Estimator):
    """Estimators that let z's path into log q pass, but not the guide's parameters as log q sees them directly.

    Detaching q's loc and scale, as one does for a one-step guide, is biased here: loc_t depends on earlier z.
    So log q is computed anew with detached *parameters* and z attached.
    """

    def __init__(self, net: SequenceModel, particles: int) -> None:
        super().__init__(particles)
        self.net = net

    def log_q(self, batch: Batch, z: Tensor) -> Tensor:
        """[..., B, T, Z] -> [..., B]."""
        parameters = {f"net.{name}": p.detach() for name, p in self.net.named_parameters()}
        found: Tensor = functional_call(_GuideLogProb(self.net), parameters, (batch, z))
        return found


class StickingTheLanding(_Detached):
    """The ELBO without the score of log q, whose mean is zero (Roeder et al. 2017, arXiv:1703.09194)."""

    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """See Estimator."""
        found = terms(model, guide, batch, self.num_particles, beta)
        log_w = found.log_weights + found.log_q - beta * self.log_q(batch, whole(found.z))
        return -log_w.mean(0).sum()


class DoublyReparameterised(_Detached):
    """IWAE's bound with the guide's gradient reparameterised twice (Tucker et al. 2019, arXiv:1810.04152, eq. 8).

    With normalised weights w_k: the model's parameters get sum_k w_k d log p(x, z_k), the guide's, through the draws
    alone, sum_k w_k² (d log w_k / d z_k) dz_k. Both come from one backward pass of sum_k w_k log w_k: the gradient
    that arrives at z_k is multiplied by w_k once more.
    """

    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """See Estimator."""
        normalised: list[Tensor] = []

        def again(z: Tensor) -> Tensor:
            z = z.clone()
            if z.requires_grad:
                z.register_hook(lambda grad: (grad.movedim((0, 1), (-2, -1)) * normalised[0]).movedim((-2, -1), (0, 1)))
            return z

        z = {name: again(value) for name, value in draw(guide, batch, self.num_particles).items()}
        log_w = log_joint(model, batch, z, self.num_particles) - self.log_q(batch, whole(z))
        normalised.append(torch.softmax(log_w.detach(), 0))
        surrogate = -(normalised[0] * log_w).sum()
        bound = -log_mean_exp(log_w.detach()).sum()
        return surrogate - surrogate.detach() + bound


class Filtering(Estimator):
    """FIVO: minus the particle filter's log-evidence (Maddison et al. 2017, arXiv:1705.09279).

    Its gradient leaves out what the choice of ancestors depends on, as the paper's experiments do; with `score` that
    is added, by the score function with the evidence that is still to come as its reward. It is then unbiased where
    every step resamples (threshold = 1); whether to resample has no score.
    """

    keeps_terms = True

    def __init__(
        self, net: SequenceModel, particles: int, threshold: float, resampling: Resampling, *, score: bool
    ) -> None:
        super().__init__(particles)
        self.net, self.threshold, self.resampling, self.score = net, threshold, resampling, score

    def differentiable_loss(self, model: Side, guide: Side, batch: Batch, beta: float | Tensor = 1.0) -> Tensor:
        """The filter runs the network's arrows itself: `model` and `guide` say one whole path, with no choice in it."""
        register(self.net)
        found = particle_filter(
            self.net, batch, self.num_particles, threshold=self.threshold, resampling=self.resampling
        )
        kl = found.kl.sum(0)
        self.terms = -found.log_evidence.detach() - kl, kl
        loss = -found.log_evidence.sum()
        if self.score:
            to_come = found.increments.detach().flip(0).cumsum(0).flip(0) - found.increments.detach()  # [T, B]
            score = -(found.log_ancestors * to_come).sum()
            loss = loss + score - score.detach()
        return loss
