"""The files of an estimator: a data file for what it is given, a folder of its own, and what `save` writes."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.schema import Array
from pyro_vrnn.data.supports import check_support
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.estimators.given import Given
from pyro_vrnn.runs import Run
from pyro_vrnn.system.errors import CheckpointError, ConfigError, DataError
from pyro_vrnn.system.files import cannot_write, make_folder, write_bytes

ABOUT = "estimator.json"
"""Beside a run's config.toml: which estimator it belongs to, and its parameters."""
KEPT = ("config.toml", "environment.json", "metrics.jsonl", "log.txt")


def private_folder() -> Path:
    """A new temporary folder; `keep_with` says how long it stays."""
    return Path(tempfile.mkdtemp(prefix="pyro-vrnn-"))


def keep_with(owner: object, folder: Path) -> None:
    """Remove a private folder when its owner is gone, or when the process that made it ends."""
    weakref.finalize(owner, remove, folder, os.getpid())


def remove(folder: Path, process: int | None = None) -> None:
    """Remove a private folder, unless this is a fork of the process that it belongs to."""
    if process in (None, os.getpid()):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def stored(run: Run, given: Given) -> Iterator[SequenceDataset]:
    """The sequences in a data file for as long as they are needed, read as the run's model reads data.

    Raises:
        DataError: values outside the support; missing values where the model knows of none.
    """
    form = run.format
    if form.support == "binary":
        for i, one in enumerate(given.values):
            check_support(one, "binary", f"X: sequence {i}")
        values: list[Array] = [v.astype(np.uint8) for v in given.values]
        missing = False
    else:
        offset = np.asarray(form.offset or (0.0,) * form.x_dim)
        values = [(v.astype(np.float64) - offset).astype(np.float32) for v in given.values]
        missing = any(bool(np.isnan(v).any()) for v in values)
        if missing and not form.missing:
            message = "X has missing values, and the estimator was fitted on data without any"
            raise DataError(message, "fill them in, or fit on data with missing values")
    with tempfile.TemporaryDirectory(prefix="pyro-vrnn-") as folder:
        path = Path(folder) / "data.h5"
        write_sequences(
            path,
            # A file has a training split, whose mean it notes. The model knows its own, and reads test alone.
            {"train": [np.zeros((1, values[0].shape[1]), values[0].dtype)], "test": values},
            ids={"train": ["0"], "test": [str(i) for i in range(len(values))]},
            kind=form.kind,
            support=form.support,
            steps_per_second=form.steps_per_second,
            source="given to an estimator",
            licence="unknown",
            missing=missing,
        )
        yield SequenceDataset(path, "test", encoding=replace(run.encoding, offset=()))


def contents(run: Run) -> dict[str, bytes]:
    """What a run is loaded from: its settings and the checkpoint that was loaded, by their places in its folder."""
    folder, step = run.folder, run.step_folder
    found = {name: (folder / name).read_bytes() for name in KEPT if (folder / name).is_file()}
    found |= {f"checkpoints/{step.name}/{file.name}": file.read_bytes() for file in sorted(step.iterdir())}
    return found | {f"checkpoints/{name}": f"{step.name}\n".encode() for name in ("BEST", "LATEST")}


def unpack(files: Mapping[str, bytes], folder: Path) -> None:
    """Write what `contents` gave into a folder."""
    for name, data in files.items():
        make_folder((folder / name).parent)
        write_bytes(folder / name, data)


def write_folder(path: Path, files: Mapping[str, bytes], *, overwrite: bool) -> None:
    """Write a folder, whole or not at all.

    Raises:
        ConfigError: there is something already that is no saved estimator, or one and `overwrite` is not set; or it
            cannot be written.
        ResourceError: no room.
    """
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        if not (path / ABOUT).is_file():
            raise ConfigError(f"{path}: is there already, and is no saved estimator", "choose another path", path)
        if not overwrite:
            raise ConfigError(f"{path}: holds a saved estimator", "overwrite=True replaces it", path)
    beside = path.absolute().with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.tmp")
    try:
        unpack(files, beside)
        with cannot_write(path):
            if path.exists():
                shutil.rmtree(path)
            beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def about(estimator: Any) -> bytes:
    """The JSON that says which estimator a run belongs to.

    Raises:
        ConfigError: a parameter that JSON cannot say, such as a random generator.
    """
    params = {}
    for name, value in estimator.get_params(deep=False).items():
        try:
            params[name] = json.loads(json.dumps(value, default=_plain, allow_nan=False))
        except (TypeError, ValueError):
            hint = f"set_params({name}=...) to a number, a text or None before saving"
            raise ConfigError(f"{name}={value!r} cannot be saved", hint) from None
    names = getattr(estimator, "feature_names_in_", None)
    said = {
        "schema": 1,
        "estimator": type(estimator).__name__,
        "params": params,
        "n_features_in": int(estimator.n_features_in_),
        "feature_names_in": None if names is None else [str(name) for name in names],
    }
    return (json.dumps(said, indent=2, allow_nan=False) + "\n").encode()


def read_about(path: Path, name: str) -> dict[str, Any]:
    """What `about` said, after checking that it is an estimator of this name.

    Raises:
        CheckpointError: there is none, it is damaged, or it is of another class.
    """
    file = path / ABOUT
    if not file.is_file():
        hint = "pyro_vrnn.load opens the folder of any run"
        raise CheckpointError(f"{path}: no saved estimator (no {ABOUT})", hint, path)
    try:
        found = json.loads(file.read_text("utf-8"))
        params, kind = dict(found["params"]), str(found["estimator"])
        names, count = found["feature_names_in"], int(found["n_features_in"])
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise CheckpointError(f"{file}: damaged ({error})", "save the estimator again", file) from None
    if kind != name:
        raise CheckpointError(f"{path}: holds a {kind}", f"pyro_vrnn.{kind}.load reads it", path)
    return {"params": params, "names": names, "count": count}


def _plain(value: Any) -> Any:
    """NumPy's scalars, as a grid of parameters has them, and paths, as JSON has them; TypeError for anything else."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError
