"""What settings mean: complete, and the same on the page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from pyro_vrnn.config import DataConfig, TrainingConfig
from pyro_vrnn.config.reference import meanings, page
from pyro_vrnn.models import MODELS
from pyro_vrnn.objectives import OBJECTIVES

CONFIGS = [DataConfig, TrainingConfig, *(model.Config for model in MODELS.values()), *OBJECTIVES.values()]


@pytest.mark.parametrize("cls", CONFIGS, ids=lambda cls: cls.__name__)
def test_every_setting_says_what_it_means(cls: type) -> None:
    found = meanings(cls)
    assert not [name for name, text in found.items() if name != "name" and not text.endswith(".")]


def test_an_inherited_text_stays_unless_there_is_another() -> None:
    @dataclass
    class Above:
        a: int = 0
        """Of a."""
        b: int = 0
        """Of b,
        over two lines."""

    @dataclass
    class Below(Above):
        a: int = 1
        b: int = 1
        """Another."""

    assert meanings(Above) == {"a": "Of a.", "b": "Of b, over two lines."}
    assert meanings(Below) == {"a": "Of a.", "b": "Another."}


def test_the_page_is_made_of_the_code() -> None:
    written = (Path(__file__).parents[2] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert written == page(), "python -m pyro_vrnn.config.reference docs/settings.md"
