"""Headers that do not say how long the sound is: of files that were written into a pipe, or never finished."""

from __future__ import annotations

import io
import struct
import tracemalloc
from io import FileIO
from pathlib import Path

import numpy as np
import pytest
from soundfiles import RATE, X, encoded, ids, prepared, put, samples, wav, why_skipped

from pyro_vrnn import cli
from pyro_vrnn.data.sources.decoding import Decoder, Recording, Tally, Unusable
from pyro_vrnn.data.sources.headers import mended
from pyro_vrnn.system.errors import DataError

PCM = X.astype("<i2").tobytes()
LIST = b"LIST" + struct.pack("<I", 26) + b"INFOISFT\x0e\0\0\0encoder 1.2.3\0"
SIZES = {
    "ffmpeg": (2**32 - 1, 2**32 - 1),
    "ffmpeg of old, GStreamer": (0, 0),
    "sox": (0x7FFFF024, 0x7FFFF000),
    "opusdec": (2**31 - 1, 2**31 - 1),
    "arecord": (0x80000024, 0x80000000),
    "stopped": (36, 0),
    "only the file's size": (36 + len(LIST) + len(PCM), 2**32 - 1),
    "only the size of the samples": (2**32 - 1, len(PCM)),
}


def piped(riff: int, data: int, *, before: bytes = LIST, pcm: bytes = PCM, order: str = "<", rate: int = RATE) -> bytes:
    """A wav with these sizes, of 16 bits, mono."""
    form = struct.pack(f"{order}4sIHHIIHH", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
    top = struct.pack(f"{order}4sI4s", b"RIFX" if order == ">" else b"RIFF", riff, b"WAVE")
    return top + form + before + struct.pack(f"{order}4sI", b"data", data) + pcm


def overwritten(content: bytes, *parts: tuple[int, bytes]) -> bytes:
    for at, data in parts:
        content = content[:at] + data + content[at + len(data) :]
    return content


def decoded(path: Path) -> np.ndarray:
    """All samples of one file."""
    with Decoder(RATE, resample=False) as decoder:
        return np.concatenate([*decoder.read(Recording(path, path.name, path.stem, ""), Tally())])


@pytest.mark.parametrize("before", [b"", LIST], ids=["plain", "LIST"])
@pytest.mark.parametrize("program", SIZES)
def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path: Path, program: str, before: bytes) -> None:
    content = piped(*SIZES[program], before=before)
    (tmp_path / "a.wav").write_bytes(content)
    info = prepared(tmp_path, tmp_path / "a.wav")
    np.testing.assert_array_equal(samples(info)[0], X)
    known = program == "only the size of the samples"
    assert info.extra.get("mended") == (None if known else {"no length, read to the end": 1})


def test_all_sizes_in_all_places(tmp_path: Path) -> None:
    unknown = (2**32 - 1, 2**32 - 256, 0, 2**31 - 1, 2**31, 0x7FFFFF00, 0x7FFFF000, 0x7FFFEFFC, 0x7F000000)
    for riff in (*unknown, 36 + len(PCM), 1234):
        for data in (*unknown, len(PCM)):
            for order in "<>":
                pcm = X.astype(f"{order}i2").tobytes()
                (tmp_path / "a.wav").write_bytes(piped(riff, data, order=order, pcm=pcm, before=b""))
                np.testing.assert_array_equal(decoded(tmp_path / "a.wav"), X)


