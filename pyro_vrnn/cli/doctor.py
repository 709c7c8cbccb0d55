"""What is installed here, on what it runs, and what stands in the way. Nothing missing makes it fail."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = {
    "torch": "torch",
    "pyro-ppl": "pyro",
    "numpy": "numpy",
    "h5py": "h5py",
    "soundfile": "soundfile",
    "safetensors": "safetensors",
    "pretty_midi": "pretty_midi",
    "matplotlib": "matplotlib",
    "music21": None,  # seconds to import; its metadata tell enough
}
"""Distribution -> the module whose import shows that it works, if that is tried."""

LITTLE = 1 << 30
"""Bytes of free disk or memory below which a long run is at risk."""


def report(data: str | Path = "data") -> dict[str, Any]:
    """Look round and tell, as plain values that JSON can hold.

    Args:
        data: the folder where data sets go, which need not exist.

    Returns:
        `python`, `platform`, `packages` (name -> version or None), `codecs`, `hdf5`, `devices`, `storage` and
        `memory` (bytes), and `problems`: a list of `{"problem", "hint"}`.
    """
    problems: list[dict[str, str]] = []
    modules: dict[str, ModuleType] = {}
    packages: dict[str, str | None] = {"pyro-vrnn": _version("pyro-vrnn")}
    for name, module in PACKAGES.items():
        packages[name] = _version(name)
        if packages[name] is not None and module is not None:
            try:
                modules[name] = importlib.import_module(module)
            except Exception as error:  # a package that is there but broken, in whatever way
                _add(
                    problems,
                    f"{name} does not import: {error}",
                    f"reinstall it: pip install --force-reinstall {name}",
                )
    problems += _version_problems(packages)
    found: dict[str, Any] = {
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "platform": platform.platform(),
        "packages": packages,
        "codecs": _codecs(modules.get("soundfile"), problems),
        "hdf5": _try(lambda: str(modules["h5py"].version.hdf5_version)),
        "devices": _devices(modules.get("torch"), problems),
        "storage": {
            "data": _storage("data folder", Path(data), problems),
            # nothing is made there: it is looked at
            "temp": _storage("temporary folder", Path(_try(tempfile.gettempdir) or "/tmp"), problems),  # noqa: S108
        },
        "memory": _memory(problems),
    }
    return {**found, "problems": problems}


def _add(problems: list[dict[str, str]], problem: str, hint: str) -> None:
    problems.append({"problem": problem, "hint": hint})


def _try(ask: Callable[[], Any]) -> Any:
    """The answer, or None where this system has none."""
    try:
        return ask()
    except Exception:  # a report continues whatever one of its questions meets
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.13.0+cpu -> (2, 13, 0)."""
    return tuple(int(n) for n in re.findall(r"\d+", re.split(r"[^\d.]", version)[0]))


def _version_problems(packages: dict[str, str | None]) -> list[dict[str, str]]:
    """What is missing or too old, by the requirements that this package was installed with."""
    problems: list[dict[str, str]] = []
    for requirement in _try(lambda: metadata.requires("pyro-vrnn")) or []:
        match = re.match(r"([\w.-]+)\s*>=\s*([\d.]+)", requirement)
        extra = re.search(r"extra == [\"'](\w+)[\"']", requirement)
        if match is None or match[1] not in packages or (extra and extra[1] != "chorales"):
            continue
        name, least, version = match[1], match[2], packages[match[1]]
        if version is None and extra:
            what = f"{name} is not installed: `prepare chorales` is not available"
            _add(problems, what, f"pip install 'pyro-vrnn[{extra[1]}]'")
        elif version is None:
            _add(problems, f"{name} is not installed", f"pip install '{name}>={least}'")
        elif _numbers(version) < _numbers(least):
            _add(problems, f"{name} {version} is too old: {least} is needed", f"pip install '{name}>={least}'")
    return problems


def _codecs(soundfile: ModuleType | None, problems: list[dict[str, str]]) -> dict[str, Any] | None:
    if soundfile is None:
        return None
    formats = sorted(soundfile.available_formats())
    for suffix in ("WAV", "FLAC", "OGG", "MP3", "NIST"):
        if suffix not in formats:
            _add(problems, f"libsndfile cannot read {suffix} files", "install libsndfile 1.1 or newer")
    return {"libsndfile": soundfile.__libsndfile_version__, "formats": formats}


def _devices(torch: ModuleType | None, problems: list[dict[str, str]]) -> dict[str, Any]:
    cores = _try(lambda: len(os.sched_getaffinity(0))) or os.cpu_count()
    cpu = {"name": _cpu_name(), "cores": os.cpu_count(), "usable_cores": cores, "torch_threads": None}
    if torch is None:
        return {"cpu": cpu, "cuda": []}
    cpu["torch_threads"] = torch.get_num_threads()
    if torch.get_num_threads() > (cores or 1):
        _add(problems, f"torch uses {torch.get_num_threads()} threads on {cores} cores", f"--threads {cores}")
    cuda = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            about = _try(partial(torch.cuda.get_device_properties, index))
            if about is None:
                _add(problems, f"cuda:{index} does not answer", "see nvidia-smi")
                continue
            capability = f"{about.major}.{about.minor}"
            cuda.append({"index": index, "name": about.name, "memory": about.total_memory, "capability": capability})
    elif torch.version.cuda is not None:
        what = f"torch is built for CUDA {torch.version.cuda} and finds no device"
        _add(problems, what, "check the driver with nvidia-smi; without a GPU, --device cpu is all there is")
    return {"cpu": cpu, "cuda": cuda}


def _cpu_name() -> str:
    info = _try(lambda: Path("/proc/cpuinfo").read_text()) or ""
    match = re.search(r"^model name\s*:\s*(.+)$", info, flags=re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def _storage(what: str, folder: Path, problems: list[dict[str, str]]) -> dict[str, Any]:
    """Whether files can be made in a folder, or, where it is not there yet, in the nearest one above it."""
    there = next((path for path in (folder, *folder.absolute().parents) if path.is_dir()), Path())
    try:
        with tempfile.TemporaryFile(dir=there):
            writable = True
    except OSError as error:
        writable = False
        _add(
            problems,
            f"the {what} {folder} cannot be written: {error.strerror}",
            "change its rights, or use another",
        )
    free = _try(lambda: shutil.disk_usage(there).free)
    if free is not None and free < LITTLE:
        _add(problems, f"{free >> 20} MiB free for the {what} {folder}", "free some space, or use another disk")
    return {"path": str(folder), "exists": folder.is_dir(), "writable": writable, "free": free}


def _memory(problems: list[dict[str, str]]) -> dict[str, int | None]:
    """Memory in bytes: installed, at hand now, and the most that this process's container may use."""
    info = _try(lambda: Path("/proc/meminfo").read_text()) or ""
    kib = {name: int(value) for name, value in re.findall(r"^(\w+):\s+(\d+) kB$", info, flags=re.MULTILINE)}
    total = kib["MemTotal"] << 10 if "MemTotal" in kib else _try(_installed_memory)
    available = kib["MemAvailable"] << 10 if "MemAvailable" in kib else None
    limit = _try(lambda: int(Path("/sys/fs/cgroup/memory.max").read_text()))
    if available is not None and available < LITTLE:
        _add(problems, f"{available >> 20} MiB of memory at hand", "end other programs, or use a smaller batch")
    return {"total": total, "available": available, "limit": limit}


def _installed_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
