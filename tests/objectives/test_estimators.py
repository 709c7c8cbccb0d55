"""Our own estimators: equal to Pyro's where both exist, right where the truth is known, unbiased where they say so."""

from __future__ import annotations

import math
from collections.abc import Callable

import pyro
import pytest
import torch
from oracle import LinearGaussian, exact, filtering_means, simulate
from pyro.infer import ELBO, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from small import make_batch, make_net, variants
from test_objectives import bound

from pyro_vrnn.config import resolve
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.models.latents import AutoregressiveFlow
from pyro_vrnn.objectives import OBJECTIVES, CiwaeObjective, ElboObjective, FivoObjective, IwaeObjective
from pyro_vrnn.objectives.estimators import Filtering, FreeBits, Grouped, MeanField, Mixed
from pyro_vrnn.programs import PROGRAMS, Stacked, particle_filter, terms
from pyro_vrnn.system.errors import ConfigError

WITH_Z = [pytest.param(v, id=",".join(s.partition(".")[2] for s in v)) for v in variants() if "name=rnn" not in v[0]]
STATED = {"num_particles": 4, "vectorize_particles": True, "max_plate_nesting": 1}


def grads_of(loss: ELBO, net: SequenceModel, batch: Batch, seed: int = 0) -> tuple[float, dict[str, torch.Tensor]]:
    pair = Stacked(net)
    net.zero_grad()
    torch.manual_seed(seed)
    with pyro.get_param_store().scope():
        value = loss.loss_and_grads(pair.model, pair.guide, batch)
    return value, {k: p.grad.clone() for k, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    ("ours", "pyros"),
    [
        (lambda net: Mixed(4, 1.0), RenyiELBO(alpha=0, **STATED)),
        (lambda net: Mixed(4, 0.0), Trace_ELBO(**STATED)),
        (lambda net: Grouped(1, 4), RenyiELBO(alpha=0, **STATED)),
        (lambda net: Grouped(4, 1), Trace_ELBO(**STATED)),
        (lambda net: FreeBits(4, 1e-12), TraceMeanField_ELBO(**STATED)),
        (lambda net: Filtering(net, 4, 0.0, "systematic", score=False), RenyiELBO(alpha=0, **STATED)),
    ],
    ids=["ciwae-1", "ciwae-0", "one-group", "groups-of-one", "no-free-bits", "fivo-that-never-resamples"],
)
@pytest.mark.parametrize("sets", [("model.name=vrnn",), ("model.name=srnn",), ("model.name=dmm",)])
def test_ours_are_pyros_where_both_exist(
    sets: tuple[str, ...], ours: Callable[[SequenceModel], ELBO], pyros: ELBO
) -> None:
    net, batch = make_net(*sets), make_batch()
    value, grads = grads_of(ours(net), net, batch)
    expected, expected_grads = grads_of(pyros, net, batch)
    assert value == pytest.approx(expected, rel=1e-12)
    for key, grad in expected_grads.items():
        torch.testing.assert_close(grads[key], grad, rtol=1e-9, atol=1e-9 * float(grad.abs().max()), msg=key)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("sets", [*WITH_Z, ("model.name=vrnn", "model.dropout=0.5")])
def test_the_elbo_without_what_it_drops_is_pyros(sets: tuple[str, ...], program: str) -> None:
    """The same number and gradients, and the same random numbers used; fewer log-probabilities computed."""
    net, batch = make_net(*sets), make_batch()
    net.train()
    pair, found = PROGRAMS[program](net), []
    for loss in (MeanField(**STATED), TraceMeanField_ELBO(**STATED)):
        net.zero_grad()
        torch.manual_seed(0)
        with pyro.get_param_store().scope(), pyro.validation_enabled(False):
            value = loss.loss_and_grads(pair.model, pair.guide, batch, 0.3)
        found.append((value, [p.grad.clone() for p in net.parameters() if p.grad is not None], torch.rand(())))
    (ours, grads, after), (pyros, expected, expected_after) = found
    assert ours == pytest.approx(pyros, rel=1e-12)
    assert after == expected_after
    for grad, its in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, its, rtol=1e-9, atol=1e-9 * float(its.abs().max()))
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        scored, drawn = MeanField(**STATED)._get_trace(pair.model, pair.guide, (batch,), {})
    for trace, which in ((scored, True), (drawn, False)):
        with_one = {v["is_observed"] for v in trace.nodes.values() if v["type"] == "sample" and "log_prob" in v}
        assert with_one == ({which} if which else set())


