"""The baselines of each kind of data, by their definition: step by step, without sums that are kept."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import write_audio

from pyro_vrnn import cli
from pyro_vrnn.data import baselines as module
from pyro_vrnn.data.baselines import baselines
from pyro_vrnn.data.description import describe
from pyro_vrnn.data.encoding import Encoding, encoding_of
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import Array, read_info
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.models.likelihoods.base import SCALE_FLOOR
from pyro_vrnn.system.errors import DataError

RANDOM = np.random.default_rng(0)
LENGTHS = {"train": (5, 1, 11, 9, 2), "valid": (3,), "test": (4, 1, 7)}


def write(path: Path, draw: Callable[[int], Array], **about: Any) -> dict[str, list[Array]]:
    """A data file of these lengths, and what is in it."""
    splits = {split: [draw(n) for n in lengths] for split, lengths in LENGTHS.items()}
    values: dict[str, Any] = {"kind": "vectors", "steps_per_second": None, "source": "", "licence": ""}
    ids = {split: [str(i) for i in range(len(x))] for split, x in splits.items()}
    write_sequences(path, splits, ids=ids, **values | about)
    return splits


def slow_floors(train: list[Array], test: list[Array]) -> dict[str, float]:
    """The definition of `baselines`, step by step."""
    columns = train[0].shape[1]

    def rate(values: list[int]) -> float:
        return (sum(values) + 0.5) / (len(values) + 1)

    def nll(value: int, p: float) -> float:
        return -float(np.log(p if value else 1 - p))

    independent = last = 0.0
    for k in range(columns):
        p = rate([int(v) for x in train for v in x[:, k]])
        after = [
            rate([int(now) for x in train for old, now in zip(x[:-1, k], x[1:, k], strict=True) if old == before])
            for before in (0, 1)
        ]
        for x in test:
            for t in range(len(x)):
                independent += nll(x[t, k], p)
                last += nll(x[t, k], p if t == 0 else after[int(x[t - 1, k])])
    steps = sum(len(x) for x in test)
    return {"independent": independent / steps, "last": last / steps}


def test_floors_by_their_definition(tmp_path: Path) -> None:
    splits = write(tmp_path / "x.h5", lambda n: RANDOM.integers(0, 2, (n, 3), np.uint8), support="binary")
    assert baselines(tmp_path / "x.h5") == pytest.approx(slow_floors(splits["train"], splits["test"]), rel=1e-12)


def test_floors_are_measured_on_test(tmp_path: Path) -> None:
    train = [np.ones((2, 2), "u1")]
    write_sequences(
        tmp_path / "y.h5",
        {"train": train},
        ids={"train": ["a"]},
        kind="pianoroll",
        support="binary",
        steps_per_second=2.0,
        source="",
        licence="",
    )
    with pytest.raises(DataError, match="test split is empty"):
        baselines(tmp_path / "y.h5")
    assert "floors" not in describe(tmp_path / "y.h5")


def walk(n: int, width: int = 3) -> Array:
    """Columns of other sizes, each of which continues from its last value."""
    return np.cumsum(RANDOM.normal(size=(n, width)), 0).astype(np.float32) * np.arange(1, width + 1) + 5


def slow_gaussian(train: list[Array], test: list[Array]) -> tuple[float, float]:
    """Nats of one column's sequences: independent, last."""

    def nll(x: float, mean: float, variance: float) -> float:
        return float(0.5 * np.log(2 * np.pi * variance) + (x - mean) ** 2 / (2 * variance))

    every = np.concatenate(train)
    mean, variance = float(every.mean()), max(float(every.var()), SCALE_FLOOR**2)
    before = np.concatenate([x[:-1] for x in train])
    now = np.concatenate([x[1:] for x in train])
    slope, offset = np.polyfit(before, now, 1)
    around = max(float(((now - slope * before - offset) ** 2).mean()), SCALE_FLOOR**2)
    independent = sum(nll(v, mean, variance) for x in test for v in x)
    last = sum(
        nll(v, mean, variance) if t == 0 else nll(v, slope * x[t - 1] + offset, around)
        for x in test
        for t, v in enumerate(x)
    )
    return independent, last


