"""UNIPEN files of one drawing, and those that are more."""

from __future__ import annotations

from pathlib import Path

import pytest
from penfiles import STEPS, check_mutants, everything, mutants

from pyro_vrnn.data.sources import strokes, unipen
from pyro_vrnn.data.sources.drawings import offsets
from pyro_vrnn.system.errors import DataError

INK = """.VERSION 1.0
.COMMENT by hand
 of nobody
.COORD T X Y
.PEN_DOWN
1 0 0
2 1 2
.DT 5
3 3 3
.PEN_UP
4 9 9
.PEN_DOWN
5 3 5
6 7 1
.PEN_UP
"""


def test_strokes_between_pen_down_and_pen_up(tmp_path: Path) -> None:
    """y upwards; points in the air are left out."""
    assert offsets(unipen.read_ink(INK.encode())).tolist() == STEPS
    (tmp_path / "ink").mkdir()
    for i in range(3):
        (tmp_path / "ink" / f"{i}.dat").write_text(INK)
    info = strokes.prepare(tmp_path / "x.h5", source=str(tmp_path / "ink"))
    assert everything(info) == dict.fromkeys("012", STEPS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no .PEN_DOWN"),
        ("1 2\n3 4\n", "no .PEN_DOWN"),
        ('.SEGMENT DIGIT 0-2 OK "8"\n' + INK, "line 1: .SEGMENT: only UNIPEN files of one drawing"),
        (".INCLUDE /etc/passwd\n" + INK, "line 1: .INCLUDE"),
        (INK.replace("T X Y", "T X"), "line 4: .COORD without X and Y"),
        (INK.replace("2 1 2", "2 1"), "line 7 has 2 values"),
        (INK.replace("2 1 2", "2 a 2"), "line 7: could not convert"),
        (INK.replace("2 1 2", "2 inf 2"), "not finite"),
        (INK.replace("2 1 2\n", "2 1 2\n" * 100_001), "more than 100000 points"),
        (".PEN_DOWN\n.PEN_UP\n", "0 points"),
    ],
    ids=range(10),
)
def test_files_that_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "a.dat"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        strokes.prepare(tmp_path / "x.h5", source=str(file))
    assert reason in error.value.message + error.value.hint


def test_mutants(tmp_path: Path) -> None:
    assert sum(check_mutants(tmp_path, "a.dat", mutants(INK.encode(), 3, 300))) == 300
