"""The shipped models: small, whole, told of by a card, and RUN arguments wherever one is read."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pretty_midi
import pytest
import torch
from fits import fit
from safetensors.torch import load_file
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn import cli, media, runs, weights
from pyro_vrnn.data import catalogue
from pyro_vrnn.data.sources import chorales
from pyro_vrnn.system.errors import ConfigError, DataError

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("bach", "digits-pen", "voice")
SUFFIX = {"bach": ".mid", "digits-pen": ".svg", "voice": ".wav"}


def call(*argv: object) -> int:
    return cli._run([str(a) for a in argv])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def files(name: str) -> list[Path]:
    return [file for file in (weights.FOLDER / name).rglob("*") if file.is_file()]


def test_three_are_shipped_and_small() -> None:
    assert tuple(weights.names()) == NAMES
    assert sum(weights.card(name).bytes for name in NAMES) < 4_000_000


@pytest.mark.parametrize("name", NAMES)
def test_a_card_says_where_a_model_comes_from(name: str) -> None:
    card = weights.card(name)
    for part in (card.about, card.data, card.licence, card.limits):
        assert len(part) > 60
        assert part.endswith(".")
    assert card.prepare.startswith("pyro-vrnn prepare ")
    assert card.train.startswith("pyro-vrnn train ")
    assert card.sample.startswith(f"pyro-vrnn sample {name}")
    assert f"data/{Path(runs.load(name).config.data.path).name}" in card.prepare
    found = card.numbers
    assert found["nll_per_step"] < min(found["baselines"].values())
    assert abs(found["nll_per_step"] - found["nll_per_step_float32"]) < 0.1 * found["stderr"]  # rounding costs nothing
    page = (weights.FOLDER / name / "card.md").read_text("utf-8")
    assert page == card.markdown()
    for part in (card.licence, card.prepare, card.train, card.evaluate, f"{found['nll_per_step']:.4f}"):
        assert part in page


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_holds_a_run_without_its_optimizer_and_nothing_of_a_machine(name: str) -> None:
    (step,) = (weights.FOLDER / name / "checkpoints").glob("step-*")
    assert load_file(step / "optimizer.safetensors") == {}
    stored = load_file(step / "model.safetensors")
    assert {v.dtype for v in stored.values() if v.ndim > 1} == {torch.float16}
    assert {v.dtype for v in stored.values() if v.ndim < 2} == {torch.float32}
    assert {p.dtype for p in pv.load(name).net.parameters()} == {torch.float32}
    for file in files(name):
        if file.suffix != ".safetensors":
            text = file.read_text("utf-8")
            assert not re.search(r"(^|[\s\"'=])(/[a-z]|[A-Z]:\\)", text), file  # no absolute path
            assert "platform" not in text


@pytest.mark.parametrize("name", NAMES)
def test_a_model_samples_into_the_current_folder(name: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file: file.stat().st_mtime_ns for file in files(name)}
    assert call("sample", name, "--num", 1, "--steps", 24, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    medium = Path(found["files"][0])
    assert (medium.parent, medium.suffix) == (Path(f"{name}-samples"), SUFFIX[name])
    assert medium.stat().st_size > 100
    about = json.loads(medium.with_suffix(".json").read_text())
    assert about["run"] == name  # the argument that opens it, not a path of this machine
    assert {file: file.stat().st_mtime_ns for file in files(name)} == before


def test_they_are_listed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("models") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == list(NAMES)
    assert call("models", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    assert [one["name"] for one in listed] == list(NAMES)
    assert all(Path(one["folder"]).is_dir() and one["bytes"] > 100_000 and one["licence"] for one in listed)
    assert call("models", "bach") == 0
    assert capsys.readouterr().out == weights.card("bach").markdown()
    assert call("models", "bahc") == 2
    assert "did you mean bach?" in capsys.readouterr().err


def test_an_unknown_run_hears_of_them(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", "runs/bahc") == 4
    told = capsys.readouterr().err
    assert "runs/bahc: no such run" in told
    assert "`pyro-vrnn models` lists: bach, digits-pen, voice" in told


def test_a_folder_of_that_name_goes_first(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(write_small(here / "small.h5"), Path("bach"), max_steps=1)
    told: list[str] = []
    assert pv.load("bach").folder == Path("bach")
    assert runs.load("bach", say=told.append).net.latent_dim == 3
    assert told == ["note: bach is the run in this folder, not the shipped model of that name"]
    assert pv.load("bach").output("samples") == Path("bach/samples")
    shutil.rmtree("bach")
    Path("bach").mkdir()
    assert call("sample", "bach") == 4
    assert "it hides the shipped model of this name" in capsys.readouterr().err


def test_it_is_not_resumed_but_started_from(here: Path) -> None:
    with pytest.raises(ConfigError, match="no optimizer's state") as refused:
        pv.train(resume="bach")
    assert "--init-from bach" in refused.value.hint
    with pytest.raises(DataError, match="no such data file") as missing:
        pv.train(init_from="bach")
    assert weights.card("bach").prepare in missing.value.hint
    (here / "data").mkdir()
    write_small(here / "data" / "rolls.h5", x_dim=88)
    run = pv.train(init_from="bach", data="rolls", max_steps=1, lr=1e-9)
    assert run.folder == Path("runs/bach")
    assert run.config.model == pv.load("bach").config.model  # its settings, without naming a recipe
    first, shipped = (one.net.state_dict() for one in (run, pv.load("bach")))
    assert all(torch.allclose(first[key], shipped[key], atol=1e-6) for key in shipped)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_missing_is_its_data_and_how_to_make_it(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("evaluate", "inspect", "encode"):
        assert call(command, name) == 3
        assert f"make it: {weights.card(name).prepare}" in capsys.readouterr().err
    assert list(here.iterdir()) == []


def test_a_file_goes_through_it_without_its_data(here: Path) -> None:
    pv.load("bach").sample(1, 12)
    files = pv.load("bach").reconstruct(file=Path("bach-samples/sample-0-00.mid"))
    assert {file.parent for file in files} == {Path("bach-reconstructions")}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/ as the card of bach says to make it."""
    pytest.importorskip("music21")
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "data").mkdir()
    chorales.prepare(folder / "data" / "chorales_eighth.h5", resolution="eighth")
    return folder


