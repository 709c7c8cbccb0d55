"""Text as characters or words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored import sequences, spelled

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import symbols, text, textfile
from pyro_vrnn.system.errors import ConfigError, DataError


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
    assert "carved" not in info.extra
    (tmp_path / name.format("test")).unlink()
    with pytest.raises(DataError, match=r"test\.txt: cannot be read"):
        text.prepare(tmp_path / "y.h5", source=str(tmp_path))


def test_a_folder_without_validation(tmp_path: Path) -> None:
    """A twentieth of train's sequences by the seed, whose symbols training does not know; it is told."""
    words = " ".join(f"w{i}" for i in range(400))
    (tmp_path / "train.txt").write_text(words)
    (tmp_path / "test.txt").write_text("w1 w2")
    info = text.prepare(tmp_path / "x.h5", source=str(tmp_path), level="word", window=10)
    found = {split: list(sequences(info)[split]) for split in SPLITS}
    assert [len(found[split]) for split in SPLITS] == [38, 2, 1]
    assert sorted(found["train"] + found["valid"]) == sorted(f"train-{k}" for k in range(40))
    assert (info.extra["carved"], info.options["seed"]) == ("5% of train", 0)
    assert info.extra["unknown"]["valid"] == 20
    again = [
        list(sequences(text.prepare(tmp_path / "y.h5", source=tmp_path, window=20, seed=s, overwrite=True))["valid"])
        for s in (1, 1, 2, 3, 4)
    ]
    assert again[0] == again[1]
    assert len(set(map(tuple, again))) > 1
    short = text.prepare(tmp_path / "z.h5", source=tmp_path, level="word", window=400)
    assert ([short.splits[s].sequences for s in SPLITS], "carved" in short.extra) == ([1, 0, 1], False)
    (tmp_path / "val.txt").write_text("w1")
    with pytest.raises(DataError, match=r"val\.txt in it, but no valid\.txt") as error:
        text.prepare(tmp_path / "z.h5", source=tmp_path, overwrite=True)
    assert error.value.hint == "rename val.txt to valid.txt"


def test_symbols_are_those_of_the_training_split(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("ab\U0001f600\n".encode() * 45 + b"xyabz\nabab")
    info = text.prepare(tmp_path / "x.h5", source=str(file), window=7)
    assert info.extra["symbols"] == ["\n", "a", "b", "\U0001f600", "<unk>"]
    assert info.extra["unknown"] == {"train": 0, "valid": 0, "test": 3}
    file.write_bytes(b"ab" * 50)
    assert text.prepare(tmp_path / "x.h5", source=str(file), overwrite=True).extra["symbols"] == ["a", "b"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_and_line_ends(tmp_path: Path, mark: bytes, end: bytes) -> None:
    """An end of a line is one symbol, whatever wrote it."""
    (tmp_path / "a.txt").write_bytes(mark + (b"a b" + end) * 30 + end)
    info = text.prepare(tmp_path / "x.h5", source=str(tmp_path / "a.txt"))
    assert "".join("".join(s) for split in SPLITS for s in spelled(info)[split]) == "a b\n" * 30 + "\n"
    info = text.prepare(tmp_path / "y.h5", source=str(tmp_path / "a.txt"), level="word")
    assert info.extra["symbols"] == ["<eos>", "a", "b"]
    assert [s for split in SPLITS for found in spelled(info)[split] for s in found].count("<eos>") == 31


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
        (b"caf\xe9\n" * 9, {}, "not UTF-8: byte 3 is 0xe9, in line 1"),
        (b"a\r\nb\rc\ncaf\xe9\n", {}, "not UTF-8: byte 10 is 0xe9, in line 4"),
        ("ab".encode("utf-16"), {}, "not UTF-8: byte 0 is 0xff, in line 1"),
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
    monkeypatch.setattr(textfile, "MAX_BYTES", 100)
    for name in ("fifo", "empty", "gone", "a\0b", "long"):
        for module in (text, symbols) if name != "empty" else (text,):
            with pytest.raises(DataError, match=r"plain file|cannot be read|no ptb.train.txt|at most 100"):
                module.prepare(tmp_path / "x.h5", source=str(tmp_path / name))