@pytest.mark.parametrize("name", ["stl", "dreg"])
@pytest.mark.parametrize("sets", WITH_Z)
def test_the_value_is_that_of_the_plain_bound(sets: tuple[str, ...], name: str) -> None:
    net, batch = make_net(*sets), make_batch()
    plain = {"stl": "elbo-mc", "dreg": "iwae"}[name]
    value, grads = grads_of(OBJECTIVES[name](name=name, particles=3).loss(net), net, batch)
    expected, _ = grads_of(OBJECTIVES[plain](name=plain, particles=3).loss(net), net, batch)
    assert value == pytest.approx(expected, rel=1e-9)
    assert grads.keys() == dict(net.named_parameters()).keys()


def test_bounds_are_in_order() -> None:
    """ELBO <= CIWAE <= IWAE_K <= exact, rising in K; alpha of Rényi and groups lie between."""
    lengths = [5, 2, 4]
    truth = float(exact(simulate(lengths)).sum())
    elbo, elbo_error = bound(ElboObjective(), lengths, 4000)
    ciwae, ciwae_error = bound(CiwaeObjective(particles=10, mix=0.5), lengths, 2000)
    groups, groups_error = bound(OBJECTIVES["elbo-mk"](name="elbo-mk", particles=5, groups=2), lengths, 2000)
    iwae, iwae_error = bound(IwaeObjective(particles=10), lengths, 2000)
    assert elbo + 4 * elbo_error < ciwae - 4 * ciwae_error
    assert ciwae + 4 * ciwae_error < iwae - 4 * iwae_error
    assert elbo + 4 * elbo_error < groups - 4 * groups_error
    assert groups + 4 * groups_error < iwae - 4 * iwae_error
    assert iwae < truth


@torch.no_grad()
def test_fivo_is_above_iwae_on_long_sequences_and_below_the_evidence() -> None:
    net, batch = LinearGaussian().double(), simulate([50])
    truth, repeats = float(exact(batch)), 300
    wide = Batch(batch.lengths.repeat(repeats), batch.x.repeat(1, repeats, 1))
    for resampling in ("systematic", "multinomial"):
        found = []
        for k in (8, 64):
            torch.manual_seed(0)
            fivo = particle_filter(net, wide, k, resampling=resampling).log_evidence
            iwae = torch.logsumexp(terms(Stacked(net).model, Stacked(net).guide, wide, k).log_weights, 0) - math.log(k)
            error = float((fivo.std() + iwae.std()) / repeats**0.5)
            assert float(fivo.mean()) > float(iwae.mean()) + 4 * error
            assert float(fivo.mean()) < truth + 2 * error
            found.append(float(fivo.mean()))
        assert found[0] < found[1]
    large = Batch(batch.lengths.repeat(20), batch.x.repeat(1, 20, 1))
    assert float(particle_filter(net, large, 2000).log_evidence.mean()) == pytest.approx(truth, abs=0.05)


@torch.no_grad()
def test_the_filters_estimate_of_the_evidence_is_unbiased() -> None:
    net, batch = LinearGaussian().double(), simulate([4])
    wide = Batch(batch.lengths.repeat(200_000), batch.x.repeat(1, 200_000, 1))
    torch.manual_seed(0)
    for resampling in ("systematic", "multinomial"):
        ratio = (particle_filter(net, wide, 3, threshold=1.0, resampling=resampling).log_evidence - exact(batch)).exp()
        assert float(ratio.mean()) == pytest.approx(1.0, abs=4 * float(ratio.std()) / 200_000**0.5)


@torch.no_grad()
def test_ragged_sequences_are_filtered_to_their_own_end() -> None:
    net, batch = LinearGaussian().double(), simulate([6, 3, 1])
    torch.manual_seed(0)
    found = particle_filter(net, batch, 20_000)
    torch.testing.assert_close(found.log_evidence, exact(batch), rtol=0, atol=0.05)
    torch.testing.assert_close(found.increments.sum(0), found.log_evidence)
    assert torch.equal(found.increments[3:, 1], torch.zeros(3, dtype=torch.float64))
    assert not found.resampled[2:, 1].any()
    assert float(found.ess.min()) >= 1
    assert float(found.ess.max()) <= 20_000 + 1e-6
    other = Batch(batch.lengths, torch.where(batch.alive[..., None], batch.x, torch.ones_like(batch.x)))
    torch.manual_seed(0)
    assert torch.equal(particle_filter(net, other, 100).log_evidence, particle_filter_again(net, batch, 100))


