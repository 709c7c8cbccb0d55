"""Text, tokens, and vectors: real sets, small files of each layout, and what is refused."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources import symbols, text, vectors
from pyro_vrnn.data.sources.common import seeded_split
from pyro_vrnn.system.errors import ConfigError, DataError


def sequences(info: DataInfo) -> dict[str, dict[str, Array]]:
    """{split: {id: steps}}, read at once (`read_split` reads one after another)."""
    found = {}
    with h5py.File(info.path) as file:
        for split in SPLITS:
            x, ends, ids = (file[split][part][()] for part in ("x", "offsets", "ids"))
            found[split] = {name.decode(): x[a:b] for name, a, b in zip(ids, ends, ends[1:], strict=False)}
    return found


def spelled(info: DataInfo) -> dict[str, list[list[str]]]:
    """{split: sequences of symbols}."""
    names = info.extra["symbols"]
    return {s: [[names[i] for i in x[:, 0]] for x in found.values()] for s, found in sequences(info).items()}


# ------------------------------------------------------------------------------------------- text


def test_tiny_shakespeare(tmp_path: Path, shared: Path) -> None:
    """1,115,394 characters, 65 distinct; the first 90% train, and all of it there in order."""
    file = shared / "data" / "text" / "tinyshakespeare.txt"
    info = text.prepare(tmp_path / "x.h5", source=str(file))
    assert [info.splits[s].steps for s in SPLITS] == [1_003_854, 55_770, 55_770]
    assert (info.kind, info.support, info.x_dim, len(info.extra["symbols"])) == ("symbols", "categorical", 1, 65)
    assert info.extra["symbols"] == sorted(set(file.read_text()))
    assert (info.extra["level"], info.extra["unknown"]) == ("char", {"train": 0, "valid": 0, "test": 0})
    assert info.splits["train"].longest == 200
    told = "".join("".join(s) for split in SPLITS for s in spelled(info)[split])
    assert told == file.read_text()
    assert sequences(info)["train"]["train-0"].dtype == np.uint8
    # README: 4.85 bits a character by a 1-gram
    train, test = (np.concatenate(list(sequences(info)[s].values()))[:, 0] for s in ("train", "test"))
    rate = (np.bincount(train, minlength=65) + 1) / (len(train) + 65)
    assert -np.log2(rate[test]).mean() == pytest.approx(4.85, abs=0.05)


def test_words_of_shakespeare(tmp_path: Path, shared: Path) -> None:
    """More than 10,000 words: the frequent ones stay, the others are counted."""
    file = shared / "data" / "text" / "tinyshakespeare.txt"
    info = text.prepare(tmp_path / "x.h5", source=str(file), level="word", window=50)
    names = info.extra["symbols"]
    assert len(names) == 10_000
    assert names[-1] == "<unk>"
    assert {"<eos>", "the", "Romeo"} <= set(names)
    unknown = info.extra["unknown"]
    assert all(unknown[split] > 0 for split in SPLITS)
    x = {split: np.concatenate(list(sequences(info)[split].values())) for split in SPLITS}
    assert {split: int((x[split] == names.index("<unk>")).sum()) for split in SPLITS} == unknown
    assert x["train"].dtype == np.int16
    words = file.read_text().split()
    assert sum(info.splits[s].steps for s in SPLITS) == len(words) + file.read_text().count("\n")


@pytest.mark.parametrize("name", ["ptb.{}.txt", "{}.txt"])
def test_a_file_for_each_split(tmp_path: Path, name: str) -> None:
    """As the Penn Treebank comes: a space before and after each line; its own <unk> is the unknown word."""
    (tmp_path / name.format("train")).write_bytes(b" the cat <unk> \n a cat sat \n")
    (tmp_path / name.format("valid")).write_bytes(b" the dog sat \n")
    (tmp_path / name.format("test")).write_bytes(b" a cat \n")
    info = text.prepare(tmp_path / "x.h5", source=str(tmp_path), level="word", window=5)
    assert spelled(info) == {
        "train": [["the", "cat", "<unk>", "<eos>", "a"], ["cat", "sat", "<eos>"]],
        "valid": [["the", "<unk>", "sat", "<eos>"]],
        "test": [["a", "cat", "<eos>"]],
    }
    assert info.extra["symbols"] == ["<eos>", "<unk>", "a", "cat", "sat", "the"]
    assert info.extra["unknown"] == {"train": 0, "valid": 1, "test": 0}
    assert list(sequences(info)["train"]) == ["train-0", "train-1"]
    (tmp_path / name.format("test")).unlink()
    with pytest.raises(DataError, match=r"test\.txt: cannot be read"):
        text.prepare(tmp_path / "y.h5", source=str(tmp_path))


def test_symbols_are_those_of_the_training_split(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("ab\U0001f600\n".encode() * 45 + b"xyabz\nabab")
    info = text.prepare(tmp_path / "x.h5", source=str(file), window=7)
    assert info.extra["symbols"] == ["\n", "a", "b", "\U0001f600", "<unk>"]
    assert info.extra["unknown"] == {"train": 0, "valid": 0, "test": 3}
    file.write_bytes(b"ab" * 50)
    assert text.prepare(tmp_path / "x.h5", source=str(file), overwrite=True).extra["symbols"] == ["a", "b"]


def test_a_byte_order_mark_and_line_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + b"a b\r\n" * 30)
    info = text.prepare(tmp_path / "x.h5", source=str(tmp_path / "a.txt"))
    assert info.extra["symbols"] == ["\n", "\r", " ", "a", "b"]
    info = text.prepare(tmp_path / "y.h5", source=str(tmp_path / "a.txt"), level="word")
    assert info.extra["symbols"] == ["<eos>", "a", "b"]


def test_other_alphabets_and_10_000_symbols(tmp_path: Path) -> None:
    """Ties are broken by the alphabet, and the names fit in the file."""
    words = [f"w{i:05}" for i in range(12_000)]
    numbers, names, unknown = text.numbered({"train": [words, words[6000:]], "valid": [["w00000", "w11999"]]})
    assert names == [*sorted([*words[6000:], *words[:3999]]), "<unk>"]
    assert unknown == {"train": 2001, "valid": 0}
    numbers, names, unknown = text.numbered({"train": [["<unk>"], words, words[6000:]], "valid": []})
    assert (len(names), unknown["train"]) == (10_000, 2002)
    assert (numbers["train"][0] == 9999).all()
    characters = [chr(0x4E00 + i) for i in range(300)]
    (tmp_path / "a.txt").write_text("".join(characters) * 10, encoding="utf-8")
    info = text.prepare(tmp_path / "x.h5", source=str(tmp_path / "a.txt"))
    assert info.extra["symbols"] == characters
    assert sequences(info)["train"]["train-0"].dtype == np.int16


@pytest.mark.parametrize(
    ("data", "options", "words"),
    [
        (b"caf\xe9\n" * 9, {}, "not UTF-8: byte 3 is 0xe9"),
        ("ab".encode("utf-16"), {}, "not UTF-8: byte 0 is 0xff"),
        (b"", {}, "no text to train on"),
        (b"a", {}, "no text to train on"),
        (b" ", {"level": "word"}, "no text to train on"),
        (b"abc", {"level": "words"}, "level 'words': choose from char, word"),
        (b"abc", {"window": 0}, "window=0"),
    ],
)
def test_text_that_is_not(tmp_path: Path, data: bytes, options: dict[str, Any], words: str) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises((DataError, ConfigError), match=words) as error:
        text.prepare(tmp_path / "x.h5", source=str(tmp_path / "a.txt"), **options)
    assert error.value.hint
    assert os.listdir(tmp_path) == ["a.txt"]


def test_text_from_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").mkdir()
    (tmp_path / "long").write_bytes(b"ab" * 99)
    monkeypatch.setattr(text, "MAX_BYTES", 100)
    for name in ("fifo", "empty", "gone", "a\0b", "long"):
        for module in (text, symbols) if name != "empty" else (text,):
            with pytest.raises(DataError, match=r"plain file|cannot be read|no ptb.train.txt|at most 100"):
                module.prepare(tmp_path / "x.h5", source=str(tmp_path / name))


# ------------------------------------------------------------------------------------------- symbols

OPENINGS = (
    b"eco\tname\tsan\tuci\n"
    b"A00\tAmar Opening\tNh3\tg1h3\n"
    b"A00\tAmar Opening: Paris Gambit\tNh3 d5 g3 e5 f4\tg1h3 d7d5 g2g3 e7e5 f2f4\n"
    b"B00\tKing's Pawn\te4\te2e4\n"
    b"C20\tKing's Pawn: a5\te4 e5\te2e4 e7e5\n"
)


def test_chess_openings(tmp_path: Path, shared: Path) -> None:
    """3,807 lines, 36,895 half-moves, at most 36 a line, 483 moves; an ECO code is in one split."""
    info = symbols.prepare(tmp_path / "x.h5", source=str(shared / "data" / "chess_openings" / "openings.tsv"))
    assert sum(info.splits[s].sequences for s in SPLITS) == 3807
    assert sum(info.splits[s].steps for s in SPLITS) == 36_895
    assert max(info.splits[s].longest for s in SPLITS) == 36
    codes = [{name[:3] for name in sequences(info)[split]} for split in SPLITS]
    assert len(set.union(*codes)) == sum(map(len, codes))
    names, unknown = info.extra["symbols"], info.extra["unknown"]
    assert names[-1] == "<unk>"
    assert 440 < len(names) < 483
    assert (unknown["train"], info.extra["level"]) == (0, "token")
    assert 0 < unknown["valid"] + unknown["test"] < 200


def test_openings_and_their_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_bytes(OPENINGS)
    info = symbols.prepare(tmp_path / "x.h5", source=str(file))
    lines = {name for found in sequences(info).values() for name in found}
    assert lines == {"A00-2", "A00-3", "B00-4", "C20-5"}
    assert any({"A00-2", "A00-3"} <= set(found) for found in sequences(info).values())
    assert set(info.extra["symbols"]) - {"<unk>"} <= {"g1h3", "d7d5", "g2g3", "e7e5", "f2f4", "e2e4"}
    file.write_bytes(b"eco\tname\tpgn\r\nA00\tAmar\t1. Nh3 d5 2. g3 e5 3. f4\r\n")  # as lichess has it
    info = symbols.prepare(tmp_path / "x.h5", source=str(file), overwrite=True)
    assert spelled(info)["train"] == [["Nh3", "d5", "g3", "e5", "f4"]]
    file.write_bytes(OPENINGS + b"C21\tragged\nC22\tno moves\t\t\n")
    info = symbols.prepare(tmp_path / "x.h5", source=str(file), overwrite=True)
    assert info.extra["skipped"] == [
        {"id": "line-6", "reason": "2 columns, the first line has 4"},
        {"id": "C22-7", "reason": "no tokens"},
    ]
    with pytest.raises(DataError, match="line-6"):
        symbols.prepare(tmp_path / "y.h5", source=str(file), strict=True)


def test_a_sequence_a_line(tmp_path: Path) -> None:
    """Equal lines stay together; the same bytes twice; another seed, another split."""
    file = tmp_path / "a.txt"
    lines = [f"a{i} b{i % 3}  c\td" for i in range(20)] * 2
    file.write_bytes("\n".join([*lines[:10], "", *lines[10:]]).encode() + b"\n")
    info = symbols.prepare(tmp_path / "x.h5", source=str(file))
    assert [info.splits[s].sequences for s in SPLITS] == [32, 4, 4]
    assert info.extra["skipped"] == [{"id": "line-11", "reason": "no tokens"}]
    assert all(
        len(set(map(tuple, found))) * 2 == len(found) for found in spelled(info).values() if "<unk>" not in found
    )
    again = symbols.prepare(tmp_path / "y.h5", source=str(file))
    assert again.path.read_bytes() == info.path.read_bytes()
    tests = [
        set(sequences(symbols.prepare(tmp_path / "y.h5", source=str(file), overwrite=True, seed=s))["test"])
        for s in range(4)
    ]
    assert len(set(map(str, map(sorted, tests)))) > 1
    file.write_bytes(b"\n\n")
    with pytest.raises(DataError, match="no training sequence; 2 skipped"):
        symbols.prepare(tmp_path / "y.h5", source=str(file), overwrite=True)


# ------------------------------------------------------------------------------------------- vectors


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
    """Every column but `sequence` and `split` is a number; a sequence's rows may lie apart."""
    info = prepared(tmp_path, as_csv(10))
    found = {name: x for split in sequences(info).values() for name, x in split.items()}
    assert found["s3"].tolist() == [[0, 0.5, 1], [1, 3.5, 1], [2, 6.5, 1]]
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
    assert found.keys() == {f"day/s{i}" for i in range(10)}
    assert found["day/s2"].tolist() == [[0, 2.5], [1, 2.5], [2, 2.5]]
    assert [info.splits[s].sequences for s in SPLITS] == [8, 1, 1]
    assert info.extra["columns"] == ["b", "a"]
    assert [(skip["file"], skip["reason"][:30]) for skip in info.extra["skipped"]] == [
        ("day/t0.CSV", "its columns are 'a, b', and 'b"),
        ("day/t1.csv", "line 2 has 1 columns, the head"),
        ("day/t2.csv", "'utf-8' codec can't decode byt"),
    ]
    with pytest.raises(DataError, match=r"day/t0\.CSV"):
        vectors.prepare(tmp_path / "x.h5", source=folder, strict=True, overwrite=True)


