"""Tables, arrays and rows of images."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import sequences

from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources import vectors
from pyro_vrnn.system.errors import ConfigError, DataError


def test_japanese_vowels(tmp_path: Path, shared: Path) -> None:
    """270 and 370 utterances of 4,274 and 5,687 frames, 12 coefficients; a tenth of the 270 is validation."""
    file = shared / "data" / "japanese_vowels" / "japanese_vowels.npz"
    info = vectors.prepare(tmp_path / "x.h5", source=str(file))
    assert [info.splits[s].sequences for s in SPLITS] == [243, 27, 370]
    assert info.splits["train"].steps + info.splits["valid"].steps == 4274
    assert info.splits["test"].steps == 5687
    assert (info.kind, info.support, info.x_dim) == ("vectors", "real", 12)
    # README: 17.10 nats per step, independent Gaussians fitted to all 270
    test = np.concatenate(list(sequences(info)["test"].values()))
    z = (test - info.mean) / info.std
    assert 0.5 * (z**2 + np.log(2 * np.pi)).sum(axis=1).mean() == pytest.approx(17.10, abs=0.3)
    np.testing.assert_array_equal(sequences(info)["test"]["test-0"][0], np.load(file)["test"][0])


def test_rows_of_digits(tmp_path: Path, shared: Path) -> None:
    """10,000 images of 28 steps of 28 pixels, 8,000/1,000/1,000 in order."""
    file = shared / "data" / "mnist_rows" / "mnist_t10k.npz"
    images = np.load(file)["images"]
    for binary in (False, True):
        info = vectors.prepare(tmp_path / "x.h5", source=str(file), binary=binary, overwrite=True)
        assert [info.splits[s].sequences for s in SPLITS] == [8000, 1000, 1000]
        assert (info.splits["test"].shortest, info.splits["test"].longest, info.x_dim) == (28, 28, 28)
        assert info.support == ("binary" if binary else "real")
        last = sequences(info)["test"]["image-9999"]
        np.testing.assert_array_equal(last, images[-1] > 127 if binary else images[-1].astype("f4") / 255)
        assert last.dtype == (np.uint8 if binary else np.float32)


def as_csv(sequences: int, *, test: str = "7", order: int = 1) -> bytes:
    rows = [f"s{i},{t},{i * t}.5,{test if i % 5 == 4 else 1}" for i in range(sequences) for t in range(3)]
    rows = sorted(rows, key=lambda row: row.split(",")[1]) if order == -1 else rows
    return "\r\n".join(["sequence,time,a,b", *rows]).encode()


def prepared(folder: Path, data: bytes, **options: Any) -> DataInfo:
    (folder / "source.bin").write_bytes(data)
    return vectors.prepare(folder / "x.h5", source=str(folder / "source.bin"), overwrite=True, **options)


def test_a_table(tmp_path: Path) -> None:
    """Every column but `sequence`, `split` and the time is data; a sequence's rows may lie apart."""
    info = prepared(tmp_path, as_csv(10))
    found = {name: x for split in sequences(info).values() for name, x in split.items()}
    assert found["s3"].tolist() == [[0.5, 1], [3.5, 1], [6.5, 1]]
    assert info.extra["time"] == {"column": "time", "written_as": "numbers", "spacing": 1.0}
    kept = prepared(tmp_path, as_csv(10), columns=["time", "a", "b"])
    assert next(iter(read_split(kept.path, "train"))).shape[1] == 3
    assert [info.splits[s].sequences for s in SPLITS] == [8, 1, 1]
    apart = prepared(tmp_path, as_csv(10, order=-1))
    assert sequences(apart)["test"].keys() == sequences(info)["test"].keys()
    whole = b'\xef\xbb\xbfx, split ,sequence\n1,train,"a, b"\n\n2e0,train,"a, b"\n3,test,c\n4,valid,d\n'
    info = prepared(tmp_path, whole)
    assert {s: {n: x.tolist() for n, x in v.items()} for s, v in sequences(info).items()} == {
        "train": {"a, b": [[1], [2]]},
        "valid": {"d": [[4]]},
        "test": {"c": [[3]]},
    }


