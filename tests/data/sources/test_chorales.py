"""Bach's chorales from music21's collection."""

from __future__ import annotations

import itertools
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.description import describe
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import SPLITS
from pyro_vrnn.data.sources import SOURCES
from pyro_vrnn.data.sources.chorales import Note, chorale_rolls, read_notes, sample, split_of
from pyro_vrnn.system.errors import ConfigError, DataError

SCORE = """<score-partwise>
<part-list>
  <score-part id="P1"><part-name>Soprano</part-name></score-part>
  <score-part id="P2"><part-name>Bass</part-name></score-part>
  <score-part id="P3"><part-name>Horn 1</part-name></score-part>
</part-list>
<part id="P1">
  <measure><attributes><divisions>4</divisions></attributes>
    <note><grace/><pitch><step>C</step><octave>7</octave></pitch></note>
    <note><pitch><step>C</step><octave>5</octave></pitch><duration>4</duration></note>
  </measure>
  <measure>
    <note><pitch><step>F</step><alter>1</alter><octave>5</octave></pitch><duration>6</duration></note>
    <note><pitch><step>G</step><octave>5</octave></pitch><duration>2</duration><tie type="start"/></note>
    <backup><duration>8</duration></backup>
    <note><pitch><step>A</step><octave>4</octave></pitch><duration>2</duration></note>
    <note><chord/><pitch><step>C</step><octave>5</octave></pitch><duration>2</duration></note>
    <forward><duration>2</duration></forward>
    <note><pitch><step>B</step><alter>-1</alter><octave>4</octave></pitch><duration>1</duration></note>
  </measure>
  <measure><note><pitch><step>G</step><octave>5</octave></pitch><duration>4</duration></note></measure>
</part>
<part id="P2">
  <measure><attributes><divisions>1</divisions></attributes><note><rest/><duration>1</duration></note></measure>
  <measure><note><pitch><step>C</step><octave>3</octave></pitch><duration>2</duration></note></measure>
  <measure><attributes><divisions>2</divisions></attributes>
    <note><pitch><step>D</step><octave>3</octave></pitch><duration>1</duration></note>
  </measure>
</part>
<part id="P3">
  <measure><note><pitch><step>C</step><octave>4</octave></pitch><duration>9</duration></note></measure>
  <measure/><measure/>
</part>
</score-partwise>"""


def test_musicxml_is_read_as_it_is_written(tmp_path: Path) -> None:
    """A pickup, several voices, chords, ties, grace notes, divisions that change, and a horn, which is left out."""
    (tmp_path / "x.xml").write_text(SCORE)
    notes = [(float(n.onset), float(n.end), n.pitch) for n in read_notes(tmp_path / "x.xml")]
    assert notes == [
        (0, 1, 72),
        (1, 2.5, 78),
        (2.5, 3, 79),
        (1, 1.5, 69),
        (1, 1.5, 72),
        (2, 2.25, 70),
        (1, 3, 48),
        (3, 4, 79),
        (3, 3.5, 50),
    ]
    quarter = [np.flatnonzero(step) + 21 for step in sample(read_notes(tmp_path / "x.xml"), Fraction(1))]
    assert [step.tolist() for step in quarter] == [[72], [48, 69, 72, 78], [48, 70, 78], [50, 79]]


def test_a_step_is_an_instant() -> None:
    """onset <= t < end: what begins and ends between two instants is not there; an end is not in its note."""
    notes = [
        Note(Fraction(a), Fraction(b), 60 + i) for i, (a, b) in enumerate([(0, 1), (1, 3), (1.25, 1.75), (0.5, 2)])
    ]
    on = [(np.flatnonzero(step) + 21 - 60).tolist() for step in sample(notes, Fraction(1))]
    assert on == [[0], [1, 3], [1]]
    on = [(np.flatnonzero(step) + 21 - 60).tolist() for step in sample(notes, Fraction(1, 2))]
    assert on == [[0], [0, 3], [1, 3], [1, 2, 3], [1], [1]]
    with pytest.raises(DataError, match="MIDI note 12"):
        sample([Note(Fraction(0), Fraction(1), 12)], Fraction(1))


