"""Values are checked as they are read: supports and checksums."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from datafiles import QUICK, contents, refused, write
from hypothesis import given
from hypothesis import strategies as st

from pyro_vrnn.data.schema import read_info
from pyro_vrnn.system.errors import DataError


def test_a_value_outside_the_support_is_refused_as_it_is_read(tmp_path: Path) -> None:
    bits = {"train": [np.ones((4, 2), "u1")], "test": [np.zeros((4, 2), "u1")]}
    path = write(tmp_path / "x.h5", bits, support="binary").path
    with h5py.File(path, "r+") as file:
        file["test/x"][3, 0] = 7
    assert read_info(path).splits["test"].steps == 4  # the values are not looked at yet
    assert "test sequence 0, step 3: 7 is not 0 or 1" in refused(path).message


@pytest.mark.fault(40)
def test_a_changed_value_fails_its_checksum(tmp_path: Path) -> None:
    path = write(tmp_path / "x.h5", {"train": [np.full((50, 2), 1.25, "f4")]}).path
    data = path.read_bytes()
    at = data.index(np.full(4, 1.25, "f4").tobytes())
    path.write_bytes(data[:at] + np.full(1, 1.5, "f4").tobytes() + data[at + 4 :])
    assert "/train/x (train sequence 0) cannot be read" in refused(path).message


@pytest.mark.fault(40)
@QUICK
@given(data=st.data())
def test_any_damaged_byte_is_refused_or_harmless(tmp_path: Path, data: st.DataObject) -> None:
    """Bytes changed or cut off: the reader says DataError or gives exactly what was written."""
    path = tmp_path / "x.h5"
    if not path.exists():
        write(path)
    whole, damaged = path.read_bytes(), tmp_path / "damaged.h5"
    changed = bytearray(whole)
    for at in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)):
        changed[at] ^= data.draw(st.integers(1, 255))
    damaged.write_bytes(changed[: data.draw(st.integers(0, len(whole)) | st.just(len(whole)))])
    try:
        got = contents(damaged)
    except DataError:
        return
    assert got == contents(path)
