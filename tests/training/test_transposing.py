"""Songs in other keys while training: which, how far, and that nothing else sees them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from fits import fit, losses, weights
from small import write_small

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.notes import Transposing


def song(columns: int, *used: int) -> np.ndarray:
    roll = np.zeros((3, columns), np.uint8)
    roll[1, list(used)] = 1
    return roll


def test_all_keys_are_as_likely_and_drawn_anew_for_each_song_and_epoch() -> None:
    keys = Transposing(lambda i: song(40, 15, 20), seed=3)
    drawn = np.array([[keys.semitones(i, epoch) for i in range(40)] for epoch in range(60)])
    counts = Counter(drawn.ravel().tolist())
    assert sorted(counts) == list(range(-5, 7))
    assert min(counts.values()) > 0.7 * drawn.size / 12
    assert all(len(set(row)) > 6 for row in drawn)
    assert all(len(set(row)) > 6 for row in drawn.T)
    assert (drawn != [[Transposing(keys.song, 4).semitones(i, e) for i in range(40)] for e in range(60)]).any()


def test_no_note_is_lost_and_padding_stays_silent() -> None:
    """Songs at the edges move as far as they can; one of silence stays."""
    songs = [song(10, 0, 4), song(10, 9), song(10, 2, 7), song(10)]
    keys = Transposing(songs.__getitem__, seed=0)
    for epoch in range(20):
        x = np.zeros((5, 4, 10), np.float32)  # two steps of padding
        x[:3] = np.stack(songs, axis=1)
        keys.move(x, range(4), epoch)
        for i, roll in enumerate(songs):
            moved = [(1, column + keys.semitones(i, epoch)) for column in np.flatnonzero(roll[1])]
            assert np.argwhere(x[:, i]).tolist() == [list(place) for place in moved]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("transposing") / "small.h5", train=9, x_dim=16)


def test_pieces_of_a_song_move_alike(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By as many semitones in each piece of an epoch, and by others in the next."""
    move = Transposing.move
    seen: dict[tuple[int, int], set[int]] = {}

    def noted(self: Transposing, x: np.ndarray, indices: list[int], epoch: int) -> None:
        before = x.copy()
        move(self, x, indices, epoch)
        for b, i in enumerate(indices):
            fits = {k for k in range(-5, 7) if np.array_equal(np.roll(before[:, b], k, axis=1), x[:, b])}
            seen[epoch, i] = seen.get((epoch, i), fits) & fits

    monkeypatch.setattr(Transposing, "move", noted)
    fit(data, tmp_path / "a", epochs=3, settings={"data.transpose": True, "data.window": 4, "data.carry": True})
    assert len(seen) == 27
    assert all(seen.values())
    assert len({min(found) for found in seen.values()}) > 3


def test_without_carry_each_window_moves_by_itself(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As docs/settings.md says of data.transpose."""
    seen: dict[int, int] = {}
    move = Transposing.move

    def noted(self: Transposing, x: np.ndarray, indices: list[int], epoch: int) -> None:
        seen.update({i: self.semitones(i, epoch) for i in indices})
        move(self, x, indices, epoch)

    monkeypatch.setattr(Transposing, "move", noted)
    fit(data, tmp_path / "a", epochs=1, settings={"data.transpose": True, "data.window": 4})
    pieces = [-(-int(n) // 4) for n in SequenceDataset(data, "train").lengths]
    assert len(seen) == sum(pieces) > len(pieces)
    by_song = np.split([seen[i] for i in range(sum(pieces))], np.cumsum(pieces)[:-1])
    assert any(len(set(found)) > 1 for found in by_song)


def test_resuming_is_not_stopping_and_it_is_another_training(data: Path, tmp_path: Path) -> None:
    settings = {"data.transpose": True}
    fit(data, tmp_path / "whole", max_steps=7, settings=settings)
    fit(data, tmp_path / "parts", max_steps=3, settings=settings)
    fit(data, tmp_path / "parts", max_steps=7, settings=settings, resume="auto")
    fit(data, tmp_path / "plain", max_steps=7)
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    assert losses(tmp_path / "whole") != losses(tmp_path / "plain")
    for name, value in weights(tmp_path / "whole").items():
        assert torch.equal(value, weights(tmp_path / "parts")[name])