def test_a_folder_of_tables(tmp_path: Path) -> None:
    """A sequence each, called by its file; what has other columns or is no table is skipped and listed."""
    folder = tmp_path / "sensors"
    (folder / "day").mkdir(parents=True)
    for i in range(10):
        (folder / "day" / f"s{i}.csv").write_text("sequence,b,a\n" + "".join(f"x,{t},{i}.5\n" for t in range(i + 1)))
    (folder / "day" / "t0.CSV").write_text("a,b\n1,2\n")
    (folder / "day" / "t1.csv").write_text("b,a\n1\n")
    (folder / "day" / "t2.csv").write_bytes(b"\xff\xfe")
    (folder / "about.txt").write_text("?")
    info = vectors.prepare(tmp_path / "x.h5", source=folder)
    found = {name: x for split in sequences(info).values() for name, x in split.items()}
    assert found.keys() == {f"day/s{i}" for i in range(10)} | {"day/t0"}
    assert found["day/t0"].tolist() == [[2, 1]]  # by the names of its columns, in whatever order
    assert found["day/s2"].tolist() == [[0, 2.5], [1, 2.5], [2, 2.5]]
    assert [info.splits[s].sequences for s in SPLITS] == [9, 1, 1]
    assert info.extra["columns"] == ["b", "a"]
    assert [(skip["file"], skip["reason"][:30]) for skip in info.extra["skipped"]] == [
        ("day/t1.csv", "line 2: 1 columns, the header "),
        ("day/t2.csv", "not a CSV file: no line of it "),
    ]
    with pytest.raises(DataError, match=r"day/t1\.csv"):
        vectors.prepare(tmp_path / "x.h5", source=folder, strict=True, overwrite=True)


def test_an_array(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(10, 4, 3))
    array[3, 2, 1] = np.nan
    file = io.BytesIO()
    np.save(file, array)
    info = prepared(tmp_path, file.getvalue())
    found = {name: x for split in sequences(info).values() for name, x in split.items()}
    assert found.keys() == {str(i) for i in range(10)}
    np.testing.assert_array_equal(found["7"], array[7].astype("f4"))
    assert (info.missing, info.extra["missing_values"], info.extra["skipped"]) == (True, 1, [])
    array[3, 2, 1] = np.inf
    file = io.BytesIO()
    np.save(file, array)
    info = prepared(tmp_path, file.getvalue())
    assert info.extra["skipped"] == [{"id": "3", "reason": "step 2 is not finite"}]


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4)), np.zeros((0, 4, 3)), np.zeros((2, 2, 2), complex), np.full((2, 2, 2), None)]
)
def test_arrays_that_are_not(tmp_path: Path, array: Array) -> None:
    file = io.BytesIO()
    np.save(file, array)
    for data in (file.getvalue(), file.getvalue()[:20]):
        with pytest.raises(DataError, match=r"an array|an npy that cannot be read|one sequence of"):
            prepared(tmp_path, data)


def test_names_of_columns_and_images_are_kept(tmp_path: Path) -> None:
    assert prepared(tmp_path, as_csv(10)).extra["columns"] == ["a", "b"]
    info = prepared(tmp_path, as_npz(images=np.zeros((10, 2, 3), "u1")))
    assert info.extra["image"] is True
    assert "columns" not in info.extra
    with pytest.raises(DataError, match="a column's name has 201 characters"):
        prepared(tmp_path, b"sequence," + b"x" * 201 + b"\na,1\n")


def test_moments_are_of_the_training_split(tmp_path: Path) -> None:
    def table(test: float) -> bytes:
        return f"sequence,split,x\na,train,1\na,train,3\nb,test,{test}\n".encode()

    infos = [prepared(tmp_path, table(v)) for v in (2, 1e30)]
    assert [(i.mean.tolist(), i.std.tolist()) for i in infos] == [([2.0], [1.0])] * 2


def test_vectors_twice_and_by_another_seed(tmp_path: Path) -> None:
    first, second, other = (prepared(tmp_path, as_csv(30), seed=s).path.read_bytes() for s in (0, 0, 1))
    assert first == second
    assert first != other


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"bad,1,2", "line 32: 3 columns, the header 4"),
        (b"bad,1,2,3,4", "line 32: 5 columns, the header 4"),
        (b"bad,1,two,3", "line 32: column 'a': 'two' is no number"),
        (b"bad,1,inf,3", "line 32: column 'a': 'inf' is not finite"),
        (b"bad,1,1e300,3", "step 0 is not finite"),
    ],
)
def test_sequences_that_are_skipped(tmp_path: Path, row: bytes, reason: str) -> None:
    data = as_csv(10) + b"\n" + row + b"\n"
    info = prepared(tmp_path, data)
    assert sum(info.splits[s].sequences for s in SPLITS) == 10
    [skip] = info.extra["skipped"]
    assert skip["id"] == "bad"
    assert reason in skip["reason"]
    with pytest.raises(DataError, match="bad"):
        prepared(tmp_path, data, strict=True)


