"""What is freed stays with the process while it trains on a CPU."""

from __future__ import annotations

import platform
import subprocess
import sys

from pyro_vrnn.system.devices import keep_memory

CODE = """if True:
    import resource, sys, torch
    from pyro_vrnn.system.devices import keep_memory
    assert "keep" not in sys.argv or keep_memory()
    a = torch.ones(1_000_000)
    def faults():
        for _ in range(10):
            many = [a + 1 for _ in range(10)]
            del many
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    print(-faults() + faults())"""


def test_freed_memory_is_kept() -> None:
    """Buffers that come and go are not mapped anew; glibc gives back what is freed at the end of its heap."""
    if platform.libc_ver()[0] != "glibc":
        assert keep_memory() is False
        return
    usual, kept = (
        int(subprocess.run([sys.executable, "-c", CODE, *argv], capture_output=True, text=True, check=True).stdout)
        for argv in ([], ["keep"])
    )
    assert kept < 2000  # two buffers at most; 100 came and went
    assert usual > 2 * kept
