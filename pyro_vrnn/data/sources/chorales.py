"""Bach's chorales from music21's own corpus (no download): the 371 in Riemenschneider's numbering.

Written are the sung parts (soprano, alto, tenor, bass; not the instruments that a few cantata chorales add),
in the key of the source (nothing is transposed), with repeats not played out. Step k is the instant k times
the resolution after the beginning, which is the pickup where there is one; a pitch is on where it sounds at
that instant (onset <= t < end): a tied or held note is on in several steps, and a short note between two
instants is not seen. Grace notes take no time and are left out.

The scores are MusicXML. music21 would make objects of all that is printed in them, which takes 20 seconds and
is not needed here: pitches and durations are read directly in 2, and a test holds the two readings equal.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from pyro_vrnn.data.notes import HIGHEST_NOTE, KEYS, LOWEST_NOTE
from pyro_vrnn.data.schema import SPLITS, Array, DataInfo
from pyro_vrnn.data.sources.common import Progress
from pyro_vrnn.data.writer import check_free, write_sequences
from pyro_vrnn.system.errors import ConfigError, DataError, choose

RESOLUTIONS = {"quarter": Fraction(1), "eighth": Fraction(1, 2), "sixteenth": Fraction(1, 4)}
NUMBERS = range(1, 372)
QUARTERS_PER_MINUTE = 100  # assumed: the scores have no tempo; it is used to play samples and to say steps per second
INSTALL = "pip install 'pyro-vrnn[chorales]'"
VOICES = ("Soprano", "Alto", "Tenor", "Bass")
SPLIT_RULE = (
    "u = first 8 bytes, big-endian, of sha256('pyro-vrnn BWV N') over 2^64, N the BWV number before the dot; "
    "train if u < 0.8, valid if u < 0.9, else test"
)


class Note(NamedTuple):
    """One sounding note; onset and end in quarters from the beginning."""

    onset: Fraction
    end: Fraction
    pitch: int  # MIDI


def prepare(
    out: str | Path,
    *,
    resolution: str = "quarter",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DataInfo:
    """Write the chorales to a data file, uint8 [T, 88], column k = MIDI note 21 + k.

    Args:
        out: the file to make.
        resolution: quarter, eighth or sixteenth: the time from step to step.
        overwrite: replace an existing file.
        progress: told (chorales done, 371) after each.

    Raises:
        ConfigError: an unknown resolution, music21 is not installed, or the file exists.
        DataError: this music21 comes without its corpus.
    """
    if resolution not in RESOLUTIONS:
        raise choose("resolution", resolution, RESOLUTIONS)
    check_free(out, overwrite)
    splits: dict[str, list[Array]] = {split: [] for split in SPLITS}
    ids: dict[str, list[str]] = {split: [] for split in SPLITS}
    for done, (number, bwv, roll) in enumerate(chorale_rolls(NUMBERS, resolution), start=1):
        split = split_of(bwv)
        splits[split].append(roll)
        ids[split].append(f"R{number:03d} BWV {bwv}")
        if progress is not None:
            progress(done, len(NUMBERS))
    return write_sequences(
        out,
        splits,
        ids=ids,
        kind="pianoroll",
        support="binary",
        steps_per_second=float(QUARTERS_PER_MINUTE / RESOLUTIONS[resolution] / 60),
        source=f"J. S. Bach, 371 chorales by Riemenschneider's numbers, scores of music21 {version('music21')}",
        licence="music in the public domain; for the encodings see music21/corpus/license.txt",
        options={"resolution": resolution},
        extra={"lowest_pitch": LOWEST_NOTE, "quarters_per_minute": QUARTERS_PER_MINUTE, "split_rule": SPLIT_RULE},
        overwrite=overwrite,
    )


def chorale_rolls(numbers: Iterable[int], resolution: str) -> Iterator[tuple[int, str, Array]]:
    """Riemenschneider's number, BWV number and roll, uint8 [T, 88], of these chorales.

    The collection has 21 chorales twice, under two numbers: they come twice.
    """
    files = _files()
    rolls: dict[str, Array] = {}
    for number in numbers:
        bwv, path = files[number - 1]
        if bwv not in rolls:
            rolls[bwv] = sample(read_notes(path), RESOLUTIONS[resolution])
        yield number, bwv, rolls[bwv]


def split_of(bwv: str) -> str:
    """The split of a chorale: all movements and versions of one BWV number, such as 248.9-1, go together.

    (A test sees to it that no chorale is in two splits, under two numbers or in two keys.)
    """
    work = bwv.partition(".")[0]
    digest = hashlib.sha256(f"pyro-vrnn BWV {work}".encode()).digest()
    u = int.from_bytes(digest[:8], "big") / 2**64
    return "train" if u < 0.8 else "valid" if u < 0.9 else "test"


def sample(notes: Iterable[Note], step: Fraction) -> Array:
    """The pitches that sound at the instants 0, step, 2 step, ... until the last note ends: uint8 [T, 88]."""
    notes = list(notes)
    steps = -(-max(note.end for note in notes) // step)
    roll = np.zeros((steps, KEYS), np.uint8)
    for note in notes:
        if not LOWEST_NOTE <= note.pitch <= HIGHEST_NOTE:
            raise DataError(f"MIDI note {note.pitch} is not on a piano of notes {LOWEST_NOTE} to {HIGHEST_NOTE}")
        roll[-(-note.onset // step) : -(-note.end // step), note.pitch - LOWEST_NOTE] = 1
    return roll


def read_notes(path: Path) -> list[Note]:
    """The notes of the sung parts of a score."""
    score = ElementTree.fromstring(_xml(path))  # noqa: S314  (music21's own corpus, not a user's file)
    names = {part.attrib["id"]: part.findtext("part-name", "") for part in score.iter("score-part")}
    parts = [part for part in score.iter("part") if names[part.attrib["id"]].startswith(VOICES)]
    notes: list[Note] = []
    start = Fraction(0)
    divisions = [1] * len(parts)  # of a quarter, by part; a measure may change it
    for measures in zip(*(part.findall("measure") for part in parts), strict=True):
        ends = []
        for i, measure in enumerate(measures):
            divisions[i] = int(measure.findtext("attributes/divisions", str(divisions[i])))
            found, length = _measure(measure, divisions[i], start)
            notes += found
            ends.append(length)
        start += max(ends)  # what is written, not what the time signature says: pickups and split measures
    return notes


def _xml(path: Path) -> bytes:
    """The MusicXML of a score: the file itself, or what the container of a compressed one names."""
    if path.suffix != ".mxl":
        return path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        container = ElementTree.fromstring(archive.read("META-INF/container.xml"))  # noqa: S314  (as above)
        root = next(element for element in container.iter() if element.tag.endswith("rootfile"))
        return archive.read(root.attrib["full-path"])


def _measure(measure: ElementTree.Element, divisions: int, start: Fraction) -> tuple[list[Note], Fraction]:
    """The notes of a part's measure that begins at `start`, and its length in quarters."""
    notes = []
    at = onset = longest = Fraction(0)
    for element in measure:
        duration = Fraction(element.findtext("duration", "0")) / divisions
        if element.tag == "backup":
            at -= duration
        elif element.tag == "forward":
            at += duration
        elif element.tag == "note" and element.find("grace") is None:
            if element.find("chord") is None:
                onset, at = at, at + duration
            pitch = element.find("pitch")
            if pitch is not None:
                notes.append(Note(start + onset, start + onset + duration, _midi(pitch)))
        longest = max(longest, at)
    return notes, longest


