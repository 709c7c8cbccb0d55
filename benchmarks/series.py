"""Holes and forecasts of two simulated series: a DMM and an SRNN, half a minute each, against linear-Gaussian models.

    OMP_NUM_THREADS=1 python benchmarks/series.py [--seeds 3] [--seconds 30] [--particles 2000] [--out runs/series]

`seasonal`: a season of 12 steps whose amplitude and phase are the sequence's own, and noise that is an AR(1); one
column. `oscillator`: a damped oscillator that is pushed at random, its place and speed measured with noise; two
columns. Of both, a tenth of the values is missing, and a stretch of 8 steps. The models learn from 200 sequences of 96
steps. The linear-Gaussian baseline is statsmodels' UnobservedComponents (a season of trigonometric terms and an AR(1);
or a damped stochastic cycle), fitted by maximum likelihood to each column of each test sequence by itself; without
statsmodels (`pip install statsmodels`) it is left out. Holes: what the simulation had there is known.
"""

from __future__ import annotations

import argparse
import itertools
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import pyro_vrnn as pv
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.objectives.scores import NORMAL_HIGH, Tally, crps_of_normal, lag_of
from pyro_vrnn.runs.forecasting import score

STEPS, AHEAD, SEASON = 96, 12, 12
COUNTS = {"train": 200, "valid": 10, "test": 20}
SETTINGS: dict[str, Any] = {"model.hidden_dim": 32, "model.network_dims": [32], "objective.kl_steps": 300}
MODELS: dict[str, dict[str, Any]] = {"dmm": {"model.latent_dim": 6}, "srnn": {"model.latent_dim": 4}}
Array = np.ndarray[Any, Any]


def seasonal(random: np.random.Generator) -> Array:
    """[T, 1]."""
    wave = random.uniform(1, 3) * np.sin(2 * np.pi * np.arange(STEPS) / SEASON + random.uniform(0, 2 * np.pi))
    noise = np.zeros(STEPS)
    for t in range(STEPS):
        noise[t] = (0.7 * noise[t - 1] if t else 0) + 0.4 * random.normal()
    return (20 + wave + noise)[:, None]


def oscillator(random: np.random.Generator) -> Array:
    """[T, 2]."""
    angle, shrink = 2 * np.pi / 25, 0.97
    turn = shrink * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    state, rows = 2 * random.normal(size=2), []
    for _ in range(STEPS):
        state = turn @ state + 0.3 * random.normal(size=2)
        rows.append(state + 0.2 * random.normal(size=2))
    return np.array(rows)


def holed(x: Array, random: np.random.Generator) -> Array:
    """A tenth of the values missing, and 8 steps in a row before the last 12."""
    x = np.where(random.random(x.shape) < 0.1, np.nan, x)
    begin = random.integers(4, STEPS - AHEAD - 12)
    x[begin : begin + 8] = np.nan
    return x


def kalman(x: Array, name: str, ahead: int) -> tuple[Array, Array]:
    """Mean and deviation of each step, and of the steps after, by a fitted structural model. [T + ahead, X] each."""
    from statsmodels.tsa.statespace.structural import UnobservedComponents

    what: dict[str, Any] = {
        "seasonal": {"level": "fixed intercept", "freq_seasonal": [{"period": SEASON, "harmonics": 1}],
                     "stochastic_freq_seasonal": [False], "autoregressive": 1},
        "oscillator": {"level": "fixed intercept", "cycle": True, "stochastic_cycle": True, "damped_cycle": True,
                       "irregular": True, "cycle_period_bounds": (5, 60)},
    }[name]  # fmt: skip
    means, deviations = [], []
    for column in x.T:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            longer = np.r_[column, np.full(ahead, np.nan)]
            fitted = UnobservedComponents(column, **what).fit(disp=False, maxiter=200)
            found = UnobservedComponents(longer, **what).smooth(fitted.params)
        design, noise = found.model["design"], found.model["obs_cov"]
        means.append((design @ found.smoothed_state)[0] + 0.0)
        variance = np.einsum("i,ijt,j->t", design[0], found.smoothed_state_cov, design[0]) + noise[0, 0]
        deviations.append(np.sqrt(np.maximum(variance, 1e-12)))
    return np.stack(means, 1), np.stack(deviations, 1)


def between(x: Array) -> Array:
    """Straight lines through the holes."""
    place = np.arange(len(x))
    return np.stack([np.interp(place, place[~np.isnan(c)], c[~np.isnan(c)]) for c in x.T], 1)


