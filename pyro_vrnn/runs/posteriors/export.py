"""Posteriors as NetCDF with ArviZ's groups, written sequence by sequence: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.runs.posteriors.contents import ABOUT, Group, Variable, attributes, step_coordinates
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.disk import Disk, whole
from pyro_vrnn.system.errors import ConfigError

Array = NDArray[Any]
CHUNK_VALUES = 1 << 18
SCORED = "log_likelihood"
"""The group of the scored steps alone: of several sequences it has one dim, `observation`, over all of theirs."""


@contextmanager
def exporting(
    path: Path, run: Trained, names: Sequence[str], lengths: Sequence[int], *, several: bool
) -> Iterator[Callable[[dict[str, Group]], None]]:
    """A file that is there when the block has ended well, and else not; what is yielded writes the next sequence.

    Args:
        path: of the file; what is there is replaced.
        run: the trained model.
        names: ids of the sequences, in the order in which they will come.
        lengths: their steps.
        several: whether there is a dim `sequence`, in which all are padded to the longest; else there is one sequence.

    Raises:
        ConfigError: h5netcdf is not installed, or the file cannot be written.
        ResourceError: the disk is full.
    """
    try:
        import h5netcdf
    except ImportError:
        raise ConfigError("--export needs h5netcdf", "pip install 'pyro-vrnn[netcdf]'") from None
    if path.is_dir():
        raise ConfigError(f"--export {path}: is a folder", "give a file name that ends in .nc")
    with whole(path) as disk, h5netcdf.File(disk, "w") as file:
        file.attrs.update(attributes(run) | ({} if several else {"sequence": names[0]}))
        yield _Writer(file, disk, run, names, lengths, several).add


class _Writer:
    """The file while it is written, and how many sequences and scored steps it has."""

    def __init__(
        self, file: Any, disk: Disk, run: Trained, names: Sequence[str], lengths: Sequence[int], several: bool
    ) -> None:
        self.file, self.disk, self.form = file, disk, run.format
        self.names, self.lengths, self.several = names, lengths, several
        self.place, self.observations = 0, 0

    def add(self, groups: dict[str, Group]) -> None:
        """Write the next sequence.

        Raises:
            OSError: the disk is full.
        """
        for name, group in groups.items():
            if self.place == 0:
                self._create(name, group)
            if name == SCORED and self.several:
                self._add_scored(group)
            else:
                self._add(name, group)
        self.place += 1
        if self.disk.error is not None:
            raise self.disk.error

    def _create(self, name: str, group: Group) -> None:
        """Make a group with its dims, coordinates and variables, which have no values yet."""
        made = self.file.create_group(name)
        made.attrs["description"] = ABOUT[name]
        coords = dict(group.coords)
        if self.several and name != SCORED:
            if "step" in coords:
                coords |= step_coordinates(self.form, np.arange(1, max(self.lengths) + 1))
            coords["sequence"] = Variable(("sequence",), np.array(self.names, dtype=object))
            coords["length"] = Variable(("sequence",), np.array(self.lengths), {"long_name": "steps of the sequence"})
        elif self.several:
            coords = {key: v for key, v in coords.items() if v.dims != ("step",)}
            made.dimensions["observation"] = None
            for key, dtype in (("sequence", h5py.string_dtype()), ("step", np.int64)):
                made.create_variable(key, ("observation",), dtype)
        for key, v in coords.items():
            if key in v.dims:
                made.dimensions[key] = len(v.values)
        for key, v in coords.items():
            dtype = h5py.string_dtype() if v.values.dtype == object else v.values.dtype
            made.create_variable(key, v.dims, dtype)[...] = v.values
            made.variables[key].attrs.update(v.attrs)
        beside = [key for key in made.variables if key not in made.dimensions]
        if beside:
            made.attrs["coordinates"] = " ".join(beside)
        for key, v in group.variables.items():
            dims = self._dims(name, v.dims)
            padded = {"fillvalue": v.padding} if self.several and v.padding is not None else {}
            whole_numbers = {"compression": "gzip", "compression_opts": 1} if v.values.dtype == np.int8 else {}
            chunks = {"chunks": self._chunks(made, dims)} if dims else {}
            made.create_variable(key, dims, v.values.dtype, **padded, **(whole_numbers if dims else {}), **chunks)
            made.variables[key].attrs.update(v.attrs)

    def _dims(self, group: str, dims: tuple[str, ...]) -> tuple[str, ...]:
        """The dims in the file."""
        if not self.several:
            return dims
        if group == SCORED:
            return tuple("observation" if dim == "step" else dim for dim in dims)
        draws = tuple(dim for dim in dims if dim in ("chain", "draw"))
        return (*draws, "sequence", *dims[len(draws) :])

    def _chunks(self, made: Any, dims: tuple[str, ...]) -> tuple[int, ...]:
        """A chunk has all draws of some steps of one sequence, and so many values at most."""
        sizes = [1 if dim == "sequence" else max(1, made.dimensions[dim].size) for dim in dims]
        for i, dim in enumerate(dims):
            if dim in ("step", "observation"):
                others = int(np.prod(sizes[:i] + sizes[i + 1 :]))
                most = 64 if dim == "step" else 1024
                sizes[i] = max(1, min(most, made.dimensions[dim].size or most, CHUNK_VALUES // others))
        while np.prod(sizes) > 16 * CHUNK_VALUES:  # a step of many draws of many columns
            sizes[int(np.argmax(sizes))] //= 2
        return tuple(sizes)

    def _add(self, name: str, group: Group) -> None:
        """Put the variables of a sequence in its place."""
        here, steps = slice(self.place, self.place + 1), slice(0, self.lengths[self.place])
        where = {"sequence": here, "step": steps} if self.several else {}
        for key, v in group.variables.items():
            dims = self._dims(name, v.dims)
            values = np.expand_dims(v.values, dims.index("sequence")) if "sequence" in dims else v.values
            self.file[name].variables[key][tuple(where.get(dim, slice(None)) for dim in dims) or ...] = values

    def _add_scored(self, group: Group) -> None:
        """Put the scored steps of a sequence behind those of the sequences before it."""
        made, steps = self.file[SCORED], group.coords["step"].values
        begin, end = self.observations, self.observations + len(steps)
        made.resize_dimension("observation", end)
        made.variables["sequence"][begin:end] = np.array([self.names[self.place]] * len(steps), dtype=object)
        made.variables["step"][begin:end] = steps
        for key, v in group.variables.items():
            made.variables[key][:, :, begin:end] = v.values
        self.observations = end
