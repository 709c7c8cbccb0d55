"""Tables as people write them: what is read, what is left out and told, what is refused with line and column."""

from __future__ import annotations

import csv
import io
import itertools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import sequences

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources import lines as lines_module
from pyro_vrnn.data.sources import tables as tables_module
from pyro_vrnn.data.sources import vectors
from pyro_vrnn.data.sources.lines import chunks_of
from pyro_vrnn.data.sources.othertables import read_one
from pyro_vrnn.data.sources.sniffing import sniff
from pyro_vrnn.data.sources.store import Store
from pyro_vrnn.system.errors import ConfigError, DataError


def prepared(tmp_path: Path, text: str | bytes, **options: Any) -> DataInfo:
    path = tmp_path / "table.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return vectors.prepare(tmp_path / "x.h5", source=path, overwrite=True, **options)


def found(info: DataInfo) -> dict[str, Array]:
    return {name: x for split in sequences(info).values() for name, x in split.items()}


ROWS = [("a", 1.5, -2.0), ("a", 2.25, 3.0), ("b", 0.5, 1e3), ("b", -1.0, 0.0), ("c", 4.0, 5.0)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("quoted", [False, True])
def test_however_it_is_written(tmp_path: Path, end: str, delimiter: str, encoding: str, quoted: bool) -> None:
    """Decimal commas wherever the comma is no delimiter."""
    file = io.StringIO(newline="")
    how = csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=how)
    writer.writerow(["sequence", "x", "ÿ"])
    for name, *numbers in ROWS:
        cells = [f"{v}" if delimiter == "," else f"{v}".replace(".", ",") for v in numbers]
        writer.writerow([name, *cells])
    info = prepared(tmp_path, file.getvalue().encode(encoding))
    assert info.extra["columns"] == ["x", "ÿ"]
    assert {name: x.tolist() for name, x in found(info).items()} == {
        "a": [[1.5, -2], [2.25, 3]],
        "b": [[0.5, 1000], [-1, 0]],
        "c": [[4, 5]],
    }


def test_the_first_line_is_data_where_it_is_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(4):
        (folder / f"s{i}.csv").write_text(f"{i}\n2\n3.5\n")
    info = vectors.prepare(tmp_path / "y.h5", source=folder)
    assert {name: x[:, 0].tolist() for name, x in found(info).items()} == {f"s{i}": [i, 2, 3.5] for i in range(4)}
    assert info.extra["columns"] == ["x1"]
    for header in (True, False):
        text = "sequence,a,b\n" * header + "".join(f"s{i // 2},{i},{-i}\n" for i in range(8))
        if header:
            assert len(found(prepared(tmp_path, text))) == 4
        else:  # a first line like those below it is no header, so that nothing says whose row it is
            with pytest.raises(DataError, match="'x1' holds text"):
                prepared(tmp_path, text)


def test_missing_cells(tmp_path: Path) -> None:
    cells = ["", " ", "NA", "n/a", "NaN", "null", "None", "-999", "?", "."]
    text = "sequence,x,y\n" + "".join(f"s{i},{i},{cell}\ns{i},1,2\n" for i, cell in enumerate(cells))
    info = prepared(tmp_path, text, missing=["-999", "?"])
    assert info.missing
    assert info.extra["missing_values"] == info.extra["partial_steps"] == len(cells)
    assert all(np.isnan(x[0, 1]) or x[0, 1] == 0 for x in found(info).values())  # stored as 0 and a mark
    info = prepared(tmp_path, text)  # of the two that are not usual one is a number and the other text
    assert info.extra["missing_values"] == len(cells) - 2
    assert found(info)["s7"].tolist() == [[7, -999], [1, 2]]
    [skip] = info.extra["skipped"]
    assert skip["id"] == "s8"
    assert "line 18: column 'y': '?' is no number (see --missing)" in skip["reason"]
    with pytest.raises(DataError, match="column 'y' has no value in train"):
        prepared(tmp_path, "sequence,x,y\na,1,\nb,2,\nc,3,\n")