def test_an_array(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(10, 4, 3))
    array[3, 2, 1] = np.nan
    file = io.BytesIO()
    np.save(file, array)
    info = prepared(tmp_path, file.getvalue())
    found = {name: x for split in sequences(info).values() for name, x in split.items()}
    assert found.keys() == {str(i) for i in range(10)} - {"3"}
    np.testing.assert_array_equal(found["7"], array[7].astype("f4"))
    assert info.extra["skipped"] == [{"id": "3", "reason": "step 2 is not finite"}]


@pytest.mark.parametrize(
    "array", [np.zeros((3, 4)), np.zeros((0, 4, 3)), np.zeros((2, 2, 2), complex), np.full((2, 2, 2), None)]
)
def test_arrays_that_are_not(tmp_path: Path, array: Array) -> None:
    file = io.BytesIO()
    np.save(file, array)
    for data in (file.getvalue(), file.getvalue()[:20]):
        with pytest.raises(DataError, match=r"an array|an npy that cannot be read"):
            prepared(tmp_path, data)


def test_names_of_columns_and_images_are_kept(tmp_path: Path) -> None:
    assert prepared(tmp_path, as_csv(10)).extra["columns"] == ["time", "a", "b"]
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
        (b"bad,1,two,3", "line 32: could not convert string to float: 'two'"),
        (b"bad,1,,3", "line 32: could not convert"),
        (b"bad,1,nan,3", "step 0 is not finite"),
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
        (b"", "no header"),
        (b"a,b\n1,2\n", "no header with `sequence`"),
        (b"sequence\na\n", "no header with `sequence` and other columns"),
        (b"sequence,x,x\na,1,2\n", "no header"),
        (b"x,sequence\n1\n", "line 2 has 1 columns, the header 2"),
        (b"sequence,x\n" + b'"a' * 1, "not a CSV file in UTF-8"),
        (b"sequence,x\n" + b"a" * 200_000 + b",1\n", "not a CSV file in UTF-8"),
        (b"sequence,x\n\xff,1\n", "not a CSV file in UTF-8"),
        (b"sequence,split,x\na,dev,1\n", "sequence 'a' is in split 'dev', not train"),
        (b"sequence,split,x\na,train,1\na,test,1\n", "sequence 'a' is in split 'test', and in 'train'"),
        (b"sequence,split,x\na,test,1\n", "no training sequence; 0 skipped"),
        (b"PK\x03\x04", "an npz that cannot be read"),
        (as_npz(test=np.zeros((2, 2)), test_len=[2]), "no array 'train'"),
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


