"""Names of devices, and memory that a CPU training keeps."""

from __future__ import annotations

import platform

import pytest
import torch

from pyro_vrnn.system.devices import device, keep_memory
from pyro_vrnn.system.errors import ConfigError, DeviceError


@pytest.mark.fault(44)
def test_names() -> None:
    assert device("cpu") == torch.device("cpu")
    for name in ("", "gpu", "cuda:", "cuda:1x", "CPU", "cuda:0000", "mps"):
        with pytest.raises(ConfigError, match="choose from auto, cpu, cuda"):
            device(name)
    if not torch.cuda.is_available():
        assert device("auto") == torch.device("cpu")
        with pytest.raises(DeviceError, match="no CUDA device here"):
            device("cuda:1")


def test_memory_is_kept_where_the_c_library_can() -> None:
    """And what is computed is the same."""
    a = torch.arange(1000.0)
    before = (a * a).sum()
    assert keep_memory() is (platform.libc_ver()[0] == "glibc")
    assert (a * a).sum() == before
