"""Checkpoints: written beside and renamed, hashed, checked before use. Never pickle.

RUN/checkpoints/step-00001234/  model.safetensors  optimizer.safetensors  state.json  MANIFEST.json (last)
RUN/checkpoints/BEST, LATEST    the name of a step folder
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from pyro_vrnn import weights
from pyro_vrnn.system.errors import CheckpointError
from pyro_vrnn.system.files import cannot_write, sync_folder, write_bytes, write_synced
from pyro_vrnn.system.run_files import check_links

SCHEMA = 1
FILES = ("model.safetensors", "optimizer.safetensors", "state.json")
MANIFEST = "MANIFEST.json"


@dataclass(frozen=True)
class Checkpoint:
    """What one holds: the weights that were validated, what training needs to continue, and where it stood."""

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def save(folder: Path, checkpoint: Checkpoint, *, best: bool) -> Path:
    """Write a checkpoint of a run and point LATEST (and BEST) at it; keep those two and the one before LATEST.

    Args:
        folder: RUN/checkpoints.
        checkpoint: its state has "step".
        best: whether it is the best on validation so far.

    Returns:
        The step folder.

    Raises:
        ResourceError: no room; nothing is left behind and the checkpoints before it stand.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sync_folder(folder.parent)  # the entries of this folder and of metrics.jsonl, before anything is said to be in them
    name = f"step-{checkpoint.state['step']:08d}"
    contents = {
        "model.safetensors": save_tensors({k: v.detach().cpu().contiguous() for k, v in checkpoint.model.items()}),
        "optimizer.safetensors": save_tensors({k: v.cpu().contiguous() for k, v in checkpoint.optimizer.items()}),
        "state.json": _json(checkpoint.state | {"schema": SCHEMA}),
    }
    manifest = {
        "schema": SCHEMA,
        "files": {k: {"bytes": len(v), "sha256": hashlib.sha256(v).hexdigest()} for k, v in contents.items()},
    }
    temporary = folder / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
    with cannot_write(folder / name, sum(map(len, contents.values()))):
        try:
            temporary.mkdir()
            for file, content in contents.items():
                write_synced(temporary / file, content)
            write_synced(temporary / MANIFEST, _json(manifest))
            sync_folder(temporary)
            target, aside = folder / name, folder / f".{name}.{uuid.uuid4().hex[:8]}.old.tmp"
            if target.exists():  # the same step again, as when a stop follows a validation
                target.rename(aside)
            temporary.rename(target)
            sync_folder(folder)  # before the one aside goes, or a power cut could take both
            shutil.rmtree(aside, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    write_bytes(folder / "LATEST", f"{name}\n".encode())
    if best:
        write_bytes(folder / "BEST", f"{name}\n".encode())
    trim(folder.parent)
    return target


def load(step_folder: Path) -> Checkpoint:
    """Read a checkpoint after checking its manifest, sizes and hashes.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    _expect_own(step_folder)
    _expect_regular(step_folder / MANIFEST)
    manifest = _read_json(step_folder / MANIFEST, limit=1 << 16)
    schema = manifest.get("schema")
    if schema != SCHEMA:
        raise CheckpointError(
            f"{step_folder}: checkpoint schema {schema!r}, this version reads {SCHEMA}",
            "a newer schema needs a newer pyro-vrnn: pip install --upgrade pyro-vrnn",
            step_folder,
        )
    files = manifest.get("files")
    if not isinstance(files, dict) or set(files) != set(FILES):
        raise CheckpointError(f"{step_folder / MANIFEST}: must list {', '.join(FILES)}", _DAMAGED, step_folder)
    contents = {}
    for name in FILES:
        path = step_folder / name
        _expect_regular(path)
        entry = files[name] if isinstance(files[name], dict) else {}
        size = path.stat().st_size
        if size != entry.get("bytes"):
            raise CheckpointError(f"{path}: {size} bytes, MANIFEST.json says {entry.get('bytes')}", _DAMAGED, path)
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != entry.get("sha256"):
            raise CheckpointError(f"{path}: sha256 mismatch with MANIFEST.json", _DAMAGED, path)
        contents[name] = content
    state = _object(contents["state.json"], step_folder / "state.json")
    try:
        model, optimizer = (load_tensors(contents[name]) for name in FILES[:2])
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{step_folder}: not safetensors ({error})", _DAMAGED, step_folder) from None
    # Shipped weights are float16 at half the size; a network's own are never less than float32.
    model = {key: value.float() if value.dtype == torch.float16 else value for key, value in model.items()}
    return Checkpoint(model, optimizer, state)


def read_state(step_folder: Path) -> dict[str, Any]:
    """Read where the training stood at a checkpoint, without its weights: its state.json.

    Raises:
        CheckpointError: it is missing or not JSON.
    """
    _expect_regular(step_folder / "state.json")
    return _read_json(step_folder / "state.json", limit=1 << 16)


_DAMAGED = "the checkpoint is damaged; name another one of RUN/checkpoints, or train again"


def find(path: Path, which: str = "BEST") -> tuple[Path, Path]:
    """A RUN argument to (run folder, step folder): a run folder, one of its checkpoints, or a shipped model's name.

    A folder of that name in the current one goes before the shipped model.

    Raises:
        CheckpointError: no run there, it has no such checkpoint, or a file of it is a symbolic link.
    """
    shadow = weights.hidden(path)
    path = weights.folder_of(path)
    if not path.exists():
        known = f"or the name of a shipped model, which `pyro-vrnn models` lists: {', '.join(weights.names())}"
        raise CheckpointError(f"{path}: no such run", f"a run is a folder that `pyro-vrnn train` wrote, {known}", path)
    if (path / MANIFEST).is_file() and path.parent.name == "checkpoints":
        check_links(path.parent.parent)
        return path.parent.parent, path
    check_links(path)
    if not (path / "config.toml").is_file():
        raise CheckpointError(
            f"{path}: not a run folder (no config.toml)",
            "it hides the shipped model of this name: rename it, or work in another folder"
            if shadow
            else "give the folder that `pyro-vrnn train --out` wrote; other formats, such as Pyro's param store "
            "or a pickle, are never read because loading one can run code",
            path,
        )
    folder = path / "checkpoints"
    pointed = [read_pointer(folder, which), read_pointer(folder, "LATEST")]
    there = [*pointed, *sorted((f.name for f in folder.glob("step-*")), reverse=True)]
    name = next((n for n in there if n is not None and (folder / n).is_dir()), None)
    if name is None:
        raise CheckpointError(f"{path}: no checkpoint yet", "let `pyro-vrnn train` reach its first validation", path)
    _expect_own(folder / name)
    return path, folder / name


def newest(run: Path) -> tuple[Path, Checkpoint, list[str]]:
    """The newest checkpoint of a run that is whole, and a warning for each one passed over.

    Raises:
        CheckpointError: none is whole.
    """
    warnings: list[str] = []
    latest = read_pointer(run / "checkpoints", "LATEST")
    folders = sorted((run / "checkpoints").glob("step-*"), key=lambda f: (f.name == latest, f.name), reverse=True)
    for folder in folders:
        try:
            return folder, load(folder), warnings
        except CheckpointError as error:
            warnings.append(f"passed over {folder.name}: {error.message}")
    raise CheckpointError(f"{run}: no whole checkpoint to resume from ({'; '.join(warnings)})", _DAMAGED, run)


def begun(run: Path) -> bool:
    """Whether a run has a checkpoint, one that a killed process was replacing included (`clean` puts it back)."""
    return any(path for pattern in ("step-*", ".step-*.old.tmp") for path in (run / "checkpoints").glob(pattern))


def clean(run: Path) -> None:
    """Remove what a killed process left half-written, and put back a checkpoint that it was replacing."""
    folder = run / "checkpoints"
    for aside in folder.glob(".step-*.old.tmp"):
        target = folder / aside.name.split(".")[1]
        if not target.exists():
            aside.rename(target)
    for pattern in (".step-*.tmp", ".BEST.*.tmp", ".LATEST.*.tmp"):
        for left in folder.glob(pattern):
            shutil.rmtree(left) if left.is_dir() else left.unlink()


def read_pointer(folder: Path, name: str) -> str | None:
    """The step folder that BEST or LATEST names, or None."""
    path = folder / name
    if not path.is_file():
        return None
    target = path.read_text("utf-8", errors="replace").strip()[:64]
    if not target.startswith("step-") or not target.removeprefix("step-").isdigit():
        raise CheckpointError(f"{path}: names {target!r}, which is no checkpoint", _DAMAGED, path)
    return target


def expect(own: Mapping[str, Tensor], given: Mapping[str, Tensor | None], path: Path, what: str) -> None:
    """Check names, shapes, types, and that all values are finite; a given None may be there or not.

    Raises:
        CheckpointError: listing what does not fit.
    """
    faults = [f"missing {k}" for k in own if given.get(k) is None]
    faults += [f"unknown {k}" for k, v in given.items() if v is not None and k not in own]
    for key in own.keys() & given.keys():
        mine, theirs = own[key], given[key]
        if theirs is None:
            continue
        if mine.shape != theirs.shape or mine.dtype != theirs.dtype:
            faults.append(f"{key} is {theirs.dtype} {list(theirs.shape)}, not {mine.dtype} {list(mine.shape)}")
        elif not bool(torch.isfinite(theirs).all()):
            faults.append(f"{key} has NaN or infinite values")
    if faults:
        raise CheckpointError(
            f"{path}: {what} does not fit the model: {'; '.join(sorted(faults)[:8])}",
            "was it trained with other model settings? compare config.toml",
            path,
        )


def load_weights(net: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Copy weights into a network after checking them.

    Raises:
        CheckpointError: listing what does not fit.
    """
    expect(net.state_dict(), weights, path, "the file of weights")
    net.load_state_dict(dict(weights))


def point(folder: Path, name: str, step: int) -> None:
    """Let BEST or LATEST name a step's checkpoint."""
    write_bytes(folder / name, f"step-{step:08d}\n".encode())


def rewind(run: Path, step_folder: Path) -> None:
    """Make a checkpoint the newest: later ones go, and BEST falls back to it if it was one of them."""
    folder = run / "checkpoints"
    for other in folder.glob("step-*"):
        if other.name > step_folder.name:
            shutil.rmtree(other)
    write_bytes(folder / "LATEST", f"{step_folder.name}\n".encode())
    best = read_pointer(folder, "BEST")
    if best is not None and not (folder / best).exists():
        write_bytes(folder / "BEST", f"{step_folder.name}\n".encode())


def trim(run: Path) -> None:
    """Remove all but BEST, LATEST and the one before LATEST, also what a killed process had still to remove."""
    folder = run / "checkpoints"
    latest, names = read_pointer(folder, "LATEST"), sorted(f.name for f in folder.glob("step-*"))
    if latest in names:
        keep = {latest, read_pointer(folder, "BEST"), *names[: names.index(latest)][-1:]}
        for name in names:
            if name not in keep:
                shutil.rmtree(folder / name)


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def _read_json(path: Path, limit: int) -> dict[str, Any]:
    if path.stat().st_size > limit:
        raise CheckpointError(f"{path}: larger than {limit} bytes", _DAMAGED, path)
    return _object(path.read_bytes(), path)


def _object(content: bytes, path: Path) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON ({error})", _DAMAGED, path) from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path}: not a JSON object", _DAMAGED, path)
    return value


def _expect_own(step_folder: Path) -> None:
    if step_folder.is_symlink():
        raise CheckpointError(f"{step_folder}: is a symbolic link", _DAMAGED, step_folder)


def _expect_regular(path: Path) -> None:
    """No symlink out of the folder, no FIFO that would block."""
    if path.is_symlink() or not path.is_file():
        raise CheckpointError(f"{path}: missing, or not a regular file", _DAMAGED, path)
