"""Pickled arrays: as NumPy and Python 2 write them, and pickles that mean harm."""

from __future__ import annotations

import io
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from penfiles import Evil, as_moves, by_python_2, mutants, objects, watching

from pyro_vrnn.data.sources import array_pickle
from pyro_vrnn.data.sources.plain_pickle import PlainPickleError

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)
numbers = st.sampled_from([np.dtype(t) for t in ("i1", "<i2", ">i2", "i4", "u8", "f2", "<f4", ">f8", "?")])
array = numbers.flatmap(lambda t: arrays_of.arrays(t, arrays_of.array_shapes(max_dims=3, max_side=4)))


def same(found: Any, expected: Any) -> None:
    assert (found.dtype.kind, found.dtype.itemsize) == (expected.dtype.kind, expected.dtype.itemsize)
    np.testing.assert_array_equal(found, expected)


@given(value=array, turned=st.booleans(), protocol=st.sampled_from(PROTOCOLS))
def test_arrays_of_numbers_are_read_as_numpy_reads_them(value: Any, turned: bool, protocol: int) -> None:
    value = value.T if turned else value
    same(array_pickle.load(pickle.dumps(value, protocol)), value)


@given(values=st.lists(array, max_size=4), protocol=st.sampled_from(PROTOCOLS))
def test_arrays_of_arrays_are_read_as_numpy_reads_them(values: list[Any], protocol: int) -> None:
    found = array_pickle.load(pickle.dumps(objects(values), protocol))
    assert isinstance(found, list)
    assert len(found) == len(values)
    for one, expected in zip(found, values, strict=True):
        same(one, expected)
        assert not one.flags.writeable


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_names_of_every_numpy(protocol: int) -> None:
    """`numpy.core` until 1.26, `numpy._core` since 2.0."""
    data = pickle.dumps(objects([as_moves(0)]), protocol)
    for old, new in ((b"numpy._core.", b"numpy.core."), (b"numpy.core.", b"numpy._core.")):
        if protocol < 4:  # later ones say how long a name is
            data = data.replace(old, new)
            same(array_pickle.load(data)[0], as_moves(0))


def test_python_2() -> None:
    """Its bytes are texts, short and long; NumPy reads the same when it is allowed to run them."""
    values = [as_moves(0), as_moves(1), np.arange(-300, 300).reshape(-1, 3).astype(np.int16)]
    data = by_python_2(values)
    trusted = pickle.loads(data, encoding="latin1")
    for found, numpy_s, value in zip(array_pickle.load(data), trusted, values, strict=True):
        same(found, value)
        same(numpy_s, value)


# ------------------------------------------------------------------------------------------- harm


@pytest.mark.fault(62)
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("depth", range(4))
def test_a_hostile_pickle_is_not_run(tmp_path: Path, protocol: int, depth: int) -> None:
    canary = tmp_path / "canary"
    value: Any = Evil(canary)
    for wrap in (objects, list, objects)[:depth]:
        value = wrap([value])
    data = pickle.dumps(value, protocol)
    with watching() as seen, pytest.raises(PlainPickleError, match=r"it names (posix|nt)\.mkdir"):
        array_pickle.load(data)
    assert seen == []
    assert not canary.exists()
    pickle.loads(data)  # and it does mean harm
    assert canary.exists()


RECONSTRUCT = b"cnumpy.core.multiarray\n_reconstruct\n"
EMPTY = RECONSTRUCT + b"(cnumpy\nndarray\n(I0\ntS'b'\ntR"
I2 = b"cnumpy\ndtype\n(S'i2'\nI0\nI1\ntR"


