"""What each kind of data can be written as, and read from: the interface of the kinds' files in this package."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.media.pictures import Caption
from pyro_vrnn.system.errors import DataError

Array = NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One sequence as a page shows it; what is empty is not there."""

    svg: str = ""
    """A picture, safe to be put into HTML."""
    scrolls: bool = False
    """Whether it is wider than a page's column."""
    png: bytes = b""
    """A picture of a pixel for each value."""
    wav: bytes = b""
    text: str = ""
    """As it is, not escaped."""
    note: str = ""
    """A sentence below it, not escaped."""


Say = Callable[[str], None]
"""Takes one line for people."""


def silent(message: str) -> None:
    """Tell nobody."""


class Medium(ABC):
    """How sequences of one kind are shown to people. Values are as stored in a data file, [T, columns]."""

    @abstractmethod
    def write(
        self, form: DataFormat, stored: Array, stem: Path, caption: Caption
    ) -> tuple[Path, Path | None, dict[str, Any]]:
        """Write one sequence: the media file, its picture if there is one, and facts for the JSON beside it.

        Args:
            form: the format of the data that the model was trained on.
            stored: [T, columns].
            stem: the files' path without its ending.
            caption: what its picture says; places are steps.
        """

    def overview(self, form: DataFormat, sequences: list[Array], path: Path, titles: list[str], given: int) -> bool:
        """Draw one picture of several sequences; whether there is one for this kind."""
        return False

    def read(self, form: DataFormat, path: Path, say: Say = silent) -> Array:
        """Read a file of this kind back, [T, columns]; `say` is told what was done to it, if anything was.

        Raises:
            DataError: it is not of this kind or width.
        """
        raise DataError(
            f"{path}: files of this kind are not read", "choose a sequence of the data by its number or id", path
        )

    def posterior(self, form: DataFormat, x: Array, kl: Array, mean: Array, path: Path, title: str) -> bool:
        """Draw a sequence beside what the posterior makes of it; whether there is such a picture for this kind."""
        return False

    def show(self, form: DataFormat, stored: Array, title: str, seconds: float) -> Shown:
        """Show one sequence within a page (`pyro-vrnn report`): sound, picture or text.

        Args:
            form: the format of the data that the model was trained on.
            stored: [T, columns]; NaN where a value of a table is missing.
            title: what a reader who does not see it is told.
            seconds: of sound, at most.
        """
        return Shown(note="Sequences of this kind are not shown in a page.")


def beside(stem: Path, ending: str) -> Path:
    """The path with this ending; a dot in the stem is no ending."""
    return stem.with_name(stem.name + ending)
