"""The names of devices: auto, cpu, cuda, cuda:N; and how the C library is to treat memory on a CPU."""

from __future__ import annotations

import ctypes
import re
from functools import cache

import torch

from pyro_vrnn.system.errors import ConfigError, DeviceError

MALLOPT = ((-3, 2**25), (-1, 2**31 - 1), (-2, 2**24))
"""M_MMAP_THRESHOLD: buffers below 32 MiB, its limit, come from the heap; M_TRIM_THRESHOLD: which is not cut; M_TOP_PAD:
and grows by 16 MiB."""


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


@cache
def keep_memory() -> bool:
    """Let the C library keep what is freed until the process ends; whether it does. The command line calls it.

    An update on a CPU makes hundreds of buffers of 0.1 to 10 MB. glibc maps each anew, and the system fills it with
    zeros first: 5,000 page faults an update of a DMM, 5 to 10% of its time. (mallopt(3); other systems are left alone.)
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no such function, or (Windows) no such library
        return False
    return all(mallopt(name, value) for name, value in MALLOPT)
