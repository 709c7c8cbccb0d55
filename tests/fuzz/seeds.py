"""Small good files of every format that a reader takes, made here and now."""

from __future__ import annotations

import io
import json
import pickle
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import penfiles
import rollfiles
import soundfiles
from small import write_audio, write_like, write_small

from pyro_vrnn import media
from pyro_vrnn.config import resolve
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.description import describe
from pyro_vrnn.data.format import format_of
from pyro_vrnn.data.reader import read_split
from pyro_vrnn.data.schema import SPLITS, read_info
from pyro_vrnn.data.sources import SOURCES
from pyro_vrnn.data.writer import write_sequences


@dataclass(frozen=True)
class Reader:
    """Something that reads a file, and the good files that are damaged for it."""

    name: str
    seeds: list[tuple[str, bytes, str]]
    """Name, content and format (`mutate.FORMATS`) of each."""
    read: Callable[[Path, Path], Any]
    """Takes the damaged file and a folder to write in; it may raise UserError and nothing else."""
    folder: dict[str, bytes] = field(default_factory=dict)
    """What else lies where the file is."""


ALL = (100.0, 0.0, 0.0)
"""Everything is for training."""


def preparing(kind: str, source: str = "", **options: Any) -> Callable[[Path, Path], Any]:
    """`prepare KIND` of the file, or of the folder that it is in."""

    def read(path: Path, scratch: Path) -> Any:
        root = path if not source else scratch / "in"
        return SOURCES[kind](scratch / "out.h5", source=root, overwrite=True, **options)

    return read


def song() -> bytes:
    """Two tracks, a tempo, a meter, words, a drum."""
    names, end = b"\0\xff\x51\x03\x07\xa1\x20\0\xff\x58\x04\x04\x02\x18\x08\0\xff\x01\x02la", b"\0\xff\x2f\0"
    notes = b"".join(bytes((0, 0x90, 60 + k, 80, 96, 0x80, 60 + k, 0)) for k in range(12))
    drum = b"\0\x99\x24\x50\x30\x24\0\0\xc0\x05\0\x91\x40\x40\x60\x40\0"  # running status
    tracks = (names + end, notes + end, drum + end)
    head = b"MThd" + struct.pack(">IHHH", 6, 1, len(tracks), 96)
    return head + b"".join(b"MTrk" + struct.pack(">I", len(track)) + track for track in tracks)


def rows(count: int = 40) -> bytes:
    """A table with a header, dates and a missing cell."""
    random = np.random.default_rng(0)
    lines = ["time,speed,heat"]
    for i in range(count):
        heat = "" if i == 7 else f"{random.normal():.3f}"
        lines.append(f"2026-01-{i % 28 + 1:02d} {i % 24:02d}:00:00,{random.normal():.3f},{heat}")
    return ("\n".join(lines) + "\n").encode()


def layout(name: str) -> str:
    """The format of one of the layouts of piano-rolls."""
    return "json" if name == "json" else "zip" if "npz" in name else "mat" if "mat" in name else "bytes"


def npz(**arrays: Any) -> bytes:
    """An npz with these arrays, compressed."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def ndjson(count: int = 12) -> bytes:
    return penfiles.as_ndjson(penfiles.quick(count))


INKML = b"""<?xml version="1.0" encoding="UTF-8"?>
<ink xmlns="http://www.w3.org/2003/InkML"><definitions><context><traceFormat><channel name="X" type="decimal"/>
<channel name="Y" type="decimal" orientation="-ve"/></traceFormat></context></definitions>
<trace id="t0">0 0, 1 2, 3 3</trace><traceGroup><trace>3 5, 7 1, 8 8</trace></traceGroup></ink>
"""
UNIPEN = b""".VERSION 1.0
.COMMENT by hand
.COORD T X Y
.PEN_DOWN
1 0 0
2 1 2
3 3 3
.PEN_UP
.PEN_DOWN
5 3 5
6 7 1
.PEN_UP
"""
IAM = b"""<?xml version="1.0" encoding="ISO-8859-1"?>
<WhiteboardCaptureSession><StrokeSet>
<Stroke colour="black" start_time="769.05" end_time="769.64">
<Point x="1073" y="1058" time="769.05"/><Point x="1074" y="1056" time="769.07"/><Point x="1076" y="1055" time="769.1"/>
</Stroke><Stroke><Point x="1076" y="1053" time="770.00"/><Point x="1080" y="1057" time="770.02"/></Stroke>
</StrokeSet></WhiteboardCaptureSession>
"""
PGN = b"""[Event "x"]
[Result "*"]

