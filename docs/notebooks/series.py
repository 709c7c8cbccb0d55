# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A time series with holes
#
# Sensors fail. A model that was trained on series with holes knows what a hole is, and can say what was probably in it,
# and how sure it is. In this notebook a deep Markov model fills the holes of a seasonal series, and forecasts it.
#
# Name a CSV with a column `sequence` below, or a folder of CSV files, a series each; empty cells are holes. Without one
# the notebook makes up two hundred series: a season of twelve steps, a slow wander, noise.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pyro_vrnn as pv
from pyro_vrnn.data.sources import vectors

TABLES = Path("my_sensors")
WORK = Path("runs/notebook-series")
SMALL = "PYRO_VRNN_SMALL" in os.environ  # our tests set it: all of it runs, nothing is learned

# %% [markdown]
# ## The data
#
# `pv.dataset` takes what is in memory: here a list of arrays [T, X] in which NaN marks a value that was not observed.

# %%


def season(random: np.random.Generator, steps: int = 72) -> np.ndarray:
    """[T, 1]: a season, an AR(1) and noise."""
    t, wander = np.arange(steps), np.zeros(steps)
    for i in range(1, steps):
        wander[i] = 0.9 * wander[i - 1] + random.normal(scale=0.3)
    return (2 * np.sin(2 * np.pi * (t / 12 + random.random())) + wander + random.normal(scale=0.1, size=steps))[:, None]


def with_holes(x: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """A tenth of the values, and a stretch of nine steps, are gone."""
    x = np.where(random.random(x.shape) < 0.1, np.nan, x)
    start = random.integers(12, len(x) - 24)
    x[start : start + 9] = np.nan
    return x


truth = [season(np.random.default_rng(i)) for i in range(40 if SMALL else 200)]
if TABLES.exists():
    data = vectors.prepare(WORK.with_suffix(".h5"), source=TABLES, overwrite=True).path
else:
    holed = [with_holes(x, np.random.default_rng(i)) for i, x in enumerate(truth)]
    splits = ["test" if i % 10 == 0 else "valid" if i % 10 == 5 else "train" for i in range(len(holed))]
    data = pv.dataset(holed, splits=splits, columns=["level"], path=WORK.with_suffix(".h5"), overwrite=True)
print(data)

# %% [markdown]
# ## Training
#
# The model is a DMM, whose state is z alone: to know what comes after a hole it has to get through the hole ([why that
# matters](../series.md#holes-impute)).

# %%
run = pv.train(
    "vowels",
    data=data,
    model="dmm",
    max_steps=4 if SMALL else 1500,
    max_seconds=90,
    out=WORK,
    overwrite=True,
)
print(run.result)

# %% [markdown]
# ## What was in the holes
#
# The posterior of each missing value given all that was observed, before and after it: a mean, and an interval that
# should hold 80% of the truth.

# %%
test = run.data(split="test")
x = run.encoding.decode(test[0])  # [T, 1] in the units of the table, NaN in the holes
filled = run.impute(x, particles=100 if SMALL else 2000)
steps = np.arange(1, len(x) + 1)

figure, axis = plt.subplots(figsize=(9, 3.4), layout="constrained")
axis.fill_between(steps, filled.low[:, 0], filled.high[:, 0], color="#d1495b", alpha=0.3, label="80% interval")
axis.plot(steps, filled.mean[:, 0], color="#d1495b", linewidth=1, label="posterior mean")
axis.plot(steps, x[:, 0], "o", markersize=3, color="#31688e", label="observed")
axis.set(xlabel="step", ylabel="level", title="The first series of the test split")
figure.legend(loc="outside lower center", ncols=3)
figure.savefig(WORK / "posterior.png", dpi=80)
print(filled)

# %% [markdown]
# ![Observed points, and mean and interval in the holes](../figures/series-posterior.png)
#
# ## Is it any good?
#
# We made the series up, so we know what was in the holes. The baseline draws a straight line across each of them.

# %%


def errors(names: list[str]) -> np.ndarray:
    """Squared errors of the model and of straight lines, [holes, 2]."""
    found = []
    for i in range(len(names)):
        x, known = run.encoding.decode(test[i])[:, 0], truth[10 * i][:, 0]
        hole, t = np.isnan(x), np.arange(len(x))
        line = np.interp(t, t[~hole], x[~hole])
        mean = run.impute(x[:, None], particles=100 if SMALL else 2000).mean[:, 0]
        found.append(np.c_[mean - known, line - known][hole] ** 2)
    return np.concatenate(found)


if not TABLES.exists():
    model, lines = np.sqrt(errors(test.ids[:2] if SMALL else test.ids).mean(0))
    print(f"root mean squared error in the holes: DMM {model:.2f}, straight lines {lines:.2f}")

# %% [markdown]
# A run of 1,500 updates printed 0.46 for the DMM and 1.41 for straight lines: a hole of nine steps is most of a season,
# and a line knows nothing of seasons.
#
# ## What comes next
#
# A forecast is a set of sampled futures. Here are ten of them, with the interval that holds 80% of two hundred.

# %%
ahead = run.forecast(x, steps=24, num=50 if SMALL else 200)
low, middle, high = ahead.quantiles((0.1, 0.5, 0.9))[:, :, 0]
future = np.arange(len(x) + 1, len(x) + 25)

figure, axis = plt.subplots(figsize=(9, 3.4), layout="constrained")
axis.plot(steps, x[:, 0], "o-", markersize=3, linewidth=0.5, color="#31688e", label="observed")
axis.fill_between(future, low, high, color="#d1495b", alpha=0.3, label="80% interval")
axis.plot(future, ahead.paths[:10, :, 0].T, color="#d1495b", linewidth=0.4)
axis.plot(future, middle, color="#d1495b", label="median")
axis.set(xlabel="step", ylabel="level", title="Two seasons ahead: samples of the future")
figure.legend(loc="outside lower center", ncols=3)
figure.savefig(WORK / "samples.png", dpi=80)

# %% [markdown]
# ![A fan of sampled futures behind the observed series](../figures/series-samples.png)
#
# `pyro-vrnn evaluate RUN --forecast 24 --season 12` scores such forecasts against the last value and the last season:
# [time series](../series.md).
