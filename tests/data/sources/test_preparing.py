"""`prepare` on the command line: which options a kind has, where the file goes, and the real folders end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyro_vrnn import cli
from pyro_vrnn.data.sources import SOURCES
from pyro_vrnn.data.sources.preparing import plan
from pyro_vrnn.system.errors import ConfigError, DataError

FOLDERS = {
    "speech_one_voice": ("audio", "", "gaussian", ".wav"),
    "speech_wakewords": ("audio", "", "gmm", ".wav"),
    "speech_digits": ("audio", "", "gaussian", ".wav"),
    "vocal_shouts": ("audio", "", "gaussian", ".wav"),
    "strokes_pendigits": ("strokes", "pendigits_orig.npz", "bivariate-gmm-pen", ".svg"),
    "strokes_omniglot": ("strokes", "omniglot_small1.npz", "bivariate-gmm-pen", ".svg"),
    "text": ("text", "tinyshakespeare.txt", "categorical", ".txt"),
    "chess_openings": ("symbols", "openings.tsv", "categorical", ".txt"),
    "japanese_vowels": ("vectors", "japanese_vowels.npz", "gaussian", ".csv"),
    "mnist_rows": ("vectors", "mnist_t10k.npz", "gaussian", ".csv"),
    "openmsx_midi": ("midi", "", "bernoulli", ".mid"),
}


@pytest.mark.parametrize("folder", FOLDERS)
def test_real_data_goes_in_and_media_come_out(
    folder: str, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prepare, train a few updates, score, draw: what a user does first with data of their own."""
    kind, name, head, ending = FOLDERS[folder]
    source, data, run = shared / "data" / folder / name, tmp_path / "d.h5", tmp_path / "run"
    more = ["--sample-rate", "8000"] if folder == "speech_digits" else []
    if kind == "midi":
        more = ["--window", "50", "--hop", "50"]

    def call(*argv: object) -> dict[str, object]:
        assert cli._run([str(a) for a in [*argv, "--json"]]) == 0, capsys.readouterr().err
        found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    made = call("prepare", kind, source, "--out", data, *more)
    assert all(made["splits"][split]["sequences"] > 0 for split in ("train", "valid", "test"))  # type: ignore[index]
    small = ["--set", "model.hidden_dim=16", "--set", "model.network_dims=16", "--set", "model.latent_dim=4"]
    small += ["--set", "data.window=20", "--set", "training.valid_objective=own"]
    call(
        "train",
        "jsb-vrnn",
        "--data",
        data,
        "--likelihood",
        head,
        "--max-time",
        "1s",
        "--out",
        run,
        "--max-steps",
        3,
        *small,
    )
    drawn = call("sample", run, "--num", 1, "--steps", 12)
    files = [Path(f) for f in drawn["files"]]  # type: ignore[union-attr]
    assert files[0].suffix == ending
    assert files[0].stat().st_size > 0


def test_sources_and_splits_are_checked_before_any_work() -> None:
    with pytest.raises(ConfigError, match="takes one SOURCE"):
        plan("midi", ["a", "b"], None, {})
    with pytest.raises(ConfigError, match="needs a SOURCE"):
        plan("text", [], None, {})
    for splits in ("90,5", "a,b,c", "90,5,6", "nan,50,50"):
        with pytest.raises(ConfigError, match="three shares"):
            plan("audio", ["a"], None, {"splits": splits})


@pytest.mark.parametrize("kind", SOURCES)
def test_common_options_are_taken_by_all(kind: str) -> None:
    sources = [] if kind == "chorales" else ["somewhere"]
    job = plan(kind, sources, Path("x.h5"), {"seed": 3, "strict": True, "jobs": 2})
    assert "jobs" not in job.options


def test_names_of_files(tmp_path: Path) -> None:
    assert plan("text", ["books/shakespeare.txt"], None, {}).path == Path("data/shakespeare.h5")
    assert plan("pianoroll", ["jsb"], None, {}).path.name == "jsb_chorales.h5"
    assert plan("audio", ["speech", "more"], None, {"seconds": 0}).options["seconds"] is None


@pytest.mark.parametrize(
    ("kind", "ending", "wanted"),
    [
        ("strokes", "npz", "an npz with x, y, pen"),
        ("symbols", "tsv", "a sequence of tokens a line"),
        ("text", "txt", "a text file in UTF-8"),
    ],
)
def test_a_folder_or_another_file_where_one_is_wanted(kind: str, ending: str, wanted: str, tmp_path: Path) -> None:
    """The hint says what is wanted, and which file of the folder it may be if there is no doubt."""
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "README.md").write_text("about")

    def hint(source: Path) -> str:
        with pytest.raises(DataError) as error:
            SOURCES[kind](tmp_path / "x.h5", source=source)
        return error.value.hint

    assert wanted in hint(folder)
    assert "README" not in hint(folder)
    (folder / f"a.{ending}").write_bytes(b"\x89\0other")
    assert hint(folder).endswith(f": {folder / 'a'}.{ending}")
    assert wanted in hint(folder / f"a.{ending}")
    (folder / f"b.{ending}").write_text("more")
    assert hint(folder).startswith("give ")
    assert str(folder) not in hint(folder)


def test_a_file_in_the_way_says_how_it_was_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.txt").write_text("to be or not\n" * 40)
    (tmp_path / "b.txt").write_text("to be or not\n" * 40)
    out = tmp_path / "x.h5"

    def prepare(*argv: object) -> str:
        """The hint."""
        assert cli._run([str(a) for a in ["prepare", "text", *argv, "--out", out]]) in (0, 2)
        return capsys.readouterr().err.rpartition("hint: ")[2].strip()

    plain = "use it as it is, or replace it with --overwrite"
    prepare(tmp_path / "a.txt", "--window", 30)
    assert prepare(tmp_path / "a.txt", "--window", 30) == plain
    assert prepare(tmp_path / "a.txt", "--window", 30, "--level", "char", "--strict") == plain
    assert prepare(tmp_path / "a.txt") == f"{plain}; it was made with window=30"
    assert (
        prepare(tmp_path / "b.txt", "--level", "word")
        == f"{plain}; it was made with source=a.txt, level=char, window=30"
    )
    out.write_text("something else")
    assert prepare(tmp_path / "a.txt") == plain


def test_the_usual_shares_are_told_from_others(tmp_path: Path) -> None:
    """A file has them only where they were asked for."""
    (tmp_path / "a.txt").write_text("a b\nb c\nc d\nd e\n")
    out, source = tmp_path / "x.h5", [str(tmp_path / "a.txt")]
    plan("symbols", source, out, {}).run(overwrite=False, progress=lambda done, total: None)
    assert plan("symbols", source, out, {"splits": "80,10,10"}).otherwise() == []
    assert plan("symbols", source, out, {"splits": "60,20,20"}).otherwise() == ["splits=80,10,10"]


def test_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wave = (8000 * np.sin(np.arange(4000) / 20)).astype(np.int16)
    soundfile.write(tmp_path / "a.flac", wave, 16000, subtype="PCM_16")
    argv = ["prepare", "convert", tmp_path / "a.flac", "--out", tmp_path / "out", "--to", "npy", "--json"]
    assert cli._run([str(a) for a in argv]) == 0
    (made,) = json.loads(capsys.readouterr().out)["files"]
    assert np.array_equal(np.load(made), wave)
    assert cli._run(["prepare", "convert", str(tmp_path / "a.flac")]) == 2
    assert "--out" in capsys.readouterr().err
    assert cli._run(["prepare", "convert", str(tmp_path), "--out", str(tmp_path / "o"), "--rate", "2"]) == 2
