"""UEA and UCR collections: .ts, .arff and .tsv, labels, padding, and a thousand damaged files."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from stored import sequences

from pyro_vrnn.data.schema import SPLITS, DataInfo
from pyro_vrnn.data.sources import uea, vectors
from pyro_vrnn.data.sources.common import Skips
from pyro_vrnn.system.errors import DataError

HEAD = "# about\n@problemName Toy\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n"


def prepared(tmp_path: Path, name: str, text: str | bytes, strict: bool = False) -> DataInfo:
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return vectors.prepare(tmp_path / "x.h5", source=path, overwrite=True, strict=strict)


def test_ts(tmp_path: Path) -> None:
    cases = "1,2,3:4,5,6:a\n?,2:0.5,NaN:b\n1:2:a\n1,2:3:a\nx,2:3,4:b\n"
    info = prepared(tmp_path, "Toy.ts", HEAD + cases)
    found = {name: x for split in sequences(info).values() for name, x in split.items()}
    assert found["case-0"].tolist() == [[1, 4], [2, 5], [3, 6]]
    assert info.missing
    assert info.extra["missing_values"] == 2
    assert sorted(label for part in info.extra["labels"].values() for label in part) == ["a", "a", "b"]
    reasons = [skip["reason"] for skip in info.extra["skipped"]]
    assert "line 10: dimensions of 1 to 2 values" in reasons[0]
    assert "could not convert string to float: 'x'" in reasons[1]
    with pytest.raises(DataError, match="line 10"):
        prepared(tmp_path, "Toy.ts", HEAD + cases, strict=True)
    with pytest.raises(DataError, match="time stamps"):
        prepared(tmp_path, "Toy.ts", HEAD.replace("timeStamps false", "timeStamps true") + cases)
    with pytest.raises(DataError, match="no @data"):
        prepared(tmp_path, "Toy.ts", "@problemName x\n")
    with pytest.raises(DataError, match="before @data"):
        prepared(tmp_path, "Toy.ts", "1,2,3\n")


def test_arff(tmp_path: Path) -> None:
    plain = "@relation x\n@attribute a numeric\n@attribute b numeric\n@attribute target {1,2}\n@data\n"
    plain += "1,2,1\n3,?,2\n5,6,1\n"
    info = prepared(tmp_path, "x.arff", plain)
    found = {name: x for split in sequences(info).values() for name, x in split.items()}
    assert found["case-0"].tolist() == [[1], [2]]
    assert found["case-1"].tolist() == [[3]]  # what is missing at the end pads a shorter series
    many = "@relation x\n@attribute dims relational\n@attribute a numeric\n@end dims\n@attribute class {u,v}\n@data\n"
    many += "".join(f"'1,2\\n{i},4',{'uv'[i % 2]}\n" for i in range(4))
    info = prepared(tmp_path, "x.arff", many)
    found = {name: x for split in sequences(info).values() for name, x in split.items()}
    assert found["case-2"].tolist() == [[1, 2], [2, 4]]
    assert set(info.extra["labels"]["train"]) <= {"u", "v"}


def test_tsv_of_the_ucr_archive(tmp_path: Path) -> None:
    """A folder with _TRAIN and _TEST; train gives a twentieth to validation; NaN at the end is padding."""
    folder = tmp_path / "Coffee"
    folder.mkdir()
    for part, count in (("TRAIN", 40), ("TEST", 7)):
        rows = [f"{i % 2}\t" + "\t".join(f"{i + t}" for t in range(9)) + "\tNaN" * 2 for i in range(count)]
        (folder / f"Coffee_{part}.tsv").write_text("\n".join(rows) + "\n")
    for source in (folder, folder / "Coffee_TRAIN.tsv", folder / "Coffee_TEST.tsv"):
        info = vectors.prepare(tmp_path / "x.h5", source=source, overwrite=True)
        assert [info.splits[s].sequences for s in SPLITS] == [38, 2, 7]
        assert (info.x_dim, info.missing, info.splits["train"].longest) == (1, False, 9)
        assert info.extra["carved"] == "5% of train"
        assert info.extra["labels"]["test"] == ["0", "1", "0", "1", "0", "1", "0"]


def test_what_is_no_collection(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("x\ty\n1\t2\n")
    (tmp_path / "b.csv").write_text("x\n1\n")
    assert uea.find(tmp_path / "a.tsv") is None
    assert uea.find(tmp_path) is None
    assert uea.find(tmp_path / "gone.ts") is None


def test_changed_collections(tmp_path: Path) -> None:
    """A thousand damaged files: sequences or one DataError each, each in a moment."""
    generator = np.random.default_rng(0)
    good = {
        ".ts": HEAD + "1,2,3:4,5,6:a\n2,?,3:4,5,6:b\n" * 5,
        ".arff": "@relation x\n@attribute a numeric\n@attribute t {1,2}\n@data\n1,2,1\n'1,2\\n3,4',2\n" * 2,
        ".tsv": "1\t2\t3\n2\t4\tNaN\n" * 5,
    }
    spice = [b":", b",", b"'", b"@data", b"@", b"\n", b"\xff", b"(", b"1e999", b"{" * 3000, b"9" * 5000, b"\t"]
    read, slowest, told = 0, 0.0, set()
    for k in range(1000):
        ending = list(good)[k % 3]
        data = bytearray(good[ending].encode())
        for _ in range(int(generator.integers(1, 6))):
            at = int(generator.integers(len(data) + 1))
            if generator.integers(2):
                data[at:at] = spice[int(generator.integers(len(spice)))]
            else:
                del data[at : at + int(generator.integers(1, 9))]
        path = tmp_path / f"x_TRAIN{ending}"
        path.write_bytes(bytes(data))
        started = time.process_time()
        try:
            uea.read({"train": path}, Skips(path, strict=False))
            read += 1
        except DataError as error:
            told.add("\n" in error.message)
        slowest = max(slowest, time.process_time() - started)
    assert told == {False}  # each error is one line
    assert slowest < 1
    assert 50 < read < 1000
