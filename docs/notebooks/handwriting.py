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
# # Handwriting: where a pen goes next
#
# A drawing is a path: from each point a step (dx, dy), and a bit that says whether the pen is lifted after it. A VRNN
# whose output is a mixture of twenty Gaussians with correlation, and a coin for the pen, learns to draw. In this
# notebook it learns three shapes.
#
# Name a file or a folder of drawings below ([which layouts are read](../data.md#layouts)). Without one the notebook
# draws circles, spirals and zigzags with a shaky hand.

# %%
import json
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pyro_vrnn as pv
from pyro_vrnn.data.baselines import baselines
from pyro_vrnn.data.sources import strokes
from pyro_vrnn.runs.posteriors import draws
from pyro_vrnn.runs.sampling import decoded, seeded

DRAWINGS = Path("my_drawings.json")
WORK = Path("runs/notebook-handwriting")
SMALL = "PYRO_VRNN_SMALL" in os.environ  # our tests set it: all of it runs, nothing is learned

# %% [markdown]
# ## The data
#
# JSON is the simplest layout: a list of drawings, each a list of strokes, each a list of points [x, y]. Each shape is
# underlined by a second stroke.

# %%
SHAPES = ("circle", "spiral", "zigzag")


def drawing(random: np.random.Generator) -> list[list[list[float]]]:
    """Two strokes: one of the shapes, of random size and slant, and a line below it."""
    s, size = np.linspace(0, 1, 24)[:, None], random.uniform(0.8, 1.2)
    turn = 2 * np.pi * s + random.uniform(-0.3, 0.3)
    shape = random.choice(SHAPES)
    if shape == "circle":
        points = np.c_[np.cos(turn), np.sin(turn)]
    elif shape == "spiral":
        points = s * np.c_[np.cos(2 * turn), np.sin(2 * turn)]
    else:
        points = np.c_[2 * s - 1, 0.7 * np.sign(np.sin(25 * s)) * np.abs(np.sin(25 * s))]
    line = np.c_[np.linspace(-1, 1, 6), np.full(6, -1.4)]
    return [(size * part + random.normal(scale=0.02, size=part.shape)).tolist() for part in (points, line)]


if not DRAWINGS.exists():
    DRAWINGS = WORK.with_name("notebook-drawings.json")
    DRAWINGS.parent.mkdir(parents=True, exist_ok=True)
    DRAWINGS.write_text(json.dumps([drawing(np.random.default_rng(i)) for i in range(60 if SMALL else 600)]))

info = strokes.prepare(WORK.with_suffix(".h5"), source=DRAWINGS, overwrite=True)
print({split: counts.sequences for split, counts in info.splits.items()}, "drawings")

# %% [markdown]
# ## Training

# %%
run = pv.train(
    "pendigits",
    data=info.path,
    max_steps=3 if SMALL else 1500,
    max_seconds=120,
    out=WORK,
    overwrite=True,
)
print(run.result)

# %% [markdown]
# ## Is it any good?
#
# The number is a density again, so it may be below zero. The baseline predicts each step of the pen from the one
# before.

# %%
simple = baselines(info.path)
found = run.evaluate(split="test", objective="iwae", particles=2 if SMALL else 50)
print(f"each step from the last one    {simple['last']:.2f} nats per step")
print(f"VRNN, {found.bound}, K={found.particles:<2}               {found.nll_per_step:.2f} nats per step")

# %% [markdown]
# A run of 422 updates printed 3.14 for the baseline and -2.34 for the VRNN.
#
# ## What it draws
#
# `run.sample` writes .svg files. To lay out a picture of our own we take the values instead: `seeded` runs the model
# forward, and `decoded` gives steps of the pen in the units of the source.

# %%


def show(axis: plt.Axes, steps: np.ndarray) -> None:
    """Draw [T, 3] = dx, dy, pen lifted after it."""
    points, lifted = np.cumsum(steps[:, :2], axis=0), np.flatnonzero(steps[:, 2] > 0.5)
    for stroke in np.split(points, lifted + 1):
        axis.plot(*stroke.T, color="#31688e", linewidth=1.5)
    axis.set_aspect("equal")
    axis.axis("off")


print(run.sample(2, steps=29)[0])
drawn = decoded(run, seeded(run, num=12, steps=29, seed=5))
figure, axes = plt.subplots(2, 6, figsize=(9, 3.4), layout="constrained")
for axis, steps in zip(axes.flat, drawn, strict=True):
    show(axis, steps)
figure.suptitle("Twelve samples")
figure.savefig(WORK / "samples.png", dpi=80)

# %% [markdown]
# ![Twelve drawings by the model](../figures/handwriting-samples.png)
#
# ## What the posterior says
#
# Three drawings of the test split, and below each how surprised the model is by every step: -log p(x_t given z and the
# past), in nats. The first step surprises, then the corners of a zigzag and the jump to the underline (step 24); where
# the shape says what has to come, the density is high and the surprise below zero.

# %%
test = run.data(split="test")
figure, axes = plt.subplots(2, 3, figsize=(9, 4.4), layout="constrained", sharey="row")
for i, (above, below) in enumerate(axes.T):
    posterior = draws.posterior(run, test[i], particles=20)
    surprise = [-posterior.log_prob("model", f"x_{t}").mean() for t in range(1, posterior.steps + 1)]
    show(above, run.encoding.decode(test[i]))
    below.bar(np.arange(1, len(surprise) + 1), surprise, color="#d1495b")
    below.set_xlabel("step")
    print(f"KL of the whole drawing: {posterior.kl().sum((1, 2)).mean():.3f} nats")
axes[1, 0].set_ylabel("surprise, nats")
figure.savefig(WORK / "posterior.png", dpi=80)

# %% [markdown]
# ![Three drawings above the surprise of each of their steps](../figures/handwriting-posterior.png)
#
# The KL of a whole drawing is a few hundredths of a nat: here z has nothing to say. The twenty Gaussians of the output
# hold the alternatives already, and the recurrent state remembers which shape was begun. That is common with strong
# outputs. When z is what you are after, there are [things to try](../choose-objective.md#the-kl-is-zero-what-now).
