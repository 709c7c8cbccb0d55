"""What cannot be trained is refused before it begins: by `train`, `train --dry-run` and `config`, in the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small import write_audio, write_small

from pyro_vrnn import cli
from pyro_vrnn.config import resolve
from pyro_vrnn.data.format import format_of
from pyro_vrnn.data.schema import read_info
from pyro_vrnn.runs.plan import build_net, plan
from pyro_vrnn.system.errors import ConfigError, DataError
from pyro_vrnn.training.parallel import Ranks

REFUSED = {
    "vrae-carry": ("rolls", ["model.name=vrae", "data.window=8", "data.carry=true"], "one z per sequence"),
    "dmm-noise": ("rolls", ["model.name=dmm", "training.input_noise=0.1"], "nothing is fed back"),
    "dmm-scheduled": ("rolls", ["model.name=dmm", "training.scheduled_sampling=0.1"], "nothing is fed back"),
    "dither-rolls": ("rolls", ["data.dither=true"], "is pianoroll"),
    "transpose-tones": ("tones", ["data.transpose=true"], "not notes a semitone apart"),
    "dither-quantised": ("tones", ["model.likelihood=logistic-mixture", "data.dither=true"], "a probability already"),
    "noise-bits": ("rolls", ["training.input_noise=1.5"], "a probability"),
    "fivo-carry": ("rolls", ["objective.name=fivo", "data.window=8", "data.carry=true"], "particles are not carried"),
    "sixo-carry": ("rolls", ["objective.name=sixo", "data.window=8", "data.carry=true"], "particles are not carried"),
    "sixo-vrae": ("rolls", ["model.name=vrae", "objective.name=sixo"], "no z for every step"),
    "sixo-valid": ("rolls", ["training.valid_objective=sixo"], "has no twist"),
    "twist-elbo": (
        "rolls",
        ["objective.name=sixo", "objective.twist_only=true", "training.valid_objective=elbo"],
        "the same at every validation",
    ),
    "replay-carry": ("rolls", ["training.replay=hard", "data.window=8", "data.carry=true"], "the state before it"),
    "free-bits-vrae": ("rolls", ["model.name=vrae", "objective.free_bits=0.5"], "objective.free_bits"),
    "likelihood": ("tones", ["model.likelihood=bernoulli"], "is for binary data"),
    "window-1": ("rolls", ["data.window=4", "data.hop=5"], "left out"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("plan")
    return {"rolls": write_small(folder / "rolls.h5"), "tones": write_audio(folder / "tones.h5")}


def refusal(argv: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The error that a command ends with."""
    code = cli._run([*argv, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["error"]
    assert code == found["code"]
    return found


@pytest.mark.parametrize("name", REFUSED)
def test_all_commands_refuse_it_alike(
    name: str, data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, sets, says = REFUSED[name]
    asked = [part for s in [*sets, f"data.path={data[file]}"] for part in ("--set", s)]
    out = tmp_path / "run"
    trained = refusal(["train", *asked, "--out", str(out)], capsys)
    assert trained == refusal(["train", *asked, "--out", str(out), "--dry-run"], capsys)
    assert trained == refusal(["config", *asked], capsys)
    assert trained["code"] == 2
    assert says in trained["message"]
    assert not out.exists()


def test_a_plan_is_complete(data: dict[str, Path]) -> None:
    found = plan(resolve(sets=[f"data.path={data['rolls']}", "data.window=5", "data.hop=2"]).config)
    assert found.settings.format == format_of(read_info(data["rolls"]))
    assert found.settings.data.path == str(data["rolls"].resolve())
    assert found.parameters == sum(p.numel() for p in build_net(found.settings).parameters())
    assert max(found.train.lengths) <= 5 < max(found.valid.lengths)
    assert found.init_from is None


def test_several_processes(data: dict[str, Path]) -> None:
    ranks = Ranks(0, 2)
    for sets, says in [(["data.window=4", "data.carry=true"], "data.carry"), (["training.replay=recent"], "replay")]:
        settings = resolve(sets=[f"data.path={data['rolls']}", *sets]).config
        with pytest.raises(ConfigError, match=says):
            plan(settings, ranks=ranks)


def test_no_validation_split(tmp_path: Path) -> None:
    from pyro_vrnn.data.writer import write_sequences

    path = tmp_path / "d.h5"
    from small import make_rolls

    splits = {"train": make_rolls(3, 0), "valid": [], "test": []}
    ids = {name: [f"{name}-{i}" for i in range(len(rolls))] for name, rolls in splits.items()}
    write_sequences(
        path,
        splits,
        ids=ids,
        kind="pianoroll",
        support="binary",
        steps_per_second=2.0,
        source="made by a test",
        licence="none",
        extra={"lowest_pitch": 40},
    )
    with pytest.raises(DataError, match="no validation"):
        plan(resolve(sets=[f"data.path={path}"]).config)


def trained(data: Path, out: Path, *asked: str) -> int:
    """The exit code of a training of two updates, or of its dry run."""
    return cli._run(["train", "--data", str(data), "--out", str(out), "--max-steps", "2", *asked])


def test_a_dry_run_refuses_what_the_run_folder_refuses(
    data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other settings than the run's there, a run to continue that is none, --out beside --resume; processes."""
    run, rolls = tmp_path / "run", str(data["rolls"])
    small = ["--set", "model.hidden_dim=8", "--set", "model.latent_dim=4"]
    assert trained(data["rolls"], run, *small) == 0
    before = sorted((p.name, p.stat().st_mtime_ns) for p in run.rglob("*"))
    capsys.readouterr()
    for asked, code in (
        (["--data", rolls, *small, "--out", str(run), "--batch-size", "3"], 4),
        (["--data", rolls, *small, "--resume", str(tmp_path / "nowhere")], 4),
        (["--data", rolls, *small, "--resume", str(run), "--out", str(tmp_path / "other")], 2),
        (["--data", rolls, *small, "--out", str(run), "--resume", "never"], 2),
        (["--data", str(data["tones"]), "--likelihood", "gaussian", "--init-from", str(run)], 4),
    ):
        found = refusal(["train", *asked, "--dry-run"], capsys)
        assert found == refusal(["train", *asked], capsys)
        assert found["code"] == code
    assert cli._run(["train", "--data", rolls, *small, "--out", str(run), "--max-steps", "4", "--dry-run"]) == 0
    assert before == sorted((p.name, p.stat().st_mtime_ns) for p in run.rglob("*"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    capsys.readouterr()
    carried = ["--set", "data.window=8", "--set", "data.carry=true"]
    found = refusal(["train", "--data", rolls, "--out", str(tmp_path / "x"), *carried, "--dry-run"], capsys)
    assert "several processes" in found["message"]


def test_weights_to_start_from_are_looked_at_before(
    data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another width, or damaged: refused by the plan, and so by all commands."""
    from small import write_small

    run, small = tmp_path / "run", ["--set", "model.hidden_dim=8", "--set", "model.latent_dim=4"]
    assert trained(data["rolls"], run, *small) == 0
    other = write_small(tmp_path / "other.h5", x_dim=4)
    capsys.readouterr()
    asked = ["train", "--data", str(other), *small, "--init-from", str(run)]
    found = refusal([*asked, "--dry-run"], capsys)
    assert found == refusal(asked, capsys)
    assert found["code"] == 4
    [weights] = run.glob("checkpoints/step-00000002/model.safetensors")
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    asked[2] = str(data["rolls"])
    assert refusal([*asked, "--dry-run"], capsys)["code"] == 4


def test_what_is_best_is_told_by_the_bound_that_was_validated(
    data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["--set", "training.valid_objective=iwae", "--set", "training.valid_particles=7"]
    assert trained(data["rolls"], tmp_path / "run", *asked) == 0
    assert "nats per step (iwae, K=7)" in capsys.readouterr().out


def test_config_tells_what_it_leaves_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["config", "jsb-vrae", "--set", "model.name=vrnn"]) == 0
    assert "note: model.reverse_input" in capsys.readouterr().err