@pytest.mark.parametrize(
    ("name", "cells", "spacing", "rate"),
    [
        ("when", ["2024-01-01", "2024-01-02", "2024-01-03"], 86400, 1 / 86400),
        ("x", ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.5Z", "2024-01-01T00:00:01Z"], 0.5, 2),
        ("date", ["2024-03-30 12:00+01:00", "2024-03-30 13:00+01:00", "2024-03-30 14:00+01:00"], 3600, 1 / 3600),
        ("day", ["30.01.2024 12:00", "30.01.2024 13:00", "30.01.2024 14:00"], 3600, 1 / 3600),
        ("day", ["2024/02/28", "2024/02/29", "2024/03/01"], 86400, 1 / 86400),
        ("timestamp", ["1700000000", "1700000060", "1700000120"], 60, 1 / 60),
        ("ms", ["1700000000000", "1700000001000", "1700000002000"], 1, 1),
        ("ns", ["1700000000000000000", "1700000001000000000", "1700000002000000000"], 1, 1),
        ("time", ["0.0", "0.25", "0.5"], 0.25, None),
    ],
)
def test_the_column_of_time(tmp_path: Path, name: str, cells: list[str], spacing: float, rate: float | None) -> None:
    """It orders the rows and is no data; a unit is known of dates and epochs."""
    order = [2, 0, 1]
    text = f"{name},v,sequence\n" + "".join(
        f"{cells[i if s % 2 else order[i]]},{i if s % 2 else order[i]},s{s}\n" for s in range(5) for i in range(3)
    )
    info = prepared(tmp_path, text)
    assert info.extra["columns"] == ["v"]
    about = info.extra["time"]
    assert about["column"] == name
    assert about.get("spacing_seconds", about.get("spacing")) == pytest.approx(spacing)
    assert info.steps_per_second == (None if rate is None else pytest.approx(rate))
    assert info.extra["resorted"] == 3
    assert all(x[:, 0].tolist() == [0, 1, 2] for x in found(info).values())
    kept = prepared(tmp_path, text, columns=["v"])
    assert kept.extra["columns"] == ["v"]


def test_uneven_time_is_told(tmp_path: Path) -> None:
    text = "time,v\n" + "".join(f"2024-01-01T00:00:{s:02},1\n" for s in (0, 1, 2, 5, 6, 7, 8, 9, 10, 11, 12))
    info = prepared(tmp_path, text, split_by="time")
    assert info.extra["time"]["irregular"] == pytest.approx(0.1)


def test_numbers_that_are_no_data(tmp_path: Path) -> None:
    """Row numbers are left out and named; what only looks like one stays."""
    for name in ("", "Unnamed: 0", "index", "t", "step"):
        text = f"{name},v,sequence\n" + "".join(f"{i},{i * i},s{i // 4}\n" for i in range(16))
        info = prepared(tmp_path, text)
        assert (info.extra["columns"], list(info.extra["dropped_columns"].values())) == (["v"], ["a row's number"])
    text = "index,v,sequence\n" + "".join(f"{i % 3},{i},s{i // 4}\n" for i in range(16))
    assert prepared(tmp_path, text).extra["columns"] == ["index", "v"]
    text = "price,v,sequence\n" + "".join(f"{1.5e9 + i * i:.0f},{i},s{i // 4}\n" for i in range(16))
    assert prepared(tmp_path, text).extra["columns"] == ["price", "v"]


def test_columns_by_name(tmp_path: Path) -> None:
    text = "who,a,b,kind\n" + "".join(f"p{i // 3},{i},{-i},{'xyz'[i % 3]}\n" for i in range(15))
    info = prepared(tmp_path, text, sequence="who", drop=["kind"])
    assert (info.extra["columns"], len(found(info))) == (["a", "b"], 5)
    info = prepared(tmp_path, text, sequence="who", columns=["b"])
    assert found(info)["p1"].tolist() == [[-3], [-4], [-5]]
    info = prepared(tmp_path, text, sequence="who", one_hot=["kind"])
    assert info.extra["columns"] == ["a", "b", "kind=x", "kind=y", "kind=z"]
    assert found(info)["p0"][:, 2:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    with pytest.raises(DataError, match="column 'kind' holds text: 'x' in row 1 below the header") as error:
        prepared(tmp_path, text, sequence="who")
    assert "--drop kind" in error.value.hint
    for options in ({"columns": ["c"]}, {"drop": ["c"]}, {"one_hot": ["c"]}, {"sequence": "c"}):
        with pytest.raises(ConfigError, match="'c'"):
            prepared(tmp_path, text, **options)
    with pytest.raises(ConfigError, match="--drop a"):
        prepared(tmp_path, text, columns=["a"], drop=["a"])


def test_one_long_table(tmp_path: Path) -> None:
    text = "v\n" + "".join(f"{i}\n" for i in range(1000))
    with pytest.raises(DataError, match="one sequence of 1000 rows") as error:
        prepared(tmp_path, text)
    assert "--split-by time" in error.value.hint
    info = prepared(tmp_path, text, split_by="time")
    assert [info.splits[s].steps for s in SPLITS] == [800, 100, 100]
    assert sequences(info)["test"]["table"][0, 0] == 900
    info = prepared(tmp_path, text, split_by="time", window=30, hop=10, splits=[60, 20, 20])
    assert [info.splits[s].sequences for s in SPLITS] == [58, 18, 18]
    assert list(sequences(info)["valid"])[1] == "table#1"
    assert sequences(info)["valid"]["table#1"][:, 0].tolist() == list(range(610, 640))
    assert info.options["window"] == 30
    with pytest.raises(DataError, match="no training sequence"):
        prepared(tmp_path, text, split_by="time", window=900)
    for bad in ({"hop": 3}, {"window": 0}, {"split_by": "space"}, {"splits": [50, 50]}):
        with pytest.raises(ConfigError):
            prepared(tmp_path, text, **bad)


def test_rows_of_a_sequence_may_lie_apart_and_chunks_may_cut_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "sequence,v\n" + "\n".join(f"s{i % 7},{i}" for i in range(200)) + "\n\n\n"
    want = found(prepared(tmp_path, text))
    assert want["s3"][:3, 0].tolist() == [3, 10, 17]
    monkeypatch.setattr(tables_module, "CHUNK_ROWS", 3)
    monkeypatch.setattr(tables_module, "SNIFFED_ROWS", 5)
    monkeypatch.setattr("pyro_vrnn.data.sources.finishing.BLOCK_ROWS", 4)
    for name, x in found(prepared(tmp_path, text)).items():
        np.testing.assert_array_equal(x, want[name])
    quoted = text.replace("s5,", '"s5",').replace("s6,", '"s\n6",')
    assert found(prepared(tmp_path, quoted))["s\n6"][:2, 0].tolist() == [6, 13]


def test_lines_are_numbered(tmp_path: Path) -> None:
    """With empty lines and line breaks in quotes, as an editor numbers them."""
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,2\n\n3,4\n"5\n5",6\n7,8\n')
    layout = sniff(path)
    for size in (1, 2, 100):
        chunks = list(chunks_of(path, layout, itertools.repeat(size), lambda done: None))
        assert [(n, row) for c in chunks for n, row in zip(c.numbers, c.rows, strict=True)] == [
            (2, ["1", "2"]), (4, ["3", "4"]), (6, ["5\n5", "6"]), (7, ["7", "8"])
        ]  # fmt: skip
    assert lines_module.Chunk([1], ",", lines=["1,2"]).column(1) == ["2"]


def test_folders_skip_what_is_hidden(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    (folder / "__MACOSX").mkdir(parents=True)
    for name in ("a.csv", "b.csv", "c.csv", "._a.csv", "__MACOSX/a.csv", ".DS_Store"):
        (folder / name).write_text("x,y\n1,2\n2,3\n" if name[0] in "abc" else "\0\5\x16")
    info = vectors.prepare(tmp_path / "y.h5", source=folder, strict=True)
    assert (set(found(info)), info.extra["hidden_files"]) == ({"a", "b", "c"}, 2)


def test_excel_and_parquet(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is an extra")
    frame = pandas.DataFrame({"sequence": list("aabbcc"), "x": [1.0, None, 3, 4, 5, 6], "y": [1, 2, 3, 4, 5, 6]})
    for ending, needs in ((".xlsx", "openpyxl"), (".parquet", "pyarrow")):
        pytest.importorskip(needs, reason=f"{ending} needs {needs}")
        path = tmp_path / f"t{ending}"
        frame.to_excel(path, index=False) if ending == ".xlsx" else frame.to_parquet(path)
        info = vectors.prepare(tmp_path / "y.h5", source=path, overwrite=True)
        assert (info.extra["missing_values"], set(found(info))) == (1, {"a", "b", "c"})
        path.write_bytes(b"PK\3\4 nothing")
        with pytest.raises(DataError, match="cannot be read as a table"):
            vectors.prepare(tmp_path / "y.h5", source=path, overwrite=True)


def test_memory_stays_bounded(tmp_path: Path) -> None:
    """The rows go to a file while a table is read, not to the memory."""
    import tracemalloc

    line = ",".join("1.25" for _ in range(20))
    text = "sequence," + ",".join(f"c{j}" for j in range(20)) + "\n"
    path = tmp_path / "table.csv"
    with open(path, "w") as file:
        file.write(text)
        for i in range(40_000):
            file.write(f"s{i // 400},{line}\n")
    tracemalloc.start()
    info = vectors.prepare(tmp_path / "x.h5", source=path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert info.splits["train"].steps == 32_000
    assert peak < 40 * 2**20  # all values take 6.4 MB, of which a sample of rows is held; as Python's floats 25


def test_a_store_gives_back_what_it_took(tmp_path: Path) -> None:
    with Store(tmp_path / "new") as store:
        rows = np.random.default_rng(0).normal(size=(100, 3))
        assert [store.add(rows[:40]), store.add(rows[40:])] == [0, 40]
        np.testing.assert_array_equal(store.read([(90, 100), (0, 5)]), np.concatenate([rows[90:], rows[:5]]))
        assert store.read([]).shape == (0, 3)
    assert list((tmp_path / "new").iterdir()) == []


def test_thousands_are_no_decimals(tmp_path: Path) -> None:
    """1.107 of a table with decimal commas is a thousand and more; so is 1,107 of one with points; else it is asked."""
    rows = [f"s{i // 4};1.{100 + i};{i},5" for i in range(16)]
    info = prepared(tmp_path, "sequence;a;b\n" + "\n".join(rows))
    assert found(info)["s0"].tolist() == [[1100, 0.5], [1101, 1.5], [1102, 2.5], [1103, 3.5]]
    rows = [f"s{i // 4}\t1,{100 + i}\t{i}.5" for i in range(16)]
    info = prepared(tmp_path, "sequence\ta\tb\n" + "\n".join(rows))
    assert found(info)["s0"].tolist() == [[1100, 0.5], [1101, 1.5], [1102, 2.5], [1103, 3.5]]
    with pytest.raises(DataError, match="'1,100' may be a number with a decimal comma"):
        prepared(tmp_path, "sequence\ta\n" + "\n".join(f"s{i}\t1,{100 + i}" for i in range(8)))


def test_files_of_several_sequences(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "ab":
        (folder / f"{name}.csv").write_text("sequence,x\n" + "".join(f"s{i // 3},{i}\n" for i in range(9)))
    (folder / "c.csv").write_text("sequence,x\nonly,1\nonly,2\n")
    (folder / "d.csv").write_text("sequence,split,x\ns,train,1\n")
    info = vectors.prepare(tmp_path / "y.h5", source=folder)
    assert set(found(info)) == {"a/s0", "a/s1", "a/s2", "b/s0", "b/s1", "b/s2", "c"}
    [skip] = info.extra["skipped"]
    assert (skip["file"], "column `split`" in skip["reason"]) == ("d.csv", True)
    with pytest.raises(DataError, match="line 3 does not say whose it is"):
        prepared(tmp_path, "sequence,x\na,1\n,2\n")


def test_a_column_that_is_there_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a table that is looked at in part only."""
    monkeypatch.setattr("pyro_vrnn.data.sources.finishing.SAMPLED_ROWS", 50)
    text = "a,b\n" + "".join(f"{i},{i if i % 2 else ''}\n" for i in range(1000))
    info = prepared(tmp_path, text, split_by="time", window=10)
    assert info.extra["missing_values"] == 500


def test_newest_first_takes_no_longer(tmp_path: Path) -> None:
    text = "date,v\n" + "".join(f"{np.datetime64('2000-01-01') + i},{i}\n" for i in reversed(range(20_000)))
    started = time.process_time()
    info = prepared(tmp_path, text, split_by="time", window=50)
    assert time.process_time() - started < 10
    assert sequences(info)["train"]["table#0"][:3, 0].tolist() == [0, 1, 2]
    text = "timestamp,v\n" + "".join(f"{1700000000 + max(i, 3)},{i}\n" for i in range(40))
    info = prepared(tmp_path, text, split_by="time")  # the same time twice is no reason to be data
    assert info.extra["columns"] == ["v"]


def test_a_table_called_train_is_no_collection(tmp_path: Path) -> None:
    path = tmp_path / "sales_train.tsv"
    path.write_text("day\tprice\n" + "".join(f"{i}\t{i * 0.5}\n" for i in range(30)))
    info = vectors.prepare(tmp_path / "y.h5", source=path, split_by="time")
    assert info.splits["train"].steps == 24


def test_dates_in_another_order_are_asked_for(tmp_path: Path) -> None:
    text = "when,v,sequence\n" + "".join(f"0{i % 9 + 1}/02/2023,{i},s{i // 4}\n" for i in range(12))
    with pytest.raises(DataError, match="'when' holds text") as error:
        prepared(tmp_path, text)
    assert "write them as 2024-01-31" in error.value.hint


def test_a_table_for_a_model_is_matched_by_name(tmp_path: Path) -> None:
    """In any order among others; by place without a header; other names are refused."""
    for text, want in (
        ("b,when,a\n1,2024-01-01,2\n3,2024-01-02,4\n", [[2, 1], [4, 3]]),
        ("2,1\n4,3\n", [[2, 1], [4, 3]]),
        ("x1,x2\n2,1\n", [[2, 1]]),
    ):
        (tmp_path / "t.csv").write_text(text)
        assert read_one(tmp_path / "t.csv", ["a", "b"], 2).tolist() == want
    (tmp_path / "t.csv").write_text("a,c\n1,2\n")
    with pytest.raises(DataError, match="no column 'b'"):
        read_one(tmp_path / "t.csv", ["a", "b"], 2)
    (tmp_path / "t.csv").write_text("a,b\n-999,2\n")
    assert np.isnan(read_one(tmp_path / "t.csv", ["a", "b"], 2, ["-999"])[0, 0])
    (tmp_path / "t.ts").write_text("@classLabel true u\n@data\n1,2:3,4:u\n")
    assert read_one(tmp_path / "t.ts", ["a", "b"], 2).tolist() == [[1, 3], [2, 4]]


def test_of_several_sequences_the_first_is_read_and_that_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "t.csv").write_text("sequence,a\nv,1\nu,2\nv,3\n")
    assert read_one(tmp_path / "t.csv", ["a"], 1, say=said.append).tolist() == [[1], [3]]
    (tmp_path / "t.ts").write_text("@classLabel true u\n@data\n1,2:u\n3,4:u\n")
    assert read_one(tmp_path / "t.ts", ["a"], 1, say=said.append).tolist() == [[1], [2]]
    assert said[0] == f"note: {tmp_path}/t.csv: of its 2 sequences the first, 'v', is read"
    assert len(said) == 2
    (tmp_path / "t.csv").write_text("a\n1\n")
    read_one(tmp_path / "t.csv", ["a"], 1, say=said.append)
    assert len(said) == 2


MUTANTS = 1000


def test_changed_tables(tmp_path: Path) -> None:
    """A thousand damaged tables: a data file or one DataError each, nothing opened outside, each in a moment."""
    generator = np.random.default_rng(0)
    good = [
        "sequence,split,x,y\n" + "".join(f"s{i // 3},{SPLITS[i // 3 % 3]},{i}.5,{-i}\n" for i in range(30)),
        "time;v;w\n" + "".join(f"2024-01-{i + 1:02};{i},5;\n" for i in range(28)),
        'a\tb\n"1"\t"2\n3"\n4\t5\n' * 5,
        "1,2,3\n4,5,NA\n" * 12,
    ]
    spice = [
        b'"',
        b",",
        b";",
        b"\n",
        b"\r",
        b"\0",
        b"\xff",
        b"1e999",
        b"nan",
        b"inf",
        b"--",
        b"\t" * 50,
        b"a" * 5000,
        b"9" * 400,
    ]
    outside: list[str] = []
    watching = [True]
    places = (str(tmp_path), sys.prefix, sys.base_prefix, tempfile.gettempdir())

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if watching[0] and event == "open" and isinstance(args[0], str) and not args[0].startswith(places):
            outside.append(args[0])

    sys.addaudithook(hook)
    made, slowest, told = 0, 0.0, set()
    for k in range(MUTANTS):
        data = bytearray(good[k % len(good)].encode())
        for _ in range(int(generator.integers(1, 6))):
            at = int(generator.integers(len(data)))
            what = generator.integers(4)
            if what == 0:
                data[at] = int(generator.integers(256))
            elif what == 1:
                del data[at : at + int(generator.integers(1, 20))]
            else:
                data[at:at] = spice[int(generator.integers(len(spice)))]
            data = data or bytearray(b"x")
        started = time.process_time()
        try:
            prepared(tmp_path, bytes(data), split_by=("sequence", "time")[k % 2])
            made += 1
        except (DataError, ConfigError) as error:
            told.add("\n" in error.message)
        slowest = max(slowest, time.process_time() - started)
    watching[0] = False
    assert told == {False}  # each error is one line
    assert slowest < 3
    assert not outside
    assert 50 < made < MUTANTS - 50  # both happen
