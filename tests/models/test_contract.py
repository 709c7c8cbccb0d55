"""Every model with every likelihood, as a user may combine them; and a model that somebody adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyro
import pytest
import torch
from heads import data_moments, width
from pyro.distributions import Distribution
from small import settings_of
from torch import Tensor, nn

from pyro_vrnn.config import RunConfig, resolve
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.models import MODELS, SequenceModel, build
from pyro_vrnn.models.base import LatentConfig
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.models.networks import MLP, DiagonalNormal, State
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.programs import PROGRAMS
from pyro_vrnn.programs.stacked import Path
from pyro_vrnn.runs.run import build_net
from pyro_vrnn.runs.sampling import draw, log_joint
from pyro_vrnn.system.errors import ResourceError

LENGTHS, T, B, Z, H = [7, 3, 5, 1, 6], 7, 5, 2, 11


def make(model: str, likelihood: str) -> SequenceModel:
    sets = [f"model.name={model}", f"model.likelihood={likelihood}", f"model.hidden_dim={H}", "model.network_dims=17"]
    if "latent_dim" in settings_of(model):
        sets.append(f"model.latent_dim={Z}")
    resolved, x_dim = resolve(sets=sets).config, width(likelihood)
    form = DataFormat(kind="vectors", support=LIKELIHOODS[likelihood].support, x_dim=x_dim)
    torch.manual_seed(0)
    net = build_net(RunConfig(model=resolved.model, objective=resolved.objective, format=form)).double()
    net.likelihood.fit_start(*data_moments(likelihood, x_dim))
    with torch.no_grad():
        for p in net.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return net


def data(likelihood: str) -> Batch:
    """Values in the support, zero-padded."""
    mean, std = data_moments(likelihood)
    torch.manual_seed(1)
    if LIKELIHOODS[likelihood].support == "real":
        x = mean + std * torch.randn(T, B, len(mean), dtype=torch.float64)
        if likelihood == "bivariate-gmm-pen":
            x[..., 2] = (torch.rand(T, B) < 0.3).double()
    elif LIKELIHOODS[likelihood].support == "categorical":
        x = (
            nn.functional.one_hot(torch.multinomial(mean, T * B, replacement=True), len(mean))
            .reshape(T, B, -1)
            .double()
        )
    else:
        x = (torch.rand(T, B, len(mean)) < mean).double()
    lengths = torch.tensor(LENGTHS)
    return Batch(lengths, x * (torch.arange(T)[:, None] < lengths)[..., None])


def check(model: str, likelihood: str) -> None:
    """The contract: programs agree, all is finite, every parameter learns, padding is nothing, draws score as drawn."""
    net, batch = make(model, likelihood), data(likelihood)
    for name, particles in (("elbo", 1), ("elbo-mc", 3), ("iwae", 3)) if net.latent_dim else (("elbo", 1),):
        found = []
        for program in PROGRAMS.values():
            pair = program(net)
            net.zero_grad()
            torch.manual_seed(2)
            with pyro.get_param_store().scope():
                loss = OBJECTIVES[name](name=name, particles=particles).loss(net)
                value = loss.loss_and_grads(pair.model, pair.guide, batch, 1.0 if name == "iwae" else 0.5)
            found.append((value, {k: p.grad.clone() for k, p in net.named_parameters() if p.grad is not None}))
        (a, grads_a), (b, grads_b) = found
        assert b == pytest.approx(a, rel=1e-9)
        assert grads_a.keys() == grads_b.keys() == dict(net.named_parameters()).keys()
        for key, grad in grads_a.items():
            assert torch.isfinite(grad).all()
            assert grad.abs().max() > 0, f"{key} gets no gradient"
            torch.testing.assert_close(grads_b[key], grad, rtol=1e-8, atol=1e-10 * float(grad.abs().max()), msg=key)
    net.eval()
    check_batch_mates(net, batch)
    drawn = draw(net, B, T, temperature=1.0)
    assert drawn.x.shape == (T, B, width(likelihood))
    torch.testing.assert_close(log_joint(net, drawn.x, drawn.z), drawn.log_prob, rtol=1e-9, atol=0)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    again = make(model, likelihood)
    with torch.no_grad():
        for p in again.parameters():
            p.zero_()
    again.load_state_dict(state)
    again.eval()
    assert torch.equal(log_joint(again, drawn.x, drawn.z), log_joint(net, drawn.x, drawn.z))


@torch.no_grad()
def check_batch_mates(net: SequenceModel, batch: Batch) -> None:
    """log p(x, z) and q's parameters of a sequence are the same alone, beside longer ones, and whatever the padding."""
    torch.manual_seed(3)
    z = torch.randn(T, B, net.latent_dim, dtype=torch.float64)
    other = torch.where(batch.alive[..., None], batch.x, batch.x.roll(1, 1))  # in the support, not zeros

    def scores(given: Batch, z: Tensor) -> Tensor:
        path = Path(net, given, z.movedim(0, -2))
        log_joint = path.p_x.log_prob(given.x) + path.p_z.log_prob(z) + path.q_z.log_prob(z)
        return torch.where(given.alive, log_joint, torch.zeros_like(log_joint)).sum(0)

    together = scores(batch, z)
    assert torch.equal(scores(Batch(batch.lengths, other), z), together)
    for b, length in enumerate(LENGTHS):
        alone = scores(Batch(batch.lengths[b : b + 1], batch.x[:length, b : b + 1]), z[:length, b : b + 1])
        torch.testing.assert_close(alone[0], together[b], rtol=1e-10, atol=0)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("model", MODELS)