def holes(name: str, whole: list[Array], given: list[Array], fill: Callable[[Array], tuple[Array, ...]]) -> str:
    """The root mean square error in the holes, and the coverage of the 80% interval."""
    errors, inside = [], []
    for x, hidden in zip(whole, given, strict=True):
        mean, *ends = fill(hidden)
        hole = np.isnan(hidden)
        errors.append((mean - x)[hole])
        inside += [((ends[0] <= x) & (x <= ends[1]))[hole]] if ends else []
    coverage = f"{np.concatenate(inside).mean():.3f}" if inside else "-"
    return f"holes | {name} | RMSE {np.sqrt(np.mean(np.concatenate(errors) ** 2)):.3f} | coverage {coverage}"


def kalman_scores(name: str, given: list[Array], train: list[Array]) -> dict[str, float | None]:
    """The scores of the structural model's forecasts, as `evaluate --forecast` has them."""
    tally = Tally(lag_of(train, 1).absolute)
    for x in given:
        mean, deviation = (part[-AHEAD:] for part in kalman(x[:-AHEAD], name, AHEAD))
        ends = mean - NORMAL_HIGH * deviation, mean + NORMAL_HIGH * deviation
        last = x[-AHEAD:]
        tally.add(crps_of_normal(mean, deviation, last), mean, *ends, last, ~np.isnan(last))
    return tally.summary()


def told(name: str, scores: dict[str, float | None]) -> str:
    """One line."""
    return f"forecast | {name} | " + " | ".join(f"{k} {v:.3f}" for k, v in scores.items() if v is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--particles", type=int, default=2000, help="of impute")
    parser.add_argument("--out", type=Path, default=Path("runs/series"))
    options = parser.parse_args()
    try:
        import statsmodels  # noqa: F401
    except ImportError:
        print("statsmodels is not installed: no linear-Gaussian baseline")
        structural = False
    else:
        structural = True
    for name, simulate in {"seasonal": seasonal, "oscillator": oscillator}.items():
        random = np.random.default_rng(0)
        whole = {split: [simulate(random) for _ in range(count)] for split, count in COUNTS.items()}
        given = {split: [holed(x, random) for x in found] for split, found in whole.items()}
        data = options.out / f"{name}.h5"
        ids = {split: [f"{split}-{i}" for i in range(len(found))] for split, found in given.items()}
        write_sequences(
            data, given, ids=ids, kind="vectors", support="real", steps_per_second=None, source=f"simulated: {name}",
            licence="none", missing=True, overwrite=True,
        )  # fmt: skip
        print(f"\n{name}", flush=True)
        print(holes("straight lines", whole["test"], given["test"], lambda x: (between(x),)), flush=True)
        if structural:

            def filled(x: Array, name: str = name) -> tuple[Array, ...]:
                mean, deviation = kalman(x, name, 0)
                return mean, mean - NORMAL_HIGH * deviation, mean + NORMAL_HIGH * deviation

            print(holes("structural model", whole["test"], given["test"], filled), flush=True)
            print(told("structural model", kalman_scores(name, given["test"], given["train"])), flush=True)
        for model, seed in itertools.product(MODELS, range(options.seeds)):
            out = options.out / f"{name}-{model}-{seed}"
            run = pv.train(
                "vowels", data=data, out=out, overwrite=True, device="cpu", seed=seed, model=model, epochs=10_000,
                max_seconds=options.seconds, settings=SETTINGS | MODELS[model],
            )  # fmt: skip
            fewest: list[int] = []

            def imputed(x: Array, run: pv.Run = run, fewest: list[int] = fewest) -> tuple[Array, ...]:
                found = run.impute(x, options.particles)
                fewest.append(found.fewest)
                return found.mean, found.low, found.high

            told_of_holes = holes(f"{model}, seed {seed}", whole["test"], given["test"], imputed)
            print(f"{told_of_holes} | fewest ancestors {min(fewest)}", flush=True)
            found = score(run, steps=AHEAD, season=SEASON if name == "seasonal" else 25)
            for other in ("last value", "last season") if out.name.endswith("dmm-0") else ():
                print(told(other, found["scores"][other]), flush=True)
            print(told(f"{model}, seed {seed}", found["scores"]["model"]), flush=True)
            (out / "forecasts.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
