"""Preparing in passes, interrupted and resumed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from soundfiles import ALL, X, encoded, prepared, put

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.sources import audio, decoding
from pyro_vrnn.system.errors import ConfigError, DataError


def test_a_file_that_changes_between_the_passes_of_convert(tmp_path: Path) -> None:
    """The first pass is over when its progress is told."""
    for later in (b"no sound", encoded(X[:1000]), encoded(np.r_[X, X])):
        put(tmp_path, a_wav=encoded(X))
        with pytest.raises(DataError, match=r"a.wav changed while it was read"):
            audio.convert(
                tmp_path / "a.wav",
                tmp_path / "out",
                sample_rate=16000,
                to="npy",
                progress=lambda *_, later=later: put(tmp_path, a_wav=later),
            )
    assert sorted(os.listdir(tmp_path)) == ["a.wav", "out"]
    assert os.listdir(tmp_path / "out") == []


def test_nothing_is_decoded_twice(tmp_path: Path) -> None:
    """What becomes of the files after the first pass changes nothing."""
    put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X[::-1]), c_wav=encoded(X))
    prepared(tmp_path, tmp_path / "s")
    whole = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "out.h5").unlink()

    def spoil(done: int, _: int) -> None:
        if done == 3:
            for path in (tmp_path / "s").iterdir():
                path.write_bytes(b"")

    prepared(tmp_path, tmp_path / "s", progress=spoil)
    assert (tmp_path / "out.h5").read_bytes() == whole


class Killed(BaseException):
    """What no handler in the library catches."""


@pytest.mark.fault(61)
@pytest.mark.parametrize("at", [1, 2, 3, 6])
def test_an_interrupted_prepare_goes_on(tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bytes as in one go, and only what was not decoded yet is."""
    put(tmp_path / "s", a_wav=encoded(X), b_wav=b"no sound", c_wav=encoded(X[::-1]), d_wav=encoded(X))
    prepared(tmp_path, tmp_path / "s")
    whole = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "out.h5").unlink()

    def stop(done: int, _: int) -> None:
        if done == at:
            raise Killed

    with pytest.raises(Killed):
        prepared(tmp_path, tmp_path / "s", progress=stop)
    assert not (tmp_path / "out.h5").exists()
    read: list[str] = []
    real = decoding.Decoder.read
    monkeypatch.setattr(decoding.Decoder, "read", lambda self, r, tally: read.append(r.name) or real(self, r, tally))
    prepared(tmp_path, tmp_path / "s")
    assert (tmp_path / "out.h5").read_bytes() == whole
    assert read == ["a.wav", "b.wav", "c.wav", "d.wav"][at:]
    assert sorted(os.listdir(tmp_path)) == ["out.h5", "s"]


def test_what_was_left_is_not_used_for_anything_else(tmp_path: Path) -> None:
    """Other files, other settings, a damaged spool: all is decoded anew."""

    def stop(done: int, _: int) -> None:
        raise Killed

    put(tmp_path / "s", a_wav=encoded(X), c_wav=encoded(X[::-1]), d_wav=encoded(X))
    for change in ("file", "frame", "spool"):
        put(tmp_path / "s", a_wav=encoded(X))
        with pytest.raises(Killed):
            prepared(tmp_path, tmp_path / "s", progress=stop)
        more = {}
        if change == "file":
            put(tmp_path / "s", a_wav=encoded(X // 2))
        elif change == "frame":
            more = {"frame": 100}
        else:
            [spool] = tmp_path.glob(".*.samples")
            spool.write_bytes(spool.read_bytes()[:50])
        info = prepared(tmp_path, tmp_path / "s", **more)
        again = audio.prepare(
            tmp_path / "fresh.h5", source=tmp_path / "s", splits=ALL, seconds=None, overwrite=True, **more
        )
        assert info.options == again.options
        for split in ("train", "valid", "test"):
            ours, fresh = (SequenceDataset(i.path, split) for i in (info, again))
            for i in range(len(fresh)):
                np.testing.assert_array_equal(ours[i], fresh[i])
        (tmp_path / "out.h5").unlink()


@pytest.mark.fault(61)
@pytest.mark.parametrize("damage", ["zeros", "torn", "negative", "bare", "more", "nothing"])
def test_a_damaged_spool_is_decoded_again(tmp_path: Path, damage: str) -> None:
    """As far as its checksums and lines are right it is used."""
    put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X[::-1]), c_wav=encoded(X // 2))
    prepared(tmp_path, tmp_path / "s")
    whole = (tmp_path / "out.h5").read_bytes()
    (tmp_path / "out.h5").unlink()

    def stop(done: int, _: int) -> None:
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        prepared(tmp_path, tmp_path / "s", progress=stop)
    samples, journal = tmp_path / ".out.h5.samples", tmp_path / ".out.h5.heard"
    lines = journal.read_bytes().split(b"\n")
    if damage == "zeros":
        samples.write_bytes(bytes(samples.stat().st_size))
    elif damage == "torn":
        lines[1] = lines[1][:20]
    elif damage == "negative":
        lines[1] = json.dumps(json.loads(lines[1]) | {"end": -5}).encode()
    elif damage == "bare":
        lines[1] = b'{"end": 400}'
    elif damage == "more":
        lines[3:] = [lines[2]] * 5
    journal.write_bytes(b"\n".join(lines))
    prepared(tmp_path, tmp_path / "s")
    assert (tmp_path / "out.h5").read_bytes() == whole
    assert sorted(os.listdir(tmp_path)) == ["out.h5", "s"]


@pytest.mark.parametrize("name", [".out.h5.samples", ".out.h5.heard"])
def test_what_has_the_spools_names_is_left_alone(tmp_path: Path, name: str) -> None:
    put(tmp_path / "s", a_wav=encoded(X), b_wav=encoded(X))
    (tmp_path / "mine.txt").write_bytes(b"mine")
    (tmp_path / name).symlink_to(tmp_path / "mine.txt")
    with pytest.raises(ConfigError, match="a link, which is not followed"):
        prepared(tmp_path, tmp_path / "s")
    (tmp_path / name).unlink()
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(ConfigError, match="not what prepare left there"):
        prepared(tmp_path, tmp_path / "s")
    assert (tmp_path / name).read_bytes() == (tmp_path / "mine.txt").read_bytes() == b"mine"


def test_two_at_once(tmp_path: Path) -> None:
    put(tmp_path / "s", a_wav=encoded(X), c_wav=encoded(X[::-1]), d_wav=encoded(X))
    said: list[str] = []

    def another(done: int, _: int) -> None:
        if not said:
            with pytest.raises(ConfigError, match="another process is making it") as error:
                prepared(tmp_path, tmp_path / "s")
            said.append(str(error.value))

    prepared(tmp_path, tmp_path / "s", progress=another)
    assert said
    assert (tmp_path / "out.h5").exists()


def test_progress_reaches_its_end(tmp_path: Path) -> None:
    put(tmp_path / "s", a_wav=encoded(X), b_wav=b"no sound", c_wav=encoded(X))
    told: list[tuple[int, int]] = []
    prepared(tmp_path, tmp_path / "s", progress=lambda *n: told.append(n))
    assert told == [(1, 6), (2, 6), (3, 6), (5, 6), (6, 6)]
