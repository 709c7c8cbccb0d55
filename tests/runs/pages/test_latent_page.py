"""The map of the latents on a page: how points come to two dimensions, and what ids say of groups."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn.media.pages.findings import Finding
from pyro_vrnn.runs.pages.latents import groups_of, posterior
from pyro_vrnn.runs.posteriors import draws, inspection
from pyro_vrnn.runs.posteriors.latent_space import project


def test_one_or_two_units_are_shown_as_they_are() -> None:
    points = np.random.default_rng(0).normal(size=(9, 2))
    places, how = project(points, 0)
    assert (places == points).all()
    assert how == "its two units as they are"
    places, how = project(points[:, :1], 0)
    assert (places[:, 0] == points[:, 0]).all()
    assert (places[:, 1] == 0).all()


def test_more_units_are_drawn_by_tsne_where_scikit_learn_is() -> None:
    pytest.importorskip("sklearn")
    points = np.random.default_rng(0).normal(size=(12, 5))
    points[6:] += 20  # two clusters
    places, how = project(points, 0)
    assert how == "5 units by t-SNE"
    within = np.linalg.norm(places[:6] - places[:6].mean(0), axis=1).max()
    assert np.linalg.norm(places[:6].mean(0) - places[6:].mean(0)) > within
    assert (project(points, 0)[0] == places).all()


def test_and_without_it_by_the_directions_in_which_they_differ_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    points = np.zeros((8, 4))
    points[:, 2] = np.arange(8) * 3.0
    points[:, 1] = [1, -1] * 4
    places, how = project(points, 0)
    assert "by PCA" in how
    assert "pip install 'pyro-vrnn[map]'" in how
    assert np.abs(places[:, 0]) == pytest.approx(np.abs(points[:, 2] - 10.5), abs=0.5)


@pytest.mark.parametrize("spread", [0.0, 1e-9])
def test_points_that_are_all_one_have_places(spread: float) -> None:
    """A posterior that has become the prior; scikit-learn's t-SNE ends the process on them."""
    points = 3.0 + spread * np.random.default_rng(0).normal(size=(40, 5))
    places, how = project(points, 0)
    assert np.isfinite(places).all()
    assert how == "5 units by PCA"


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_points_have_places_too(count: int) -> None:
    places, how = project(np.eye(5)[:count], 0)
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert how == "5 units by PCA"


@pytest.mark.parametrize(
    ("ids", "groups"),
    [
        (["a/x1", "a/x2", "b/x3", "b/x4"], ["a", "a", "b", "b"]),
        (["0_george_0#0", "0_theo_1#0", "1_theo_1#0", "1_theo_2#0"], ["0", "0", "1", "1"]),
        (["one/x#0", "one/x#1", "one/y#0", "one/y#1"], ["one/x", "one/x", "one/y", "one/y"]),
        (["test-0", "test-1", "test-2", "test-3"], [""] * 4),
        (["A1", "B2", "C3"], [""] * 3),
    ],
)
def test_groups_are_what_ids_share(ids: list[str], groups: list[str]) -> None:
    assert groups_of(ids) == groups


def test_one_z_is_measured_by_sequence_and_not_by_step(tmp_path: Path) -> None:
    """A unit of 0.05 nats is active, however long the sequence that it is about."""
    run = pv.train(data=write_small(tmp_path / "d.h5"), model="vrae", out=tmp_path / "r", max_steps=1, device="cpu",
                   settings={"model.hidden_dim": 8, "model.latent_dim": 3})  # fmt: skip
    data = run.data()
    kl = draws.posterior(run, data[0]).kl()[0]  # [T, Z]
    assert kl[1:].abs().max() == 0
    told: list[Finding] = []
    charts, words = posterior(run, data, 0, told)
    active = int((kl[0] > inspection.ACTIVE_NATS).sum())
    assert f"{active} of 3 latent units are active (KL above 0.01 nats); KL {float(kl.sum()):.3f} nats in all" in words
    assert len(charts) == 1
    assert len(told) == (active < 3)
