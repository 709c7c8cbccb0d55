"""What is carried away of a posterior: ArviZ's groups, their variables with named dims, coordinates and attributes.

Values of x are in the units of the source, except where an attribute says otherwise. Dims are `chain` (one), `draw`
(K), `step` (numbered from 1), `unit` of z and `column` of x; export.py puts `sequence` beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.runs.posteriors.diagnostics import diagnose
from pyro_vrnn.runs.posteriors.draws import Posterior, prior, seeded
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.version import __version__

Array = NDArray[Any]
PREDICTIVE, PRIOR = 1, 2
"""Streams of random numbers beside the guide's own."""
NATS = {"units": "nats"}

ABOUT = {
    "posterior": "draws of the guide q(z | x), which stands for the posterior and is not it; "
    "sample_stats has their importance weights; kl is KL(q || p) given each draw's own past",
    "posterior_predictive": "one sample of p(x_t | z_1..z_t, x_1..x_{t-1}) for each draw of z: the steps before are "
    "those that were observed",
    "log_likelihood": "log p(x_t | z_1..z_t, x_1..x_{t-1}) of each draw and scored step, nats",
    "sample_stats": "log_weight = log p(x, z) - log q(z | x), nats; ess, pareto_k and bound are of these weights",
    "prior": "z of sequences that the model draws of itself, as long as the observed one",
    "prior_predictive": "x of the same sequences",
    "observed_data": "the sequence; NaN where a value is missing",
}
"""The groups, in their order in a file, and what each holds."""


@dataclass(frozen=True)
class Variable:
    """A named array."""

    dims: tuple[str, ...]
    values: Array
    attrs: dict[str, str] = field(default_factory=dict)
    padding: float | None = None
    """What stands for no value in a file of sequences of several lengths."""


@dataclass(frozen=True)
class Group:
    """A group of one sequence: its variables and the coordinates of their dims."""

    variables: dict[str, Variable]
    coords: dict[str, Variable]


def groups(run: Trained, found: Posterior) -> dict[str, Group]:
    """All that is carried away of one sequence, by the names of `ABOUT`; what has no z has no posterior and no prior.

    Raises:
        NumericsError: the model's probabilities are not finite.
    """
    log_weights = found.log_weights()
    particles = len(log_weights)
    told = diagnose(log_weights)
    with seeded(run, _stream(found.seed, PREDICTIVE)):
        predicted = found.sample_x()
    with seeded(run, _stream(found.seed, PRIOR)):
        prior_z, prior_x = prior(run, found, particles)
    scored = scored_steps(run, found)
    # In float64 from here on: in float32 az.loo comes to NaN where likelihoods differ much.
    k_hat = np.nan if told.pareto_k is None else told.pareto_k
    log_likelihood = found.log_likelihood()[:, torch.from_numpy(scored).to(run.device)]
    variables = {
        "posterior": _latent(run, "z", found.z()) | _latent(run, "kl", found.kl(), NATS),
        "posterior_predictive": {"x": _source(run, predicted)},
        "log_likelihood": {"x": _draws(log_likelihood.double(), "step", attrs=NATS)},
        "sample_stats": {
            "log_weight": _draws(log_weights.double(), attrs=NATS),
            "ess": _number(told.ess, "effective sample size of the weights"),
            "pareto_k": _number(k_hat, "Pareto k-hat of the weights; NaN where there is none"),
            "bound": _number(told.bound, "log of the mean weight, nats"),
            "seed": Variable((), np.array(found.seed), {"long_name": "inspect --seed draws the same again"}),
        },
        "prior": _latent(run, "z", prior_z),
        "prior_predictive": {"x": _source(run, prior_x)},
        "observed_data": {
            "x": _observed(run, found),
            "scored": Variable(("step",), scored.astype(np.int8), {"long_name": "whether the step has a score"}),
        },
    }
    every = np.arange(1, found.steps + 1)
    steps = {"log_likelihood": every[scored]}
    return {
        name: Group(some, _coordinates(run, some, particles, steps.get(name, every)))
        for name, some in variables.items()
        if some
    }


def scored_steps(run: Trained, found: Posterior) -> NDArray[np.bool_]:
    """Which steps have a log-likelihood: not those that are only read, and not those of which too little was observed.

    A step that is missing in part has the score of its observed entries, if the likelihood's entries are independent,
    and none else. [T]
    """
    seen = ~np.isnan(found.x.cpu().numpy())
    scored = seen.any(1) if run.net.likelihood.factorised else seen.all(1)
    return np.asarray(scored & (np.arange(found.steps) >= found.given))


