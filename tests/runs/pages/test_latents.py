"""The map of the latents on a page: how points come to two dimensions, and what ids say of groups."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from pyro_vrnn.runs.pages.latents import groups_of, project


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