def encoded(path: Path, split: str) -> list[Array]:
    encoding = encoding_of(read_info(path))
    return [encoding.encode(x).astype(np.float64) for x in read_split(path, split)]


def test_real_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    write(path, walk, support="real")
    train, test = encoded(path, "train"), encoded(path, "test")
    slow = [slow_gaussian([x[:, k] for x in train], [x[:, k] for x in test]) for k in range(3)]
    found = baselines(path)
    assert found.keys() == {"independent", "last"}
    assert list(found.values()) == pytest.approx(np.sum(slow, 0) / 12, rel=1e-9)
    assert found["last"] < found["independent"]
    assert describe(path)["floors"] == found


def test_in_the_units_of_a_model(tmp_path: Path) -> None:
    """A density over x that is ten times as wide is a tenth: log 10 nats more for each column."""
    write(tmp_path / "x.h5", walk, support="real")
    own = encoding_of(read_info(tmp_path / "x.h5"))
    other = Encoding(own.center, tuple(v / 10 for v in own.scale))
    a, b = baselines(tmp_path / "x.h5"), baselines(tmp_path / "x.h5", other)
    assert [b[k] - a[k] for k in a] == pytest.approx([3 * np.log(10)] * 2, rel=1e-6)


def test_a_column_that_never_changes(tmp_path: Path) -> None:
    write(tmp_path / "x.h5", lambda n: np.ones((n, 2), np.float32), support="real")
    least = 2 * (0.5 * np.log(2 * np.pi) + np.log(SCALE_FLOOR))
    assert list(baselines(tmp_path / "x.h5").values()) == pytest.approx([least, least])
    assert module.LEAST_SCALE == SCALE_FLOOR


def test_the_last_value_of_sound_is_the_sample_before(tmp_path: Path) -> None:
    """Also across steps; never across sequences."""
    path = write_audio(tmp_path / "x.h5")
    train, test = ([x.reshape(-1) for x in encoded(path, split)] for split in ("train", "test"))
    expected = np.array(slow_gaussian(train, test)) / sum(len(x) / 20 for x in test)
    assert list(baselines(path).values()) == pytest.approx(expected, rel=1e-9)


