from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from soundfiles import RATE, X, encoded, ids, indexed, prepared, put

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.schema import SPLITS, read_info
from pyro_vrnn.data.sources import strokes, vectors
from pyro_vrnn.data.sources.labels import labels_of


def test_labels_of_the_rows_of_an_npz_go_where_their_sequences_go(tmp_path: Path) -> None:
    steps = np.arange(20)[:, None].astype(np.float32)  # sequence i holds i and no other whole number
    arrays = {"train": np.repeat(steps, 2, axis=0), "train_len": np.full(20, 2), "train_speaker": np.arange(20) * 3}
    np.savez(tmp_path / "a.npz", **arrays, test=steps[:4], test_len=np.array([2, 2]), test_speaker=np.array([7, 8]))
    info = vectors.prepare(tmp_path / "a.h5", source=tmp_path / "a.npz")
    labels = read_info(info.path).extra["labels"]
    assert labels["test"] == ["7", "8"]
    for split in ("train", "valid"):
        dataset = SequenceDataset(info.path, split)
        assert len(dataset) > 0
        assert labels[split] == [str(3 * int(name.removeprefix("train-"))) for name in dataset.ids]


def test_labels_of_drawings(tmp_path: Path) -> None:
    drawing = np.array([[0, 0, 0], [1, 1, 1], [2, 1, 0], [3, 5, 1]])
    arrays = {"train": np.tile(drawing, (6, 1)), "train_len": np.full(6, 4), "train_writer": np.arange(6)}
    np.savez(tmp_path / "a.npz", **arrays, train_label=np.array(list("abcdef")), test=drawing, test_len=np.array([4]))
    info = strokes.prepare(tmp_path / "a.h5", source=tmp_path / "a.npz")
    assert read_info(info.path).extra["labels"] == {"train": list("abcde"), "valid": ["f"], "test": [""]}


@pytest.mark.parametrize("labels", [np.zeros(3), np.zeros((2, 1), int), np.array([1, 2, 3])])
def test_what_is_no_list_of_labels_is_left_alone(labels: np.ndarray) -> None:
    assert labels_of({"train_label": labels}, "train", 2) is None


def test_the_first_name_counts() -> None:
    arrays = {"test_speaker": np.array([1, 2]), "test_label": np.array(["x", "y"])}
    assert labels_of(arrays, "test", 2) == ["x", "y"]
    assert labels_of(arrays, "train", 2) is None


def test_labels_of_recordings_are_those_of_the_index(tmp_path: Path) -> None:
    """Each window has its recording's; a row that says nothing has none."""
    rows = [["train", 0, 1000, "a", "x"], ["train", 1000, 500, "b", "y"], ["test", 0, 450, "c", ""]]
    folder = indexed(tmp_path / "s", rows, train=2000, test=1000)  # its last column is `speaker`
    info = prepared(tmp_path, folder, seconds=400 / RATE)
    assert {split: ids(info, split) for split in SPLITS} == {
        "train": ["a#0", "a#1", "a#2", "b#0"],
        "valid": [],
        "test": ["c#0"],
    }
    assert info.extra["labels"] == {"train": ["x", "x", "x", "y"], "valid": [], "test": [""]}


def test_labels_of_recordings_are_their_folders(tmp_path: Path) -> None:
    """The top one, for every split; recordings of one folder have nothing to be told apart by."""
    put(
        tmp_path / "s", **{f"{name}__deep__{name}{i}_wav": encoded(X[:900]) for name in ("yes", "no") for i in range(4)}
    )
    info = prepared(tmp_path, tmp_path / "s", seconds=400 / RATE, splits=(50, 25, 25))
    for split in SPLITS:
        names = ids(info, split)
        assert info.extra["labels"][split] == ["yes" if name.startswith("yes") else "no" for name in names]
    put(tmp_path / "t", **{f"yes__{i}_wav": encoded(X[:900]) for i in range(4)})
    assert "labels" not in prepared(tmp_path, tmp_path / "t", splits=(50, 25, 25)).extra


def test_windows_of_recordings_end_to_end_have_no_label(tmp_path: Path) -> None:
    """A window may hold two recordings; elsewhere there is a label for each sequence."""
    folder = put(
        tmp_path / "s", **{f"{name}__{name}{i}_wav": encoded(X[:900]) for name in ("yes", "no") for i in range(4)}
    )
    options = {"seconds": 400 / RATE, "splits": (50, 25, 25)}
    assert "labels" not in prepared(tmp_path, folder, join=True, **options).extra
    info = prepared(tmp_path, folder, **options)
    assert {split: len(held) for split, held in info.extra["labels"].items()} == {
        split: len(ids(info, split)) for split in SPLITS
    }