# ------------------------------------------------------------------------------------------- splits


@pytest.mark.parametrize(
    ("count", "shares", "expected"),
    [
        (0, (80, 10, 10), [0, 0, 0]),
        (1, (80, 10, 10), [1, 0, 0]),
        (2, (80, 10, 10), [1, 1, 0]),
        (3, (80, 10, 10), [1, 1, 1]),
        (31, (80, 10, 10), [25, 3, 3]),
        (100, (90, 5, 5), [90, 5, 5]),
        (270, (90, 10, 0), [243, 27, 0]),
    ],
)
def test_seeded_split(count: int, shares: tuple[int, int, int], expected: list[int]) -> None:
    names = [f"song {i}" for i in range(count)]
    split = seeded_split(names, 3, shares)
    assert [list(split.values()).count(s) for s in SPLITS] == expected
    assert seeded_split(reversed(names), 3, shares) == split
    if count > 20:
        assert seeded_split(names, 4, shares) != split


def test_shares_of_the_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("".join(f"{i} {i + 1}\n" for i in range(20)))
    usual = symbols.prepare(tmp_path / "a.h5", source=tmp_path / "a.txt")
    assert [usual.splits[s].sequences for s in SPLITS] == [16, 2, 2]
    assert "splits" not in usual.options
    other = symbols.prepare(tmp_path / "b.h5", source=tmp_path / "a.txt", splits=(70, 30, 0))
    assert [other.splits[s].sequences for s in SPLITS] == [14, 6, 0]