def particle_filter_again(net: SequenceModel, batch: Batch, particles: int) -> torch.Tensor:
    torch.manual_seed(0)
    return particle_filter(net, batch, particles).log_evidence


@torch.no_grad()
def test_the_filter_agrees_with_pyros_and_with_kalman() -> None:
    """Filtering means of SMCFilter, of ours, and the exact ones."""
    from oracle import A, C, Q, R

    net, batch, particles = LinearGaussian().double(), simulate([6]), 40_000
    x = batch.x[:, 0, 0]

    class Model:
        def init(self, state: dict[str, torch.Tensor], t: int) -> None:
            self.score(state, t, torch.zeros(particles).double(), 1.0)

        def step(self, state: dict[str, torch.Tensor], t: int) -> None:
            self.score(state, t, A * state["z"], Q)

        def score(self, state: dict[str, torch.Tensor], t: int, loc: torch.Tensor, scale: float) -> None:
            state["z"] = pyro.sample(f"z_{t}", pyro.distributions.Normal(loc, scale))
            pyro.sample(f"x_{t}", pyro.distributions.Normal(C * state["z"], R), obs=x[t])

    class Guide:
        def init(self, state: dict[str, torch.Tensor], t: int) -> None:
            self.draw(t, torch.zeros(particles).double())

        def step(self, state: dict[str, torch.Tensor], t: int) -> None:
            self.draw(t, state["z"])

        def draw(self, t: int, before: torch.Tensor) -> None:
            loc = net.u * before + net.v * x[t]
            pyro.sample(f"z_{t}", pyro.distributions.Normal(loc, net.log_s.exp()))

    torch.manual_seed(0)
    pyros = pyro.infer.SMCFilter(Model(), Guide(), num_particles=particles, max_plate_nesting=0, ess_threshold=0.5)
    pyros.state._log_weights = pyros.state._log_weights.double()
    means = []
    for t in range(6):
        pyros.init(t) if t == 0 else pyros.step(t)
        means.append(float(pyros.get_empirical()["z"].mean))
    ours = particle_filter(net, batch, particles).mean[:, 0, 0]
    truth = filtering_means(batch)[:, 0]
    assert means == pytest.approx(truth.tolist(), abs=0.02)
    assert ours.tolist() == pytest.approx(truth.tolist(), abs=0.02)


def gradients(loss: Callable[[Batch], torch.Tensor], net: LinearGaussian, repeats: int, size: int) -> torch.Tensor:
    """Gradients of the mean loss of `size` equal sequences, `repeats` times over. [repeats, 3]: u, v, log_s."""
    batch = simulate([2])
    wide = Batch(batch.lengths.repeat(size), batch.x.repeat(1, size, 1))
    parameters = [net.u, net.v, net.log_s]
    found = [torch.stack(torch.autograd.grad(loss(wide) / size, parameters)) for _ in range(repeats)]
    return torch.stack(found)


def objective_loss(name: str, net: LinearGaussian) -> Callable[[Batch], torch.Tensor]:
    pair = Stacked(net)
    if name == "iwae":
        return lambda batch: (
            -(torch.logsumexp(terms(pair.model, pair.guide, batch, 5).log_weights, 0) - math.log(5)).sum()
        )
    if name == "elbo-mc":
        return lambda batch: -terms(pair.model, pair.guide, batch, 5).log_weights.mean(0).sum()
    estimator = OBJECTIVES[name](name=name, particles=5).loss(net)
    return lambda batch: estimator.differentiable_loss(pair.model, pair.guide, batch)


def naive_dreg(net: LinearGaussian) -> Callable[[Batch], torch.Tensor]:
    """What PITFALLS.md warns of: loc and scale detached, by hand for two steps of the oracle."""
    from oracle import A, C, Q, R

    def log_normal(value: torch.Tensor, loc: torch.Tensor, scale: torch.Tensor | float) -> torch.Tensor:
        return torch.distributions.Normal(loc, scale).log_prob(value)

    def loss(batch: Batch) -> torch.Tensor:
        x_1, x_2 = (x[:, 0].expand(5, -1) for x in batch.x)
        scale = net.log_s.exp()
        loc_1 = net.v * x_1
        z_1 = loc_1 + scale * torch.randn_like(x_1)
        loc_2 = net.u * z_1 + net.v * x_2
        z_2 = loc_2 + scale * torch.randn_like(x_2)
        log_p = log_normal(z_1, torch.zeros_like(z_1), 1.0) + log_normal(z_2, A * z_1, Q)
        log_p = log_p + log_normal(x_1, C * z_1, R) + log_normal(x_2, C * z_2, R)
        log_q = log_normal(z_1, loc_1.detach(), scale.detach()) + log_normal(z_2, loc_2.detach(), scale.detach())
        log_w = log_p - log_q
        weights = torch.softmax(log_w.detach(), 0)
        return -(weights.square() * log_w).sum()

    return loss


