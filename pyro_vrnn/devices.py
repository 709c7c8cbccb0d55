"""The names of devices: auto, cpu, cuda, cuda:N."""

from __future__ import annotations

import re

import torch

from pyro_vrnn.errors import ConfigError, DeviceError


def device(name: str) -> torch.device:
    """The device of this name: `cuda` is the current CUDA device; `auto` is that, or without one the CPU.

    Args:
        name: auto, cpu, cuda or cuda:N.

    Returns:
        The device, a CUDA one always with its index.

    Raises:
        ConfigError: no such name.
        DeviceError: a CUDA device that is not there.
    """
    match = re.fullmatch(r"(auto|cpu|cuda)|cuda:(\d{1,3})", name, flags=re.ASCII)
    if match is None:
        raise ConfigError(f"device {name!r}: choose from auto, cpu, cuda, cuda:N", "one of: auto, cpu, cuda, cuda:0")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and count == 0):
        return torch.device("cpu")
    if count == 0:
        built = torch.version.cuda
        why = "this build of torch is for the CPU only" if built is None else f"torch for CUDA {built} finds none"
        raise DeviceError(f"device {name!r}: no CUDA device here ({why}); available: cpu", "--device cpu, or auto")
    index = int(match[2]) if match[2] else torch.cuda.current_device()
    if index >= count:
        there = ", ".join(["cpu", *(f"cuda:{i}" for i in range(count))])
        raise DeviceError(f"device {name!r} is not here; available: {there}", f"one of: auto, {there}")
    return torch.device("cuda", index)