def test_with_its_data_it_scores_what_the_card_says(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)
    run, found = pv.load("bach"), weights.card("bach").numbers
    score = run.evaluate("test", "elbo", seed=found["seed"])
    assert (score.sequences, score.steps) == (found["sequences"], found["steps"])
    assert found["nll_per_step"] < score.nll_per_step < found["nll_per_step"] + 0.5  # IWAE is the tighter bound
    assert run.inspect(sequence="0")["active_units"] > 0
    assert Path("bach-figures").is_dir()
    assert run.report(num=1) == Path("bach-report.html")
    page = Path("bach-report.html").read_text("utf-8")
    assert weights.card("bach").prepare in page
    assert str(weights.FOLDER) not in page


def test_the_catalogue_and_the_models_share_no_name() -> None:
    assert not {*weights.names()} & {*catalogue.NAMES}


def test_a_run_is_made_one_that_ships(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """benchmarks/ship.py, on a small run."""
    spec = importlib.util.spec_from_file_location("ship", ROOT / "benchmarks" / "ship.py")
    assert spec is not None
    assert spec.loader is not None
    ship: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ship)
    run = fit(write_small(here / "small.h5"), Path("made"), epochs=1)
    monkeypatch.setattr(weights, "FOLDER", here / "shipped")
    words = ("draws", "about", "data", "licence", "limits", "prepare", "train", "sample")
    begun = "".join(f'{word} = "{word} of it"\n' for word in words) + "steps = 5\n"
    (here / "shipped" / "new").mkdir(parents=True)
    (here / "shipped" / "new" / "card.toml").write_text(begun)
    card = ship.ship(Path("made"), "new", objective="iwae", particles=3, seed=1)
    assert weights.names() == ["new"]
    shipped = runs.load("new")
    theirs, ours = run.net.state_dict(), shipped.net.state_dict()
    assert all(torch.allclose(theirs[key], ours[key], rtol=1e-3, atol=1e-6) for key in theirs)
    again = run.evaluate("test", "iwae", 3, seed=1)
    assert card.numbers["nll_per_step_float32"] == again.nll_per_step
    assert card.numbers["nll_per_step"] == pytest.approx(again.nll_per_step, rel=1e-3)
    assert shipped.config.data.path == "data/small.h5"
    assert str(here) not in (shipped.folder / "config.toml").read_text()


def test_listing_them_needs_no_torch() -> None:
    code = "import sys; from pyro_vrnn import cli; cli._run(['models', '--json']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_bach_hears_a_prime_by_its_beats(tmp_path: Path) -> None:
    """Its samples are played at 100 quarters a minute; a file of another tempo has as many eighth notes."""
    for tempo in (60, 120):
        song = pretty_midi.PrettyMIDI(initial_tempo=tempo)
        piano, quarter = pretty_midi.Instrument(0), 60 / tempo
        piano.notes = [pretty_midi.Note(80, 60 + k, k * quarter, (k + 1) * quarter) for k in range(5)]
        song.instruments.append(piano)
        song.write(str(tmp_path / "prime.mid"))
        found = media.read(pv.load("bach").format, tmp_path / "prime.mid")
        assert [step.nonzero()[0].tolist() for step in found] == [[39 + k // 2] for k in range(10)]
