"""Quick, Draw!'s lines: as they come, damaged, and too many."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from penfiles import STEPS, as_ndjson, check_mutants, everything, mutants, quick, sequences

from pyro_vrnn.data.schema import SPLITS, DataInfo
from pyro_vrnn.data.sources import quickdraw, strokes
from pyro_vrnn.system.errors import DataError


def prepared(folder: Path, data: bytes, name: str = "cat.ndjson", **options: Any) -> DataInfo:
    (folder / name).write_bytes(data)
    return strokes.prepare(folder / "x.h5", source=str(folder / name), overwrite=True, **options)


def test_thirty_cats(tmp_path: Path) -> None:
    """A case of shared/cases: 30 drawings of 3 strokes of 12 points."""
    rng = np.random.default_rng(0)
    objects = [
        {
            "word": "cat",
            "recognized": i % 3 > 0,
            "key_id": str(i),
            "drawing": [rng.integers(0, 255, (2, 12)).tolist() for _ in range(3)],
        }
        for i in range(30)
    ]
    info = prepared(tmp_path, as_ndjson(objects), clip=1e6)
    assert [info.splits[s].sequences for s in SPLITS] == [24, 3, 3]
    assert (info.kind, info.extra["words"], info.extra["unrecognized"]) == ("strokes", {"cat": 30}, 10)
    found = {name: np.array(x) for name, x in everything(info).items()}
    assert {*found} == {str(i) for i in range(30)}
    for i, x in enumerate(found[str(k)] for k in range(30)):
        assert (x.shape, x[:, 2].sum()) == ((35, 3), 3)
        xs, ys = np.concatenate(objects[i]["drawing"], axis=1)  # type: ignore[arg-type]
        np.testing.assert_array_equal(x[:, :2], np.column_stack([np.diff(xs), -np.diff(ys)]))
    tests = [tuple(sequences(prepared(tmp_path, as_ndjson(objects), seed=s))["test"]) for s in (0, 0, 1)]
    assert tests[0] == tests[1] != tests[2]


@pytest.mark.parametrize("ending", [".ndjson", ".NDJSON", ".json"])
def test_y_is_turned_up(tmp_path: Path, ending: str) -> None:
    """With times (raw) and without; whatever the file is called."""
    simple, raw = quick(2)
    raw["drawing"] = [[*stroke, [0.5] * len(stroke[0])] for stroke in raw["drawing"]]
    found = everything(prepared(tmp_path, as_ndjson([simple, raw]), f"cat{ending}", clip=1e6))
    assert found["5000"] == STEPS
    assert [row[1:] for row in found["5001"]] == [row[1:] for row in STEPS]


def test_a_folder_of_files(tmp_path: Path) -> None:
    """Ids begin with the file's stem, and are made to differ."""
    folder = tmp_path / "some"
    (folder / "more").mkdir(parents=True)
    objects = quick(4)
    objects[3]["key_id"] = "5000"
    (folder / "cat.ndjson").write_bytes(as_ndjson(objects))
    (folder / "more" / "bus.ndjson").write_bytes(as_ndjson([{**o, "word": "bus"} for o in objects[:2]]) + b"{}\n")
    (folder / "more" / "cat.ndjson").write_bytes(as_ndjson(objects[:1]))
    (folder / "._cat.ndjson").write_bytes(b"Mac")
    told: list[tuple[int, int]] = []
    info = strokes.prepare(tmp_path / "x.h5", source=str(folder), progress=lambda *n: told.append(n))
    names = ["bus-5000", "bus-5001", "cat-5000", "cat-5000-2", "cat-5000-3", "cat-5001", "cat-5002"]
    assert sorted(everything(info)) == names
    assert info.extra["words"] == {"bus": 2, "cat": 5}
    assert info.extra["skipped"] == [
        {"id": "more/bus.ndjson, line 3", "reason": "not a JSON object with a drawing"},
    ]
    assert (info.extra["hidden_files"], info.source, told[-1]) == (1, "the folder some", (3, 3))
    (folder / "one.inkml").touch()
    with pytest.raises(DataError, match=r"\.ndjson and \.inkml files in it"):
        strokes.prepare(tmp_path / "y.h5", source=str(folder))