1. e4! $1 e5?! {[%eval 0.2]} (1... c5 {Sicilian (} 2. Nf3) 2. Bc4 Nc6 ; words
3. Qh5?? Nf6 4. Qxf7 1-0

[FEN "4k3/P7/8/8/8/8/7p/4K3 w - - 0 1"]

1. a8Q+ Kd7 2. Qd5+ Kc7 *

1. d4 d5 2. c4 e6 1/2-1/2
"""
OPENINGS = b"eco\tname\tuci\tpgn\nA00\tAmar\tg1h3 d7d5\t1. Nh3 d5\nB00\tX\te2e4 e7e5\t1. e4 e5\nC20\tY\te2e4\t1. e4\n"
PROSE = "Alle glücklichen Familien gleichen einander.\n".encode() * 30
TS = b"# about\n@problemName Toy\n@timeStamps false\n@univariate false\n@classLabel true a b\n@data\n"
TS += b"1,2,3:4,5,6:a\n?,2:0.5,NaN:b\n1:2:a\n1,2:3,1:a\n"
ARFF = b"@relation x\n@attribute a numeric\n@attribute b numeric\n@attribute target {1,2}\n@data\n"
ARFF += b"1,2,1\n3,?,2\n5,6,1\n7,1,2\n"


def sources() -> list[Reader]:
    """Every `prepare` but that of the chorales, which reads what music21 installs; with every layout that it takes."""
    x, rolls = soundfiles.noise(700), rollfiles.as_rolls(rollfiles.NOTES)
    good, windows = soundfiles.encoded(x), preparing("audio", "in", seconds=0.025, frame=50, splits=ALL)
    sounds = [("a.wav", good, "riff"), ("a.wav", soundfiles.encoded(x, subtype="FLOAT"), "riff")]
    sounds += [
        ("a.flac", soundfiles.encoded(x, "FLAC"), "bytes"),
        ("a.mp3", soundfiles.encoded(x, "MP3", None), "bytes"),
    ]
    sounds += [("a.ogg", soundfiles.encoded(x, "OGG", "VORBIS"), "bytes"), ("a.sph", soundfiles.sphere(x), "text")]
    sounds += [(f"a.{k.lower()}", soundfiles.encoded(x, k), "bytes") for k in ("AIFF", "AU", "CAF", "W64", "RF64")]
    sounds += [("a.npy", soundfiles.npy(x), "npy"), ("a.npz", soundfiles.npz(x=x, x_len=[500, 200]), "zip")]
    index = b"split,start,n,name,speaker\ntrain,0,300,a,s\ntrain,300,400,b,t\nvalid,0,700,c,u\ntest,0,700,d,v\n"
    parts = {f"{split}.flac": soundfiles.encoded(x, "FLAC") for split in SPLITS}
    cells = np.random.default_rng(0).normal(size=(6, 4, 2)).astype(np.float32)
    split = npz(train=cells[0], train_len=[1, 3], valid=cells[1], valid_len=[4], test=cells[2], test_len=[2, 2])
    images = npz(images=(cells[:, :, :1].repeat(4, 2) * 90).astype(np.uint8))
    mats = [("a", rollfiles.as_mat(rolls, z), "mat") for z in (True, False)]
    draw = {"sketch": penfiles.sketches(), "digits": penfiles.digits(), "quick": ndjson(),
            "json": json.dumps([penfiles.DRAWING] * 6).encode()}  # fmt: skip
    forms = {f"lineStrokes/a01/{f}/{f}u-01.xml": IAM for f in ("a01-000", "a01-001", "a01-002")}
    lists = {"trainset.txt": b"a01-000u\n", "testset_v.txt": b"a01-001u\n", "testset_t.txt": b"a01-002u\n"}
    timit = {f"{half}/DR1/M{half[:2]}{i}/S{k}.WAV": soundfiles.sphere(x) for half, n in (("TRAIN", 20), ("TEST", 2))
             for i in range(n) for k in ("A1", "X2")}  # fmt: skip
    table = [("a.csv", rows(), "csv"), ("a.csv", rows(), "text"), ("a.tsv", rows().replace(b",", b"\t"), "text")]
    lines = b"".join(b"a%d b%d c d e f\n" % (i, i % 3) for i in range(20))
    return [
        Reader("midi", [("a.mid", song(), "midi")], preparing("midi")),
        Reader("midi, in beats", [("a.mid", song(), "midi")], preparing("midi", "in", grid="beats")),
        Reader("audio", sounds, preparing("audio", seconds=None, frame=100, splits=ALL)),
        Reader("audio, windows", sounds, windows, {"good.wav": good}),
        Reader("audio with an index", [("index.csv", index, "csv")], preparing("audio", "in", seconds=None), parts),
        Reader("timit", [("TRAIN/DR1/MTR0/SA1.WAV", soundfiles.sphere(x), "text")], preparing("timit", "in"), timit),
        Reader(
            "pianoroll",
            [("a", make(), layout(name)) for name, make in rollfiles.LAYOUTS.items()],
            preparing("pianoroll"),
        ),
        Reader("pianoroll, json", [("a", json.dumps(rollfiles.NOTES).encode(), "json")], preparing("pianoroll")),
        Reader("pianoroll, npz", [("a", rollfiles.as_npz(rolls), "zip")], preparing("pianoroll")),
        Reader(
            "pianoroll, pickle",
            [("a", pickle.dumps(rollfiles.NOTES, n), "bytes") for n in range(pickle.HIGHEST_PROTOCOL + 1)],
            preparing("pianoroll"),
        ),
        Reader("pianoroll, mat", mats, preparing("pianoroll")),
        Reader("sketch-rnn", [("a.npz", penfiles.sketches(p), "zip") for p in (2, 4)], preparing("strokes")),
        Reader("pen digits", [("a.npz", draw["digits"], "zip")], preparing("strokes")),
        Reader("quick, draw", [("a.ndjson", draw["quick"], "jsonl")], preparing("strokes")),
        Reader("drawings, json", [("a.json", draw["json"], "json")], preparing("strokes")),
        Reader("inkml", [("a.inkml", INKML, "xml")], preparing("strokes", "in"), {"b.inkml": INKML}),
        Reader("unipen", [("a.dat", UNIPEN, "text")], preparing("strokes")),
        Reader(
            "iamondb",
            [("lineStrokes/a01/a01-000/a01-000u-01.xml", IAM, "xml"), ("trainset.txt", b"a01-000u\n", "text")],
            preparing("iamondb", "in"),
            forms | lists,
        ),
        Reader("tables", table, preparing("vectors", split_by="time")),
        Reader("tables, folder", table, preparing("vectors", "in"), {"b.csv": rows(), "c.csv": rows(9)}),
        Reader("uea", [("a.ts", TS, "text"), ("a.arff", ARFF, "text")], preparing("vectors")),
        Reader("arrays", [("a.npz", split, "zip"), ("a.npy", soundfiles.npy(cells), "npy")], preparing("vectors")),
        Reader("images", [("a.npz", images, "zip")], preparing("vectors")),
        Reader("text", [("a.txt", PROSE, "text")], preparing("text", window=20)),
        Reader("text, words", [("a.txt", PROSE, "text")], preparing("text", level="word", window=20)),
        Reader("symbols", [("a.txt", lines, "text"), ("a.tsv", OPENINGS, "text")], preparing("symbols")),
        Reader("pgn", [("a.pgn", PGN, "text")], preparing("symbols")),
    ]  # fmt: skip


def data_files(scratch: Path) -> list[Reader]:
    """Data files of every kind, and files that a trained model is given to continue."""
    bits, sound = write_small(scratch / "bits.h5", x_dim=88), write_audio(scratch / "sound.h5", counts=(4, 2, 2))
    pens, letters = (write_like(scratch / f"{k}.h5", k) for k in ("bivariate-gmm-pen", "categorical"))
    holes = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    holes[3, 1] = np.nan
    splits = {split: [holes, holes[:5]] for split in SPLITS}
    ids = {split: [f"{split}-{i}" for i in range(2)] for split in SPLITS}
    table = scratch / "holes.h5"
    write_sequences(table, splits, ids=ids, kind="vectors", support="real", steps_per_second=None, source="a test",
                    licence="none", missing=True, extra={"columns": ["speed", "heat"]})  # fmt: skip
    forms = {path.stem: format_of(read_info(path)) for path in (bits, sound, letters, table)}

    def read(path: Path, _: Path) -> None:
        info = read_info(path)
        format_of(info)
        for split in SPLITS:
            list(read_split(path, split))
        SequenceDataset(path, "train")[0]

    def prime(name: str) -> Callable[[Path, Path], Any]:
        return lambda path, _: media.read(forms[name], path)

    made = [(path.name, path.read_bytes(), "hdf5") for path in (bits, sound, pens, letters, table)]
    tone = soundfiles.encoded(soundfiles.noise(400), rate=8000)
    table_rows = b"speed,heat,name\n" + b"".join(b"%d.5,%d,a\n" % (i, i * i) for i in range(9))
    return [
        Reader("data files", made, read),
        Reader("data FILE", made, lambda path, _: describe(path)),
        Reader("settings that fit the data", made, lambda path, _: resolve(flags={"data.path": str(path)})),
        Reader("--prime, MIDI", [("a.mid", song(), "midi")], prime("bits")),
        Reader("--prime, sound", [("a.wav", tone, "riff")], prime("sound")),
        Reader("--prime, text", [("a.txt", b"a b c d a b c d\n", "text")], prime("categorical")),
        Reader("--prime, table", [("a.csv", table_rows, "csv"), ("a.csv", table_rows, "text")], prime("holes")),
    ]  # fmt: skip