def step_coordinates(form: DataFormat, steps: Array) -> dict[str, Variable]:
    """`step`, and where steps have a duration `time`, at which each begins."""
    found = {"step": Variable(("step",), steps)}
    if form.steps_per_second is not None and not form.by_score:  # by the score, a step lasts as the tempo has it
        about = {"units": "s", "long_name": "time at which the step begins"}  # not "seconds": xarray makes dates of it
        found["time"] = Variable(("step",), (steps - 1) / form.steps_per_second, about)
    return found


def attributes(run: Trained) -> dict[str, str]:
    """Where the draws come from."""
    return {
        "inference_library": "pyro-vrnn",
        "inference_library_version": __version__,
        "run": run.named,
        "checkpoint": run.step_folder.name,
        "model": run.config.model.name,
        "likelihood": run.config.model.likelihood,
        "objective": run.config.objective.name,
        "data_kind": run.format.kind,
        "draws": "of the guide q(z | x), not of the exact posterior; the parameters are point estimates",
    }


def _coordinates(run: Trained, variables: dict[str, Variable], particles: int, steps: Array) -> dict[str, Variable]:
    """The coordinates of the dims that a group has."""
    dims = {dim for variable in variables.values() for dim in variable.dims}
    known = {
        "chain": np.arange(1),
        "draw": np.arange(particles),
        "unit": np.arange(run.net.latent_dim),
        "column": _columns(run.format),
    }
    found = {name: Variable((name,), values) for name, values in known.items() if name in dims}
    if "step" in dims:
        found |= step_coordinates(run.format, steps)
    if "column" in dims and run.format.symbols:
        found["symbol"] = Variable(("symbol",), np.array(run.format.symbols, dtype=object))
    return found


def _columns(form: DataFormat) -> Array:
    """Names of the columns: of a table, notes, a pen's moves; numbers for the rest."""
    stored = 1 if form.symbols else form.x_dim
    if form.columns:
        return np.array(form.columns, dtype=object)
    if form.traits.pitched:
        import pretty_midi

        pitches = form.pitches or range(form.lowest_pitch, form.lowest_pitch + stored)
        return np.array([pretty_midi.note_number_to_name(p) for p in pitches], dtype=object)
    if form.traits.pen:
        return np.array(["dx", "dy", "pen"], dtype=object)
    return np.arange(stored)


def _units(run: Trained) -> dict[str, str]:
    """What a value of x is."""
    form = run.format
    if form.traits.sampled:
        dither = ", with uniform noise of one step in what was observed" if run.config.data.dither else ""
        return {"units": "1", "long_name": f"amplitude in 16-bit steps times a gain of {form.gain:g}{dither}"}
    if form.symbols:
        return {"units": "1", "long_name": "number of a symbol, see symbol"}
    return {"long_name": "0 or 1" if form.support == "binary" else "in the units of the source"}


def _latent(run: Trained, name: str, values: Tensor, attrs: dict[str, str] | None = None) -> dict[str, Variable]:
    """A variable [K, T, Z]; of one z per sequence [K, Z]; none of a model without latent variables."""
    if run.net.latent_dim == 0:
        return {}
    if not run.net.per_step:  # the later z are there for the programs alone
        return {name: _draws(values[:, 0], "unit", attrs=attrs)}
    return {name: _draws(values, "step", "unit", attrs=attrs)}


def _draws(values: Tensor, *dims: str, attrs: dict[str, str] | None = None) -> Variable:
    """[K, ...] as one chain of K draws."""
    return Variable(("chain", "draw", *dims), values.cpu().numpy()[None], attrs or {}, np.nan)


def _number(value: float, name: str) -> Variable:
    """One number of a sequence."""
    return Variable((), np.array(value, np.float64), {"long_name": name}, np.nan)


def _source(run: Trained, x: Tensor) -> Variable:
    """Samples [K, T, X] in the units of the source."""
    values, padding = _smallest(run.format, run.encoding.decode(x.cpu().numpy()))
    return Variable(("chain", "draw", "step", "column"), values[None], _units(run), padding)


def _observed(run: Trained, found: Posterior) -> Variable:
    values, padding = _smallest(run.format, run.encoding.decode(found.x.cpu().numpy()))
    return Variable(("step", "column"), values, _units(run), padding)


def _smallest(form: DataFormat, values: Array) -> tuple[Array, float]:
    """Bits and symbols as whole numbers, all else as float32, which loses too much of numbers with an offset.

    Returns:
        The values, and their padding.
    """
    if form.symbols:
        return values.astype(np.int32), -1
    if form.support == "binary" and not form.missing:
        return values.astype(np.int8), -1
    return values.astype(np.float64 if form.offset else np.float32), np.nan


def _stream(seed: int, number: int) -> int:
    """A seed for other random numbers than those of `seed` itself."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(1))
