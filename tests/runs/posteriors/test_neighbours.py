"""The nearest others of a sequence in latent space, and how often they have its label."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from fits import untrained
from small import T, X, write_small

from pyro_vrnn import cli, runs
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.runs.posteriors import latent_space, neighbours
from pyro_vrnn.runs.posteriors.neighbours import around, chance, in_data, nearest
from pyro_vrnn.system.errors import ConfigError, DataError

pytest.importorskip("sklearn")

# Two pairs and one apart: the nearest other of each, by hand.
POINTS = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 1.0], [10.0, 2.0], [4.0, 0.0]])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows of two songs: all notes of `low` are in the first columns, those of `high` in the last."""
    path = tmp_path_factory.mktemp("data") / "songs.h5"
    random, splits = np.random.default_rng(0), {}
    for split in ("train", "valid", "test"):
        rolls = (random.random((6, T, X)) < 0.5).astype(np.uint8)
        rolls[:3, :, X // 2 :], rolls[3:, :, : X // 2] = 0, 0
        splits[split] = list(rolls)
    names = [f"{song}#{k}" for song in ("low", "high") for k in range(3)]
    about = {"kind": "pianoroll", "support": "binary", "steps_per_second": 2.0, "source": "a test", "licence": "none"}
    write_sequences(path, splits, ids=dict.fromkeys(splits, names), extra={"lowest_pitch": 40}, **about)  # type: ignore[arg-type]
    return path


@pytest.fixture(scope="module")
def vrae(data: Path) -> runs.Run:
    return untrained(data, "model.name=vrae", "model.latent_dim=2")


def test_neighbours_of_known_points() -> None:
    found = nearest(POINTS, 2)
    assert found.rows[:, 0].tolist() == [2, 3, 0, 1, 0]
    assert found.rows[:, 1].tolist() == [4, 4, 4, 4, 2]
    np.testing.assert_allclose(found.distances[:, 0], [1, 2, 1, 2, 4])
    # a's nearest: a, c; b's: b, c; a's: a, c; b's: b, c; c's: a, a.
    assert found.purity(["a", "b", "a", "b", "c"]) == pytest.approx(4 / 10)
    assert chance(["a", "b", "a", "b", "c"]) == pytest.approx((2 * 1 + 2 * 1) / (5 * 4))
    assert nearest(POINTS, 1).purity(["a", "b", "a", "b", "c"]) == pytest.approx(4 / 5)


def test_of_points_that_are_one_the_order_says_nothing() -> None:
    labels = ["a"] * 40 + ["b"] * 40
    found = [nearest(np.zeros((80, 2)), 5, seed).purity(labels) for seed in range(5)]
    assert np.mean(found) == pytest.approx(chance(labels), abs=0.15)
    assert not (nearest(np.zeros((80, 2)), 5).rows == np.arange(80)[:, None]).any()  # none is its own


def test_purity_stands_beside_chance_and_data_space(data: Path) -> None:
    dataset = SequenceDataset(data, "test")
    pure = around(dataset, np.array([[0.0], [0.1], [0.2], [5.0], [5.1], [5.2]]), 2).facts
    assert (pure["purity"], pure["chance"], pure["classes"], pure["labelled"]) == (1.0, 0.4, 2, 6)
    assert pure["purity_in_data"] == 1.0  # two songs that share no note
    mixed = around(dataset, np.array([[0.0], [2.0], [4.0], [0.1], [2.1], [4.1]]), 1).facts
    assert mixed["purity"] == 0.0
    other = around(dataset, np.array([[0.0], [2.0], [4.0], [0.1], [2.1], [4.1]]), 1, pattern="([0-9])$").facts
    assert (other["purity"], other["classes"], other["labels"]) == (1.0, 3, "([0-9])$ in the ids")


def test_sequences_of_several_lengths_are_points_too(tmp_path: Path) -> None:
    dataset = SequenceDataset(write_small(tmp_path / "ragged.h5"), "test")
    points, how = in_data(dataset)
    steps = int(np.median(dataset.lengths))
    assert points.shape == (len(dataset), steps * X)
    assert how == f"{steps} evenly spaced steps of each"
    first = points[0].reshape(steps, X)
    np.testing.assert_array_equal(first[[0, -1]], dataset[0][[0, -1]])
    found = around(dataset, points, 2)
    assert found.facts["purity"] is None  # ids without '#' are no labels
    assert len(found.nearest.rows) == len(dataset)


def test_points_in_data_space_have_room(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many sequences fewer steps are taken, and the words say how many; single precision is enough."""
    dataset = SequenceDataset(data, "test")
    points, how = in_data(dataset)
    assert (points.shape, points.dtype, how) == ((6, T * X), np.float32, f"all {T} steps")
    monkeypatch.setattr(neighbours, "MOST_VALUES", 6 * X * 3 + 5)
    points, how = in_data(dataset)
    assert (points.shape, how) == ((6, 3 * X), "3 evenly spaced steps of each")
    np.testing.assert_array_equal(points.reshape(6, 3, X)[2], dataset[2][[0, T // 2, T - 1]])
    monkeypatch.setattr(neighbours, "MOST_VALUES", 1)
    assert in_data(dataset)[0].shape == (6, X)


def test_impossible_requests(data: Path) -> None:
    dataset, points = SequenceDataset(data, "test"), np.zeros((6, 2))
    with pytest.raises(ConfigError, match="--neighbours 6: there are 6 sequences"):
        around(dataset, points, 6)
    with pytest.raises(ConfigError, match="--labels"):
        around(dataset, points, 1, pattern="(")
    with pytest.raises(DataError, match="no sequence of test has a label"):
        around(dataset, points, 1, pattern="([0-9][0-9][0-9])")


def test_files_and_words(data: Path, vrae: runs.Run, tmp_path: Path) -> None:
    files = latent_space.encode(vrae, neighbours=2, out=tmp_path)
    assert [f.name for f in files] == ["test.npz", "test.png", "test-neighbours.csv", "test-neighbours.json"]
    rows = list(csv.DictReader(files[2].read_text().splitlines()))
    assert len(rows) == 6 * 2
    assert {row["id"] for row in rows} == set(vrae.data().ids)
    with np.load(files[0]) as held:
        z = dict(zip(held["ids"].tolist(), held["z"], strict=True))
    for row in rows:
        assert float(row["distance"]) == pytest.approx(float(np.linalg.norm(z[row["id"]] - z[row["neighbour"]])), 1e-3)
        assert (row["label"], row["neighbour_label"]) == (row["id"].split("#")[0], row["neighbour"].split("#")[0])
    facts = json.loads(files[3].read_text())
    same = [row["label"] == row["neighbour_label"] for row in rows]
    assert facts["purity"] == pytest.approx(np.mean(same))
    assert latent_space.encode(vrae, out=tmp_path / "plain") == [
        tmp_path / "plain/test.npz",
        tmp_path / "plain/test.png",
    ]


def test_on_the_command_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--max-steps", "1", "--set", "model.hidden_dim=4", "--set", "model.latent_dim=2", "--quiet"]
    run = str(tmp_path / "run")
    assert cli._run(["train", "--data", str(data), "--model", "vrae", "--out", run, *short]) == 0
    capsys.readouterr()
    assert cli._run(["encode", run, "--neighbours", "2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["neighbours"], found["classes"]) == (2, 2)
    assert all(Path(f).exists() for f in found["files"])
    assert cli._run(["encode", run, "--neighbours", "2"]) == 0
    assert "purity of 2 neighbours: " in capsys.readouterr().out
    assert cli._run(["encode", run, "--neighbours", "99"]) == 2
    assert "at most 5" in capsys.readouterr().err