def test_dreg_has_iwaes_mean_and_less_variance_and_the_naive_one_does_not() -> None:
    """100,000 draws on a two-step recurrent guide."""
    net = LinearGaussian().double()
    torch.manual_seed(0)
    repeats, size = 200, 1000
    found = {name: gradients(objective_loss(name, net), net, repeats, size) for name in ("iwae", "dreg")}
    found["naive"] = gradients(naive_dreg(net), net, repeats, size)

    def standard_errors(a: str, b: str) -> torch.Tensor:
        error = ((found[a].var(0) + found[b].var(0)) / repeats).sqrt()
        return (found[a].mean(0) - found[b].mean(0)).abs() / error

    assert float(standard_errors("iwae", "dreg").max()) < 3
    assert float(standard_errors("dreg", "naive").max()) > 10
    assert torch.all(found["dreg"].var(0) < 0.5 * found["iwae"].var(0))


def test_sticking_the_landing_has_the_elbos_mean_and_less_variance_near_the_posterior() -> None:
    net = LinearGaussian().double()
    torch.manual_seed(0)
    found = {name: gradients(objective_loss(name, net), net, 200, 500) for name in ("elbo-mc", "stl")}
    error = ((found["stl"].var(0) + found["elbo-mc"].var(0)) / 200).sqrt()
    assert torch.all((found["stl"].mean(0) - found["elbo-mc"].mean(0)).abs() < 3 * error)
    assert float(found["stl"].var(0)[2]) < 0.5 * float(found["elbo-mc"].var(0)[2])


@pytest.mark.parametrize("sets", [("model.name=srnn",), ("model.name=storn",), ("model.name=dmm",)])
def test_whole_sequence_rnns_are_detached_too(sets: tuple[str, ...]) -> None:
    """torch's RNN modules keep their own list of weights: log q must not see the attached ones."""
    net, batch = make_net(*sets), make_batch()
    estimator = OBJECTIVES["stl"](name="stl").loss(net)
    z = torch.randn(batch.size, batch.steps, net.latent_dim, dtype=torch.float64, requires_grad=True)
    log_q = estimator.log_q(batch, z).sum()
    grads = torch.autograd.grad(log_q, [z, *net.parameters()], allow_unused=True)
    assert grads[1:] == (None,) * len(list(net.parameters()))
    assert grads[0] is None or float(grads[0].abs().sum()) > 0