@pytest.mark.fault(62)
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"cos\nsystem\n(S'true'\ntR.", "it names os.system"),
        (b"cnumpy\nload\n(S'x'\ntR.", "it names numpy.load"),
        (b"cnumpy\nndarray.tofile\n.", "it names numpy.ndarray.tofile"),
        (b"cnumpy.core.multiarray\n__dict__\n.", "it names"),
        (b"c__builtin__\neval\n(S'1'\ntR.", "it names __builtin__.eval"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "it names os.system"),
        (b"(S'true'\nios\nsystem\n.", "instruction INST"),
        (b"\x80\x02cnumpy\nndarray\n)\x81.", "instruction NEWOBJ"),
        (b"\x80\x02\x82\x01.", "instruction EXT1"),
        (b"\x80\x02K\x01Q.", "instruction BINPERSID"),
        (b"\x80\x05\x97.", "instruction NEXT_BUFFER"),
        (b"cnumpy\nndarray\n(I5\ntR.", "it calls numpy.ndarray"),
        (b"cnumpy\nndarray\n.", "it holds a Name"),
        (b"I5\n.", "it holds a int"),
        (b"]r\xff\xff\xff\xff.", "remembers a value"),
        (RECONSTRUCT + b"(dS'__defaults__'\nI1\nsb.", "it changes what a name means"),
        (RECONSTRUCT + b"(N(dS'_function'\nI1\nstb.", "it changes what a name means"),
        (b"cnumpy\ndtype\n(S'O8'\ntR(dS'name'\nS'i2'\nsb.", "the dtype of an array"),
        (b"cnumpy\ndtype\n(S'V8'\ntR.", "an array of 'V8', not of numbers"),
        (b"cnumpy\ndtype\n((lI1\natR.", "not of numbers"),
        (RECONSTRUCT + b"(I5\n(I0\ntS'b'\ntR.", "another class"),
        (RECONSTRUCT + RECONSTRUCT[:0] + b"(tR.", "damaged"),
        (EMPTY + b"(dS'items'\nI1\nsb.", "described in another way"),
        (EMPTY + b"(I1\n(I2\ntI5\nI00\nS'abcd'\ntb.", "an array without a dtype"),
        (EMPTY + b"(I1\n(I-2\nt" + I2 + b"I00\nS'abcd'\ntb.", "an array of shape (-2,)"),
        (EMPTY + b"(I1\n(I01\nt" + I2 + b"I00\nS'ab'\ntb.", "an array of shape (True,)"),
        (EMPTY + b"(I1\n(I1000000000000\nt" + I2 + b"I00\nS'abcd'\ntb.", "1000000000000 numbers i2 in 4 bytes"),
        (EMPTY + b"(I1\n(I2\nt" + I2 + b"I00\n(ltb.", "2 numbers i2 in something else"),
        (EMPTY + b"(I1\n(I1000000000000\ntcnumpy\ndtype\n(S'O8'\ntRI00\n(ltb.", "array of objects of shape"),
        (b"c_codecs\nencode\n(S'ab'\nS'rot13'\ntR.", "it encodes something else"),
        (b"c_codecs\nencode\n(Vab\nVlatin1\ntR.", "it holds a bytes"),
        (b"\x80\x02]" + b"]" * 50_000 + b"a" * 50_000 + b".", "it holds a list"),
    ],
    ids=range(32),
)
def test_pickles_of_anything_else(data: bytes, reason: str) -> None:
    with watching() as seen, pytest.raises(PlainPickleError) as error:
        array_pickle.load(data)
    assert reason in str(error.value)
    assert seen == []


def test_names_stay_what_they_are() -> None:
    """No instruction can reach into what stands for a name, or into a NumPy array."""
    for instructions in (b"(dS'a'\nI1\nsb", b"I1\na", b"S'a'\nI1\ns", b"(I1\ne", b"(S'a'\nI1\nu", b"(tR"):
        for thing in (RECONSTRUCT, I2, EMPTY, b"cnumpy\nndarray\n", b"c_codecs\nencode\n"):
            with pytest.raises(PlainPickleError):
                array_pickle.load(b"\x80\x02" + thing + instructions + b".")


def test_small_pickles_that_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text said once is not made into bytes, or arrays, a thousand times."""
    text = b"X" + (10**6).to_bytes(4, "little") + b"a" * 10**6
    encode = b"c_codecs\nencode\nq\x00" + text + b"q\x01X\x06\0\0\0latin1\x86q\x02R"
    with pytest.raises(PlainPickleError, match="more of its bytes than it has"):
        array_pickle.load(b"\x80\x02](" + encode + b"h\x00h\x02R" * 10_000 + b"e.")
    build = b"(I1\n(I1000000\ntcnumpy\ndtype\n(S'u1'\ntRI00\nh\x01tb"
    with pytest.raises(PlainPickleError, match="more of its bytes than it has"):
        array_pickle.load(b"\x80\x02](" + text + b"q\x01" + (EMPTY + build) * 1000 + b"e.")
    monkeypatch.setattr(array_pickle, "MOST_INSTRUCTIONS", 1000)
    with pytest.raises(PlainPickleError, match="more than 1000 instructions"):
        array_pickle.load(b"\x80\x02](" + b"K\x01" * 1000 + b"e.")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_mutants(protocol: int) -> None:
    """Arrays or a PlainPickleError, at once, and nothing is opened or looked up."""
    value = objects([as_moves(0), as_moves(1, np.float32)])
    for content in (pickle.dumps(value, protocol), by_python_2([as_moves(i) for i in range(2)])):
        for data in mutants(content, protocol, 250):
            started = time.monotonic()
            with watching() as seen:
                try:
                    found = array_pickle.load(data)
                except PlainPickleError:
                    pass
                else:
                    assert all(isinstance(x, np.ndarray) and x.dtype.kind in "biuf" for x in found)
            assert seen == []
            assert time.monotonic() - started < 1


def test_it_is_only_numpy_that_is_understood() -> None:
    """Not NumPy's scalars, masked arrays or records, nor its random state."""
    masked: Any = np.ma.masked_array([1, 2])  # type: ignore[no-untyped-call]
    for value in (np.float64(1), masked, np.zeros(2, "i4,f4"), np.array(["a"]), np.datetime64("2020"), io.BytesIO()):
        with pytest.raises(PlainPickleError):
            array_pickle.load(pickle.dumps(value))