def test_chorales_by_music21_and_by_us() -> None:
    """The same notes as music21 finds: one in 4/4, two in 3/4, one with instruments, one with a version beside it."""
    pytest.importorskip("music21", reason="the chorales come with music21")
    assert compare_with_music21([1, 20, 144, 9, 327]) == 5


@pytest.mark.slow
def test_every_eighth_chorale_by_music21_and_by_us() -> None:
    """All of them take music21 half a minute (and agree)."""
    pytest.importorskip("music21", reason="the chorales come with music21")
    assert compare_with_music21(range(1, 372, 8)) == 45


def compare_with_music21(numbers: Any) -> int:
    """How many different scores were compared, note by note."""
    from music21 import converter

    from pyro_vrnn.data.sources.chorales import VOICES, _files

    files = _files()
    compared = {files[number - 1][1] for number in numbers}
    for path in compared:
        theirs = [
            Note(Fraction(e.offset), Fraction(e.offset) + Fraction(e.quarterLength), pitch.midi)
            for part in converter.parse(path, forceSource=True).parts
            if str(part.id).startswith(VOICES)
            for e in part.flatten().notes
            if not e.duration.isGrace
            for pitch in e.pitches
        ]
        assert sorted(read_notes(path)) == sorted(theirs), path
    return len(compared)


def test_the_first_chorale_as_printed() -> None:
    """Aus meines Herzens Grunde: the pickup chord and the bar after it, in quarters."""
    pytest.importorskip("music21", reason="the chorales come with music21")
    [(number, bwv, roll)] = chorale_rolls([1], "quarter")
    assert (number, bwv, roll.shape) == (1, "269", (63, 88))
    steps = [(np.flatnonzero(step) + 21).tolist() for step in roll[:4]]
    assert steps == [[43, 59, 62, 67], [55, 59, 62, 67], [52, 60, 64, 67], [54, 57, 62, 74]]
    [(_, _, fine)] = chorale_rolls([1], "sixteenth")
    np.testing.assert_array_equal(fine[::4], roll)


def test_versions_of_a_bwv_number_share_a_split() -> None:
    assert split_of("69.6") == split_of("69.6-a")
    assert split_of("248.9-1") == split_of("248.12-2") == split_of("248.5")
    assert split_of("62.6") == split_of("274")
    assert {split_of(str(n)) for n in range(250, 439)} == set(SPLITS)


@pytest.mark.slow
def test_the_whole_collection(tmp_path: Path) -> None:
    """Counts, and no test chorale in the training split, in whatever key."""
    pytest.importorskip("music21", reason="the chorales come with music21")
    told: list[tuple[int, int]] = []
    info = SOURCES["chorales"](tmp_path / "x.h5", progress=lambda *n: told.append(n))
    assert told == [(n, 371) for n in range(1, 372)]
    assert [info.splits[s].sequences for s in SPLITS] == [285, 44, 42]
    assert sum(info.splits[s].steps for s in SPLITS) == 20247
    about = describe(info.path)
    assert 3.8 < about["splits"]["train"]["ones_per_step"] < 3.9
    assert info.steps_per_second == pytest.approx(100 / 60)

    def shapes(split: str) -> set[bytes]:
        return {np.roll(x, -np.flatnonzero(x.any(0))[0], axis=1).tobytes() for x in read_split(info.path, split)}

    everything = [shapes(split) for split in SPLITS]
    assert not any(a & b for a, b in itertools.combinations(everything, 2))
    again = SOURCES["chorales"](tmp_path / "y.h5")
    assert again.path.read_bytes() == info.path.read_bytes()
    data = SequenceDataset(info.path, split_of("269"))
    assert data[data.find("R001 BWV 269")].shape == (63, 88)


def test_chorales_without_music21(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(ConfigError, match="not installed") as error:
        SOURCES["chorales"](tmp_path / "x.h5")
    assert error.value.hint == "pip install 'pyro-vrnn[chorales]'"
    assert list(tmp_path.iterdir()) == []


def test_chorales_at_an_unknown_resolution(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="resolution 'half': choose from eighth, quarter, sixteenth"):
        SOURCES["chorales"](tmp_path / "x.h5", resolution="half")
