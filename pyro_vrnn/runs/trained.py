"""A trained model as sampling, inspection and the others take it: network, format and data, and where it lies."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vrnn import media, weights
from pyro_vrnn.config import RunConfig
from pyro_vrnn.data import catalogue
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.encoding import Encoding
from pyro_vrnn.data.format import DataFormat, format_of
from pyro_vrnn.data.schema import read_info
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.runs.content import content_of, find_data
from pyro_vrnn.runs.folder import read_content
from pyro_vrnn.system.errors import ConfigError, DataError

Floats = NDArray[np.float64]


class Trained:
    """A trained model at one checkpoint: its network, its settings, the format of its data, and where it lies.

    Attributes:
        folder: the run folder.
        step_folder: the checkpoint that was loaded.
        config: its complete settings.
        net: the network, in evaluation mode.
        state: where the training stood.
        say: told, once, that the data lies elsewhere now.
    """

    def __init__(
        self,
        folder: Path,
        step_folder: Path,
        settings: RunConfig,
        net: SequenceModel,
        state: dict[str, Any],
        say: Callable[[str], None] = lambda message: None,
    ) -> None:
        self.folder, self.step_folder, self.config, self.net, self.state = (
            folder,
            step_folder,
            settings,
            net,
            state,
        )
        self.format: DataFormat = settings.format  # type: ignore[assignment]  # load() has checked it
        self.device = next(net.parameters()).device
        self.say = say
        self._places: dict[str | None, Path] = {}
        """Data files that were looked for already, by what they were called."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.folder} ({self.config.model.name}, {self.step_folder.name})>"

    @property
    def named(self) -> str:
        """The RUN argument that opens it: the name of a shipped model, or the run folder."""
        return weights.name_of(self.folder) or str(self.folder)

    def output(self, part: str) -> Path:
        """Where a part of it is written by default: RUN/part; for a shipped model NAME-part in the current folder."""
        shipped = weights.name_of(self.folder)
        return self.folder / part if shipped is None else Path(f"{shipped}-{part}")

    @property
    def sample_steps(self) -> int:
        """How long samples are by default: what a card says, or as the training sequences if all are alike, else 0."""
        shipped = weights.name_of(self.folder)
        return self.format.sequence_steps if shipped is None else weights.card(shipped).steps

    @property
    def encoding(self) -> Encoding:
        """How the model reads stored values."""
        return Encoding(self.format.center, self.format.scale, len(self.format.symbols), self.format.offset)

    def data(self, data: str | os.PathLike[str] | None = None, split: str = "test") -> SequenceDataset:
        """A split of the run's own data file, wherever it lies now, or of another of the same format.

        Raises:
            DataError: the run's own file holds something else now, or is not found; of another, that it is of another
                kind, support or width than the model was trained on; or an empty split.
        """
        path = self._place(None if data is None else os.fspath(data))
        theirs = format_of(read_info(path))
        encoding = self._encoding_of(theirs)
        dataset = SequenceDataset(path, split, encoding=encoding, dither=self.config.data.dither)
        for name in ("kind", "support", "x_dim", "steps_per_second", "frame_length", "symbols", "pitches"):
            given, known = getattr(theirs, name), getattr(self.format, name)
            near = name == "steps_per_second" and self.format.traits.series and _near(given, known)
            if given != known and not near:
                raise DataError(
                    f"{path}: {name} is {given!r}, the model was trained on {known!r}",
                    "give data of the kind in the run's config.toml, [format]",
                    path,
                )
        if theirs.missing and not self.format.missing:
            message = f"{path}: it has missing values, and the model was trained on data that has none"
            raise DataError(message, "train on this file, or on one with missing values", path)
        if len(dataset) == 0:
            raise DataError(f"{path}: the {split} split is empty", "choose another --split", path)
        return dataset

    def _encoding_of(self, theirs: DataFormat) -> Encoding:
        """How the model reads what another file stores, of which other offsets may have been taken off."""
        ours = self.encoding
        if theirs.offset == ours.offset or theirs.x_dim != self.format.x_dim or not ours.center:
            return ours
        mine, other = (np.asarray(o or (0.0,) * theirs.x_dim) for o in (ours.offset, theirs.offset))
        center = tuple((np.asarray(ours.center) + mine - other).tolist())
        return Encoding(center, ours.scale, ours.symbols, theirs.offset)

    def _place(self, named: str | None) -> Path:
        """Where a data file lies, None being the run's own: data that is the same is known by its content."""
        if named in self._places:
            return self._places[named]
        own, known = self.config.data.path, read_content(self.folder)
        hint = weights.data_hint(self.folder)
        path = find_data(own, moved=True, hint=hint) if named is None else catalogue.find(named)
        if known is not None:
            differences = known.differences(content_of(path))
            if differences and named is None:
                message = f"{path}: not the data that {self.named} was trained on: {'; '.join(differences)}"
                hint = "put the run's own data there; evaluate --data FILE takes this for other data of the same kind"
                raise DataError(message, hint, path)
            if not differences and path.resolve() != Path(own).resolve():
                self.say(f"data: the same content, now at {path}")
        self._places[named] = path
        return path

    def check_series(self, what: str) -> None:
        """ConfigError unless the model is of tables of real numbers; `what` is the command that needs them."""
        form = self.format
        if not form.traits.series:
            hint = "pyro-vrnn sample RUN --prime FILE continues a given beginning; reconstruct --hide A:B fills a hole"
            raise ConfigError(f"{what} is for tables of numbers, and this model is of {form.kind}", hint)
        if form.support != "real":
            hint = f"{form.support} values have no quantiles; pyro-vrnn sample RUN --prime FILE continues a sequence"
            raise ConfigError(f"{what} is for real numbers, and this model is of {form.support} values", hint)

    def series(self, file: Path | None, index: str | None, split: str = "test") -> tuple[Floats, str]:
        """A table, or else a sequence of the run's data, in its source's units: [T, X], NaN where a value is missing.

        Returns:
            The values, and the name of the file or sequence.

        Raises:
            ConfigError: neither was given or both; no such sequence.
            DataError: the file cannot be read, or has other columns.
        """
        if (file is None) == (index is None):
            raise ConfigError("give a FILE, or --index I for a sequence of the run's data, and not both")
        if file is not None:
            return np.asarray(self.read_file(file), np.float64), file.stem
        dataset = self.data(split=split)
        assert index is not None
        place = dataset.find(index)
        return self.encoding.decode(dataset[place]), f"{split}-{dataset.ids[place]}"

    def read_file(self, path: Path) -> NDArray[Any]:
        """A file of the kind that the model draws, as stored values [T, columns]; `say` is told what was done to it.

        Raises:
            DataError: it cannot be read.
        """
        return media.read(self.format, path, self.say)

    def encoded(self, values: Any) -> Tensor:
        """What `own_columns` takes, as the model reads it. [T, X] float32, NaN where a value is missing."""
        return torch.from_numpy(self.encoding.of_values(self.own_columns(values))).to(self.device)

    def own_columns(self, values: Any) -> NDArray[np.float64]:
        """An array or a data frame in the units of the source, with the model's columns in its order. [T, X]

        Raises:
            DataError: another shape; values that are infinite, or missing where the model knows of no missing ones.
        """
        names = getattr(values, "columns", None)  # of a DataFrame: by name, in any order, among others
        if names is not None and self.format.columns:
            if gone := [name for name in self.format.columns if name not in list(names)]:
                raise DataError(
                    f"x has no column {gone[0]!r}", f"the model's are {', '.join(self.format.columns)[:200]}"
                )
            values = values[list(self.format.columns)]
        try:
            given = np.asarray(values, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"x is no array of numbers: {error}", f"give [steps, {self.format.x_dim}] values") from None
        if given.ndim != 2 or given.shape[1] != self.format.x_dim or len(given) == 0:
            raise DataError(f"x has shape {list(given.shape)}: expected [steps, {self.format.x_dim}]")
        if np.isinf(given).any():
            raise DataError("x has infinite values", "NaN marks a missing value")
        if np.isnan(given).any() and not self.format.missing:
            raise DataError("x has missing values", "the model was trained on data without missing values")
        return given

    @property
    def columns(self) -> list[str]:
        """The names of the columns of tables."""
        return list(self.format.columns) or [f"x{j + 1}" for j in range(self.format.x_dim)]


def _near(a: float | None, b: float | None) -> bool:
    """Whether two rates are the same but for the clock that measured them."""
    return a is not None and b is not None and math.isclose(a, b, rel_tol=0.01)
