"""`pv.dataset`: what is in memory becomes the data file that `prepare` would make of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fits import SMALL
from stored import sequences

import pyro_vrnn as pv
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import vectors
from pyro_vrnn.system.errors import ConfigError, DataError

pd = pytest.importorskip("pandas")


def walks(count: int = 20, x_dim: int = 3, dtype: str = "f8") -> list[np.ndarray[Any, Any]]:
    return [np.random.default_rng(i).normal(size=(5 + i % 3, x_dim)).cumsum(0).astype(dtype) for i in range(count)]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def stored(made: pv.Dataset) -> dict[str, list[Any]]:
    return {split: list(read_split(made.path, split)) for split in SPLITS}


def counts(made: pv.Dataset) -> list[int]:
    return [made.info.splits[split].sequences for split in SPLITS]


def equal(one: pv.Dataset, other: pv.Dataset) -> bool:
    return all(
        np.array_equal(a, b, equal_nan=True)
        for split in SPLITS
        for a, b in zip(stored(one)[split], stored(other)[split], strict=True)
    )


def test_a_list_of_arrays_is_what_prepare_makes_of_it(here: Path) -> None:
    made = pv.dataset(walks(), columns=["x", "y", "z"], steps_per_second=4, seed=3)
    assert counts(made) == [16, 2, 2]
    assert made.path.parent == Path("data")
    assert made.path.name.startswith("dataset-")
    assert (made.info.kind, made.info.support, made.info.steps_per_second) == ("vectors", "real", 4.0)
    assert made.info.extra["columns"] == ["x", "y", "z"]
    (here / "folder").mkdir()
    for i, x in enumerate(walks()):
        np.save(here / "folder" / f"{i}.npy", x)
    prepared = vectors.prepare(here / "x.h5", source=str(here / "folder"), seed=3)
    assert sequences(prepared).keys() == sequences(made.info).keys()
    for split in SPLITS:
        for name, x in sequences(prepared)[split].items():
            np.testing.assert_array_equal(x, sequences(made.info)[split][name])
    assert made.describe()["splits"]["train"]["sequences"] == 16


def test_it_says_what_it_is() -> None:
    x = walks()
    x[0][1, 2] = np.nan
    text = repr(pv.dataset(x, columns=["x", "y", "z"]))
    assert text.startswith("<Dataset data/dataset-")
    assert "train 16 sequences of" in text
    assert "3 real columns x, y, z, 1 values missing" in text
    assert "4 symbols" in repr(pv.dataset(["abca", "dbca", "abcd"], splits=["train", "train", "valid"]))
    assert "no such" in repr(pv.Dataset(Path("gone.h5"))).lower() or "gone.h5" in repr(pv.Dataset(Path("gone.h5")))


def test_the_same_again_is_the_same_file(here: Path) -> None:
    first = pv.dataset(walks())
    made = first.path.stat().st_mtime_ns
    assert pv.dataset(walks()) == first
    assert first.path.stat().st_mtime_ns == made
    assert pv.dataset(walks(), seed=1).path != first.path
    assert pv.dataset(walks(21)).path != first.path
    named = pv.dataset(walks(), path="mine.h5")
    assert pv.dataset(walks(), path=here / "mine.h5").info.mean.tolist() == named.info.mean.tolist()
    with pytest.raises(ConfigError, match="holds something else") as error:
        pv.dataset(walks(21), path="mine.h5")
    assert "overwrite=True" in error.value.hint
    assert pv.dataset(walks(21), path="mine.h5", overwrite=True).info.splits["train"].sequences == 17
    Path("notes.h5").write_text("mine")
    with pytest.raises(ConfigError, match="something else"):
        pv.dataset(walks(), path="notes.h5")
    assert Path("notes.h5").read_text() == "mine"


def test_other_ways_to_say_the_same() -> None:
    x = np.random.default_rng(0).normal(size=(10, 6, 2))
    first = pv.dataset(list(x), path="a.h5")
    ways = [
        {"data": x},
        {"data": torch.from_numpy(x)},
        {"data": (one for one in x)},
        {"data": x.reshape(60, 2), "lengths": [6] * 10},
        {"data": x.tolist()},
    ]
    for i, way in enumerate(ways):
        assert equal(pv.dataset(**way, path=f"{i}.h5"), first), i
    ragged = np.empty(4, object)
    ragged[:] = walks(4)
    assert equal(pv.dataset(ragged, path="b.h5"), pv.dataset(walks(4), path="c.h5"))
    flat = pv.dataset([one[:, 0] for one in x], path="d.h5")
    assert flat.info.x_dim == 1
    assert equal(flat, pv.dataset([one[:, :1] for one in x], path="e.h5"))


def test_splits_of_ones_own() -> None:
    x = walks(6)
    names = ["train", "train", "valid", "train", "test", "test"]
    listed = pv.dataset(x, splits=names, path="a.h5")
    assert counts(listed) == [3, 1, 2]
    np.testing.assert_array_equal(stored(listed)["valid"][0], x[2].astype("f4"))
    parts = {s: [one for one, name in zip(x, names, strict=True) if name == s] for s in SPLITS}
    assert equal(pv.dataset(parts, path="b.h5"), listed)
    assert equal(pv.dataset(splits=parts, path="c.h5"), listed)
    assert equal(pv.dataset(parts["train"], splits={s: parts[s] for s in ("valid", "test")}, path="d.h5"), listed)
    carved = pv.dataset({"train": walks(20), "test": walks(2)})
    assert counts(carved) == [19, 1, 2]
    assert carved.info.extra["carved"] == "5% of train"
    assert counts(pv.dataset(walks(20), splits=(50, 25, 25))) == [10, 5, 5]
    long = pv.dataset(np.arange(100.0), split_by="time", window=5)
    assert counts(long) == [16, 2, 2]
    np.testing.assert_array_equal(stored(long)["train"][1][:, 0], np.arange(5, 10))


def test_missing_values_offsets_and_outliers_are_as_in_prepare() -> None:
    x = [one + np.array([1e8, 0, 0]) for one in walks(30)]
    x[0][1, 2], x[1][0, 1] = np.nan, 1e9
    made = pv.dataset(x, drop_outliers=True)
    assert made.info.missing
    assert made.info.extra["offset"][0] == pytest.approx(1e8, rel=1e-6)
    assert made.info.extra["missing_values"] == 2
    assert made.info.extra["outliers"]["count"] == 1


def test_bits() -> None:
    bits = [x > 0 for x in walks()]
    made = pv.dataset(bits, columns=["a", "b", "c"])
    assert made.info.support == "binary"
    assert stored(made)["train"][0].dtype == np.uint8
    assert pv.dataset([x.astype(np.uint8) for x in bits]).info.support == "binary"
    assert pv.dataset([x.astype(np.uint8) * 2 for x in bits]).info.support == "real"
    assert pv.dataset([x.astype(np.int64) for x in bits]).info.support == "real"
    assert equal(pv.dataset([x.astype(float) for x in bits], support="binary", path="f.h5"), made)
    assert pv.dataset(bits, support="real").info.support == "real"
    cut = pv.dataset(bits, window=2, hop=1)
    assert cut.info.splits["train"].longest == 2
    with pytest.raises(DataError, match=r"sequence '0', step 0: -?\d\.\d+ is not 0 or 1"):
        pv.dataset(walks(), support="binary")


def test_symbols() -> None:
    texts = [list("abcab"), list("bca"), list("ccab"), list("abx")]
    names = ["train", "train", "valid", "test"]
    made = pv.dataset(texts, splits=names)
    assert (made.info.kind, made.info.support, made.info.extra["level"]) == ("symbols", "categorical", "token")
    assert made.info.extra["symbols"] == ["a", "b", "c", "<unk>"]
    assert made.info.extra["unknown"] == {"train": 0, "valid": 0, "test": 1}
    assert stored(made)["valid"][0].tolist() == [[2], [2], [0], [1]]
    whole = pv.dataset(["abcab", "bca", "ccab", "abx"], splits=names, symbols="abcx")
    assert (whole.info.extra["symbols"], whole.info.extra["level"]) == (list("abcx"), "char")
    numbers = [["abcx".index(s) for s in text] for text in texts]
    assert equal(pv.dataset(numbers, splits=names, symbols="abcx", path="n.h5"), whole)
    assert equal(pv.dataset([np.array(n) for n in numbers], splits=names, symbols=list("abcx"), path="m.h5"), whole)
    for data, options, message in [
        (numbers, {"support": "categorical"}, "without symbols="),
        (numbers, {"symbols": "ab"}, "2 is none of the 2 symbols"),
        (texts, {"symbols": "abc"}, "'x' is none of the 3 symbols"),
        (texts, {"symbols": "aab"}, "twice"),
        (texts, {"support": "real"}, "no other support"),
        ([["a", 1]], {}, "not all text"),
        ([[0.5]], {"symbols": "ab"}, "not all text"),
        ([["a"], []], {}, "sequence 1 is empty"),
    ]:
        with pytest.raises((DataError, ConfigError), match=message) as error:
            pv.dataset(data, **options)
        assert error.value.hint


def frame(**changes: Any) -> Any:
    rows = [(f"s{i}", t, float(i + t), 10.0 * t) for t in (2, 0, 1) for i in range(10)]
    found = pd.DataFrame(rows, columns=["who", "when", "x", "y"])
    for name, values in changes.items():
        found[name] = values
    return found


def test_a_data_frame() -> None:
    made = pv.dataset(frame(), sequence="who", time="when")
    assert counts(made) == [8, 1, 1]
    assert made.info.extra["columns"] == ["x", "y"]
    assert all(x[:, 1].tolist() == [0, 10, 20] for part in stored(made).values() for x in part)
    assert made.info.steps_per_second is None
    assert made.info.extra["time"] == {"column": "when", "written_as": "numbers", "spacing": 1.0}
    assert set(sequences(made.info)["train"]) < {f"s{i}" for i in range(10)}
    assert pv.dataset(frame(), sequence="who", time="when", columns=["y"]).info.x_dim == 1
    unsorted = pv.dataset(frame(), sequence="who", columns="x")
    assert all(np.diff(x[:, 0]).tolist() == [-2, 1] for x in stored(unsorted)["train"])


def test_a_frame_of_another_library() -> None:
    class DataFrame:
        def __init__(self, values: dict[str, Any]) -> None:
            self.values, self.columns = values, list(values)

        def __len__(self) -> int:
            return 30

        def __getitem__(self, name: str) -> Any:
            return self.values[name]

    made = pv.dataset(DataFrame({name: frame()[name].to_numpy() for name in frame()}), sequence="who", time="when")
    assert made == pv.dataset(frame(), sequence="who", time="when")


@pytest.mark.parametrize("zone", [None, "UTC"])
def test_dates_say_how_long_a_step_is(zone: str | None) -> None:
    when = pd.to_datetime("2026-01-01", utc=zone is not None) + pd.to_timedelta(frame()["when"] * 0.5, unit="s")
    made = pv.dataset(frame(when=when), sequence="who", time="when")
    assert made.info.steps_per_second == pytest.approx(2.0, rel=1e-6)
    assert all(x[:, 1].tolist() == [0, 10, 20] for x in stored(made)["train"])


def test_other_frames() -> None:
    part = frame()["who"].map(lambda name: "test" if name == "s3" else "valid" if name == "s4" else "train")
    made = pv.dataset(frame(part=part), sequence="who", splits="part")
    assert counts(made) == [8, 1, 1]
    assert list(sequences(made.info)["test"]) == ["s3"]
    listed = ["test" if i == 3 else "valid" if i == 4 else "train" for i in range(10)]
    assert equal(pv.dataset(frame(), sequence="who", columns=["when", "x", "y"], splits=listed, path="l.h5"), made)
    gaps = frame(x=pd.array([None, *range(29)], dtype="Int64"))
    assert pv.dataset(gaps, sequence="who").info.extra["missing_values"] == 1
    assert pv.dataset(frame().rename(columns={"who": "sequence"})).info.x_dim == 3
    whole = pv.dataset(frame()[["x", "y"]], split_by="time")
    assert counts(whole) == [1, 1, 1]
    by_split = {"train": frame(), "valid": frame()}
    assert counts(pv.dataset(by_split, sequence="who")) == [10, 10, 0]
    flags = frame(x=frame()["x"] > 3, y=frame()["y"] > 5)
    assert pv.dataset(flags, sequence="who", columns=["x", "y"]).info.support == "binary"


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (None, {}, "nothing to train on"),
        ([], {}, "no sequences"),
        ({}, {}, "nothing to train on"),
        ({"valid": [[1.0]]}, {}, "nothing to train on"),
        ({"train": [[1.0]], "dev": [[1.0]]}, {}, "split 'dev'"),
        ([np.ones((3, 2)), np.ones((3, 4))], {}, "sequence '1' has 4 columns, and '0' has 2"),
        ([np.ones((3, 2)), np.ones((0, 2))], {}, r"sequence 1 has shape \[0, 2\]"),
        ([[[1, 2], [3]]], {}, "sequence 0 is not an array of numbers"),
        ([1.0, 2.0], {}, "sequence 0 has shape"),
        ([np.array([["a"]]), np.array([["b"]])], {}, "not an array of numbers"),
        ([np.ones((2, 2)), np.full((2, 2), np.inf)], {}, "sequence 1, step 0 is infinite"),
        (np.ones((9, 2)), {}, "one sequence of 9 steps"),
        (np.ones((9, 2)), {"lengths": [4, 4]}, "add up to 8, and it has 9 rows"),
        (walks(), {"splits": ["train", "test"]}, "2 names for 20 sequences"),
        (walks(2), {"splits": ["train", "dev"]}, "split 'dev'"),
        (walks(), {"splits": (80, 10)}, "splits 80,10"),
        (walks(), {"splits": 3}, "splits=3"),
        (walks(), {"splits": "part"}, "splits= names a column"),
        (walks(), {"sequence": "part"}, "sequence= names a column"),
        (walks(), {"columns": ["a", "b"]}, "3 different names"),
        (walks(), {"columns": ["a", "a", "b"]}, "3 different names"),
        (walks(), {"support": "bits"}, "support 'bits'"),
        ({"train": walks()}, {"splits": (50, 25, 25)}, "splits= makes no sense"),
        (walks(), {"splits": {"train": walks()}}, "leave one"),
        (frame(), {"sequence": "whose"}, "column in sequence= 'whose'"),
        (frame(), {"sequence": "who", "columns": ["z"]}, "column in columns= 'z'"),
        (frame(x="a"), {"sequence": "who"}, "column 'x' is no column of numbers: 'a'"),
        (frame(who=[None, *"abcde" * 5, *"abcd"]), {"sequence": "who"}, "'who' has an empty cell"),
        (frame(when="soon"), {"sequence": "who", "time": "when"}, "neither dates nor numbers"),
        (frame(when=np.nan), {"sequence": "who", "time": "when"}, "'when' has an empty cell"),
        (frame(part=["train", *["valid"] * 29]), {"sequence": "who", "splits": "part"}, "in the splits train, valid"),
        (frame(part="dev"), {"sequence": "who", "splits": "part"}, "split 'dev'"),
        (frame()[:0], {}, "without rows"),
        (frame(), {"sequence": "who", "lengths": [30]}, "lengths= is for an array"),
    ],
)
def test_what_cannot_be(data: Any, options: dict[str, Any], message: str, here: Path) -> None:
    with pytest.raises((DataError, ConfigError)) as error:
        pv.dataset(data, **options)
    import re

    assert re.search(message, f"{error.value.message} {error.value.hint}")
    assert not [*here.rglob("*.h5*")]


def test_a_run_is_trained_on_it_and_knows_it_again() -> None:
    made = pv.dataset(walks(x_dim=2))
    settings = {k: v for k, v in SMALL.items() if k != "model.latent_dim"} | {"model.likelihood": "gaussian"}
    run = pv.train(data=made, model="vrnn", max_steps=2, out="runs/a", device="cpu", settings=settings)
    assert Path(run.config.data.path) == made.path.resolve()
    other = pv.dataset(walks(x_dim=2), path="elsewhere.h5")
    assert run.evaluate(data=other).nll_per_step == run.evaluate().nll_per_step
    again = pv.train(data=other, model="vrnn", max_steps=3, out="runs/a", device="cpu", settings=settings)
    assert again.result is not None
    assert again.result.steps == 3


def test_nothing_is_imported_for_it() -> None:
    code = "import sys, pyro_vrnn as pv; pv.dataset; assert not {'torch', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"dataset", "Dataset"} <= set(dir(pv)) == set(pv.__all__)
