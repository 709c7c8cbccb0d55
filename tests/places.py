"""A folder such as the pages' readers have: the known data sets, small, and raw files under the names they use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pretty_midi
import soundfile
from small import write_small

from pyro_vrnn.data.catalogue import NAMES


def fill(here: Path) -> None:
    """Write it all below `here`."""
    random = np.random.default_rng(0)
    for folder in ("data", "my_recordings", "my_songs", "my_sensors"):
        (here / folder).mkdir(parents=True)
    for name in NAMES.values():
        write_small(here / "data" / name, x_dim=88)
    for i in range(4):
        soundfile.write(here / f"my_recordings/{i}.wav", 0.1 * random.normal(size=17_000 + i), 16_000)
        song = pretty_midi.PrettyMIDI()
        piano = pretty_midi.Instrument(0)
        piano.notes = [pretty_midi.Note(80, 60 + 2 * i + k % 5, 0.2 * k, 0.2 * k + 0.4) for k in range(40)]
        song.instruments.append(piano)
        song.write(str(here / f"my_songs/{i}.mid"))
    for name in ("a_song", "another"):
        song.write(str(here / f"{name}.mid"))
    for name in [*(f"my_sensors/{i}" for i in range(6)), "broken", "today"]:
        rows = [f"{random.normal():.3f},{random.normal():.3f}" for _ in range(40)]
        rows[3:5] = ["1,", "2,"] if name[-1] in "345n" else rows[3:5]
        (here / f"{name}.csv").write_text("\n".join(["speed,heat", *rows, ""]))
    soundfile.write(here / "one_long_talk.wav", 0.1 * random.normal(size=160_000), 16_000)
    soundfile.write(here / "someone.wav", 0.1 * random.normal(size=16_000), 16_000)
    drawings = [[random.normal(size=(n, 2)).tolist() for n in (5, 4)] for _ in range(20)]
    (here / "my_drawings.json").write_text(json.dumps(drawings))
    (here / "my_book.txt").write_text("All happy families are alike.\n" * 200)
    (here / "my_tokens.txt").write_text("".join(f"a b c {'d' * (i % 9 + 1)}\n" for i in range(40)))
