"""Training steps timed side by side: the markov program, the stacked one, a plain PyTorch loop, the arithmetic.

Everything of a case runs in one process, interleaved, with the same network and data; medians are reported. A step is
loss and gradients, without the optimiser. The plain loop is what one writes without Pyro: it draws and scores step by
step. (Pyro's own DMM example is timed by benchmarks/pyro_dmm_example.py.)
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyro
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from pyro_vrnn.config import RunConfig, resolve
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.models.base import expand
from pyro_vrnn.models.latents import kl_by_unit
from pyro_vrnn.programs import PROGRAMS
from pyro_vrnn.runs import build_net
from pyro_vrnn.system.devices import device as pick_device
from pyro_vrnn.system.errors import choose


@dataclass(frozen=True, kw_only=True)
class Case:
    """One setting to time."""

    model: str = "vrnn"
    B: int = 16
    T: int = 64
    X: int = 88
    Z: int = 32
    H: int = 128
    dims: int = 128
    objective: str = "elbo"
    particles: int = 1
    likelihood: str = "bernoulli"


CASES = {
    "vrnn-small": Case(),
    "vrnn-wide": Case(B=64, T=40, X=200, Z=64, H=512, dims=512, likelihood="gaussian"),
    "vrnn-iwae5": Case(objective="iwae", particles=5),
    "srnn-music": Case(model="srnn", B=16, T=100, Z=100, H=300, dims=500),
    "dmm-jsb": Case(model="dmm", B=20, T=100, Z=100, H=600, dims=200),
}


def bench(name: str, *, device: str = "auto", repeats: int = 7, programs: bool = True) -> dict[str, Any]:
    """Time one case; the row of `bench --json`.

    Args:
        name: of a case.
        device: auto, cpu, cuda or cuda:N.
        repeats: timed rounds; medians are reported.
        programs: time the markov program and the plain loop too.

    Raises:
        ConfigError: an unknown case.
    """
    if name not in CASES:
        raise choose("case", name, CASES)
    return time_case(name, CASES[name], device=device, repeats=repeats, programs=programs)


def time_case(
    name: str,
    case: Case,
    *,
    device: str = "auto",
    repeats: int = 7,
    programs: bool = True,
    others: Callable[[Any, Batch], dict[str, Callable[[], Any]]] = lambda net, batch: {},
) -> dict[str, Any]:
    """Time any setting; see `bench`. `others` gives more to time beside, by name, of the case's network and batch."""
    where = pick_device(device)
    net, batch = _net(case).to(where), _batch(case).to(where)
    objective = resolve(
        flags={"objective.name": case.objective, "objective.particles": case.particles}
    ).config.objective
    loss = objective.loss(net)

    def program(kind: str) -> Callable[[], Any]:
        pair = PROGRAMS[kind](net)
        return lambda: loss.loss_and_grads(pair.model, pair.guide, batch)

    jobs: dict[str, Callable[[], Any]] = {"stacked_ms": program("stacked")}
    if programs:
        jobs |= {"markov_ms": program("markov"), "plain_loop_ms": lambda: _plain(net, batch, case)}
    jobs |= others(net, batch)
    product, product_flops = _product(where)
    jobs["product_ms"] = product
    times: dict[str, list[float]] = {key: [] for key in jobs}
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        with FlopCounterMode(display=False) as counter:
            jobs["stacked_ms"]()
        for _ in range(repeats + 1):  # the first round warms up
            for key, job in jobs.items():
                net.zero_grad()
                times[key].append(_timed(job, where))
    flops = counter.get_total_flops()
    found: dict[str, Any] = dict.fromkeys(("markov_ms", "plain_loop_ms", "graph_ms"))
    found |= {key: 1e3 * statistics.median(values[1:]) for key, values in times.items()}
    arithmetic = found.pop("product_ms") * flops / product_flops
    sizes = {key: getattr(case, key) for key in ("B", "T", "X", "Z", "H", "objective", "particles")}
    return {"name": name, **sizes, **found, "arithmetic_ms": arithmetic, "flops": flops}


def _net(case: Case) -> SequenceModel:
    """The case's network with fresh weights."""
    sets = [f"model.name={case.model}", f"model.likelihood={case.likelihood}", f"model.latent_dim={case.Z}"]
    sets += [f"model.hidden_dim={case.H}", f"model.network_dims={case.dims}"]
    settings = resolve(sets=sets).config
    support = "binary" if case.likelihood == "bernoulli" else "real"
    form = DataFormat(kind="vectors", support=support, x_dim=case.X)
    torch.manual_seed(0)
    return build_net(RunConfig(model=settings.model, objective=settings.objective, format=form))


def _batch(case: Case) -> Batch:
    """Random data of full length."""
    x = torch.rand(case.T, case.B, case.X)
    x = (x < 0.05).float() if case.likelihood == "bernoulli" else x - 0.5
    return Batch(torch.full((case.B,), case.T), x)


def _plain(net: SequenceModel, batch: Batch, case: Case) -> None:
    """Loss and gradients by a loop over time that draws and scores inside."""
    assert batch.x is not None
    lead = torch.Size([case.particles, batch.size] if case.particles > 1 else [batch.size])
    features = net.features(batch.x)
    e, state = net.encode(batch, features), expand(net.start(batch.size), lead)
    total: Tensor = torch.zeros(lead, device=batch.x.device)
    for x_t, e_t, features_t in zip(batch.x.unbind(), e.unbind(), features.unbind(), strict=True):
        q, p = net.q_z(state, e_t), net.p_z(state)
        z = (q if q.batch_shape == lead else q.expand(lead)).rsample()
        if case.objective == "elbo":
            total = total - kl_by_unit(q, p, z).sum(-1)
        else:
            total = total + p.log_prob(z) - q.log_prob(z)
        total = total + net.p_x(state, z).log_prob(x_t)
        state = net.next(state, z, features_t)
    bound = torch.logsumexp(total, 0) if case.objective == "iwae" else total
    (-bound.sum()).backward()


def _timed(job: Callable[[], Any], where: torch.device) -> float:
    """Seconds."""
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    start = time.perf_counter()
    job()
    if where.type == "cuda":
        torch.cuda.synchronize(where)
    return time.perf_counter() - start


def _product(where: torch.device) -> tuple[Callable[[], Tensor], int]:
    """A large product, whose rate is the arithmetic's, and its floating-point operations."""
    size = 4096 if where.type == "cuda" else 768
    a, b = torch.randn(2, size, size, device=where).unbind()
    return lambda: a @ b, 2 * size**3