def _midi(pitch: ElementTree.Element) -> int:
    """MusicXML's step, alteration and octave as a MIDI note; C4 = 60."""
    natural = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}[pitch.findtext("step", "")]
    return 12 * (int(pitch.findtext("octave", "")) + 1) + natural + int(pitch.findtext("alter", "0"))


def _files() -> list[tuple[str, Path]]:
    """BWV number and score of each of the 371, in Riemenschneider's order."""
    try:
        from music21 import corpus
        from music21.exceptions21 import CorpusException
    except ImportError as error:
        raise ConfigError("the chorales come with music21, which is not installed", INSTALL) from error
    names = corpus.chorales.Iterator(1, 371, numberingSystem="riemenschneider", returnType="filename")
    files = []
    for name in names:
        try:
            found = corpus.getWork(name)
        except CorpusException as error:
            raise DataError(f"this music21 has no {name} in its corpus", INSTALL) from error
        # Other scores answer to the name too: bwv112.5-sc beside bwv112.5, bwv248.53-5 beside bwv248.5.
        paths = [Path(path) for path in (found if isinstance(found, list) else [found])]
        bwv = name.removeprefix("bach/bwv")
        exact = [path for path in paths if path.stem == f"bwv{bwv}" and path.suffix in (".mxl", ".xml")]
        files.append((bwv, (exact or paths)[0]))
    return files
