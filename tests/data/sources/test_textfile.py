"""Text files in UTF-8, and what is told of those in something else."""

from __future__ import annotations

import random
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from stored import write_each_tenth

from pyro_vrnn.data.sources import symbols, text
from pyro_vrnn.data.sources.textfile import read_text
from pyro_vrnn.system.errors import DataError

ENGLISH = "It is a quiet day.\nNothing stirs.\n" * 20
FRENCH = "Voilà l'été: où est la forêt?\n" * 20
GREEK = "Η θάλασσα είναι ήσυχη σήμερα.\n" * 20


def refused(tmp_path: Path, data: bytes) -> DataError:
    path = tmp_path / "my notes.txt"
    path.write_bytes(data)
    with pytest.raises(DataError) as error:
        read_text(path, "a text file", (".txt",))
    assert str(path) in error.value.message
    assert ", in line " in error.value.message
    assert "\n" not in error.value.message + error.value.hint
    return error.value


@pytest.mark.skipif(shutil.which("iconv") is None, reason="iconv is not installed")
@pytest.mark.parametrize(
    ("content", "encoding", "told"),
    [
        ("It\u2019s a quiet day. " * 400, "cp1252", "cp1252"),
        (FRENCH, "latin1", "latin1"),
        (FRENCH + "“Ici.”", "cp1252", "cp1252"),
        (ENGLISH, "utf-16", "UTF-16"),
        (GREEK, "utf-16", "UTF-16"),
        (ENGLISH, "utf-16-le", "UTF-16LE"),
        (ENGLISH, "utf-16-be", "UTF-16BE"),
        (FRENCH, "utf-16-le", "UTF-16LE"),
        (GREEK, "utf-16-be", "UTF-16BE"),
        (ENGLISH, "utf-32", "UTF-32"),
        (ENGLISH, "utf-32-le", "UTF-32LE"),
        (ENGLISH, "utf-32-be", "UTF-32BE"),
    ],
)
def test_the_hint_converts_it(tmp_path: Path, content: str, encoding: str, told: str) -> None:
    """The command of the hint, run as it is, makes the text that was meant."""
    error = refused(tmp_path, content.encode(encoding))
    assert f"iconv -f {told} -t UTF-8 " in error.hint
    command = error.hint[error.hint.index("iconv") :]
    subprocess.run(command, shell=True, check=True, cwd="/")
    made = Path(shlex.split(command)[-1])
    assert made == tmp_path / "my notes.txt.utf8"
    assert read_text(made, "a text file", (".txt",)) == content


def test_wide_text_that_is_cut(tmp_path: Path) -> None:
    """Its last character is half there."""
    for encoding, told in (("utf-16", "UTF-16"), ("utf-16-be", "UTF-16BE"), ("utf-32", "UTF-32")):
        assert f"iconv -f {told} " in refused(tmp_path, ENGLISH.encode(encoding)[:-1]).hint


def test_utf_8_that_is_damaged(tmp_path: Path) -> None:
    """It is not converted to junk from another encoding."""
    data = GREEK.encode()
    for damaged in (data[:-3] + b"\n", data[:100] + b"\xff" + data[100:], data[:103] + data[104:]):
        error = refused(tmp_path, damaged)
        assert "not UTF-8: byte " in error.message
        assert "iconv -f UTF-8 -c -t UTF-8 " in error.hint
    assert "byte 4 is 0xe9, in line 2" in refused(tmp_path, b"\xef\xbb\xbf\n\xe9").message  # the mark is counted


@pytest.mark.parametrize("encoding", ["shift-jis", "cp437"])
def test_other_encodings_are_asked_for(tmp_path: Path, encoding: str) -> None:
    content = (
        "静かな日です。何も動かない。表示。\n" * 9 if encoding == "shift-jis" else "Ære, Ångström, très, ìmpar\n" * 9
    )
    error = refused(tmp_path, content.encode(encoding, "ignore"))
    assert "iconv -f ENCODING -t UTF-8 " in error.hint


def test_what_is_no_text(tmp_path: Path) -> None:
    dice = random.Random(1)
    noise = [dice.randbytes(n) for n in (50, 500, 5000, 50_000)]
    for data in (*noise, b"\xff\xfe" + noise[2], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + noise[1], b"abc\0def", bytes(99)):
        error = refused(tmp_path, data)
        assert "not text: byte " in error.message
        assert error.hint == "give a text file"
    assert "not text: byte 3 is 0x00, in line 1" in refused(tmp_path, b"abc\0def").message


@pytest.mark.fault(63)
def test_a_thousand_mutants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data set or one error each, in both levels of text and as lines of tokens."""
    write_each_tenth(monkeypatch, text, symbols)
    dice = random.Random(15)
    good = [(ENGLISH + FRENCH + GREEK).encode(encoding) for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-32-be")]
    source, out = tmp_path / "a.txt", tmp_path / "x.h5"
    made = 0
    start = time.monotonic()
    for k in range(1000):
        data = bytearray(good[0 if k % 2 else k // 2 % 4])
        for _ in range(dice.randrange(4)):
            at, kind = dice.randrange(len(data)), dice.randrange(4)
            if kind == 0:
                data[at] = dice.randrange(256)
            elif kind == 1:
                del data[at : at + dice.randrange(200)]
            elif kind == 2:
                data[at:at] = dice.choice([b"\r", b"\r\n", b"\0", b"\xff", "\u2028".encode(), dice.randbytes(9)])
            else:
                data = data[: max(1, at)]
        source.write_bytes(data)
        try:
            if k % 3 < 2:
                text.prepare(out, source=source, level=("char", "word")[k % 3], overwrite=True)
            else:
                symbols.prepare(out, source=source, overwrite=True)
            made += 1
        except DataError:
            pass
    assert 300 < made < 700
    assert time.monotonic() - start < 60
