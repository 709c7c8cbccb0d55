"""Small sound files of every format, for the tests of audio."""

from __future__ import annotations

import csv
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import Array, DataInfo
from pyro_vrnn.data.sources import audio

RATE = 16000
ALL = (100.0, 0.0, 0.0)  # everything is for training


def noise(samples: int, seed: int = 0) -> Array:
    """Something like speech in its loudness, int16."""
    return (np.random.default_rng(seed).normal(size=samples) * 3000).astype(np.int16)


def encoded(x: Array, container: str = "WAV", subtype: str | None = "PCM_16", rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, x, rate, format=container, subtype=subtype)
    return file.getvalue()


def wav(data: bytes, *, claims: int | None = None, rate: int = RATE, channels: int = 1, bits: int = 16) -> bytes:
    """A wav of these samples; its header says what it is told to say."""
    claims = len(data) if claims is None else claims
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * width & 2**32 - 1, width & 0xFFFF, bits)
    size = struct.pack("<I", min(2**32 - 1, claims + 36))
    return b"RIFF" + size + b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", claims) + data


def sphere(x: Array, *, claims: int | None = None, coding: str = "pcm") -> bytes:
    """NIST SPHERE as TIMIT has it."""
    lines = [
        "NIST_1A\n   1024",
        "channel_count -i 1",
        f"sample_count -i {len(x) if claims is None else claims}",
        "sample_rate -i 16000",
        "sample_n_bytes -i 2",
        "sample_byte_format -s2 01",
        "sample_sig_bits -i 16",
        f"sample_coding -s{len(coding)} {coding}",
        "end_head\n",
    ]
    return "\n".join(lines).encode().ljust(1024) + x.astype("<i2").tobytes()


def npy(x: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, x)
    return file.getvalue()


def npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def put(folder: Path, **files: bytes) -> Path:
    """Files in a folder; `__` in a name stands for a slash, and `_` before the last part for the dot."""
    for name, data in files.items():
        stem, _, suffix = name.replace("__", "/").rpartition("_")
        path = folder / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def prepared(tmp_path: Path, source: Any, **options: Any) -> DataInfo:
    options = {"splits": ALL, "seconds": None, "overwrite": True} | options
    return audio.prepare(tmp_path / "out.h5", source=source, **options)


def samples(info: DataInfo, split: str = "train") -> list[Array]:
    return [x.reshape(-1) for x in read_split(info.path, split)]


def ids(info: DataInfo, split: str = "train") -> list[str]:
    return list(SequenceDataset(info.path, split).ids)


def why_skipped(info: DataInfo) -> dict[str, str]:
    return {skip["file"]: skip["reason"] for skip in info.extra["skipped"]}


X = noise(2000)


def without_length(flac: bytes) -> bytes:
    """STREAMINFO with a total of 0 samples, which means: unknown."""
    return flac[:21] + bytes([flac[21] & 0xF0]) + bytes(4) + flac[26:]


def indexed(folder: Path, rows: list[list[Any]], **lengths: int) -> Path:
    """The layout of shared/data/speech_*."""
    folder.mkdir(exist_ok=True)
    for seed, (split, length) in enumerate(lengths.items()):
        (folder / f"{split}.flac").write_bytes(encoded(noise(length, seed), "FLAC"))
    with open(folder / "index.csv", "w", newline="") as file:
        csv.writer(file).writerows([["split", "start", "n", "name", "speaker"], *rows])
    return folder
