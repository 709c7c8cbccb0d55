"""The contract of every likelihood: shapes, gradients, draws, starts, temperatures, extremes, padding, plates."""

from __future__ import annotations

import itertools

import pyro
import pytest
import torch
from heads import CHAINS, D, data_moments, make, points, width
from pyro import poutine
from small import equipped
from torch import Tensor

from pyro_vrnn.config import resolve
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.likelihoods import LIKELIHOODS, BivariateMixturePen, LogisticMixture
from pyro_vrnn.models.vrnn import VRNN, VRNNConfig
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.objectives.sixo import density_ratio
from pyro_vrnn.programs import PROGRAMS
from pyro_vrnn.programs.twist import twist_of
from pyro_vrnn.runs.sampling import draw, log_joint
from pyro_vrnn.system.errors import ConfigError

every = pytest.mark.parametrize("name", LIKELIHOODS)


@every
@pytest.mark.parametrize("lead", [(), (5,), (2, 5), (7, 2, 5)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes(name: str, lead: tuple[int, ...], dtype: torch.dtype) -> None:
    head = make(name, dtype=dtype)
    p_x = head(torch.randn(*lead, D, dtype=dtype))
    assert (p_x.batch_shape, p_x.event_shape) == (lead, (width(name),))
    x = p_x.sample()
    assert (x.shape, x.dtype) == ((*lead, width(name)), dtype)
    assert p_x.sample((3, 4)).shape == (3, 4, *lead, width(name))
    assert (p_x.log_prob(x).shape, p_x.log_prob(x).dtype) == (lead, dtype)
    assert p_x.mean.shape == x.shape
    assert p_x.log_prob(p_x.sample((3,))).shape == (3, *lead)


@pytest.mark.parametrize("name", sorted(LIKELIHOODS.keys() - {"bivariate-gmm-pen"}))  # that one has three columns
@pytest.mark.parametrize("width", [1, 2])
def test_narrow_steps(name: str, width: int) -> None:
    p_x = make(name, width)(torch.randn(5, D))
    assert torch.isfinite(p_x.log_prob(p_x.sample())).all()


def test_strokes_have_three_columns() -> None:
    with pytest.raises(ConfigError, match="pen"):
        BivariateMixturePen(D, 4)


@every
def test_every_parameter_gets_a_gradient(name: str) -> None:
    torch.manual_seed(0)
    head = LIKELIHOODS[name](D, width(name))
    features = torch.randn(5, D, requires_grad=True)
    p_x = head(features)
    p_x.log_prob(p_x.sample()).sum().backward()
    for parameter, tensor in [*head.named_parameters(), ("features", features)]:
        assert tensor.grad is not None, parameter
        assert float(tensor.grad.abs().max()) > 0, parameter


@every
def test_a_batch_is_its_rows(name: str) -> None:
    head = make(name, dtype=torch.float64)
    features = torch.randn(2, 5, D, dtype=torch.float64)
    x = head(features).sample()
    log_prob = head(features).log_prob(x)
    assert len(set(log_prob.flatten().tolist())) > (1 if name == "categorical" else 5)
    for i, j in itertools.product(range(2), range(5)):
        torch.testing.assert_close(head(features[i, j]).log_prob(x[i, j]), log_prob[i, j], rtol=1e-12, atol=1e-12)


@every
def test_particles_of_one_observation_and_draws_of_one_step(name: str) -> None:
    """x [B, X] under features [K, B, D], and x [S, B, X] under features [B, D]."""
    head = make(name, dtype=torch.float64)
    features = torch.randn(4, 5, D, dtype=torch.float64)
    x = head(features).sample()
    torch.testing.assert_close(
        head(features).log_prob(x[0]), head(features).log_prob(x[0].expand_as(x)), rtol=1e-12, atol=1e-12
    )
    torch.testing.assert_close(
        head(features[0]).log_prob(x),
        head(features[0].expand_as(features)).log_prob(x),
        rtol=1e-12,
        atol=1e-12,
    )


@every
def test_plates_expand_it(name: str) -> None:
    head = make(name, dtype=torch.float64)
    features = torch.randn(5, D, dtype=torch.float64)

    def program() -> Tensor:
        with pyro.plate("particles", 4, dim=-2), pyro.plate("sequences", 5, dim=-1):
            return pyro.sample("x", head(features))

    trace = poutine.trace(program).get_trace()
    trace.compute_log_prob()
    site = trace.nodes["x"]
    assert site["value"].shape == (4, 5, width(name))
    assert len(torch.unique(site["value"].flatten(1), dim=0)) > 1, "the particles' draws are one draw"
    torch.testing.assert_close(site["log_prob"], head(features).log_prob(site["value"]), rtol=1e-12, atol=1e-12)
    wider = head(features).expand([4, 5])
    assert wider.mean.shape == (4, 5, width(name))
    assert head.temper(wider, 0.5).batch_shape == (4, 5)


@every
def test_draws_have_the_mean_and_the_variance(name: str) -> None:
    head = make(name, dtype=torch.float64)
    p_x = head(torch.randn(D, dtype=torch.float64))
    draws, count = p_x.sample((20_000,)), 20_000
    deviation = draws.std(0)
    # A chain's mean is itself an average over draws (chain.py): its own error adds to that of these.
    error = deviation * (1 / count + (1 / p_x.mean_draws if name in CHAINS else 0)) ** 0.5
    assert ((draws.mean(0) - p_x.mean).abs() < 4 * error + 1e-12).all()
    assert ((draws.mean(0) - p_x.mean - deviation / 5).abs() > 4 * error).any() or name in CHAINS
    if name not in (*CHAINS, "logistic-mixture"):
        squares = (draws - draws.mean(0)) ** 2
        assert ((squares.mean(0) - p_x.variance).abs() < 4 * squares.std(0) / count**0.5 + 1e-12).all()


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_starts_at_the_data(name: str, dtype: torch.dtype) -> None:
    """Features of zero give the mean exactly, and the deviation where it is free."""
    torch.manual_seed(3)
    head = LIKELIHOODS[name](D, width(name)).to(dtype)
    mean, std = data_moments(name)
    head.fit_start(mean, std)
    p_x = head(torch.zeros(D, dtype=dtype))
    if name in CHAINS:  # independent columns
        start = torch.distributions.Normal(mean, std) if name == "frame-ar" else torch.distributions.Bernoulli(mean)
        x = start.sample((50,))
        expected = start.log_prob(x).sum(-1)
        torch.testing.assert_close(p_x.log_prob(x.to(dtype)), expected.to(dtype), rtol=1e-4, atol=1e-4)
        return
    torch.testing.assert_close(p_x.mean, mean.to(dtype), rtol=1e-4, atol=1e-5)
    if name == "logistic-mixture":
        pi, loc, scale = p_x.logits.softmax(-1), p_x.loc, p_x.scale
        variance = (pi * (scale**2 * torch.pi**2 / 3 + loc**2)).sum(-1) - p_x.mean**2
    elif name == "gaussian-fixed":
        variance = torch.ones_like(mean, dtype=dtype)
        std = torch.ones_like(std)
    else:
        variance = p_x.variance
    torch.testing.assert_close(variance.sqrt(), std.to(dtype), rtol=1e-4, atol=0)


@every
def test_columns_that_never_change_start_finite(name: str) -> None:
    """Deviation 0, and for bits and symbols a rate of exactly 0 or 1."""
    head = LIKELIHOODS[name](D, width(name))
    x = torch.zeros(width(name))
    if head.support != "real":
        x[0] = 1.0
    head.fit_start(x, torch.zeros_like(x))
    assert all(torch.isfinite(parameter).all() for parameter in head.parameters())
    p_x = head(torch.zeros(D))
    other = x.roll(1) if head.support != "real" else torch.ones_like(x)
    assert torch.isfinite(p_x.log_prob(other))
    assert p_x.log_prob(x) > p_x.log_prob(other)


def test_components_start_apart() -> None:
    for name in ("gmm", "bivariate-gmm-pen", "logistic-mixture"):
        head = LIKELIHOODS[name](D, 3)
        head.fit_start(*data_moments(name, 3))
        loc = head(torch.zeros(D)).component_distribution.mean if name == "gmm" else head(torch.zeros(D)).loc
        assert len(loc.flatten().unique()) == loc.numel()


@pytest.mark.parametrize("name", ["gmm", "bivariate-gmm-pen", "logistic-mixture"])
def test_a_mixture_has_the_components_that_are_asked_for(name: str) -> None:
    """By its class alone, and by `model.components`; the others are no mixtures."""
    usual = LIKELIHOODS[name].components
    assert usual == (10 if name == "logistic-mixture" else 20)
    for components in (0, 3):
        asked = [f"model.likelihood={name}", f"model.components={components}"]
        head = resolve("rnn-gmm-iamondb", sets=asked).config.model.make_likelihood(D, 3)
        assert head.components == (components or usual)
        head.fit_start(*data_moments(name, 3))
        p_x = head(torch.randn(5, D))
        logits = p_x.mixture_distribution.logits if name == "gmm" else p_x.logits
        assert logits.shape[-1] == (components or usual)
        assert torch.isfinite(p_x.log_prob(p_x.sample())).all()
    assert {name for name, cls in LIKELIHOODS.items() if cls.components} == {
        "gmm",
        "bivariate-gmm-pen",
        "logistic-mixture",
    }


@every
@torch.no_grad()
def test_temperature(name: str) -> None:
    head = make(name, dtype=torch.float64)
    p_x = head(torch.randn(40, D, dtype=torch.float64))
    x = p_x.sample()
    torch.testing.assert_close(head.temper(p_x, 1.0).log_prob(x), p_x.log_prob(x), rtol=1e-12, atol=1e-12)

    def entropy(temperature: float) -> float:
        tempered = head.temper(p_x, temperature)
        return -float(tempered.log_prob(tempered.sample((50,))).mean())

    assert entropy(0.1) < entropy(0.5) < entropy(1.0)
    if name != "logistic-mixture":  # it has a finite number of values: beyond its edges there is nothing wilder
        assert entropy(10.0) > entropy(1.0)
    twice = head.temper(head.temper(p_x, 0.5), 0.5)
    torch.testing.assert_close(twice.log_prob(x), head.temper(p_x, 0.25).log_prob(x), rtol=1e-10, atol=1e-10)


@every
@pytest.mark.parametrize("validate", [True, False])
@pytest.mark.parametrize("sign", [1.0, -1.0, 0.0])
def test_extreme_features(name: str, validate: bool, sign: float) -> None:
    """Features of +-1e3: the loss and all gradients stay finite, in float32, whatever x is."""
    pyro.enable_validation(validate)
    head = make(name)
    signs = sign if sign else torch.randn(3, D).sign()
    values = points(name)
    if head.support == "real":
        values = torch.cat([values, torch.tensor([1e3, -1e3])[:, None].expand(-1, width(name))])
        if name == "bivariate-gmm-pen":
            values[..., 2] = (values[..., 2] > 0).to(values)
    for x in values:
        head.zero_grad()
        features = (1e3 * signs * torch.ones(3, D)).requires_grad_()
        log_prob = head(features).log_prob(x)
        log_prob.sum().backward()
        assert torch.isfinite(log_prob).all()
        assert all(torch.isfinite(p.grad).all() for p in [*head.parameters(), features])
    drawn = head(features).sample()
    assert torch.isfinite(drawn).all()
    assert torch.isfinite(head(features).mean).all()


@every
def test_padding_is_scored(name: str) -> None:
    """Zeros are in every support, validation on: finite, with a finite gradient."""
    head = make(name)
    features = torch.randn(5, D, requires_grad=True)
    log_prob = head(features).log_prob(torch.zeros(5, width(name)))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    gradients = [p.grad for p in [*head.parameters(), features]]
    assert all(torch.isfinite(grad).all() for grad in gradients)
    if name == "categorical":
        assert (log_prob == 0).all()
        assert all((grad == 0).all() for grad in gradients)


OUTSIDE = {
    "bernoulli": [2.0, 0, 0],
    "categorical": [1.0, 1, 0],
    "made": [0.5, 0, 0],
    "nade": [0.0, -1, 0],
    "bivariate-gmm-pen": [0.0, 0, 0.5],
}


@every
def test_validation_refuses_what_is_outside(name: str) -> None:
    head = make(name, 3)
    x = torch.tensor(OUTSIDE.get(name, [0.0, float("nan"), 0.0]))
    with pytest.raises(ValueError, match="support"):
        head(torch.zeros(D)).log_prob(x)
    with pytest.raises(ValueError, match="event_shape"):
        head(torch.zeros(D)).log_prob(torch.zeros(4))
    pyro.enable_validation(False)
    head(torch.zeros(D)).log_prob(x)


@pytest.mark.parametrize("name", ["gaussian", "gmm", "bivariate-gmm-pen", "logistic-mixture", "frame-ar"])
def test_a_scale_can_be_a_hundredth(name: str) -> None:
    """A floor of 1, as in a well-known implementation, would make these draws a hundred times too wide."""
    head = LIKELIHOODS[name](D, 3)
    head.fit_start(torch.zeros(3), torch.full((3,), 0.01))
    p_x = head(torch.zeros(D))
    draws = p_x.sample((20_000,))
    assert draws[:, :2].std(0).tolist() == pytest.approx([0.01, 0.01], rel=0.03)
    entropy = -float(p_x.log_prob(draws).mean().detach())
    columns = 2 if name == "bivariate-gmm-pen" else 3
    assert entropy == pytest.approx(columns * (1.419 - 4.605), abs=0.15)  # nats of N(0, 0.01)


@every
def test_a_state_dict_is_all_of_it(name: str) -> None:
    first, second = make(name), LIKELIHOODS[name](D, width(name))
    if isinstance(first, LogisticMixture):
        first.set_units(torch.tensor(0.25), torch.tensor(0.5))
    second.load_state_dict(first.state_dict())
    features = torch.randn(5, D)
    x = first(features).sample()
    assert torch.equal(first(features).log_prob(x), second(features).log_prob(x))
    assert all(torch.isfinite(value).all() for value in first.state_dict().values())


def small_vrnn(name: str) -> VRNN:
    torch.manual_seed(0)
    config = VRNNConfig(likelihood=name, latent_dim=3, hidden_dim=11, network_dims=(7,))
    net = VRNN(config, width(name)).double()
    net.likelihood.fit_start(*data_moments(name))
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.1)
    return net.eval()


@every
def test_a_model_scores_what_it_has_drawn(name: str) -> None:
    net = small_vrnn(name)
    drawn = draw(net, 5, 7, temperature=1.0)
    assert drawn.x.shape == (7, 5, width(name))
    torch.testing.assert_close(log_joint(net, drawn.x, drawn.z), drawn.log_prob, rtol=1e-10, atol=1e-10)
    assert torch.isfinite(draw(net, 5, 7, temperature=0.3).x).all()


@every
def test_a_twist_learns_from_what_is_drawn_from_it(name: str) -> None:
    net = equipped(small_vrnn(name), "sixo")
    twist = twist_of(net)
    assert twist is not None
    density_ratio(net, twist, Batch(torch.tensor([5, 3]))).backward()
    grads = [p.grad for p in twist.parameters()]
    assert all(grad is not None and grad.isfinite().all() and grad.abs().max() > 0 for grad in grads)


@every
@pytest.mark.parametrize(("objective", "particles"), [("elbo", 1), ("iwae", 3)])
def test_both_programs_say_the_same(name: str, objective: str, particles: int) -> None:
    net = small_vrnn(name)
    lengths = torch.tensor([7, 3, 5, 1, 6])
    x = draw(net, 5, 7).x * (torch.arange(7)[:, None] < lengths)[..., None]
    found = []
    for program in PROGRAMS.values():
        net.zero_grad()
        torch.manual_seed(7)
        pair = program(net)
        with pyro.get_param_store().scope():
            loss = OBJECTIVES[objective](name=objective, particles=particles).loss(net)
            found.append((loss.loss_and_grads(pair.model, pair.guide, Batch(lengths, x), 1.0), {}))
        found[-1][1].update({key: p.grad.clone() for key, p in net.likelihood.named_parameters()})
    (loss_a, grads_a), (loss_b, grads_b) = found
    assert loss_a == pytest.approx(loss_b, rel=1e-9)
    for key, grad in grads_a.items():
        torch.testing.assert_close(grads_b[key], grad, rtol=1e-9, atol=1e-12, msg=key)
