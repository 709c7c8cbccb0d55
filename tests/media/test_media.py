"""What is drawn comes out as sound, drawings, text and tables, and such files go in again as beginnings."""

from __future__ import annotations

import json
import os
import tracemalloc
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
import soundfile

import pyro_vrnn as pv
from pyro_vrnn import cli, media
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.media import drawings, pianorolls, sounds, texts
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError

AUDIO = DataFormat(kind="audio", support="real", x_dim=50, steps_per_second=160.0, frame_length=50, scale=(3000.0,))
TEXT = DataFormat(kind="symbols", support="categorical", x_dim=3, symbols=("a", "b", " "), level="char")


def make(path: Path, kind: str) -> Path:
    random = np.random.default_rng(0)
    options: dict[str, Any] = {"steps_per_second": None}
    if kind == "audio":
        time = np.arange(600)
        waves = [8000 * np.sin(time * random.uniform(0.1, 0.3)) + 200 * random.normal(size=600) for _ in range(16)]
        sequences = [wave.astype(np.int16).reshape(12, 50) for wave in waves]
        options = {"steps_per_second": 160.0, "frame_length": 50}
    elif kind == "strokes":
        sequences = [random.normal(size=(int(random.integers(5, 12)), 3)).astype(np.float32) * 20 for _ in range(16)]
        for drawing in sequences:
            drawing[:, 2] = np.arange(len(drawing)) % 4 == 3
    elif kind == "symbols":
        sequences = [random.integers(0, 3, size=(9, 1)).astype(np.uint8) for _ in range(16)]
        options["extra"] = {"symbols": ["a", "b", " "], "level": "char"}
    else:
        sequences = [random.normal(size=(7, 4)).astype(np.float32) * 5 + 3 for _ in range(16)]
    splits = {"train": sequences[:8], "valid": sequences[8:12], "test": sequences[12:]}
    write_sequences(
        path,
        splits,
        ids={name: [f"{name}-{i}" for i in range(len(rows))] for name, rows in splits.items()},
        kind=kind,
        support="categorical" if kind == "symbols" else "real",
        source="made by a test",
        licence="none",
        **options,
    )
    return path


HEADS = {"audio": "gaussian", "strokes": "bivariate-gmm-pen", "symbols": "categorical", "vectors": "gmm"}
ENDINGS = {"audio": ".wav", "strokes": ".svg", "symbols": ".txt", "vectors": ".csv"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pv.Run]:
    found = {}
    for kind, head in HEADS.items():
        folder = tmp_path_factory.mktemp(kind)
        settings = {"model.hidden_dim": 8, "model.network_dims": [8], "model.latent_dim": 3}
        data = make(folder / "data.h5", kind)
        found[kind] = pv.train(
            "jsb-vrnn", data=data, out=folder / "run", max_steps=10, likelihood=head, settings=settings, device="cpu"
        )
    return found