def test_the_score_of_the_ancestors_makes_fivos_gradient_unbiased() -> None:
    """Against the slope of the mean bound, by differences with common random numbers."""
    net, batch = LinearGaussian().double(), simulate([3])
    size, h = 200_000, 0.05
    wide = Batch(batch.lengths.repeat(size), batch.x.repeat(1, size, 1))

    def mean_bound(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return particle_filter(net, wide, 3, threshold=1.0, resampling="multinomial").log_evidence

    with torch.no_grad():
        net.v += h
        up = mean_bound(0)
        net.v -= 2 * h
        down = mean_bound(0)
        net.v += h
    slope = (up - down) / (2 * h)
    found = {}
    for score in (True, False):
        small = Batch(batch.lengths.repeat(2000), batch.x.repeat(1, 2000, 1))
        estimator = Filtering(net, 3, 1.0, "multinomial", score=score)
        pair = Stacked(net)
        grads = []
        for seed in range(100):
            torch.manual_seed(seed)
            with pyro.get_param_store().scope():
                loss = estimator.differentiable_loss(pair.model, pair.guide, small)
            grads.append(-torch.autograd.grad(loss / 2000, net.v)[0])
        found[score] = torch.stack(grads)
    error = float(slope.std()) / size**0.5 + float(found[True].std()) / 10
    assert float(found[True].mean()) == pytest.approx(float(slope.mean()), abs=4 * error)
    assert abs(float(found[False].mean()) - float(slope.mean())) > 8 * error
    assert float(found[False].var()) < float(found[True].var())


def test_free_bits_by_hand() -> None:
    net, batch = make_net("model.name=vrnn"), make_batch()
    pair = Stacked(net)
    torch.manual_seed(0)
    loss = FreeBits(1, 60.0).loss(pair.model, pair.guide, batch, 0.5)
    torch.manual_seed(0)
    with torch.no_grad():
        found = terms(pair.model, pair.guide, batch, 1)
    kl = sum(
        max(60.0, float(found.kl_by_step[t, 0, b])) for b, n in enumerate(batch.lengths.tolist()) for t in range(n)
    )
    assert loss == pytest.approx(float(found.nll.sum()) + 0.5 * kl, rel=1e-12)
    assert loss != pytest.approx(float((found.nll + 0.5 * found.kl).sum()), rel=1e-3)


def test_the_mix_moves() -> None:
    objective = CiwaeObjective(mix_start=0.2, mix=0.8, mix_steps=10)
    loss = objective.loss(make_net())
    mixes = []
    for step in (0, 5, 10, 20):
        objective.move(loss, step)
        mixes.append(loss.mix)  # type: ignore[attr-defined]
    assert mixes == pytest.approx([0.2, 0.5, 0.8, 0.8])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: CiwaeObjective(mix=1.5), "in [0, 1]"),
        (lambda: CiwaeObjective(mix_start=-0.1, mix_steps=5), "in [0, 1]"),
        (lambda: CiwaeObjective(mix_start=0.1), "mix_steps"),
        (lambda: FivoObjective(particles=1), "elbo-mc"),
        (lambda: FivoObjective(threshold=1.5), "never resamples"),
        (lambda: FivoObjective(score=True), "threshold=1"),
        (lambda: FivoObjective(score=True, threshold=1.0), "multinomial"),
        (lambda: OBJECTIVES["dreg"](name="dreg", particles=1), "elbo-mc"),
        (lambda: OBJECTIVES["elbo-mk"](name="elbo-mk", groups=0), "1 or more"),
        (lambda: ElboObjective(free_bits=-1), "0 or more"),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        make()
    assert says in f"{error.value.message} {error.value.hint}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_weight_below_one_never_reaches_a_weighted_bound(program: str) -> None:
    for name, cls in OBJECTIVES.items():
        if cls.weighted:
            assert [cls(name=name).beta(step) for step in (0, 10)] == [1.0, 1.0]


def test_a_guide_that_is_run_twice_has_no_dropout() -> None:
    for name in ("stl", "dreg"):
        with pytest.raises(ConfigError, match="dropout would be another"):
            resolve(sets=[f"objective.name={name}", "objective.particles=3", "model.dropout=0.2"])


def test_dropout_is_the_same_wherever_a_draw_is_scored() -> None:
    """log q of the draw is that of the guide that drew it: with dropout on, E exp(log p(z) - log q(z)) is still 1."""
    for sets in (("model.stochastic_layers=2",), ("model.name=srnn",)):
        net = make_net(*sets, "model.dropout=0.5").train()
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(0.3)
        batch = make_batch([1] * 4)
        wide = Batch(batch.lengths.repeat(5000), batch.x.repeat(1, 5000, 1))
        torch.manual_seed(0)
        with torch.no_grad(), pyro.get_param_store().scope():
            pair = Stacked(net)
            found = terms(pair.model, pair.guide, wide, 2)
        ratio = (found.log_weights + found.nll).exp()
        assert float(ratio.mean()) == pytest.approx(1.0, abs=5 * float(ratio.std()) / ratio.numel() ** 0.5)


def test_scoring_the_drawn_value_runs_no_flow_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    inverse = AutoregressiveFlow.inverse
    monkeypatch.setattr(AutoregressiveFlow, "inverse", lambda self, y: calls.append(1) or inverse(self, y))
    net, batch = make_net("model.name=dmm", "model.flows=2"), make_batch()
    for program in PROGRAMS.values():
        pair = program(net)
        for name, particles in (("elbo", 1), ("elbo-mc", 3), ("iwae", 3)):
            with pyro.get_param_store().scope():
                OBJECTIVES[name](name=name, particles=particles).loss(net).loss(pair.model, pair.guide, batch)
    assert calls == []


def test_weights_that_are_not_numbers_are_told_by_the_evidence() -> None:
    net, batch = make_net("model.name=vrnn"), make_batch()
    with torch.no_grad(), pyro.validation_enabled(False):
        net.phi_dec[0].bias.fill_(float("nan"))
        for resampling in ("systematic", "multinomial"):
            assert not torch.isfinite(particle_filter(net, batch, 4, resampling=resampling).log_evidence).any()
