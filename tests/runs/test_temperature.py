"""Where nobody asks for a temperature: least squares draws its means, wherever something is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fits import untrained
from ragged import TINY, sequences
from small import write_audio

import pyro_vrnn as pv
from pyro_vrnn import runs
from pyro_vrnn.runs import sampling
from pyro_vrnn.runs.pages.pieces import pieces
from pyro_vrnn.runs.posteriors import latent_space
from pyro_vrnn.runs.reconstruction import Hole, reconstruct


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_audio(tmp_path_factory.mktemp("data") / "sound.h5")


@pytest.fixture(scope="module")
def run(data: Path) -> runs.Run:
    return untrained(data, "model.name=rnn", "model.likelihood=gaussian-fixed")  # all of its noise is that of x


def test_a_draw_is_the_mean_unless_noise_is_asked_for(run: runs.Run) -> None:
    drawn = [sampling.seeded(run, 1, 9, seed).x for seed in (0, 1)]
    torch.testing.assert_close(*drawn, atol=1e-4, rtol=0)
    noisy = [sampling.seeded(run, 1, 9, seed, temperature=1.0).x for seed in (0, 1)]
    assert float((noisy[0] - noisy[1]).std()) == pytest.approx(2**0.5, rel=0.2)
    assert sampling.temperature_of(run.net) == run.net.likelihood.usual_temperature
    assert sampling.temperature_of(run.net, 0.5) == 0.5


def test_the_samples_of_a_page_are_what_sample_plays(run: runs.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr("pyro_vrnn.media.show", lambda form, values, name, seconds: shown.append(values))
    pieces(run, None, 2, 0)
    np.testing.assert_allclose(shown[0], shown[1], atol=1.0)  # 16-bit steps; the noise has thousands


def test_the_samples_of_an_estimator_are_means_too() -> None:
    estimator = pv.RNN(likelihood="gaussian-fixed", **TINY).fit(sequences())
    first, second = estimator.sample(2, 5)
    np.testing.assert_allclose(first, second, atol=1e-4)
    first, second = estimator.sample(2, 5, temperature=1.0)
    assert np.std(first - second) > 0.5


def test_what_is_drawn_between_two_sequences_is_their_means(data: Path) -> None:
    vrae = untrained(data, "model.name=vrae", "model.likelihood=gaussian-fixed")
    first, second = latent_space._drawn(vrae, torch.zeros(2, 3), 9).unbind(1)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)


def test_a_hole_is_not_filled_with_noise(run: runs.Run) -> None:
    x = torch.from_numpy(run.data()[0])
    for hole in (None, Hole(3, 7)):
        torch.manual_seed(0)
        first = reconstruct(run.net, x, hole=hole, rounds=2, draw=True)
        torch.testing.assert_close(reconstruct(run.net, x, hole=hole, rounds=2, draw=True), first, atol=1e-4, rtol=0)
