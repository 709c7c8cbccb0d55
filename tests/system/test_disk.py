from __future__ import annotations

import errno
import io
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pyro_vrnn.system import disk
from pyro_vrnn.system.disk import Disk, whole
from pyro_vrnn.system.errors import ConfigError, ResourceError


class Small(io.FileIO):
    """A file that has room for so many bytes."""

    room = 0

    def write(self, data: Any) -> int:
        free = self.room - self.tell()
        if free <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(memoryview(data)[:free])


@pytest.mark.parametrize("room", [0, 1, 100, 4000, 4096, 5000, 9000, 10**6])
def test_what_has_no_room_is_read_back_all_the_same(tmp_path: Path, room: int) -> None:
    """Against bytes in memory, in places at random."""
    random = np.random.default_rng(0)
    with Small(tmp_path / "a", "xb+") as raw:
        raw.room = room
        found, expected = Disk(raw), bytearray(20_000)
        found.truncate(20_000)
        for _ in range(60):
            place, size = int(random.integers(10_000)), int(random.integers(1, 6000))
            data = random.bytes(size)
            found.seek(place)
            assert found.write(data) == size
            assert found.tell() == place + size
            expected[place : place + size] = data
            place, held = int(random.integers(10_000)), bytearray(int(random.integers(1, 6000)))
            found.seek(place)
            assert found.readinto(held) == len(held)
            assert held == expected[place : place + len(held)]
        assert (found.error is None) == (room == 10**6)


def write_much(path: Path) -> None:
    with whole(path) as under, h5py.File(under, "w") as file:
        for k in range(20):
            group = file.create_group(f"group-{k}")
            group.attrs["words"] = "some words " * 20
            group.create_dataset("names", data=[f"name {i}" for i in range(200)], dtype=h5py.string_dtype())
            group.create_dataset("x", data=np.arange(500.0), chunks=(100,))


@pytest.mark.fault(12)
@pytest.mark.parametrize("room", range(0, 40_000, 1999))
def test_hdf5_survives_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """Strings of any length are what took it down: they are read back while they are written."""
    monkeypatch.setattr(Small, "room", room)
    monkeypatch.setattr(disk, "open", lambda path, mode, buffering: Small(path, mode), raising=False)
    with pytest.raises(ResourceError, match="no room"):
        write_much(tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    with whole(tmp_path / "a.h5") as under, h5py.File(under, "w") as file:
        file["x"] = [1, 2]
        assert not (tmp_path / "a.h5").exists()
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["x"][()].tolist() == [1, 2]
    assert [f.name for f in tmp_path.iterdir()] == ["a.h5"]
    with pytest.raises(ConfigError, match="cannot be written"), whole(tmp_path / "none" / "a.h5"):
        pass
