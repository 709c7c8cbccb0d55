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
# # Music: a model that has heard some chorales
#
# A chorale is four voices that move in steps. Written down as bits (a row for each quarter note, a column for each key
# of a piano) it is a sequence that a VRNN can learn. In this notebook we train one for two minutes, ask whether it is
# better than two forecasts that need no network, let it write music, and look at what its latent variables say about
# one piece.
#
# It takes Bach's chorales if `pyro-vrnn prepare chorales` has made `data/chorales.h5` (that needs the extra
# `chorales`). Without that file it makes up four-voice progressions in random keys, so that it runs anywhere.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import pyro_vrnn as pv
from pyro_vrnn.data.baselines import baselines
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.runs.posteriors import draws

DATA = Path("data/chorales.h5")
WORK = Path("runs/notebook-music")
SMALL = "PYRO_VRNN_SMALL" in os.environ  # our tests set it: all of it runs, nothing is learned

# %% [markdown]
# ## The data
#
# The stand-in walks through the chords I, IV, V and VI of a random key. One column is one key of the piano, and the
# first is the lowest A (MIDI note 21).

# %%
CHORDS = [(0, 16, 19, 24), (5, 17, 21, 24), (7, 14, 19, 23), (9, 16, 21, 24)]  # bass, tenor, alto, soprano


def progression(random: np.random.Generator) -> np.ndarray:
    """[T, 88] bits: chords of a random key, each held for one or two quarter notes."""
    key = 15 + random.integers(12)
    chords = random.choice(4, size=random.integers(12, 24), p=[0.4, 0.25, 0.25, 0.1])
    roll = np.zeros((len(chords), 88), np.uint8)
    for t, chord in enumerate(chords):
        roll[t, key + np.array(CHORDS[chord])] = 1
    return np.repeat(roll, random.integers(1, 3, size=len(roll)), axis=0)


if not DATA.exists():
    random = np.random.default_rng(0)
    splits = {
        name: [progression(random) for _ in range(n)] for name, n in [("train", 200), ("valid", 20), ("test", 20)]
    }
    DATA = write_sequences(
        WORK.with_suffix(".h5"),
        splits,
        ids={name: [f"{name} {i}" for i in range(len(rolls))] for name, rolls in splits.items()},
        kind="pianoroll",
        support="binary",
        steps_per_second=2.0,
        source="made up",
        licence="none",
        extra={"lowest_pitch": 21},
        overwrite=True,
    ).path
print(DATA)

# %% [markdown]
# ## Training
#
# `chorales-vrnn` is a recipe that is shipped: its settings are for data of this size. `max_seconds` stops the training
# in time, and the weights that were best on the validation split are kept.

# %%
run = pv.train(
    "chorales-vrnn",
    data=DATA,
    max_steps=4 if SMALL else 1080,
    max_seconds=150,
    out=WORK,
    overwrite=True,
)
print(run.result)

# %% [markdown]
# ## Is it any good?
#
# One number says it: the negative log-likelihood for each quarter note, in nats. The first baseline knows how often
# each key is played, the second also whether it was down a moment ago.

# %%
simple = baselines(DATA)
found = run.evaluate(split="test", objective="iwae", particles=4 if SMALL else 100)
print(f"independent notes               {simple['independent']:.2f} nats per step")
print(f"each from its own last value    {simple['last']:.2f} nats per step")
print(f"VRNN, {found.bound}, K={found.particles:<3}               {found.nll_per_step:.2f} nats per step")

# %% [markdown]
# On Bach's chorales this printed 11.79 and 11.12 for the baselines and 7.44 for the VRNN. The
# [results](../results.md#jsb-chorales-standard-files) have longer runs.
#
# ## What it writes
#
# Each sample is a MIDI file to listen to. The picture beside it shows the same notes.

# %%
files = run.sample(4, steps=48, seed=1)
print(*files, sep="\n")
plt.figure(figsize=(9, 5))
plt.imshow(plt.imread([f for f in files if f.suffix == ".png"][-1]))
plt.axis("off")
plt.savefig(WORK / "samples.png", dpi=80, bbox_inches="tight")

# %% [markdown]
# ![Four samples as piano rolls](../figures/music-samples.png)
#
# ## What the latent variables say
#
# The posterior q(z | x) is what the guide infers from one piece. Its KL divergence from the prior, in nats, is how much
# z tells the model at each step that the past did not. A surprising chord costs more than one that had to come.

# %%
x = run.data(split="test")[0]  # [T, 88]
posterior = draws.posterior(run, x, particles=20)
kl = posterior.kl().mean(0).numpy()  # [T, Z], averaged over the 20 samples of z

figure, (notes, surprise) = plt.subplots(2, 1, figsize=(9, 5), sharex=True, height_ratios=(2, 1), layout="constrained")
steps, keys = np.nonzero(x)
notes.scatter(steps + 1, keys + 21, marker="s", s=14, color="#31688e")
notes.set_ylabel("MIDI note")
notes.set_title("One test piece, and what z has to say at each step")
surprise.bar(np.arange(1, len(kl) + 1), kl.sum(1), color="#d1495b")
surprise.set(xlabel="step (quarter note)", ylabel="KL, nats")
figure.savefig(WORK / "posterior.png", dpi=80)
print(f"{(kl.mean(0) > 0.01).sum()} of {kl.shape[1]} latent units are used; {kl.sum(1).mean():.2f} nats per step")

# %% [markdown]
# ![The notes of a chorale above the KL of each step](../figures/music-posterior.png)
#
# `run.report()` puts the curves, scores, samples and figures of the run onto one HTML page, and the command line does
# all of this too: [look inside](../look-inside.md).
