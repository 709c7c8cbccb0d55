"""Windows, frames and what is left over."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from soundfiles import RATE, X, encoded, ids, noise, prepared, put, samples, why_skipped

from pyro_vrnn.data.sources import framing
from pyro_vrnn.system.errors import ConfigError, DataError


def test_windows_keep_all_but_the_part_of_a_frame(tmp_path: Path) -> None:
    """2050 samples in windows of 800 with frames of 100: 8, 8 and 4 frames, and 50 samples are left."""
    x = noise(2050)
    put(tmp_path / "s", a_wav=encoded(x), b_wav=encoded(x[:800]), c_wav=encoded(x[:99]))
    info = prepared(tmp_path, tmp_path / "s", seconds=0.05, frame=100)
    assert ids(info) == ["a#0", "a#1", "a#2", "b#0"]
    got = samples(info)
    assert [len(part) for part in got] == [800, 800, 400, 800]
    np.testing.assert_array_equal(np.concatenate(got[:3]), x[:2000])
    assert info.extra["tail_samples"] == {"train": 50, "valid": 0, "test": 0}
    assert why_skipped(info) == {"c.wav": "99 samples, less than a frame of 100"}
    assert info.extra["skipped_count"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seconds": 0.011}, "--seconds 0.011 is 0.88 frames of 200, not a whole number"),
        ({"seconds": 0.0}, "--seconds 0.0: above 0"),
        ({"seconds": float("nan")}, "--seconds nan: above 0"),
        ({"seconds": 1e9}, "at most 1049"),
        ({"frame": 0}, "--frame=0: must be at least 1"),
        ({"frame": 2**40}, "--frame 1099511627776: at most"),
        ({"sample_rate": 0}, "--sample-rate 0: must be from 1000 to 768000"),
        ({"splits": (90, 5)}, "--splits 90,5"),
        ({"splits": (90, 5, 6)}, "--splits 90,5,6"),
        ({"splits": (101, -1, 0)}, "--splits 101,-1,0"),
        ({"splits": (0, 50, 50)}, "--splits 0,50,50"),
        ({"splits": (float("nan"), 5, 5)}, "--splits nan,5,5"),
        ({"split_by": "speaker"}, "split by 'speaker': choose from file, folder, time"),
        ({"normalise": "ranges"}, "normalise 'ranges': choose from range, standard"),
        ({"seed": -1}, "--seed -1"),
        ({"source": []}, "no source"),
        ({"index": "index.csv"}, "an index, and 1 sources"),
    ],
)
def test_arguments_out_of_range(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    put(tmp_path, a_wav=encoded(X))
    with pytest.raises(ConfigError) as error:
        prepared(tmp_path, **{"source": tmp_path / "a.wav"} | options)
    assert words in error.value.message
    assert os.listdir(tmp_path) == ["a.wav"]


def test_whole_recordings_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "LONGEST_SEQUENCE", 1500)
    put(tmp_path, a_wav=encoded(X))
    with pytest.raises(DataError, match=r"no recording to train on, 1 skipped .a.wav: more than 1500 samples; cut it"):
        prepared(tmp_path, tmp_path / "a.wav")
    assert len(samples(prepared(tmp_path, tmp_path / "a.wav", seconds=0.05))) == 3


def test_a_long_recording_takes_little_memory(tmp_path: Path) -> None:
    """Ten minutes, 19 MB, of which at most a few blocks are in memory."""
    with soundfile.SoundFile(tmp_path / "long.wav", "w", RATE, 1, "PCM_16") as file:
        minute = noise(60 * RATE)
        for _ in range(10):
            file.write(minute)
    tracemalloc.start()
    try:
        info = prepared(tmp_path, tmp_path / "long.wav", seconds=0.5)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert info.splits["train"].sequences == 1200
    assert peak < 12 * 2**20
