"""The command line as scripts meet it: JSON on stdout, one error line and one hint, exit codes, nothing left."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile
from fits import FIRST_RECIPES
from small import make_rolls, write_audio, write_like, write_small

from pyro_vrnn import __version__, cli
from pyro_vrnn.config import recipes, resolve
from pyro_vrnn.data import catalogue
from pyro_vrnn.data.sources.decoding import Decoder, Recording, Tally
from pyro_vrnn.models import MODELS
from pyro_vrnn.system.errors import DataError

SMALL = ["--set", "model.latent_dim=3", "--set", "model.hidden_dim=8", "--set", "model.network_dims=8"]


def call(*argv: object) -> int:
    return cli._run([str(a) for a in argv])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("data") / "small.h5")


@pytest.fixture(scope="module")
def run(data: Path) -> Path:
    out = data.parent / "run"
    assert call("train", "--data", data, "--out", out, "--max-steps", 8, "--quiet", "--device", "cpu", *SMALL) == 0
    return out


def answer(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Stdout holds exactly one JSON object of schema 1."""

    def refuse(constant: str) -> float:
        raise AssertionError(f"{constant} in the JSON")

    captured = capsys.readouterr().out
    found = json.loads(captured, parse_constant=refuse)
    assert captured.count("\n") == 1
    assert found["schema"] == 1
    return found


def refused(capsys: pytest.CaptureFixture[str]) -> str:
    """Stderr is one error line and one hint line, and stdout is empty."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.strip().splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    return captured.err


def test_train(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = call(
        "train", "chorales-vrnn", "--data", data, "--out", tmp_path / "r", "--epochs", 2, "--objective", "iwae",
        "--particles", 3, "--lr", 0.01, "--seed", 3, "--batch-size", 6, "--device", "cpu", "--threads", 1,
        "--json", *SMALL,
    )  # fmt: skip
    assert code == 0
    found = answer(capsys)
    assert found.keys() == {"schema", "run", "steps", "epochs", "stopped", "best", "seconds"}
    assert (found["steps"], found["epochs"], found["stopped"]) == (8, 2, "epochs")
    assert found["best"].keys() == {"step", "valid_nll_per_step"}
    for name in ("config.toml", "environment.json", "metrics.jsonl", "checkpoints/BEST", "checkpoints/LATEST"):
        assert (tmp_path / "r" / name).is_file()


def test_evaluate(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", run, "--objective", "iwae", "--particles", 50, "--json") == 0
    iwae = answer(capsys)
    assert iwae.keys() == {
        "schema", "bound", "particles", "split", "sequences", "steps", "nll_per_step",
        "nll_per_step_sequence_mean", "nll_per_sequence", "kl_per_step", "stderr", "run", "checkpoint", "data",
    }  # fmt: skip
    assert (iwae["bound"], iwae["particles"], iwae["split"], iwae["sequences"]) == ("iwae", 50, "test", 7)
    assert call("evaluate", run, "--json") == 0
    assert iwae["nll_per_step"] < answer(capsys)["nll_per_step"]
    assert call("evaluate", run, "--split", "valid") == 0
    assert "nats" in capsys.readouterr().out


def test_evaluate_against_another_run(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--init-from", run, "--data", data, "--out", tmp_path / "more", "--max-steps", 30, "--quiet", "--set",
            "training.learning_rate=0.02"]  # fmt: skip
    assert call("train", *more, "--device", "cpu") == 0
    capsys.readouterr()
    options = ["--objective", "iwae", "--particles", 20]
    assert call("evaluate", tmp_path / "more", *options, "--against", run, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    other = found["against"]
    assert call("evaluate", run, *options, "--json") == 0
    assert json.loads(capsys.readouterr().out)["nll_per_step"] == other["nll_per_step"]
    assert other["difference"] == pytest.approx(found["nll_per_step"] - other["nll_per_step"])
    assert other["low"] <= other["difference"] <= other["high"]
    assert other["sequences_better"] <= other["sequences"] == found["sequences"]
    assert call("evaluate", run, "--against", run) == 0  # the same draws: no difference at all
    assert "+0.0000" in capsys.readouterr().out
    assert call("evaluate", run, "--drift", 3, "--against", run) == 2
    assert call("evaluate", run, "--against", "digits-pen") == 2
    captured = capsys.readouterr()
    assert "other units or symbols" in captured.err
    assert captured.out == ""  # said before anything was scored


def test_both_runs_are_scored_by_the_very_same_bound(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of the first run, also where the other was trained by it with other settings."""
    options = ["--data", data, "--init-from", run, "--max-steps", 1, "--lr", 1e-12, "--quiet", "--device", "cpu"]
    more = ["--objective", "renyi", "--particles", 5, "--set", "objective.alpha=0.01"]
    assert call("train", *options, "--out", tmp_path / "same", *more) == 0
    capsys.readouterr()
    numbers = []
    for first, other in ((run, tmp_path / "same"), (tmp_path / "same", run)):
        assert call("evaluate", first, "--objective", "renyi", "--against", other, "--json") == 0
        found = answer(capsys)
        assert found["against"]["difference"] == pytest.approx(0, abs=1e-6)  # the same weights
        numbers.append(found["nll_per_step"])
    assert numbers[0] != pytest.approx(numbers[1], abs=1e-3)


