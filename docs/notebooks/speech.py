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
# # Speech: waveforms, a frame at a time
#
# The VRNN was first shown on raw speech: no spectrogram, but the samples themselves, cut into frames. In this notebook
# a folder of recordings becomes a data set, a model learns it for two minutes, and we listen to what it says.
#
# Name a folder of your own recordings (wav, flac, ogg, mp3) below. Without one the notebook makes up a voice: vowels,
# each a buzz of some pitch that rings at two formants.

# %%
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile

import pyro_vrnn as pv
from pyro_vrnn.data.baselines import baselines
from pyro_vrnn.data.sources import audio
from pyro_vrnn.runs.posteriors import draws

RECORDINGS = Path("my_recordings")
WORK = Path("runs/notebook-speech")
SMALL = "PYRO_VRNN_SMALL" in os.environ  # our tests set it: all of it runs, nothing is learned
RATE = 8000  # samples per second

# %% [markdown]
# ## The data

# %%
FORMANTS = [(730, 1090), (270, 2290), (300, 870), (530, 1840)]  # a, i, u, e of a male voice, in hertz


def vowels(random: np.random.Generator, seconds: float) -> np.ndarray:
    """[samples]: some vowels one after the other, in a voice whose pitch falls."""
    time = np.arange(int(0.25 * RATE)) / RATE
    said = []
    for start in np.arange(0, seconds, 0.25):
        pitch = random.uniform(110, 160) * (1 - 0.1 * start / seconds)
        first, second = FORMANTS[random.integers(4)]
        rings = [
            np.exp(-(((k * pitch - first) / 90) ** 2)) + 0.5 * np.exp(-(((k * pitch - second) / 120) ** 2))
            for k in range(1, 24)
        ]
        tone = sum(a * np.sin(2 * np.pi * k * pitch * time + k) for k, a in enumerate(rings, start=1))
        said.append(tone * np.hanning(len(time)) + 0.004 * random.normal(size=len(time)))
    return 0.25 * np.concatenate(said)


if not RECORDINGS.is_dir():
    RECORDINGS = WORK.with_name("notebook-vowels")
    RECORDINGS.mkdir(parents=True, exist_ok=True)
    for i in range(10 if SMALL else 60):
        soundfile.write(RECORDINGS / f"{i}.wav", vowels(np.random.default_rng(i), seconds=2.0), RATE)

info = audio.prepare(
    WORK.with_suffix(".h5"),
    source=RECORDINGS,
    sample_rate=RATE,
    frame=100,
    seconds=0.5,
    resample=True,
    splits=(80, 10, 10),
    overwrite=True,
)
print({split: counts.sequences for split, counts in info.splits.items()}, "windows of half a second")

# %% [markdown]
# ## Training
#
# The output `frame-ar` lets each sample depend on the ones before it in its frame. The latent variables need not
# explain the fine grain of the wave, then, and carry what lasts longer: the vowel, the pitch, the loudness.

# %%
run = pv.train(
    "speech-one-voice",
    data=info.path,
    max_steps=3 if SMALL else 1000,
    max_seconds=120,
    out=WORK,
    overwrite=True,
    settings={"model.hidden_dim": 96, "model.network_dims": (96,), "model.latent_dim": 16},
)
print(run.result)

# %% [markdown]
# ## Is it any good?
#
# A density of real values has no zero point: negative numbers are fine, and only differences mean anything. We compare
# nats for each frame with a Gaussian that predicts each sample from the one before it.

# %%
simple = baselines(info.path)
found = run.evaluate(split="test", objective="iwae", particles=2 if SMALL else 20)
print(f"each sample from the last one    {simple['last']:.1f} nats per frame of 100 samples")
print(f"VRNN, {found.bound}, K={found.particles:<2}                 {found.nll_per_step:.1f} nats per frame")

# %% [markdown]
# On the made-up vowels a run of 493 updates printed 96.7 for the baseline and -80.6 for the VRNN.
#
# ## What it says
#
# Two seconds that the model makes up, as wav files, and a picture of waveform and spectrogram.

# %%
files = run.sample(2, seconds=0.5 if SMALL else 2.0, seed=3)
wave, rate = soundfile.read(next(f for f in files if f.suffix == ".wav"))

figure, (shape, bands) = plt.subplots(2, 1, figsize=(9, 5), sharex=True, layout="constrained")
shape.plot(np.arange(len(wave)) / rate, wave, linewidth=0.4, color="#31688e")
shape.set(ylabel="amplitude", title="A sample of the model")
bands.specgram(wave + 1e-6, NFFT=256, noverlap=192, Fs=rate, vmin=-110)
bands.set(xlabel="seconds", ylabel="hertz")
figure.savefig(WORK / "samples.png", dpi=80)

# %% [markdown]
# ![Waveform and spectrogram of two seconds from the model](../figures/speech-samples.png)
#
# ## What the latent variables say
#
# The posterior of one window of the test split: the wave above, the means of the latent units below it, drawn over
# time. Where the voice changes, units change. (z tells the model little here, 0.3 nats per frame: the output's own
# memory of the wave explains most of it.)

# %%
x = run.data(split="test")[0]  # [T, 100]
posterior = draws.posterior(run, x, particles=20)
z, kl = posterior.z().mean(0).numpy(), posterior.kl().mean(0).numpy()  # [T, Z]
used = np.argsort(-kl.mean(0))[:8]

figure, (shape, units) = plt.subplots(2, 1, figsize=(9, 5), layout="constrained")
shape.plot(np.arange(x.size) / RATE, np.asarray(x).ravel(), linewidth=0.5, color="#31688e")
shape.set(
    xlim=(0, x.size / RATE),
    ylabel="deviations",
    title="Half a second of the test split, and its eight busiest latent units",
)
drawn = units.imshow(
    z[:, used].T, aspect="auto", cmap="coolwarm", interpolation="nearest", extent=(0, x.size / RATE, 8, 0)
)
units.set(xlabel="seconds", ylabel="latent unit")
figure.colorbar(drawn, ax=units, label="posterior mean")
figure.savefig(WORK / "posterior.png", dpi=80)
print(f"{kl.sum(1).mean():.2f} nats per frame from z")

# %% [markdown]
# ![A waveform above the posterior means of eight latent units](../figures/speech-posterior.png)
#
# Real speech takes longer: the [results](../results.md#every-folder-two-minutes) say what two minutes give on four
# collections of recordings, and against which references.
