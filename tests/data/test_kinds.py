"""Kinds of data: one table for what is particular to them, one for how they are written; both are complete."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pyro_vrnn import media
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.data.kinds import KINDS
from pyro_vrnn.data.supports import SUPPORTS
from pyro_vrnn.media import MEDIA


def test_every_kind_has_a_medium() -> None:
    assert KINDS.keys() == MEDIA.keys()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("support", SUPPORTS)
def test_baselines_have_words(kind: str, support: str) -> None:
    words = KINDS[kind].baseline_words(support)
    assert [*words] == ["independent", "last"]
    assert all(words.values())


def test_only_sound_is_told_by_sample() -> None:
    sound = DataFormat(kind="audio", support="real", x_dim=200, steps_per_second=80.0, frame_length=200, scale=(50.0,))
    found = sound.by_sample(200.0)
    assert found["nll_per_sample"] == pytest.approx(1.0)
    assert found["bits_per_sample"] == pytest.approx(1 / np.log(2))
    assert sound.sample_rate == 16000
    assert DataFormat(kind="vectors", support="real", x_dim=3).by_sample(200.0) == {}


def test_drawings_are_not_read_back(tmp_path: Path) -> None:
    form = DataFormat(kind="strokes", support="real", x_dim=3)
    with pytest.raises(ValueError, match="are not read"):
        media.read(form, tmp_path / "x.svg")