@pytest.mark.parametrize("kind", HEADS)
def test_every_kind_is_trained_scored_drawn_and_inspected(
    kind: str, trained: dict[str, pv.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(trained[kind].folder)
    assert cli._run(["evaluate", run, "--objective", "iwae", "--particles", "3", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    assert np.isfinite(scored["nll_per_step"])
    if kind == "audio":
        assert scored["nll_per_sample"] == pytest.approx(scored["nll_per_step"] / 50)
        assert scored["bits_per_sample"] == pytest.approx(scored["nll_per_sample"] / np.log(2))
        assert "16-bit" in scored["amplitude_unit"]
    assert cli._run(["sample", run, "--num", "2", "--steps", "6", "--out", str(tmp_path / "a"), "--json"]) == 0
    files = [Path(f) for f in json.loads(capsys.readouterr().out)["files"]]
    media_files = [f for f in files if f.suffix == ENDINGS[kind]]
    assert len(media_files) == 2
    assert all(f.stat().st_size for f in files)
    for path in media_files:
        about = json.loads(path.with_suffix(".json").read_text())
        assert about["file"] == path.name
        assert about["steps"] == 6
    assert cli._run(["sample", run, "--num", "2", "--steps", "6", "--out", str(tmp_path / "b"), "--quiet"]) == 0
    again = [tmp_path / "b" / f.name for f in media_files]
    assert [f.read_bytes() for f in again] == [f.read_bytes() for f in media_files]
    assert cli._run(["inspect", run, "--out", str(tmp_path / "c"), "--json"]) == 0


@pytest.mark.parametrize("kind", ["audio", "symbols", "vectors"])
def test_a_drawn_file_is_a_beginning_for_the_next(kind: str, trained: dict[str, pv.Run], tmp_path: Path) -> None:
    run = trained[kind]
    first = run.sample(1, 6, out=tmp_path / "a", seed=1)[0]
    more = run.sample(1, 9, out=tmp_path / "b", prime=first, prime_steps=6)[0]
    before, after = media.read(run.format, first), media.read(run.format, more)
    assert len(after) == 9
    np.testing.assert_allclose(after[:6], before, atol=1.01 if kind == "audio" else 1e-4, rtol=1e-5)


def test_a_beginning_of_another_rate_is_resampled_and_that_is_said(
    trained: dict[str, pv.Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    time = np.arange(44100) / 44100
    soundfile.write(tmp_path / "high.wav", 0.3 * np.sin(2 * np.pi * 440 * time), 44100)
    run, said = trained["audio"], list[str]()
    found = media.read(run.format, tmp_path / "high.wav", said.append).reshape(-1)
    assert said == [
        f"note: {tmp_path}/high.wav: resampled from 44100 to 8000 samples per second, as the model has them"
    ]
    assert len(found) == 8000
    expected = 0.3 * 32768 * np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    np.testing.assert_allclose(found[100:-100], expected[100:-100], atol=30)
    argv = ["sample", str(run.folder), "--num", "1", "--prime", str(tmp_path / "high.wav"), "--out", str(tmp_path)]
    assert cli._run([*argv, "--json"]) == 0
    assert said[0] in capsys.readouterr().err.splitlines()
    media.read(run.format, run.sample(1, 6, out=tmp_path)[0], said.append)
    assert len(said) == 1


def test_a_wav_has_the_samples_it_was_given(tmp_path: Path) -> None:
    stored = np.linspace(-20000, 20000, 300).reshape(6, 50)
    path, picture, facts = media.write(AUDIO, stored, tmp_path / "s")
    wave, rate = soundfile.read(path, dtype="int16")
    assert rate == 8000
    assert np.array_equal(wave, np.rint(stored.reshape(-1)).astype(np.int16))
    assert soundfile.info(path).subtype == "PCM_16"
    assert facts["gain"] == 1.0
    assert picture is not None
    assert picture.read_bytes()[:4] == b"\x89PNG"


def test_what_is_too_loud_is_turned_down_and_said(tmp_path: Path) -> None:
    stored = np.array([[0.0] * 49 + [65536.0]])
    path, _, facts = media.write(AUDIO, stored, tmp_path / "s")
    wave, _ = soundfile.read(path, dtype="int16")
    assert wave.max() == 32767
    assert facts["gain"] == pytest.approx(32767 / 65536)
    assert facts["peak"] == pytest.approx(2.0)


def test_silence_can_be_drawn(tmp_path: Path) -> None:
    _, picture, _ = media.write(AUDIO, np.zeros((4, 50)), tmp_path / "s")
    assert picture is not None


@pytest.mark.parametrize("form", [AUDIO, DataFormat(kind="vectors", support="real", x_dim=2)])
def test_values_that_are_not_finite_are_an_error_and_leave_nothing(form: DataFormat, tmp_path: Path) -> None:
    with pytest.raises(NumericsError, match="not finite"):
        media.write(form, np.full((3, form.x_dim), np.nan), tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_strokes_end_where_the_pen_is_lifted(tmp_path: Path) -> None:
    stored = np.array([[1, 0, 0], [0, 1, 1], [5, 5, 0], [1, 0, 0], [1, 0, 1]], float)
    lines = drawings.polylines(stored)
    assert [line.tolist() for line in lines] == [[[0, 0], [1, 0], [1, 1]], [[6, 6], [7, 6], [8, 6]]]
    form = DataFormat(kind="strokes", support="real", x_dim=3)
    path, _, facts = media.write(form, stored, tmp_path / "s", title="<a & b>")
    root = ET.fromstring(path.read_text())
    assert len(root.findall(".//{http://www.w3.org/2000/svg}polyline")) == facts["strokes"] == 2
    assert root.findtext("{http://www.w3.org/2000/svg}title") == "<a & b>"


def test_text_is_spelt_and_read_back(tmp_path: Path) -> None:
    stored = np.array([[0], [2], [1], [1]])
    path, picture, _ = media.write(TEXT, stored, tmp_path / "s")
    assert path.read_text() == "a bb"
    assert picture is None
    assert np.array_equal(media.read(TEXT, path), stored)
    words = DataFormat(kind="symbols", support="categorical", x_dim=2, symbols=("to", "be"), level="word")
    assert texts.spell(words, np.array([[0], [1]])) == "to be"
    (tmp_path / "u.txt").write_text("abz")
    with pytest.raises(DataError, match="'z' is no symbol"):
        media.read(TEXT, tmp_path / "u.txt")
    some = DataFormat(kind="symbols", support="categorical", x_dim=2, symbols=("<unk>", "be"), level="word")
    (tmp_path / "v.txt").write_text("to be")
    assert media.read(some, tmp_path / "v.txt").tolist() == [[0], [1]]
    (tmp_path / "v.txt").write_text("to or")
    with pytest.raises(DataError, match="'to' is no symbol"):
        media.read(some, tmp_path / "v.txt")


def test_pitches_with_gaps_go_back_to_their_notes() -> None:
    form = DataFormat(kind="pianoroll", support="binary", x_dim=3, steps_per_second=4.0, pitches=(40, 43, 60))
    roll, low = pianorolls.spread(form, np.array([[1, 0, 1], [0, 1, 0]]))
    assert low == 40
    assert (np.argwhere(roll) + np.array([0, 40])).tolist() == [[0, 40], [0, 60], [1, 43]]


def test_a_song_is_read_as_prepare_reads_it(tmp_path: Path) -> None:
    """Without silent ends, and written at a tempo that programs for music take."""
    form = DataFormat(kind="pianoroll", support="binary", x_dim=3, steps_per_second=20.0, pitches=(40, 43, 60))
    stored = np.array([[0, 0, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 0]], np.uint8)
    path, _, about = media.write(form, stored, tmp_path / "s")
    assert np.array_equal(media.read(form, path), stored[2:5])
    assert (about["midi"]["tempo"], about["midi"]["steps_per_quarter"]) == (150, 8)
    silent, _, _ = media.write(form, stored * 0, tmp_path / "silent")
    with pytest.raises(DataError, match="no note that the model knows"):
        media.read(form, silent)


def test_beginnings_of_another_kind(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(10), 8000)
    (tmp_path / "text.wav").write_text("no sound")
    faults = {
        "short.wav": "shorter",
        "text.wav": "text.wav",
        "cut.wav": "cut short: its header says 4000 samples, there are 3000",
        "nan.wav": "NaN or infinity",
        "fifo.wav": "not a regular file",
        "no": "No such file",
    }
    soundfile.write(tmp_path / "cut.wav", np.zeros(4000), 8000)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[:-2000])
    soundfile.write(tmp_path / "nan.wav", np.full(4000, np.nan), 8000, subtype="FLOAT")
    os.mkfifo(tmp_path / "fifo.wav")  # opening it would hang
    for name, says in faults.items():
        with pytest.raises(DataError, match=says):
            media.read(AUDIO, tmp_path / name)
    vectors = DataFormat(kind="vectors", support="real", x_dim=2)
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,3\n")
    (tmp_path / "b.csv").write_text("x,y\n1,hello\n")
    for name in ("a.csv", "b.csv"):
        with pytest.raises(DataError):
            media.read(vectors, tmp_path / name)


def test_no_more_of_a_sound_is_read_than_can_be_a_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many channels it has, and whatever it unpacks to."""
    monkeypatch.setattr(sounds, "LONGEST_SECONDS", 10)
    with soundfile.SoundFile(tmp_path / "long.flac", "w", 8000, 8, "PCM_16") as file:
        for _ in range(90):
            file.write(np.full((8000, 8), 0.25))
    said: list[str] = []
    tracemalloc.start()
    try:
        found = media.read(AUDIO, tmp_path / "long.flac", said.append)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert said == [f"note: {tmp_path}/long.flac: its first 10 seconds are read"]
    assert found.shape == (10 * 160, 50)
    assert (found == 8192).all()
    assert peak < 12 * 2**20  # all of it is 46 MB as floats, of one channel


def test_time_that_is_none(trained: dict[str, pv.Run], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no time"):
        trained["vectors"].sample(1, seconds=2.0, out=tmp_path)


def test_long_handwriting_keeps_its_shape() -> None:
    """Coordinates far from the start are as fine as those near it."""
    line = np.column_stack([np.arange(12340.0, 12352.0), np.zeros(12)])
    text = drawings.svg([np.zeros((2, 2)), line])
    points = ET.fromstring(text).findall(".//{http://www.w3.org/2000/svg}polyline")[1].attrib["points"].split()
    assert len(set(points)) == 12


def test_a_cell_too_long_for_a_table(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1," + "2" * 200_000 + "\n")
    with pytest.raises(DataError):
        media.read(DataFormat(kind="vectors", support="real", x_dim=2), tmp_path / "a.csv")


NAMED = DataFormat(kind="vectors", support="real", x_dim=2, columns=("speed", "$heat"))


def test_columns_keep_their_names(tmp_path: Path) -> None:
    """Written under them, and read by them: in any order, among others; else by place."""
    stored = np.array([[1.0, 2.0], [3.0, 4.5]])
    path, picture, _ = media.write(NAMED, stored, tmp_path / "s", hidden=(0, 1))
    assert path.read_text().splitlines()[0] == "speed,$heat"
    assert picture is not None
    np.testing.assert_array_equal(media.read(NAMED, path), stored)
    (tmp_path / "other.csv").write_bytes(b"\xef\xbb\xbfsequence,$heat, speed\nfirst,2,1\n\nfirst,4.5,3\n")
    np.testing.assert_array_equal(media.read(NAMED, tmp_path / "other.csv"), stored)
    (tmp_path / "plain.csv").write_text("x1,x2\n1,2\n3,4.5\n")
    np.testing.assert_array_equal(media.read(NAMED, tmp_path / "plain.csv"), stored)
    (tmp_path / "several.csv").write_text("$heat,sequence,speed\n2,a,1\n9,b,9\n4.5,a,3\n")
    np.testing.assert_array_equal(media.read(NAMED, tmp_path / "several.csv"), stored)
    (tmp_path / "bare.csv").write_text("1;2\n3;4,5\n")  # by place, where there is no header
    np.testing.assert_array_equal(media.read(NAMED, tmp_path / "bare.csv"), stored)
    for text in (
        "speed,$heat\n1\n",
        "a,speed,$heat\n1,2\n",
        "speed,$heat\n",
        "",
        "1,2,3\n3,4,5\n",
        "1,2\n3,\n",
        "sequence,$heat\n\n,\n",
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(DataError):
            media.read(NAMED, tmp_path / "bad.csv")


def test_few_columns_are_lines_and_many_are_shades(tmp_path: Path) -> None:
    shapes = []
    for x_dim in (1, 8, 9, 40):
        form = DataFormat(kind="vectors", support="real", x_dim=x_dim, columns=tuple(f"c{j}" for j in range(x_dim)))
        for steps, given in ((1, 0), (30, 7)):
            _, picture, _ = media.write(
                form, np.random.default_rng(0).normal(size=(steps, x_dim)), tmp_path / "s", given=given
            )
            assert picture is not None
            shapes.append(matplotlib.image.imread(picture).shape)
    assert shapes[0] != shapes[2]  # a panel a column
    assert shapes[4] == shapes[6]


def test_images_are_drawn_upright(tmp_path: Path) -> None:
    """A row of pixels a step, the first above."""
    form = DataFormat(kind="vectors", support="real", x_dim=6, image=True)
    stored = np.zeros((6, 6))
    stored[0] = stored[:, 0] = 1.0
    _, picture, _ = media.write(form, stored, tmp_path / "s")
    assert picture is not None
    page = media.overview(form, [stored] * 3, tmp_path / "all.png", ["a", "b", "c"], 0)
    assert page is not None
    shown = matplotlib.image.imread(picture)[..., :3].mean(-1)
    dark = np.argwhere(shown < 0.01)
    (top, left), (bottom, right) = dark.min(0), dark.max(0)
    assert shown[top - 3, (left + right) // 2] == shown[(top + bottom) // 2, left - 3] == 1.0
    assert np.median(shown[top : bottom + 1, left : right + 1]) < 0.01


def test_what_was_hidden_is_marked(tmp_path: Path) -> None:
    roll = DataFormat(kind="pianoroll", support="binary", x_dim=88, steps_per_second=2.0)
    for form, stored in ((roll, np.zeros((20, 88))), (AUDIO, np.zeros((20, 50)))):
        shades = []
        for hidden in (None, (10, 15)):
            _, picture, _ = media.write(form, stored, tmp_path / "s", hidden=hidden)
            assert picture is not None
            pixels = matplotlib.image.imread(picture)[..., :3]
            shades.append((pixels[..., 0] - pixels[..., 2] > 0.1).any(0))
        marked = np.flatnonzero(shades[1] & ~shades[0])
        assert not shades[0].any() or form is AUDIO
        assert 0.2 < (marked.max() - marked.min()) / len(shades[1]) < 0.6
