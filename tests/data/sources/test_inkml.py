"""InkML: traces in every form that is read, what is not read, and hostile files."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from penfiles import STEPS, check_mutants, everything, mutants, sequences

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import inkml, strokes
from pyro_vrnn.data.sources.drawings import offsets
from pyro_vrnn.system.errors import DataError

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n<ink xmlns="http://www.w3.org/2003/InkML">\n'
INK = HEAD + "<trace id='t0'>\n 0 0, 1 -2, 3 -3\n</trace><trace>3 -5, 7 -1</trace></ink>\n"


def formatted(channels: str, *points: str) -> str:
    traces = "".join(f"<trace>{text}</trace>" for text in points)
    return f"{HEAD}<definitions><context><traceFormat>{channels}</traceFormat></context></definitions>{traces}</ink>"


def channel(name: str, more: str = "") -> str:
    return f'<channel name="{name}" type="decimal" {more}/>'


@pytest.mark.parametrize(
    "text",
    [
        INK,
        INK.replace("0 0, 1 -2, 3 -3", "0 0 17,1 -2 18,3 -3 19,"),  # x y t
        INK.replace('xmlns="http://www.w3.org/2003/InkML"', ""),
        INK.replace("<ink xmlns", "<i:ink xmlns:i").replace("<trace", "<i:trace").replace("</", "</i:"),
        INK.replace("<trace>", "<traceGroup><trace>").replace("</ink>", "</traceGroup></ink>"),
        INK.replace("<trace>", "<trace type='penUp'>3 -3, 3 -5</trace><trace type='penDown'>"),
        INK.replace("<trace>", "<a:trace xmlns:a='http://else.org'>8 8</a:trace><trace>"),
        INK.replace("1 -2", "1.0e0 <!-- a remark -->-2"),
        formatted(channel("T") + channel("Y") + channel("X"), "5 0 0, 5 -2 1, 6 -3 3", "7 -5 3, 8 -1 7"),
        formatted(channel("X") + channel("Y", 'orientation="-ve"'), "0 0, 1 2, 3 3", "3 5, 7 1"),
    ],
    ids=range(10),
)
def test_traces(text: str) -> None:
    assert offsets(inkml.read_ink(text.encode())).tolist() == STEPS


def test_files_and_folders(tmp_path: Path) -> None:
    """A drawing a file, called by its path."""
    folder = tmp_path / "ink"
    (folder / "deep").mkdir(parents=True)
    for i in range(10):
        (folder / "deep" / f"{i}.inkml").write_text(INK)
    (folder / "bad.inkml").write_text(INK.replace("1 -2", "1 '-2"))
    (folder / ".hidden.inkml").touch()
    told: list[tuple[int, int]] = []
    info = strokes.prepare(tmp_path / "x.h5", source=str(folder), progress=lambda *n: told.append(n))
    assert [info.splits[s].sequences for s in SPLITS] == [8, 1, 1]
    assert everything(info) == {f"deep/{i}": STEPS for i in range(10)}
    [skip] = info.extra["skipped"]
    assert skip["file"] == "bad.inkml"
    assert "coded as differences" in skip["reason"]
    assert (info.extra["hidden_files"], told[-1]) == (1, (11, 11))
    with pytest.raises(DataError, match=r"bad\.inkml: line 5: .*differences"):
        strokes.prepare(tmp_path / "y.h5", source=str(folder), strict=True)
    one = strokes.prepare(tmp_path / "z.h5", source=str(folder / "deep" / "7.inkml"))
    assert sequences(one)["train"]["7"].tolist() == STEPS
    with pytest.raises(DataError, match=r"bad\.inkml: line 5: .*differences"):
        strokes.prepare(tmp_path / "y.h5", source=str(folder / "bad.inkml"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no element found"),
        ("<a", "unclosed token"),
        (HEAD, "no element found"),
        (HEAD + "</ink>", "0 points"),
        ("<i:ink/>", "unbound prefix"),
        (INK.replace("1 -2", "1"), "a point of 1 values: '1'"),
        (INK.replace("1 -2", "1 here"), "could not convert"),
        (INK.replace("1 -2", "1 nan"), "not finite"),
        (INK.replace("1 -2", '1 "-2'), "coded as differences"),
        (INK.replace("1 -2", "!1 -2"), "coded as differences"),
        (INK.replace("1 -2", "&e; -2"), "undefined entity"),
        (INK.replace("<trace>", "<trace continuation='end' priorRef='#t0'>"), "continues another"),
        (INK.replace("UTF-8", "no-such"), "unknown encoding"),
        (formatted(channel("X") + channel("F"), "1 2, 3 4"), "'Y'"),
        (formatted("<channel/>", "1 2, 3 4"), "'name'"),
        (INK.replace("<trace>", f"<traceFormat>{channel('X')}</traceFormat><traceFormat/><trace>"), "two different"),
        (INK.replace("1 -2", "1 -2," * 100_001), "more than 100000 points"),
    ],
    ids=range(17),
)
def test_ink_that_is_not_read(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "a.inkml"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        strokes.prepare(tmp_path / "x.h5", source=str(file))
    assert reason in error.value.message + error.value.hint


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    "declared",
    [
        "<!DOCTYPE ink SYSTEM 'file:///etc/passwd'>",
        "<!DOCTYPE ink [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>",
        "<!DOCTYPE ink [<!ENTITY % p SYSTEM 'http://127.0.0.1:9/x'> %p;]>",
        "<!DOCTYPE z [<!ENTITY a '1 2,'>" + "".join(f"<!ENTITY a{i} '{'&a;' * 10}'>" for i in range(9)) + "]>",
    ],
)
def test_entities_are_refused(tmp_path: Path, declared: str) -> None:
    """At once, in a folder too."""
    (tmp_path / "ink").mkdir()
    (tmp_path / "ink" / "good.inkml").write_text(INK)
    (tmp_path / "ink" / "bad.inkml").write_text(INK.replace("<ink", declared + "<ink").replace("1 -2", "&e;"))
    started = time.monotonic()
    for name in ("ink", "ink/bad.inkml"):
        with pytest.raises(DataError, match=r"bad\.inkml: it has a DOCTYPE"):
            strokes.prepare(tmp_path / "x.h5", source=str(tmp_path / name))
    assert time.monotonic() - started < 5


@pytest.mark.fault(63)
def test_a_thousand_mutants(tmp_path: Path) -> None:
    text = formatted(channel("X") + channel("Y"), "0 0, 1 2, 3 3", "3 5, 7 1")
    read, refused = check_mutants(tmp_path, "a.inkml", mutants(text.encode(), 2))
    assert read + refused == 1000
    assert min(read, refused) > 30