def test_a_pen_is_a_coin(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    pens = write(path, lambda n: np.c_[walk(n, 2), RANDOM.random(n) < 0.4].astype("f4"), support="real", kind="strokes")
    pen = slow_floors(*([x[:, 2:] for x in pens[split]] for split in ("train", "test")))
    train, test = encoded(path, "train"), encoded(path, "test")
    slow = [slow_gaussian([x[:, k] for x in train], [x[:, k] for x in test]) for k in range(2)]
    expected = np.sum(slow, 0) / 12 + [pen["independent"], pen["last"]]
    assert list(baselines(path).values()) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("held", [1_000_000, 3])
def test_symbols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(module, "PAIRS_HELD", held)
    splits = write(
        tmp_path / "x.h5",
        lambda n: RANDOM.integers(0, 4, (n, 1), np.uint8),
        support="categorical",
        kind="symbols",
        extra={"symbols": list("abcdef")},
    )
    train, test = ([x[:, 0].tolist() for x in splits[split]] for split in ("train", "test"))
    single, pairs = Counter(v for x in train for v in x), Counter(p for x in train for p in itertools.pairwise(x))
    before = Counter(v for x in train for v in x[:-1])
    independent = last = 0.0
    for x in test:
        for t, v in enumerate(x):
            rate = (single[v] + 1) / (single.total() + 6)
            after = rate if t == 0 else (pairs[x[t - 1], v] + 1) / (before[x[t - 1]] + 6)
            independent, last = independent - np.log(rate), last - np.log(after)
    assert list(baselines(tmp_path / "x.h5").values()) == pytest.approx([independent / 12, last / 12], rel=1e-12)


@pytest.mark.parametrize("support", ["real", "categorical"])
def test_first_steps_that_are_only_read(tmp_path: Path, support: str) -> None:
    """They are what the next one is scored by, and have no score."""
    LENGTHS_HERE = {"train": (5, 3, 11), "test": (4, 2, 7)}
    about: dict[str, Any] = {"kind": "symbols", "extra": {"symbols": list("abcd")}} if support == "categorical" else {}
    draw = walk if support == "real" else lambda n: RANDOM.integers(0, 4, (n, 1), np.uint8)
    splits = {split: [draw(n) for n in lengths] for split, lengths in LENGTHS_HERE.items()}
    ids = {split: [str(i) for i in range(len(x))] for split, x in splits.items()}
    values: dict[str, Any] = {"kind": "vectors", "steps_per_second": None, "source": "", "licence": "", "extra": {}}
    values |= {"support": support} | about
    found = []
    for unscored in (0, 1):
        values["extra"] = values["extra"] | {"unscored": unscored}
        write_sequences(tmp_path / "x.h5", splits, ids=ids, overwrite=True, **values)
        found.append(baselines(tmp_path / "x.h5"))
    firsts = {split: [x[:1] for x in part] if split == "test" else part for split, part in splits.items()}
    values["extra"] = values["extra"] | {"unscored": 0}
    write_sequences(tmp_path / "x.h5", firsts, ids=ids, overwrite=True, **values)
    first = baselines(tmp_path / "x.h5")
    for key in first:
        assert 13 * found[0][key] - 3 * first[key] == pytest.approx(10 * found[1][key], rel=1e-9)


def test_a_big_split_is_read_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x.h5", walk, support="real")
    monkeypatch.setattr(module, "MOST_SEQUENCES", 2)
    found = baselines(tmp_path / "x.h5")
    assert (found["train_sequences"], found["test_sequences"]) == (2, 2)
    monkeypatch.setattr(module, "MOST_VALUES", 1)
    assert baselines(tmp_path / "x.h5")["train_sequences"] == 1


def test_what_people_see(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_audio(tmp_path / "x.h5")
    assert cli._run(["data", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("independent Gaussian samples" in line for line in lines)
    assert any(f"nats per sample: {baselines(path)['independent'] / 20:.4f}" in line for line in lines)
    argv = ["train", "jsb-vrnn", "--data", path, "--likelihood", "gaussian", "--out", tmp_path / "r", "--max-steps", 1]
    assert cli._run([str(a) for a in [*argv, "--quiet"]]) == 0
    capsys.readouterr()
    assert cli._run(["evaluate", str(tmp_path / "r"), "--split", "test"]) == 0
    shown = [line.split() for line in capsys.readouterr().out.splitlines()]
    values = [line[1] for line in shown if line[0] == "baseline"]
    low = baselines(path)
    assert values == [f"{low[k]:.4f}" for k in low] + [f"{low[k] / 20:.4f}" for k in low]


def test_a_column_without_pairs_takes_nothing_from_the_others(tmp_path: Path) -> None:
    """One that is observed every second step has no line from the value before; the others keep theirs."""
    generator = np.random.default_rng(0)
    walks = [generator.normal(size=(80, 3)).cumsum(0) for _ in range(6)]
    for x in walks:
        x[1::2, 2] = np.nan
    ids = {s: [f"{s}{i}" for i in range(2)] for s in ("train", "valid", "test")}
    parts = dict(zip(ids, (walks[:2], walks[2:4], walks[4:]), strict=True))
    made: dict[str, Any] = {"kind": "vectors", "support": "real", "steps_per_second": None}
    info = write_sequences(tmp_path / "a.h5", parts, ids=ids, missing=True, source="x", licence="none", **made)
    offset, slope, around = module.last_value_line(info)
    assert (slope[:2] > 0.9).all()
    assert slope[2] == 0
    assert (around[:2] < 0.5).all()
    assert np.isfinite([offset, slope, around]).all()
