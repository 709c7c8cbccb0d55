"""The two programs are one: same losses, same gradients, for every objective; both keep time and padding."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine
from pyro.distributions import Distribution
from small import LENGTHS, B, T, X, equipped, make_batch, make_net, suits, variants

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.fast import loop_of
from pyro_vrnn.models import MODELS, SequenceModel
from pyro_vrnn.models.latents import Flowed, Ladder
from pyro_vrnn.objectives import OBJECTIVES, Objective
from pyro_vrnn.programs import PROGRAMS, Markov, Stacked, terms


def loss_and_grads(
    program: str, objective: Objective, net: SequenceModel, batch: Batch, beta: float
) -> tuple[float, dict[str, torch.Tensor]]:
    pair = PROGRAMS[program](net)
    net.zero_grad()
    torch.manual_seed(7)
    with pyro.get_param_store().scope():
        loss = objective.loss(net).loss_and_grads(pair.model, pair.guide, batch, beta)
    return loss, {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


OBJECTIVES_AND_PARTICLES = [(n, k) for n in OBJECTIVES for k in (1, 5) if k > 1 or not OBJECTIVES[n].weighted]
VARIANTS = [pytest.param(v, id=",".join(s.partition(".")[2] for s in v)) for v in variants()]


@pytest.mark.parametrize(("name", "particles"), OBJECTIVES_AND_PARTICLES)
@pytest.mark.parametrize("sets", VARIANTS)
def test_programs_agree(sets: tuple[str, ...], name: str, particles: int) -> None:
    cls = OBJECTIVES[name]
    if name == "sixo" and not suits(sets[0].removeprefix("model.name="), name):
        pytest.skip("it has no z for every step, and is refused")
    net, batch = equipped(make_net(*sets), name), make_batch()
    beta = 1.0 if cls.weighted else 0.3
    objective = cls(name=name, particles=particles)
    loss_m, grads_m = loss_and_grads("markov", objective, net, batch, beta)
    loss_s, grads_s = loss_and_grads("stacked", objective, net, batch, beta)
    assert loss_s == pytest.approx(loss_m, rel=1e-9)
    assert grads_m.keys() == grads_s.keys() == dict(net.named_parameters()).keys()
    for key, grad in grads_m.items():
        assert float(grad.abs().max()) > 0, f"{key} gets no gradient"
        scale = float(grad.abs().max())  # where large terms cancel (stl), their rounding is left in small entries
        torch.testing.assert_close(grads_s[key], grad, rtol=1e-9, atol=1e-11 * scale, msg=key)


@pytest.mark.parametrize("particles", [1, 5])
def test_programs_agree_in_float32(particles: int) -> None:
    net, batch = make_net(dtype=torch.float32), make_batch(dtype=torch.float32)
    objective = OBJECTIVES["elbo"](name="elbo", particles=particles)
    loss_m, grads_m = loss_and_grads("markov", objective, net, batch, 1.0)
    loss_s, grads_s = loss_and_grads("stacked", objective, net, batch, 1.0)
    assert loss_s == pytest.approx(loss_m, rel=1e-5)
    for key, grad in grads_m.items():
        scale = float(grad.abs().max())
        torch.testing.assert_close(grads_s[key], grad, rtol=1e-5, atol=1e-5 * scale, msg=key)


@torch.no_grad()
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("sets", VARIANTS)
def test_terms_add_up_to_a_hand_written_elbo(sets: tuple[str, ...], program: str) -> None:
    """Replay z by hand through the arrows, sequence by sequence and step by step, and add the terms up."""
    net, batch = make_net(*sets), make_batch()
    torch.manual_seed(3)
    with pyro.get_param_store().scope():
        pair = PROGRAMS[program](net)
        guide = poutine.trace(pair.guide).get_trace(batch)
        torch.manual_seed(3)
        found = terms(pair.model, pair.guide, batch, 1)
    if program == "markov":
        z = torch.stack([guide.nodes[f"z_{t}"]["value"] for t in range(1, T + 1)])
    else:
        z = guide.nodes["z"]["value"].movedim(-2, 0)
    for b, length in enumerate(LENGTHS):
        state, log_weight, nll, kl = net.start(1), 0.0, 0.0, 0.0
        x = batch.x[:length, b : b + 1]
        e = net.encode(Batch(batch.lengths[b : b + 1], x), net.features(x))
        for t in range(length):
            x_t, z_t = x[t], z[t, b : b + 1]
            p, q = net.p_z(state), net.q_z(state, e[t])
            log_px = float(net.p_x(state, z_t).log_prob(x_t))
            log_weight += log_px + float(p.log_prob(z_t)) - float(q.log_prob(z_t))
            nll -= log_px
            if isinstance(q, Flowed):  # no closed form
                kl += float(q.log_prob(z_t)) - float(p.log_prob(z_t))
            else:
                q, p = gaussian(q, z_t), gaussian(p, z_t)
                mu, s, m, r = q.loc, q.scale, p.loc, p.scale
                kl += float((torch.log(r / s) + (s**2 + (mu - m) ** 2) / (2 * r**2) - 0.5).sum())
            state = net.next(state, z_t, net.features(x_t))
        assert float(found.log_weights[0, b]) == pytest.approx(log_weight, rel=1e-9)
        assert float(found.nll[0, b]) == pytest.approx(nll, rel=1e-9)
        assert float(found.kl[0, b]) == pytest.approx(kl, rel=1e-9)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("particles", [1, 3])
def test_analytic_kl_is_the_mean_of_the_sampled_one(program: str, particles: int) -> None:
    """In one step the KL does not depend on the draw, so its Monte Carlo estimate must meet it."""
    net, batch = make_net(), make_batch([1, 1])
    with torch.no_grad(), pyro.get_param_store().scope():
        pair = PROGRAMS[program](net)
        found = terms(pair.model, pair.guide, batch, 4000 * particles)
    sampled = -(found.log_weights + found.nll)  # log q - log p
    error = sampled.std(0) / len(sampled) ** 0.5
    assert torch.all((sampled.mean(0) - found.kl.mean(0)).abs() < 4 * error)


def test_kl_of_the_prior_to_itself_is_zero() -> None:
    net, batch = make_net(), make_batch()
    q_z = net.q_z
    net.q_z = lambda state, e_t: net.p_z(state)  # type: ignore[method-assign]
    with torch.no_grad(), pyro.get_param_store().scope():
        pair = Stacked(net)
        found = terms(pair.model, pair.guide, batch, 2)
    net.q_z = q_z  # type: ignore[method-assign]
    assert float(found.kl.abs().max()) < 1e-28


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("sets", VARIANTS)
def test_padding_changes_nothing(sets: tuple[str, ...], program: str) -> None:
    """Same random numbers for the sequence: its terms are the same with more padding, whatever is in the padding."""
    net = make_net(*sets)
    batch = make_batch([4, 4])
    padded = Batch(batch.lengths, torch.cat([batch.x, torch.ones(3, 2, X, dtype=torch.float64)]))
    object.__setattr__(padded, "steps", 7)
    wider = Batch(torch.tensor([4, 4]), batch.x)
    results = []
    for given in (wider, padded):
        torch.manual_seed(5)
        with torch.no_grad(), pyro.get_param_store().scope():
            pair = PROGRAMS[program](net)
            results.append(terms(pair.model, pair.guide, given, 2))
    for name in ("log_weights", "nll", "kl"):
        torch.testing.assert_close(getattr(results[0], name), getattr(results[1], name), rtol=1e-12, atol=0)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("sets", VARIANTS)
def test_a_sequence_is_the_same_alone_and_in_a_batch(sets: tuple[str, ...], program: str) -> None:
    """Score one fixed z under both: alone, and beside longer sequences."""
    net, batch = make_net(*sets), make_batch()
    torch.manual_seed(0)
    z = torch.randn(T, B, net.latent_dim, dtype=torch.float64)

    def log_joint(given: Batch, z: torch.Tensor) -> torch.Tensor:
        pair = PROGRAMS[program](net)
        data = {"z": z.movedim(0, -2)} if program == "stacked" else {f"z_{t + 1}": z_t for t, z_t in enumerate(z)}
        with torch.no_grad(), pyro.get_param_store().scope():
            trace = poutine.trace(poutine.condition(pair.model, data=data)).get_trace(given)
            trace.compute_log_prob()
        names = [n for n in trace.nodes if n[0] in "xz"]
        return sum(trace.nodes[n]["log_prob"] for n in names)

    together = log_joint(batch, z)
    for b, length in enumerate(LENGTHS):
        alone = log_joint(Batch(batch.lengths[b : b + 1], batch.x[:length, b : b + 1]), z[:length, b : b + 1])
        torch.testing.assert_close(alone[0], together[b], rtol=1e-12, atol=0)


def gaussian(side: Distribution, z: torch.Tensor) -> Distribution:
    """The diagonal Gaussian inside a distribution of z."""
    if isinstance(side, Ladder):
        side = side.at(z)
    return (side.base if isinstance(side, Flowed) else side).base_dist


def outputs(net: SequenceModel, batch: Batch, x: torch.Tensor, z: torch.Tensor) -> dict[str, torch.Tensor]:
    """The parameters of every distribution at every step, z held fixed."""
    with torch.no_grad():
        features = net.features(x)
        states = loop_of(net).states(features, z, net.start(B))
        q = net.q_z(states, net.encode(Batch(batch.lengths, x), features))
        emission = net.p_x(states, z)
        return {
            "p_z": gaussian(net.p_z(states), z).loc.expand(T, B, -1),
            "q_z": gaussian(q, z).loc,
            "p_x": emission.base_dist.logits,
        }


# Which steps' outputs move when x_t moves, by the models' graphs: "after", "from" t on, "until" t, "all", "none".
MOVES = {
    "dmm,direct=true": ("none", "next", "until"),
    "vrnn": ("after", "after", "from"),
    "vrnn-i": ("none", "after", "from"),
    "rnn": ("none", "after", "none"),
    "storn": ("none", "after", "from"),
    "dmm": ("none", "none", "until"),
    "vrae,free_running=false": ("none", "after", "first"),
    "vrae,free_running=true": ("none", "none", "first"),
    "srnn,posterior=filtering": ("after", "after", "from"),
    "srnn,posterior=smoothing": ("after", "after", "all"),
}


@pytest.mark.parametrize("t", range(T))
@pytest.mark.parametrize("sets", VARIANTS)
def test_causality(sets: tuple[str, ...], t: int) -> None:
    """The generative direction never looks ahead; where the graph is known, exactly the right outputs move."""
    net = make_net(*sets)
    batch = make_batch([T] * B)
    torch.manual_seed(0)
    z = torch.randn(T, B, net.latent_dim, dtype=torch.float64)
    moved = batch.x.clone()
    moved[t] = 1 - moved[t]
    before, after = outputs(net, batch, batch.x, z), outputs(net, batch, moved, z)
    moves = {name: [not torch.equal(before[name][s], after[name][s]) for s in range(T)] for name in before}
    assert not any(moves["p_z"][: t + 1])
    assert not any(moves["p_x"][: t + 1])
    choices = {s.partition(".")[2].removeprefix("name=") for s in sets}
    expected = next((v for k, v in MOVES.items() if set(k.split(",")) <= choices), None)
    rules = {
        "none": lambda s: False,
        "all": lambda s: True,
        "after": lambda s: s > t,
        "from": lambda s: s >= t,
        "until": lambda s: s <= t,
        "first": lambda s: s == 0,
        "next": lambda s: s == t + 1,
    }
    for output, rule in zip(("p_z", "p_x", "q_z"), expected or (), strict=bool(expected)):
        assert moves[output] == [rules[rule](s) for s in range(T)], output


def test_every_model_has_a_known_graph() -> None:
    assert {k.partition(",")[0] for k in MOVES} == set(MODELS)


def test_a_path_is_not_reused_after_the_parameters_moved() -> None:
    """The stacked program remembers the guide's states; an update, or other gradients' needs, must make it forget."""
    net, batch = make_net(), make_batch()
    pair = Stacked(net)

    def log_prob(trace: poutine.Trace) -> float:
        model = poutine.trace(poutine.replay(pair.model, trace=trace)).get_trace(batch)
        return float(model.log_prob_sum())

    with torch.no_grad():
        guide = poutine.trace(pair.guide).get_trace(batch)
        first = log_prob(guide)
        net.f.rnn.bias_ih_l0.add_(0.5)
        moved = log_prob(guide)
        fresh = Stacked(net)
        z = {"z": guide.nodes["z"]["value"]}
        trace = poutine.trace(poutine.condition(fresh.model, data=z)).get_trace(batch)
        expected = float(trace.log_prob_sum())
    assert moved == pytest.approx(expected, rel=1e-12)
    assert moved != pytest.approx(first, rel=1e-6)
    model = poutine.trace(poutine.replay(pair.model, trace=guide)).get_trace(batch)
    model.log_prob_sum().backward()  # the guide's pass had no gradients to offer
    assert net.f.rnn.weight_ih_l0.grad is not None


@pytest.mark.parametrize("sets", VARIANTS)
def test_drawing_and_scoring_are_the_same_program(sets: tuple[str, ...]) -> None:
    net = make_net(*sets)
    with torch.no_grad(), pyro.get_param_store().scope():
        drawn = poutine.trace(Markov(net).model).get_trace(Batch(torch.tensor(LENGTHS)))
        drawn.compute_log_prob()
        x = drawn.nodes["_RETURN"]["value"]
        batch = Batch(torch.tensor(LENGTHS), x)
        z = torch.stack([drawn.nodes[f"z_{t}"]["value"] for t in range(1, T + 1)])
        scored = poutine.trace(poutine.condition(Stacked(net).model, data={"z": z.movedim(0, -2)})).get_trace(batch)
        total = float(scored.log_prob_sum())
    assert x.shape == (T, B, X)
    assert total == pytest.approx(float(drawn.log_prob_sum()), rel=1e-12)


def test_a_second_network_in_the_same_param_store_is_refused() -> None:
    """Pyro would copy the first one's parameters into the second and train neither (PITFALLS.md)."""
    first, second, batch = make_net(), make_net(seed=1), make_batch()
    Markov(first).guide(batch)
    with pytest.raises(RuntimeError, match="scope"):
        Stacked(second).guide(batch)
    with pyro.get_param_store().scope():
        Stacked(second).guide(batch)