def test_evaluate_by_the_number_of_particles(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", run, "--objective", "fivo", "--particles", "8,2,32", "--json") == 0
    found = answer(capsys)
    assert found["particles"] == 32
    assert [point["particles"] for point in found["curve"]] == [2, 8, 32]
    assert found["curve"][-1]["nll_per_step"] == found["nll_per_step"]
    assert [Path(file).name for file in found["files"]] == ["fivo-by-particles-test.png"]
    assert Path(found["files"][0]).read_bytes()[:4] == b"\x89PNG"
    assert call("evaluate", run, "--objective", "fivo", "--particles", "2,8") == 0
    assert "K=8" in capsys.readouterr().out
    assert call("evaluate", run, "--particles", "2,8") == 0
    assert "only average elbo" in capsys.readouterr().err
    for wrong in ("2,x", "", "0,5"):
        assert call("evaluate", run, "--objective", "fivo", "--particles", wrong) == 2
        refused(capsys)


def test_a_checkpoint_is_a_run_too(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    step = (run / "checkpoints" / "LATEST").read_text().strip()
    assert call("evaluate", run / "checkpoints" / step, "--json") == 0
    assert answer(capsys)["sequences"] == 7


def test_sample(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", run, "--num", 2, "--steps", 9, "--seed", 5, "--out", tmp_path, "--json") == 0
    found = answer(capsys)
    assert found.keys() == {"schema", "files", "seed"}
    assert found["seed"] == 5
    assert all(Path(f).is_file() for f in found["files"])
    assert sum(f.endswith(".mid") for f in found["files"]) == 2


def test_inspect(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("inspect", run, "--sequence", "test-3", "--particles", 2, "--out", tmp_path, "--json") == 0
    found = answer(capsys)
    assert {"sequence", "steps", "sites", "kl_by_step", "kl_by_unit", "active_units", "bound"} <= found.keys()
    assert found["sites"][0].keys() == {"name", "kind", "shape", "log_prob_p", "log_prob_q", "kl"}
    assert call("inspect", run, "--out", tmp_path) == 0
    shown = capsys.readouterr().out
    assert "z_1" in shown
    assert "KL" in shown


def test_prepare_and_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    splits = {name: make_rolls(3, i, 88) for i, name in enumerate(("train", "valid", "test"))}
    arrays = {name: np.concatenate(rolls) for name, rolls in splits.items()}
    lengths = {f"{name}_len": np.array([len(r) for r in rolls]) for name, rolls in splits.items()}
    np.savez(tmp_path / "mine.npz", **arrays, **lengths)
    out = tmp_path / "mine.h5"
    assert call("prepare", "pianoroll", tmp_path / "mine.npz", "--out", out, "--json") == 0
    prepared = answer(capsys)
    assert call("data", out, "--json") == 0
    assert answer(capsys) == prepared
    assert call("data", out) == 0
    assert "pianoroll" in capsys.readouterr().out
    assert call("prepare", "pianoroll", tmp_path / "mine.npz", "--out", out) == 2
    assert "overwrite" in refused(capsys)
    assert call("prepare", "pianoroll", tmp_path / "mine.npz", "--out", out, "--overwrite", "--json") == 0


def test_recipes_config_doctor(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recipes", "--json") == 0
    assert list(answer(capsys)["recipes"]) == recipes.names()
    assert call("config", "jsb-vrnn", "--set", "model.latent_dim=7", "--json") == 0
    found = answer(capsys)
    assert found["config"]["model"]["latent_dim"] == 7
    assert found["origins"]["model.latent_dim"] == "--set"
    assert call("doctor", "--json") == 0
    assert "torch" in json.dumps(answer(capsys))
    for command in ("recipes", "config", "doctor"):
        assert call(command) == 0
        assert capsys.readouterr().out
    assert call("config", "jsb-vrnn", "-v") == 0
    assert "Updates at most; 0 is no limit." in capsys.readouterr().out


def test_dry_run_writes_nothing(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("train", "--data", data, "--init-from", tmp_path / "none", "--dry-run", *SMALL) == 4
    capsys.readouterr()
    assert call("train", "--data", data, "--model", "nonsense", "--dry-run") == 2
    assert "hint: see pyro-vrnn train --help" in capsys.readouterr().err
    assert call("train", "--data", data, "--out", tmp_path / "r", "--dry-run", "--json", *SMALL) == 0
    assert answer(capsys)["parameters"] > 0
    assert not (tmp_path / "r").exists()


USAGE = [
    (["train", "--model", "lstm"], "choose from dmm, rnn, srnn"),
    (["train", "--objective", "vae"], "choose from ciwae, dreg, elbo"),
    (["train", "--likelihood", "poisson"], "choose from bernoulli"),
    (["train", "--program", "fast"], "choose from stacked, markov"),
    (["train", "no-such-recipe"], "there is chorales-vrnn, mnist-rows, muse-data"),
    (["train", "--set", "model.zdim=3"], "no such setting"),
    (["train", "--particles", "x"], "--particles"),
    (["train", "--max-time", "soon"], "--max-time"),
    (["train", "--no-such-flag"], "--no-such-flag"),
    (["train", "--objective", "iwae", "--set", "objective.kl_start=0.1"], "no bound"),
    (["train", "--objective", "iwae", "--particles", "1"], "is the ELBO"),
    (["trian"], "trian"),
    (["prepare", "vinyl"], "choose from audio, chorales"),
    (["prepare", "pianoroll"], "needs a SOURCE"),
]


@pytest.mark.fault(42)
@pytest.mark.parametrize(("argv", "says"), USAGE)
def test_usage_errors(
    argv: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*argv) == 2
    assert says in refused(capsys)
    assert list(tmp_path.iterdir()) == []
    assert call(*argv, "--json") == 2
    error = json.loads(capsys.readouterr().out)
    assert error["schema"] == 1
    assert error["error"]["code"] == 2
    assert error["error"].keys() == {"code", "kind", "message", "path"}


def bad_file(kind: str, folder: Path) -> Path:
    path = folder / f"{kind}.h5"
    if kind == "text":
        path.write_text("once upon a time\n")
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "folder":
        path.mkdir()
    elif kind in ("nan", "two"):
        write_small(path)
        with h5py.File(path, "r+") as file:
            x = file["train"]["x"]
            values, options = x[...].astype("f4" if kind == "nan" else "u1"), {"chunks": x.chunks, "fletcher32": True}
            values[3, 2] = np.nan if kind == "nan" else 2
            del file["train"]["x"]
            file["train"].create_dataset("x", data=values, **options)
    elif kind == "truncated":
        write_small(path)
        path.write_bytes(path.read_bytes()[:-500])
    return path


@pytest.mark.parametrize("kind", ["absent", "text", "empty", "folder", "nan", "two", "truncated"])
def test_bad_data(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    path = bad_file(kind, tmp_path / "in")
    assert call("train", "--data", path, "--out", tmp_path / "run", "--quiet", *SMALL) == 3
    assert path.name in refused(capsys)
    assert not (tmp_path / "run").exists()
    if kind not in ("nan", "two"):
        assert call("data", path) == 3
        refused(capsys)


@pytest.mark.parametrize("content", [b"", b"some text", b"PK\x03\x04broken", b"\x80\x04N."])
def test_bad_sources_leave_nothing(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "source").write_bytes(content)
    (tmp_path / "out").mkdir()
    assert call("prepare", "pianoroll", tmp_path / "source", "--out", tmp_path / "out" / "x.h5") == 3
    refused(capsys)
    assert list((tmp_path / "out").iterdir()) == []
    assert call("prepare", "pianoroll", tmp_path / "absent", "--out", tmp_path / "out" / "x.h5") == 3
    refused(capsys)


@pytest.mark.fault(24)
def test_a_run_that_is_none(tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["evaluate"], ["sample"], ["inspect"]):
        assert call(*argv, tmp_path / "absent") == 4
        assert "no such run" in refused(capsys)
        assert call(*argv, data) == 4
        refused(capsys)


def test_data_of_another_width(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_small(tmp_path / "wide.h5", x_dim=17)
    assert call("evaluate", run, "--data", other) == 3
    assert "x_dim is 17, the model was trained on 11" in refused(capsys)


@pytest.mark.fault(13)
def test_places_where_nothing_can_be_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("x")
    for argv in (
        ["sample", run, "--out", tmp_path / "file"],
        ["inspect", run, "--out", tmp_path / "file"],
        ["inspect", run, "--out", tmp_path / "ok", "--export", tmp_path / "file" / "x.nc"],
        ["inspect", run, "--out", tmp_path / "ok", "--export", tmp_path],
    ):
        assert call(*argv) == 2
        refused(capsys)


@pytest.mark.parametrize(
    "argv",
    [
        ["sample", "--seconds", "nan"],
        ["sample", "--seconds", "inf"],
        ["sample", "--steps", "10000000"],
        ["sample", "--seed", "-1"],
        ["sample", "--seed", "99999999999999999999999"],
        ["evaluate", "--seed", "99999999999999999999999"],
        ["inspect", "--seed", "-1"],
    ],
)
def test_numbers_out_of_range(argv: list[str], run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(argv[0], run, *argv[1:]) == 2
    refused(capsys)


@pytest.mark.parametrize("model", MODELS)
def test_every_model_by_every_command(
    model: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = SMALL if model != "rnn" else SMALL[2:]
    out = tmp_path / "run"
    assert call("train", "--data", data, "--model", model, "--out", out, "--max-steps", 3, "--quiet", *small) == 0
    assert call("evaluate", out) == 0
    assert call("sample", out, "--num", 1, "--steps", 5) == 0
    assert call("sample", out, "--num", 1, "--steps", 9, "--prime-index", 0, "--prime-steps", 3) == 0
    capsys.readouterr()
    assert call("inspect", out, "--particles", 2, "--export", tmp_path / "p.nc") == 0
    shown = capsys.readouterr().out
    assert ("no latent variables" in shown, "z_1 " in shown) == (model == "rnn", model != "rnn")
    assert call("train", "--resume", out, "--max-steps", 5, "--quiet") == 0
    assert "bug" not in capsys.readouterr().err


def test_files_that_say_nonsense_in_extra(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for extra in (
        {"lowest_pitch": "x"},
        {"lowest_pitch": 120},
        {"quarters_per_minute": 0},
        {"lowest_pitch": [1]},
        {"columns": ["a"]},
        {"columns": [1] * 12},
        {"columns": "a"},
        {"columns": ["x" * 201, *"abcdefghijk"]},
        {"columns": ["a"] * 12},
        {"image": True},
        {"image": 1},
    ):
        path = write_small(tmp_path / "odd.h5", extra=extra)
        assert call("train", "--data", path, "--out", tmp_path / "r", *SMALL) == 3
        refused(capsys)


@pytest.mark.fault(41)
@pytest.mark.parametrize("name", ["../../evil", "{tmp}/evil", "-[bold]\n\x1b[31m" + "x" * 300])
def test_ids_of_data_stay_below_the_folder(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They come from a file that somebody else made, and become parts of the names of what is drawn."""
    name = name.replace("{tmp}", str(tmp_path))
    path = write_small(tmp_path / "small.h5")
    with h5py.File(path, "r+") as file:
        ids = [name, *(f"other-{i}" for i in range(6))]
        del file["test/ids"]
        file["test"].create_dataset("ids", data=np.array([i.encode() for i in ids]), chunks=(7,), fletcher32=True)
    run = tmp_path / "run"
    assert call("train", "--model", "vrae", "--data", path, "--out", run, "--max-steps", 1, "--quiet", *SMALL) == 0
    before = set(tmp_path.rglob("*"))
    out = tmp_path / "deep" / "out"
    capsys.readouterr()
    for argv in (
        ["sample", run, f"--prime-index={name}", "--num", 1, "--steps", 20],
        ["inspect", run, f"--sequence={name}"],
        ["reconstruct", run, f"--sequence={name}"],
        ["interpolate", run, 0, 1],
        ["encode", run],
    ):
        assert call(*argv, "--out", out / argv[0], "--quiet") == 0, capsys.readouterr().err
        assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())
        made = [p for p in (out / argv[0]).iterdir() if p.is_file()]
        assert made
        assert all(len(p.name.encode()) < 200 and p.name.isprintable() for p in made)
    outside = {p for p in set(tmp_path.rglob("*")) - before if out not in p.parents}
    assert outside == {out.parent, out}


def test_samples_do_not_overwrite_other_samples(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other beginnings and temperatures have other names; only the same request has the same."""
    for more in ([], ["--prime-index", 0, "--prime-steps", 2], ["--temperature", 0.5]):
        assert call("sample", run, "--num", 1, "--steps", 6, "--out", tmp_path, *more) == 0
    assert len(list(tmp_path.glob("*.mid"))) == 3
    prime = next(tmp_path.glob("sample-0-00.mid"))
    before = prime.read_bytes()
    assert call("sample", run, "--num", 1, "--steps", 9, "--prime", prime, "--prime-steps", 6, "--out", tmp_path) == 0
    assert prime.read_bytes() == before


@pytest.mark.fault(44)
def test_no_such_device(run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", run, "--device", "cuda:9") == 7
    refused(capsys)
    assert call("train", "--data", data, "--out", tmp_path / "r", "--device", "cuda:9", *SMALL) == 7
    refused(capsys)
    assert not (tmp_path / "r").exists()
    assert call("evaluate", run, "--device", "gpu") == 2
    refused(capsys)


def test_a_bug_is_called_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def breaks() -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(recipes, "names", breaks)
    assert call("recipes") == 1
    assert "ZeroDivisionError" in refused(capsys)
    with pytest.raises(ZeroDivisionError):
        call("recipes", "--debug")


def test_an_option_that_is_a_setting_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["train", "--alpha", "0.5"]) == 2
    assert "did you mean --set objective.alpha=VALUE? it has" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["train"], ["train", "--data"], ["evaluate"], ["report"], ["experiment"], ["prepare", "midi"]]
)
def test_names_that_are_too_long_are_no_bug(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run([*argv, "x" * 300]) in (2, 3, 4)
    err = capsys.readouterr().err
    assert "is a bug" not in err
    assert "error: " in err


@pytest.mark.fault(36)
def test_names_with_control_characters_stay_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("data", tmp_path / "a\nb\x1b[31m[bold]c.h5") == 3
    assert "a\\nb\\x1b[31m[bold]c.h5" in refused(capsys)


def shell(*argv: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pyro_vrnn", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


@pytest.mark.fault(36)
@pytest.mark.parametrize(("name", "shown"), [(b"\xff", r"\udcff"), (b"a\nb\x1b[31m[bold]", r"a\nb\x1b[31m[bold]")])
def test_names_are_shown_escaped(name: bytes, shown: str, tmp_path: Path) -> None:
    """Of what is read and written, on stdout, and of what is skipped, on stderr; whatever stdout can encode."""
    strict = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    path = write_small(tmp_path / os.fsdecode(name + b".h5"))
    found = shell("data", path, env=strict)
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines()[0].startswith(f"{tmp_path}/{shown}.h5: pianoroll")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / os.fsdecode(name + b".wav")).write_bytes(b"no sound")
    np.save(tmp_path / "in" / "good.npy", np.zeros(9, np.int16))
    done = shell("prepare", "convert", tmp_path / "in", "--out", tmp_path / os.fsdecode(name), env=strict)
    assert done.returncode == 0, done.stderr
    assert f"skipped {shown}.wav: not a sound file" in done.stderr.splitlines()
    assert done.stdout == f"{tmp_path}/{shown}/good.wav\n"


def test_version_and_no_arguments() -> None:
    assert shell("--version").stdout == f"pyro-vrnn {__version__}\n"
    nothing = shell()
    assert nothing.returncode == 2
    assert "train" in nothing.stdout + nothing.stderr


def test_help_is_fast_and_does_not_import_torch() -> None:
    """Nothing that calculates; 0.2 s, of which Typer's own import is more than half."""
    heavy = {"torch", "pyro", "numpy", "h5py", "soundfile", "matplotlib"}
    code = f"""if True:
        import sys
        from pyro_vrnn.cli import _run
        _run(['train', '--help'])
        sys.exit(str({heavy} & {{*sys.modules}}))"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr == "set()\n"

    def seconds(*command: str) -> float:
        """Of CPU: other work on the machine does not count."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert subprocess.run([sys.executable, *command], capture_output=True).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    pairs = [
        (seconds("-m", "pyro_vrnn", "train", "--help"), seconds("-c", "import typer, rich.console")) for _ in range(4)
    ]
    ours, typers = map(min, zip(*pairs, strict=True))
    assert ours < 1  # seconds, of any machine
    assert ours < 3 * typers  # 1.8 times; of what the machine does with a known thing, and not of a number of seconds


def test_cli_py_is_the_same_program() -> None:
    here = Path(__file__).resolve().parents[2]
    found = subprocess.run([sys.executable, here / "cli.py", "--version"], capture_output=True, text=True)
    assert found.stdout == f"pyro-vrnn {__version__}\n"


@pytest.mark.fault(11)
def test_a_reader_that_leaves_is_no_traceback() -> None:
    found = subprocess.run(
        f"{sys.executable} -m pyro_vrnn config | head -1", shell=True, capture_output=True, text=True, env=os.environ
    )
    assert found.stderr == ""


@pytest.mark.parametrize("name", FIRST_RECIPES)
def test_every_first_recipe_trains(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_like(tmp_path / "data.h5", resolve(name).config.model.likelihood)
    argv = ["train", name, "--data", data, "--out", tmp_path / "run", "--max-steps", 2, "--json", "--device", "cpu"]
    assert call(*argv) == 0
    assert answer(capsys)["steps"] == 2


@pytest.mark.fault(7)
def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        soundfile.write(tmp_path / f"{i}.wav", np.random.default_rng(i).normal(size=4000) / 10, 16000)
    real = Decoder.read

    def read(self: Decoder, recording: Recording, tally: Tally) -> Any:
        if recording.name == "2.wav":
            raise KeyboardInterrupt
        return real(self, recording, tally)

    argv = ["prepare", "audio", tmp_path, "--out", tmp_path / "d.h5", "--seconds", 0]
    with monkeypatch.context() as patched:
        patched.setattr(Decoder, "read", read)
        assert call(*argv) == 130
    assert "samples are kept in" in capsys.readouterr().err
    assert call(*argv) == 0
    assert not list(tmp_path.glob(".d.h5.*"))


def test_a_data_set_goes_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a folder of raw files has the same one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_small(tmp_path / "data" / "songs.h5")
    (tmp_path / "songs").mkdir()
    assert catalogue.find("songs") == catalogue.find("songs.h5") == Path("data/songs.h5")
    with pytest.raises(DataError, match=r"(?m)nothing.h5: no such data file, and no data/nothing.h5$"):
        catalogue.find("nothing.h5")


def test_dry_run_refuses_what_train_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    audio = write_audio(tmp_path / "a.h5")
    for more in ([], ["--dry-run"]):
        assert call("train", "jsb-vrnn", "--data", audio, "--out", tmp_path / "r", *more) == 2
        assert "is for binary data" in capsys.readouterr().err


def test_recipes_say_how_their_data_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recipes", "-v") == 0
    assert capsys.readouterr().out.count("Data: pyro-vrnn prepare") == len(recipes.names())


def test_recipes_are_shown_by_group_and_small_ones_beside_theirs(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("recipes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.endswith(":")] == [f"{what}:" for what in recipes.GROUPS.values()]
    shown = [line.split()[0] for line in lines if line.startswith("  ")]
    assert shown == [name for names in recipes.groups().values() for name in names if not name.endswith(recipes.SMALL)]
    (row,) = (line for line in lines if line.startswith("  vrnn-gauss-timit "))
    assert row.endswith(" [-small]")
    assert call("recipes", "--json") == 0
    assert answer(capsys)["groups"]["fivo"][0] == "fivo-jsb"


def test_config_shows_each_network_and_its_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("config", "vrnn-gauss-timit", "-v", "--set", "model.network_dims.prior=7") == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "= [7]" in " ".join(rows["model.network_dims.prior"].split())
    assert "(--set)" in rows["model.network_dims.prior"]
    assert "(recipe vrnn-gauss-blizzard)" in rows["model.network_dims.phi_x"]
    assert "(recipe vrnn-gauss-timit)" in rows["model.hidden_dim"]
    assert "by network" in rows["model.network_dims.phi_x"]


def test_names_of_columns_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{i},{t},0.5\n" for i in range(10) for t in range(3))
    (tmp_path / "a.csv").write_text("sequence,speed,heat\x1b[31m\n" + rows)
    assert call("prepare", "vectors", tmp_path / "a.csv", "--out", tmp_path / "a.h5") == 0
    assert "columns: speed, heat\\x1b[31m\n" in capsys.readouterr().out


def test_a_run_is_a_recipe_and_names_are_explained(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("config", run, "-v", "--json") == 0
    found = answer(capsys)
    assert found["config"]["data"] == tomllib.loads((run / "config.toml").read_text())["data"]
    assert found["meanings"]["model.name"].startswith("Variational RNN")
    assert found["meanings"]["training.patience"].endswith("0 never stops early.")
    assert call("config", "nonsense") == 2
    assert "of a TOML file or of a run" in capsys.readouterr().err


def test_more_draws_than_can_be(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("sample", run, "--num", 10**20) == 2
    assert "at most 10000" in capsys.readouterr().err


def test_names_of_the_package_are_listed() -> None:
    import pyro_vrnn as pv

    assert {"train", "load", "Run"} <= set(dir(pv))
