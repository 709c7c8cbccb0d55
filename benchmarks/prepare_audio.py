"""How fast recordings are prepared, in multiples of real time on one core, and in how much memory.

    OMP_NUM_THREADS=1 python benchmarks/prepare_audio.py [hours]

Makes recordings of noise in a temporary folder (16 kHz wav of so many hours, 2 by default, and a tenth of that in
other formats), prepares each, and prints JSON. `peak_mib` is the process's so far, libraries and all.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from pyro_vrnn.data.sources import audio

CASES = {  # name: format, subtype, rate, channels, part of the hours
    "wav": ("WAV", "PCM_16", 16000, 1, 1.0),
    "wav, 24 bits": ("WAV", "PCM_24", 16000, 1, 0.1),
    "flac": ("FLAC", "PCM_16", 16000, 1, 0.1),
    "ogg": ("OGG", "VORBIS", 16000, 1, 0.1),
    "mp3": ("MP3", "MPEG_LAYER_III", 16000, 1, 0.1),
    "wav, 44.1 kHz, stereo, resampled": ("WAV", "PCM_16", 44100, 2, 0.1),
}


def make(path: Path, container: str, subtype: str, rate: int, channels: int, seconds: float) -> float:
    """Noise of about so many seconds, in minutes that repeat; its true length in seconds."""
    minute = (np.random.default_rng(0).normal(size=(60 * rate, channels)) * 3000).astype(np.int16)
    minutes = max(1, round(seconds / 60))
    with soundfile.SoundFile(path, "w", rate, channels, subtype, format=container) as file:
        for _ in range(minutes):
            file.write(minute)
    return 60.0 * minutes


def main(hours: float) -> None:
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (container, subtype, rate, channels, part) in CASES.items():
            source, out = Path(folder, "source"), Path(folder, "out.h5")
            seconds = make(source, container, subtype, rate, channels, 3600 * hours * part)
            begin = time.perf_counter()
            audio.prepare(out, source=source, splits=(100, 0, 0), resample=rate != 16000, overwrite=True)
            took = time.perf_counter() - begin
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            results.append(
                {
                    "case": name,
                    "hours": round(seconds / 3600, 3),
                    "seconds": round(took, 2),
                    "times_real_time": round(seconds / took),
                    "peak_mib": round(peak),
                }
            )
            source.unlink()
    print(json.dumps({"schema": 1, "results": results}, indent=2))


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