def as_npz(**arrays: Any) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "an empty file"),
        (b"a,b\n1,2\n", "one sequence of 1 rows, and nothing says whose row it is"),
        (b"sequence\na\n", "no column of numbers"),
        (b"sequence,x,x\na,1,2\n", "two columns are called 'x'"),
        (b"x,sequence\n1\n", "line 2 has 1 columns, the header 2"),
        (b"sequence,x\n" + b'"a' * 1, "not a CSV file"),
        (b"sequence,x\n" + b"a" * 200_000 + b",1\n", "an id|id b'aaa|has 1 to 1024 bytes|id "),
        (b"sequence,x\n\xff,1\n", "line 2 is not in UTF-8"),
        (b"sequence,split,x\na,dev,1\n", "sequence 'a' is in split 'dev', not train"),
        (b"sequence,split,x\na,train,1\na,test,1\n", "sequence 'a' is in split 'test', and in 'train'"),
        (b"sequence,split,x\na,test,1\n", "no training sequence; 0 skipped"),
        (b"PK\x03\x04", "an npz that cannot be read"),
        (as_npz(test=np.zeros((2, 2)), test_len=[2]), "one sequence of 2 rows"),
        (as_npz(train=np.zeros(2), train_len=[2]), "array 'train' is float64"),
        (as_npz(train=np.zeros((2, 0)), train_len=[2]), "array 'train' is float64"),
        (as_npz(train=np.zeros((2, 2))), "array 'train_len' is missing"),
        (as_npz(train=np.zeros((2, 2)), train_len=[3]), "array 'train_len' is wrong"),
        (as_npz(train=np.full((2, 2), None), train_len=[2]), "Object arrays"),
        (as_npz(train=np.full((2, 2), np.inf), train_len=[2]), "no training sequence; 1 skipped"),
        (as_npz(train=np.zeros((2, 2)), train_len=[2], test=np.zeros((2, 3)), test_len=[2]), "3 values a step"),
        (as_npz(images=np.zeros((3, 4, 5))), "images is float64"),
        (as_npz(images=np.zeros((0, 4, 5), "u1")), "images is uint8"),
    ],
)
def test_vectors_that_are_not(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        prepared(tmp_path, data)
    assert "\n" not in error.value.message
    assert os.listdir(tmp_path) == ["source.bin"]


def test_empty_sequences_and_few_images(tmp_path: Path) -> None:
    info = prepared(
        tmp_path, as_npz(train=np.arange(6).reshape(3, 2), train_len=[1, 0, 2], valid=np.ones((1, 2)), valid_len=[1])
    )
    assert info.extra["skipped"] == [{"id": "train-1", "reason": "no steps"}]
    assert [info.splits[s].sequences for s in SPLITS] == [2, 1, 0]
    for count, expected in ((1, [1, 0, 0]), (2, [1, 0, 1]), (10, [8, 1, 1])):
        info = prepared(tmp_path, as_npz(images=np.zeros((count, 2, 3), "u1")))
        assert [info.splits[s].sequences for s in SPLITS] == expected
    with pytest.raises(ConfigError, match="binary is for an npz of images"):
        prepared(tmp_path, as_csv(3), binary=True)


def test_arrays_of_any_name(tmp_path: Path) -> None:
    """One array of three dimensions, or rows and the lengths that add up to them, or a folder of arrays."""
    x = np.random.default_rng(0).normal(size=(10, 4, 3))
    info = prepared(tmp_path, as_npz(data=x, label=np.arange(10)))
    assert sum(info.splits[s].sequences for s in SPLITS) == 10
    info = prepared(tmp_path, as_npz(values=x.reshape(40, 3), n=[10, 5, 25], other=[1, 2]))
    assert sorted(len(v) for split in sequences(info).values() for v in split.values()) == [5, 10, 25]
    info = prepared(tmp_path, as_npz(values=x.reshape(40, 3)), split_by="time", window=4)
    assert [info.splits[s].sequences for s in SPLITS] == [8, 1, 1]
    with pytest.raises(DataError, match="no array 'train'; it has a float64"):
        prepared(tmp_path, as_npz(a=x, b=x))
    folder = tmp_path / "arrays"
    folder.mkdir()
    for i in range(5):
        np.save(folder / f"s{i}.npy", x[i, : i + 1] if i else x[0, 0])
    with pytest.raises(DataError, match="of 1 and of 3 columns"):
        vectors.prepare(tmp_path / "y.h5", source=folder)
    np.save(folder / "s0.npy", x[0])
    info = vectors.prepare(tmp_path / "y.h5", source=folder)
    assert {name for split in sequences(info).values() for name in split} == {f"s{i}" for i in range(5)}


def test_changed_arrays(tmp_path: Path) -> None:
    """A thousand damaged npy and npz files: a data file or one DataError each, each in a moment."""
    generator = np.random.default_rng(0)
    file = io.BytesIO()
    np.save(file, generator.normal(size=(6, 4, 2)))
    goods = [file.getvalue(), as_npz(train=np.ones((6, 2)), train_len=[2, 4]), as_npz(x=np.ones((6, 2)), n=[3, 3])]
    made, slowest, told = 0, 0.0, set()
    for k in range(1000):
        data = bytearray(goods[k % 3])
        for _ in range(int(generator.integers(1, 5))):
            at = int(generator.integers(len(data)))
            if generator.integers(3):
                data[at] = int(generator.integers(256))
            else:
                del data[at : at + int(generator.integers(1, 9))]
        started = time.process_time()
        try:
            prepared(tmp_path, bytes(data), split_by="time")
            made += 1
        except DataError as error:
            told.add("\n" in error.message)
        slowest = max(slowest, time.process_time() - started)
    assert told == {False}  # each error is one line
    assert slowest < 3
    assert 10 < made < 990
