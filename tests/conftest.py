"""What every test starts from: one thread, an empty Pyro store with validation on, and a fixed seed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what it puts into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # as nohup starts what it is given
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("default", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("default")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Two threads beside another busy process make a small model twenty times slower."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def fresh_pyro(one_thread: None) -> Iterator[None]:
    """No test sees another's parameters or random numbers."""
    import pyro

    pyro.clear_param_store()
    pyro.enable_validation(True)
    pyro.set_rng_seed(0)
    yield
    pyro.clear_param_store()


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the repository that holds real data sets; tests that need it skip without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(f"the real data sets of {folder} are not here")
    return folder
