"""Recordings without noise and without the silence around the words, all equally loud: for the shipped `voice`.

    python benchmarks/voiced.py ../shared/data/speech_wakewords voiced

Reads and writes one FLAC per split and index.csv (split, start, n, name, speaker), as `prepare audio --index` does. A
clip's level is that of blocks of 20 ms, averaged over three. Clips are left out whose quietest tenth is not 25 decibels
below their loudest block: there is noise in them. Of the others, what lies between the first and the last block within
15 decibels of the loudest is kept, if it is at least 0.2 seconds, and brought to the same root mean square.

Why: a model of the whole clips learns above all that silence follows silence, and its samples are silent.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import soundfile

CONTRAST, KEPT = 25.0, 15.0
"""Decibels."""
BLOCK, SHORTEST = 0.02, 0.2
"""Seconds."""
LEVEL = 0.1
"""The root mean square of each clip that is written, full scale being 1."""
Sound = np.ndarray[tuple[int], np.dtype[np.float64]]


def trimmed(clip: Sound, rate: int) -> Sound | None:
    """The words of a clip at the level of all; None if it is too noisy or too short."""
    block = round(BLOCK * rate)
    power = (clip[: len(clip) // block * block].reshape(-1, block) ** 2).mean(1)
    level = 10 * np.log10(np.convolve(power, np.ones(3) / 3, "same") + 1e-12)
    (loud,) = np.nonzero(level > level.max() - KEPT)
    clip = clip[loud[0] * block : (loud[-1] + 1) * block]
    if level.max() - np.quantile(level, 0.1) < CONTRAST or len(clip) < SHORTEST * rate:
        return None
    return np.clip(clip * LEVEL / np.sqrt((clip**2).mean()), -1, 1)


def main(source: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with (source / "index.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    kept = []
    for split in ("train", "valid", "test"):
        sound, rate = soundfile.read(source / f"{split}.flac")
        parts, at = [], 0
        for row in (row for row in rows if row["split"] == split):
            clip = trimmed(sound[int(row["start"]) :][: int(row["n"])], rate)
            if clip is not None:
                parts.append(clip)
                kept.append({**row, "start": at, "n": len(clip)})
                at += len(clip)
        soundfile.write(out / f"{split}.flac", np.concatenate(parts), rate)
        print(f"{split}: {len(parts)} clips, {at / rate:.1f} seconds")
    with (out / "index.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(kept[0]))
        writer.writeheader()
        writer.writerows(kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
