"""Very many updates of a small model: memory, open files, the cost of metrics, and the time of an update do not grow.

    python benchmarks/endurance.py --updates 100000      (make endurance)

Times are this process's own of a core, so that other work on the machine counts for little. Exit code 1 if an update at
the end takes more than 5% longer than at the start, or memory or open files grow.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import reliability

sys.path.insert(0, str(reliability.ROOT / "tests"))
from small import write_small

import pyro_vrnn as pv

SETTINGS = {"model.hidden_dim": 4, "model.latent_dim": 2, "model.network_dims": [4], "data.batch_size": 12}
SETTINGS |= {"training.log_every": 10, "training.validate_every": 200}
SLOWER = 1.05
GROWTH = 4 * 2**20
"""Bytes that the allocator of C may take more without anything being kept."""


@dataclass(frozen=True)
class Block:
    """What was there after so many updates."""

    step: int
    seconds: float
    memory: int
    files: int


class Watch(pv.Observer):
    """Looks at this process after every block of updates.

    Args:
        every: updates of a block.
    """

    def __init__(self, every: int) -> None:
        self.every, self.blocks, self.last = every, list[Block](), time.process_time()

    def stepped(self, step: int) -> None:
        """A block may have ended."""
        if step % self.every == 0:
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            files, now = len(os.listdir("/proc/self/fd")), time.process_time()
            seconds = (now - self.last) / self.every
            self.blocks.append(Block(step, seconds, pages * os.sysconf("SC_PAGE_SIZE"), files))
            self.last = time.process_time()


def endure(folder: Path, *, minutes: float, every: int = 1000, steps: int = 10**9) -> dict[str, Any]:
    """Train for so long; what the first and last fifth of the blocks were like, without the very first."""
    watch = Watch(every)
    run = pv.train("chorales-vrnn", data=write_small(folder / "d.h5"), out=folder / "run", max_seconds=60 * minutes,
                   max_steps=steps, epochs=10**9, device="cpu", settings=SETTINGS, observer=watch)  # fmt: skip
    assert run.result is not None
    blocks = watch.blocks[1:]
    share = max(1, len(blocks) // 5)
    first, last = blocks[:share], blocks[-share:]
    rows = (run.folder / "metrics.jsonl").read_bytes()
    return {
        "updates": run.result.steps,
        "milliseconds": [1000 * statistics.median(b.seconds for b in part) for part in (first, last)],
        "megabytes": [statistics.median(b.memory for b in part) / 2**20 for part in (first, last)],
        "files": [max(b.files for b in part) for part in (first, last)],
        "bytes of metrics per update": len(rows) / run.result.steps,
    }


def faulty(found: dict[str, Any]) -> list[str]:
    """What has grown."""
    (before, after), (small, large), (few, many) = found["milliseconds"], found["megabytes"], found["files"]
    wrong = [f"an update takes {after / before:.2f} times as long at the end"] if after > SLOWER * before else []
    wrong += [f"memory has grown by {large - small:.1f} MB"] if (large - small) * 2**20 > GROWTH else []
    return wrong + ([f"{many - few} more open files"] if many > few else [])


def main() -> int:
    """Run it, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--updates", type=int, default=100_000)
    parser.add_argument("--minutes", type=float, default=120, help="at most")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = endure(Path(folder), minutes=options.minutes, steps=options.updates)
    wrong = faulty(found)
    (before, after), (small, large), files = found["milliseconds"], found["megabytes"], found["files"]
    said = (
        f"{found['updates']:,} updates; {before:.2f} ms of a core per update at the start, {after:.2f} ms at the end; "
        f"{small:.0f} MB, then {large:.0f} MB; {files[0]} open files, then {files[1]}; "
        f"{found['bytes of metrics per update']:.0f} bytes of metrics per update at one row in ten"
    )
    print(said, *wrong, sep="\n")
    reliability.record("make endurance", {"said": f"{said}. {'; '.join(wrong) or 'Nothing has grown'}."})
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