GOOD = [[[1, 2, 3], [4, 5, 6]], [[1], [2]]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"not json", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"drawing": ' + b"9" * 5000 + b"}", "not JSON"),
        (b"[]", "not a JSON object with a drawing"),
        (b'{"word": "cat"}', "not a JSON object with a drawing"),
        (b'{"drawing": "' + b"a" * 2**20 + b'"}', "more than 1048576 bytes"),
        (json.dumps({"drawing": 5}).encode(), "the drawing is not a list of strokes"),
        (json.dumps({"drawing": []}).encode(), "0 points"),
        (json.dumps({"drawing": [[1, 2]]}).encode(), "stroke 0 has something else than lists of numbers"),
        (json.dumps({"drawing": [*GOOD, [[1], [2], [3], [4]]]}).encode(), "stroke 2 is not [xs, ys]"),
        (json.dumps({"drawing": [[[1, 2], [3]]]}).encode(), "stroke 0 has lists of 1 and 2 numbers"),
        (json.dumps({"drawing": [[[1, 2], [3, 4], [5]]]}).encode(), "stroke 0 has lists of 1 and 2 numbers"),
        (json.dumps({"drawing": [[[1, "2"], [3, 4]]]}).encode(), "something else than lists of numbers"),
        (json.dumps({"drawing": [[[1, True], [3, 4]]]}).encode(), "something else than lists of numbers"),
        (json.dumps({"drawing": [[[1, 10**400], [3, 4]]]}).encode(), "a number that is too large"),
        (json.dumps({"drawing": [[[1, float("nan")], [3, 4]]]}).encode(), "not finite"),
        (json.dumps({"drawing": [[[1], [3]]]}).encode(), "1 points"),
        (json.dumps({"drawing": GOOD, "key_id": [5]}).encode(), "the key_id is not a short text"),
        (json.dumps({"drawing": GOOD, "key_id": ""}).encode(), "the key_id is not a short text"),
        (json.dumps({"drawing": GOOD, "key_id": "a\0b"}).encode(), "the key_id is not a short text"),
        (json.dumps({"drawing": GOOD, "key_id": "\ud800"}).encode(), "the key_id is not a short text"),
        (json.dumps({"drawing": GOOD, "word": "a" * 101}).encode(), "the word is not a short text"),
    ],
    ids=range(23),
)
def test_damaged_lines(tmp_path: Path, line: bytes, reason: str) -> None:
    """Skipped and listed by number, the rest is read; with --strict an error that names the line."""
    data = as_ndjson(quick(5)) + b"\n" + line + b"\n" + as_ndjson([{"drawing": GOOD}])
    info = prepared(tmp_path, data)
    assert sorted(everything(info)) == ["5000", "5001", "5002", "5003", "5004", "line-8"]
    [skip] = info.extra["skipped"]
    assert skip["id"] == "line 7"
    assert reason in skip["reason"]
    with pytest.raises(DataError, match=r"cat\.ndjson: line 7: "):
        prepared(tmp_path, data, strict=True)


def test_files_that_are_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for data in (b"", b"\n\n", b"a\n" * 999):
        with pytest.raises(DataError, match="no training sequence"):
            prepared(tmp_path, data)
    with pytest.raises(DataError, match="no drawing in 1000 lines"):
        prepared(tmp_path, b"a\n" * 5_000_000)
    started = time.monotonic()
    with pytest.raises(DataError, match="no training sequence; 1 skipped"):
        prepared(tmp_path, b'{"drawing": ' + b"[" * 30_000_000)
    assert time.monotonic() - started < 5  # a moment: it is not held
    os.mkfifo(tmp_path / "pipe.ndjson")
    for name, words in (("pipe.ndjson", "not a plain file"), ("gone.ndjson", "cannot be read"), ("a\0.ndjson", "null")):
        with pytest.raises(DataError, match=words):
            strokes.prepare(tmp_path / "y.h5", source=str(tmp_path / name))
    monkeypatch.setattr(quickdraw, "MAX_BYTES", 100)
    with pytest.raises(DataError, match=r"\d+ bytes; at most 100 are read"):
        prepared(tmp_path, as_ndjson(quick(3)))
    monkeypatch.setattr(quickdraw, "MAX_BYTES", 10_000)
    monkeypatch.setattr(quickdraw, "MAX_FOLDER_BYTES", 500)
    with pytest.raises(DataError, match=r"\d+ bytes in 1 files; at most 500 are read"):
        prepared(tmp_path, as_ndjson(quick(5)))


@pytest.mark.fault(63)
def test_a_thousand_mutants(tmp_path: Path) -> None:
    read, refused = check_mutants(tmp_path, "cat.ndjson", mutants(as_ndjson(quick(3)), 1))
    assert read + refused == 1000
    assert read > 100
    assert refused >= 1