def test_other_formats_of_unknown_length(tmp_path: Path) -> None:
    rf64, w64, aiff, au, caf = (encoded(X, container) for container in ("RF64", "W64", "AIFF", "AU", "CAF"))
    ds64, data, ssnd, guid = rf64.index(b"ds64"), rf64.index(b"data"), aiff.index(b"SSND"), w64.index(b"data")
    chunk, comm = caf.index(b"data", 100), aiff.index(b"COMM")
    cases = {}
    for said in (0, 2**63 - 1, 2**64 - 1):
        sizes = struct.pack("<QQQ", said, said, said)
        cases[f"rf64 {said}"] = overwritten(rf64, (ds64 + 8, sizes), (data + 4, b"\xff" * 4))
        cases[f"w64 {said}"] = overwritten(w64, (16, sizes[:8]), (guid + 16, sizes[:8]))
        cases[f"caf {said}"] = overwritten(caf, (chunk + 4, struct.pack(">Q", said)))
    cases["w64 24"] = overwritten(w64, (guid + 16, struct.pack("<Q", 24)))
    cases["rf64 of a riff size alone"] = overwritten(rf64, (ds64 + 8, b"\xff" * 8))
    for said in (0, 8, 0x7F000008, 2**31 - 1, 2**32 - 1):
        size, frames = struct.pack(">I", said), struct.pack(">I", said // 2)
        cases[f"aiff {said}"] = overwritten(aiff, (4, size), (comm + 10, frames), (ssnd + 4, size))
    for said in (0, 2**31 - 1, 0x7F000000, 2**32 - 1):
        cases[f"au {said}"] = overwritten(au, (8, struct.pack(">I", said)))
    for name, content in cases.items():
        (tmp_path / "a").write_bytes(content)
        np.testing.assert_array_equal(decoded(tmp_path / "a"), X, err_msg=name)


@pytest.mark.fault(31)
def test_a_cut_file_is_refused_whatever_else_its_header_says(tmp_path: Path) -> None:
    """A size that a file may have is believed: also beside one that says nothing."""
    w64, rf64 = encoded(X, "W64"), encoded(X, "RF64")
    ds64 = rf64.index(b"ds64")
    cases = {
        "wav": piped(36 + 4000, 4000, before=b"")[:-1000],
        "wav, pipe": piped(2**32 - 1, 4000, before=b"")[:-1000],
        "wav, 3 GB": piped(2**32 - 1, 3 * 10**9, before=b""),
        "w64": w64[:-1000],
        "w64, pipe": overwritten(w64, (16, b"\xff" * 8))[:-1000],
        "rf64": rf64[:-1000],
        "rf64, pipe": overwritten(rf64, (ds64 + 8, b"\xff" * 8))[:-1000],
        "aiff": encoded(X, "AIFF")[:-1000],
        "au": encoded(X, "AU")[:-1000],
        "caf": encoded(X, "CAF")[:-1000],
    }
    for name, content in cases.items():
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(Unusable, match=r"cut short|malformed"):
            print(name, len(decoded(tmp_path / "a")))


@pytest.mark.fault(30)
def test_an_empty_recording_is_not_read_on_into_its_notes(tmp_path: Path) -> None:
    """0 samples and a list of words after them: that is what the header says, and it is so."""
    put(tmp_path / "s", a_wav=piped(36 + len(LIST), 0, before=b"", pcm=LIST), b_wav=encoded(X), c_wav=wav(b""))
    (tmp_path / "s" / "d.wav").write_bytes(piped(2**32 - 1, 2**32 - 1, pcm=b""))
    info = prepared(tmp_path, tmp_path / "s")
    assert why_skipped(info) == dict.fromkeys(("a.wav", "c.wav", "d.wav"), "0 samples, less than a frame of 200")
    assert ids(info) == ["b"]


@pytest.mark.fault(32)
def test_a_file_longer_than_a_wav_can_say(tmp_path: Path) -> None:
    """Five gigabytes, nearly all of them a hole; nothing of it is held in memory."""
    size = 5 * 2**30
    content = piped(2**32 - 1, 2**32 - 1, pcm=b"", rate=96_000)
    with (tmp_path / "a.wav").open("wb") as file:
        file.write(content)
        file.seek(len(content) + size - 2)
        file.write(b"\1\2")
    tracemalloc.start()
    try:
        with FileIO(tmp_path / "a.wav") as file:
            whole = mended(file)
            assert whole is not None
            whole.seek(-2, io.SEEK_END)
            assert whole.read() == b"\1\2"
        with Decoder(96_000, resample=False) as decoder:
            last = Recording(tmp_path / "a.wav", "a", "a", "", start=size // 2 - 5)
            assert np.concatenate([*decoder.read(last, Tally())]).tolist() == [0, 0, 0, 0, 0x201]
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.fault(32)
def test_a_thousand_damaged_headers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each is a recording or is skipped with a reason; nothing else happens."""
    random = np.random.default_rng(0)
    whole = [piped(*sizes) for sizes in SIZES.values()]
    whole += [encoded(X[:500], container) for container in ("RF64", "W64", "AIFF", "AU", "CAF")]
    unknown = [0, 1, 8, 24, 36, 0x7FFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFFF]
    (tmp_path / "s").mkdir()
    for i in range(1000):
        content = bytearray(whole[i % len(whole)])
        for _ in range(random.integers(1, 5)):
            at = int(random.integers(0, 120))
            if random.random() < 0.3:
                content[at : at + 4] = struct.pack("<>"[i % 2] + "I", random.choice(unknown))
            else:
                content[at] = random.integers(256)
        if random.random() < 0.2:
            del content[int(random.integers(0, len(content))) :]
        (tmp_path / "s" / f"{i:04d}.wav").write_bytes(content)
    info = prepared(tmp_path, tmp_path / "s", resample=True, gain="none", clip=True)
    read, skipped = len(ids(info)), info.extra["skipped_count"]
    assert (read + skipped, read > 200, skipped > 200) == (1000, True, True)
    assert all(reason for reason in why_skipped(info).values())
    assert "Traceback" not in capfd.readouterr().err


def test_what_was_read_to_its_end_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = put(tmp_path / "s", a_wav=piped(2**32 - 1, 2**32 - 1), b_wav=encoded(X))
    for i in range(3):
        (folder / f"c{i}.wav").write_bytes(piped(0, 0))
    out = str(tmp_path / "x.h5")
    assert cli._run(["prepare", "audio", str(folder), "--splits", "60,20,20", "--out", out, "--seconds", "0"]) == 0
    assert "read in spite of their headers: no length, read to the end (4 files)" in capsys.readouterr().out


def test_a_plausible_size_is_not_taken_for_none(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(piped(36 + 10**9, 10**9, before=b""))
    with pytest.raises(DataError, match="cut short: its header says 500000000 samples, there are 2000"):
        prepared(tmp_path, tmp_path / "a.wav")
