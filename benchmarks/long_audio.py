"""Twenty hours of audio: what preparing and training hold in memory, and how many windows per second can be read.

    OMP_NUM_THREADS=1 python benchmarks/long_audio.py [hours]

Makes wav files of noise of so many hours (20 by default; 115 MB an hour, and as much for the data file) in a temporary
folder. Prints JSON: the peak memory of `prepare audio` and of `train` on the file, in MiB, each a process of its own,
libraries and all; random half-second windows (40 steps of 200 samples) a second, from files that are not in memory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from pyro_vrnn.data.batching import epoch_plan
from pyro_vrnn.data.dataset import SequenceDataset, collate

RATE, WINDOW, BATCH = 16000, 40, 64


def peak(*argv: object) -> tuple[float, float]:
    """MiB and seconds of one command of the CLI."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-m", "pyro_vrnn", *map(str, argv), "-q"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{argv[0]}: exit {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024, time.perf_counter() - start


def windows_a_second(data: Path) -> list[float]:
    """Of two passes over all windows in random order; in the first one each chunk is checked when it is first read."""
    dataset = SequenceDataset(data, "train", WINDOW)
    rates = []
    for epoch in (0, 1):
        plan = epoch_plan(dataset.lengths, BATCH, seed=0, epoch=epoch)
        start = time.perf_counter()
        for batch in plan:
            collate(dataset, batch)
        rates.append(len(dataset) / (time.perf_counter() - start))
    return rates


def main() -> None:
    hours = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "wav").mkdir()
        hour = (np.random.default_rng(0).normal(size=(RATE * 60, 1)) * 3000).astype(np.int16)
        for n in range(max(3, round(hours * 2))):  # half an hour each
            with soundfile.SoundFile(folder / "wav" / f"{n}.wav", "w", RATE, 1, "PCM_16") as file:
                for _ in range(30):
                    file.write(hour)
        data = folder / "long.h5"
        prepared, took = peak("prepare", "audio", folder / "wav", "--out", data, "--seconds", 10)
        small = ["--set", "model.hidden_dim=32", "--set", "model.network_dims=32", "--set", "model.latent_dim=8"]
        trained, _ = peak(
            "train", "iwae-speech", "--objective", "elbo", "--data", data, "--max-steps", 30, "--set",
            "data.window=40", "--set", "training.valid_objective=own", "--set", "training.valid_particles=0",
            *small, "--out", folder / "run",
        )  # fmt: skip
        first, then = windows_a_second(data)
        found = {
            "hours": len(list((folder / "wav").iterdir())) / 2,
            "file_mib": data.stat().st_size / 2**20,
            "prepare_peak_mib": prepared,
            "prepare_times_real_time": len(list((folder / "wav").iterdir())) * 1800 / took,
            "train_peak_mib": trained,
            "windows_a_second_first_epoch": first,
            "windows_a_second": then,
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
