"""The IAM database's XML: real, small and hostile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from penfiles import STEPS, everything, same_folder, sequences

from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import iamondb
from pyro_vrnn.data.sources.drawings import offsets
from pyro_vrnn.system.errors import DataError

HEAD = """<?xml version="1.0" encoding="ISO-8859-1"?>
"""
LINE = """<WhiteboardCaptureSession>
  <WhiteboardDescription>
    <SensorLocation corner="top_left"/>
    <DiagonallyOppositeCoords x="6512" y="1376"/>
    <VerticallyOppositeCoords x="966" y="1376"/>
    <HorizontallyOppositeCoords x="6512" y="787"/>
  </WhiteboardDescription>
  <StrokeSet>
    <Stroke colour="black" start_time="769.05" end_time="769.64">
      <Point x="1073" y="1058" time="769.05"/>
      <Point x="1074" y="1056" time="769.07"/>
      <Point x="1076" y="1055" time="769.07"/>
    </Stroke>
    <Stroke colour="black" start_time="770.00" end_time="770.20">
      <Point x="1076" y="1053" time="770.00"/>
      <Point x="1080" y="1057" time="770.02"/>
    </Stroke>
  </StrokeSet>
</WhiteboardCaptureSession>
"""
LAUGHS = (
    "<!DOCTYPE lolz [\n"
    + '<!ENTITY a0 "lol">\n'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">\n' for i in range(1, 10))
    + "]>\n"
)
FORMS = ["a01-000u", "a01-000w", "a01-001z", "a02-010", "b04-162z", "c01-020x"]


def database(folder: Path, lists: bool = True) -> Path:
    """Two lines of each form, and the lists: two forms train, one each the others, one in no list."""
    for form in FORMS:
        place = folder / "lineStrokes" / form[:3] / form[:7]
        place.mkdir(parents=True, exist_ok=True)
        for k in (1, 2):
            (place / f"{form}-0{k}.xml").write_bytes((HEAD + LINE).encode("latin-1"))
    if lists:
        (folder / "trainset.txt").write_bytes(b"a01-000u\r\na01-000w\r\n")
        (folder / "testset_v.txt").write_bytes(b"a01-001z\n")
        (folder / "testset_t.txt").write_bytes(b"a02-010")
        (folder / "testset_f.txt").write_bytes(b"b04-162z\n")
    return folder


def test_lines_of_handwriting(tmp_path: Path) -> None:
    """y is flipped, the pen lifts at the end of each stroke, and the lists say which split."""
    told: list[tuple[int, int]] = []
    source = str(database(tmp_path / "iam"))
    info = iamondb.prepare(tmp_path / "x.h5", source=source, clip=100, progress=lambda *n: told.append(n))
    assert everything(info)["a01-000u-01"] == STEPS
    assert {split: sorted(found) for split, found in sequences(info).items()} == {
        "train": ["a01-000u-01", "a01-000u-02", "a01-000w-01", "a01-000w-02"],
        "valid": ["a01-001z-01", "a01-001z-02"],
        "test": ["a02-010-01", "a02-010-02"],
    }
    assert info.extra["left_out"] == 4
    assert info.options == {"source": "iam", "clip": 100, "seed": 0, "lists": True}
    assert (info.kind, info.support, info.steps_per_second) == ("strokes", "real", None)
    assert told[-1] == (12, 12)


def test_forms_are_not_torn_apart(tmp_path: Path) -> None:
    source = str(database(tmp_path / "iam", lists=False))
    splits = []
    for seed in range(6):
        info = iamondb.prepare(tmp_path / "x.h5", source=source, overwrite=True, seed=seed)
        forms = {split: {name[:-3] for name in found} for split, found in sequences(info).items()}
        assert [len(forms[split]) for split in SPLITS] == [4, 1, 1]
        assert set().union(*forms.values()) == set(FORMS)
        splits.append(str(forms["test"]))
    assert len(set(splits)) > 1
    inner = iamondb.prepare(tmp_path / "y.h5", source=str(tmp_path / "iam" / "lineStrokes"), seed=5)
    assert inner.path.read_bytes() != b""
    assert sequences(inner)["test"].keys() == sequences(info)["test"].keys()
    again = iamondb.prepare(tmp_path / "z.h5", source=source, seed=5)
    assert again.path.read_bytes() == (tmp_path / "x.h5").read_bytes()


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    "data",
    [
        (HEAD + LAUGHS + LINE.replace("769.05", "&a9;")).encode(),
        (HEAD + "<!DOCTYPE x SYSTEM 'file:///etc/passwd'>" + LINE).encode(),
        (HEAD + "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>" + LINE.replace("black", "&e;")).encode(),
        (HEAD + "<!DOCTYPE x [<!ENTITY % p SYSTEM 'http://127.0.0.1:9/x'> %p;]>" + LINE).encode(),
        (HEAD.replace("ISO-8859-1", "UTF-16") + LAUGHS + LINE).encode("utf-16"),
        (HEAD + "<!-- " + "a" * 100_000 + " -->" + LAUGHS + LINE).encode(),
    ],
)
def test_entities_are_refused(tmp_path: Path, data: bytes) -> None:
    """Billion laughs, files and addresses: named, at once, without --strict."""
    file = database(tmp_path / "iam") / "lineStrokes" / "a01" / "a01-000" / "a01-000w-02.xml"
    file.write_bytes(data)
    started = time.monotonic()
    with pytest.raises(DataError, match="DOCTYPE") as error:
        iamondb.prepare(tmp_path / "x.h5", source=str(tmp_path / "iam"))
    assert time.monotonic() - started < 10  # a moment: what is named is never made
    assert str(file) in error.value.message
    assert error.value.path == str(file)
    assert not (tmp_path / "x.h5").exists()


@pytest.mark.fault(39)
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no element found"),
        (b"\xff" * 50, "line 1: not strokes of points"),
        (HEAD.encode() + b"<a>", "no element found"),
        (HEAD.encode() + b"<a/>", "0 points"),
        ((HEAD + LINE).replace('x="1073" ', "").encode(), "line 11: not strokes of points: 'x'"),
        ((HEAD + LINE).replace("1073", "here").encode(), "line 11: not strokes of points"),
        ((HEAD + LINE).replace("1073", "nan").encode(), "point 0 or 1 is not finite"),
        ((HEAD + LINE).replace("769.05", "&e;").encode(), "undefined entity"),
        ((HEAD + "<StrokeSet><Point x='1' y='2'/></StrokeSet>").encode(), "line 2: not strokes of points"),
        ((HEAD + "<Stroke><Point x='1' y='2'/></Stroke>").encode(), "1 points"),
        ((HEAD + "<S>" + "<Stroke><Point x='1' y='2'/></Stroke>" * 9 + "</S>").encode(), "the pen is 1 at every point"),
        ((HEAD + "<Stroke>" + "<Point x='1' y='2'/>" * 110_000 + "</Stroke>").encode(), "110000 points"),
        ((HEAD + LINE).replace("ISO-8859-1", "no-such-encoding").encode(), "line 1: not strokes of points"),
        (b"<" * (9 * 2**20), "bytes; at most"),
    ],
)
def test_xml_that_is_not(tmp_path: Path, data: bytes, reason: str) -> None:
    folder = database(tmp_path / "iam")
    (folder / "lineStrokes" / "a01" / "a01-000" / "a01-000w-02.xml").write_bytes(data)
    info = iamondb.prepare(tmp_path / "x.h5", source=str(folder))
    assert [info.splits[s].sequences for s in SPLITS] == [3, 2, 2]
    [skip] = info.extra["skipped"]
    assert reason in skip["reason"]
    with pytest.raises(DataError, match="a01-000w-02"):
        iamondb.prepare(tmp_path / "y.h5", source=str(folder), strict=True)


def test_equal_times_and_empty_strokes_are_nothing_special() -> None:
    points = iamondb.read_line(LINE.replace("770.02", "770.00").replace("<StrokeSet>", "<StrokeSet><Stroke/>").encode())
    assert offsets(points).tolist() == STEPS


@pytest.mark.fault(39)
@same_folder
@given(data=st.binary(max_size=200), where=st.integers(0, 900))
def test_xml_garbage(data: bytes, where: int) -> None:
    """Any bytes, and a good file with some of its bytes replaced: points or a ValueError, and nothing else."""
    good = (HEAD + LINE).encode()
    for bad in (data, good[:where], good[:where] + data + good[where + len(data) :]):
        try:
            points = iamondb.read_line(bad)
        except ValueError:
            continue
        assert points.shape[1] == 3


def test_lists_that_do_not_fit(tmp_path: Path) -> None:
    folder = database(tmp_path / "iam")
    (folder / "testset_v.txt").write_bytes(b"a01-001z\na01-000u\n")
    with pytest.raises(DataError, match="a01-000u is in another list too"):
        iamondb.prepare(tmp_path / "x.h5", source=str(folder))
    (folder / "testset_v.txt").unlink()
    with pytest.raises(DataError, match="but no testset_v"):
        iamondb.prepare(tmp_path / "x.h5", source=str(folder))