def test_contract(model: str, likelihood: str) -> None:
    check(model, likelihood)


@dataclass(frozen=True, kw_only=True)
class TinyConfig(LatentConfig):
    name: Literal["tiny"] = "tiny"  # type: ignore[assignment]


class Tiny(SequenceModel):
    """A random walk seen through a network: what somebody's own model might look like."""

    Config = TinyConfig

    def __init__(self, settings: TinyConfig, x_dim: int) -> None:
        super().__init__()
        self.latent_dim = settings.latent_dim
        self.step = nn.Linear(settings.latent_dim, settings.latent_dim)
        self.log_scale = nn.Parameter(torch.zeros(settings.latent_dim))
        self.decode = MLP(settings.latent_dim, settings.layers())
        self.likelihood = LIKELIHOODS[settings.likelihood](self.decode.out_dim, x_dim)
        self.posterior = DiagonalNormal(settings.latent_dim + x_dim, settings.layers(), settings.latent_dim)

    def start(self, size: int) -> State:
        return (self.log_scale.new_zeros(size, self.latent_dim),)

    def features(self, x: Tensor) -> Tensor:
        return x

    def p_z(self, state: State) -> Distribution:
        loc = self.step(state[0])
        return pyro.distributions.Normal(loc, self.log_scale.exp().expand(loc.shape)).to_event(1)

    def p_x(self, state: State, z: Tensor) -> Distribution:
        return self.likelihood(self.decode(z))

    def next(self, state: State, z: Tensor, features: Tensor) -> State:
        return (z,)

    def encode(self, batch: Batch, features: Tensor) -> Tensor:
        return features

    def q_z(self, state: State, e_t: Tensor) -> Distribution:
        return self.posterior(state[0], e_t)


def test_a_model_is_one_file_and_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line: MODELS["tiny"] = Tiny. All else, settings included, follows."""
    monkeypatch.setitem(MODELS, "tiny", Tiny)
    for likelihood in ("bernoulli", "gaussian"):
        check("tiny", likelihood)


@pytest.mark.fault(17)
@pytest.mark.parametrize("size", [2**62, 10**13])
def test_widths_that_no_memory_holds(size: int) -> None:
    """Such as settings that were damaged: one error of ours, as out of memory is everywhere."""
    with pytest.raises(ResourceError, match="no memory for a network of these widths"):
        build(MODELS["vrnn"].Config(), size)
