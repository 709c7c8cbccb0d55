"""Hostile and damaged files of piano-rolls, pickles first of all."""

from __future__ import annotations

import builtins
import io
import itertools
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rollfiles import LAYOUTS, NOTES, as_mat, as_npz, as_rolls, changed, refused

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import pianoroll, plain_pickle, rolls
from pyro_vrnn.system.errors import DataError


class Evil:
    """Unpickled with pickle.load, it would make a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (builtins.open, (str(self.path), "w"))


@pytest.mark.fault(62)
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_hostile_pickle_is_not_run(tmp_path: Path, protocol: int) -> None:
    canary = tmp_path.parent / f"canary-{protocol}"
    data = pickle.dumps(changed("train", [[Evil(canary)]]), protocol)
    message = refused(tmp_path, data)
    assert "pickle that is not read" in message
    assert "GLOBAL" in message
    assert not canary.exists()
    pickle.loads(data)["train"][0][0].close()  # and it does mean harm
    assert canary.exists()
    canary.unlink()


@pytest.mark.parametrize(
    "data",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"(S'true'\nios\nsystem\n.",
        b"\x80\x02}q\x00.garbage after it is not read",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02P1\n.",
        b"\x80\x02K\x01Q.",
        b"\x80\x02\x82\x01.",
        b"\x80\x04\x8d" + (2**60).to_bytes(8, "little") + b"a.",
        b"\x80\x04\x95" + (2**60).to_bytes(8, "little") + b"].",
        b"\x80\x02\x8a\xff" + bytes(10) + b".",
        b"\x80\x02h\x05.",
        b"\x80\x02s.",
        b"\x80\xff].",
        b"\x80\x04\x96" + (2**40).to_bytes(8, "little") + b"a.",
        b"(dp0\nI" + b"9" * 10_000 + b"\nI1\ns.",
        b"\x80\x02}(]K\x01u.",  # a list as a key
    ],
)
def test_a_pickle_of_anything_else_is_refused(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data)


@pytest.mark.parametrize("data", [b"\x80\x02]r\xff\xff\xff\xff.", b"\x80\x02]p99999999999\n."])
def test_a_pickle_with_a_memo_of_billions_is_refused_before_it_is_made(tmp_path: Path, data: bytes) -> None:
    """Five bytes would take 64 GB."""
    assert "remembers a value under the number" in refused(tmp_path, data)


def test_a_small_pickle_of_a_huge_set_is_refused(tmp_path: Path) -> None:
    """One long sequence, a million times."""
    sequence = [()] * 100_000
    assert "more than 4000000" in refused(tmp_path, pickle.dumps(changed("train", [sequence] * 100_000)))


def test_a_deep_pickle_is_refused(tmp_path: Path) -> None:
    deep = b"]" * 200_000 + b"a" * 199_999
    data = b"\x80\x02}(U\x05train](](" + b"(" + deep + b"tee" + b"U\x05valid]U\x04test]u."
    assert "has a list where a note should be" in refused(tmp_path, data)


plain = st.recursive(
    st.integers(-(2**70), 2**70) | st.text(), lambda c: st.lists(c) | st.tuples(c) | st.dictionaries(st.text(), c)
)


@given(value=plain, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(deadline=None)
def test_plain_pickles_are_read_as_pickle_reads_them(value: Any, protocol: int) -> None:
    assert plain_pickle.load(pickle.dumps(value, protocol)) == value


DAMAGED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("layout", ["pickle 0", "pickle 2", "pickle 4", "json", "npz", "mat", "mat, not compressed"])
@DAMAGED
@given(data=st.data())
def test_damaged_sources_are_refused_or_read(layout: str, data: st.DataObject) -> None:
    """Changed, cut or added bytes: a DataError or rolls, never anything else."""
    content = bytearray(LAYOUTS[layout]())
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content)) | st.just(len(content)))
    content = content[:end] + data.draw(st.binary(max_size=5))
    try:
        splits = rolls.parse_rolls(bytes(content), "x")
    except DataError:
        return
    assert {"train", "test"} <= set(splits) <= set(SPLITS)
    for roll in itertools.chain(*splits.values()):
        assert (roll.dtype, roll.shape[1]) == (np.uint8, 88)
        assert roll.max(initial=0) <= 1


@pytest.mark.fault(26)
def test_archives_that_unpack_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit is made small instead of the bomb big."""
    monkeypatch.setattr(rolls, "MAX_BYTES", 100_000)
    bomb = as_npz({s: [np.zeros((2000, 88), "u1")] for s in SPLITS})
    assert len(bomb) < 5000
    assert "packed or unpacked" in refused(tmp_path, bomb)
    bomb = as_mat({s: [np.zeros((2000, 88), "u1")] for s in SPLITS})
    assert len(bomb) < 10_000
    assert "unpacks to too much" in refused(tmp_path, bomb)
    monkeypatch.setattr(rolls, "MAX_BYTES", 10)
    with pytest.raises(DataError, match=r"[0-9] bytes") as error:
        pianoroll.prepare(tmp_path / "out.h5", tmp_path / "source.bin")
    assert error.value.exit_code == 3


def test_an_array_that_claims_more_than_the_archive_holds(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 88), }".ljust(117) + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("train.npy", b"\x93NUMPY\x01\x00v\x00" + header)
        archive.writestr("train_len.npy", b"\x93NUMPY\x01\x00v\x00" + header)
    assert "an npz that cannot be read" in refused(tmp_path, file.getvalue())


def test_a_cell_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    data = bytearray(as_mat(as_rolls(NOTES), compress=False))
    at = data.index(b"traindata") - 16
    assert data[at : at + 8] == (1).to_bytes(4, "little") + (2).to_bytes(4, "little")  # 1 x 2 cells
    data[at + 4 : at + 8] = (2**31 - 1).to_bytes(4, "little")
    assert "should have 2147483647 cells and has 2" in refused(tmp_path, bytes(data))
