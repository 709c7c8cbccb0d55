"""Runs with a twist: begun from a run without one, resumed, averaged, evaluated; and runs that have none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from fits import fit, losses, weights
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn import cli, runs
from pyro_vrnn.experiments.parsing import parse
from pyro_vrnn.experiments.tasks import planned
from pyro_vrnn.programs.twist import is_twist, size, sizes, twist_of
from pyro_vrnn.system.errors import CheckpointError, ConfigError

TWIST = {"objective": "sixo", "particles": 3}
ONLY = {"objective.twist_only": True, "objective.twist_dim": 7, "model.name": "dmm"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("twisted") / "small.h5")


@pytest.fixture(scope="module")
def plain(data: Path, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """A DMM by the ELBO."""
    return fit(data, tmp_path_factory.mktemp("plain") / "run", model="dmm", max_steps=5)


def test_the_twist_alone_learns_and_resumes_to_the_last_bit(data: Path, plain: runs.Run, tmp_path: Path) -> None:
    """Model and guide stay as they were, whatever weight decay and averages would do to them."""
    settings = ONLY | {"training.average": 0.9, "training.weight_decay": 0.5}
    start = {**TWIST, "settings": settings}
    fit(data, tmp_path / "whole", init_from=plain.folder, max_steps=9, **start)
    fit(data, tmp_path / "parts", init_from=plain.folder, max_steps=4, **start)
    run = fit(data, tmp_path / "parts", max_steps=9, **start)
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())
    assert losses(tmp_path / "whole") == losses(tmp_path / "parts")
    before = plain.net.state_dict()
    for key, value in run.net.state_dict().items():
        assert is_twist(key) or torch.equal(value, before[key]), key
    twist = twist_of(run.net)
    assert twist is not None
    own, its = sizes(run.net)  # a twist is not counted as the model's
    assert (own, its) == (sizes(plain.net)[0], sum(p.numel() for p in twist.parameters()))
    assert size(plain.net) == f"{own:,} parameters"
    assert f"dmm by sixo on small.h5: {own:,} parameters, and {its:,} of the twist" in (
        tmp_path / "whole" / "log.txt"
    ).read_text("utf-8")
    assert float(twist.log_r.weight.detach().abs().max()) > 0
    rows = [row for row in losses(tmp_path / "whole") if "loss" in row]
    assert rows[0]["loss"] == pytest.approx(1.3863, abs=1e-3)  # 2 log 2: it cannot tell futures apart yet
    assert rows[0]["kl"] > 0  # of the bound, as is the NLL
    assert rows[0]["nll"] + rows[0]["kl"] == pytest.approx(plain.evaluate("train", "fivo", 3).nll_per_step, rel=0.2)


def test_it_begins_as_fivo_and_is_evaluated_by_both(data: Path, plain: runs.Run, tmp_path: Path) -> None:
    """The first loss of a run from a run without a twist is fivo's; and with the learned one both are bounds of it."""
    more = {"init_from": plain.folder, "model": "dmm", "particles": 3}
    sixo = fit(data, tmp_path / "sixo", objective="sixo", max_steps=20, lr=1e-2, **more)
    fit(data, tmp_path / "fivo", objective="fivo", max_steps=2, **more)
    (a, *_), (b, *_) = (losses(tmp_path / name) for name in ("sixo", "fivo"))
    assert (a["loss"], a["nll"], a["kl"]) == (b["loss"], b["nll"], b["kl"])
    by = {name: sixo.evaluate("test", name, 8, repeats=3).nll_per_step for name in ("sixo", "fivo", "elbo")}
    assert by["sixo"] != by["fivo"]
    assert by["sixo"] == pytest.approx(by["fivo"], rel=0.05)
    again = pv.load(sixo.folder)
    assert again.evaluate("test", "sixo", 8).nll_per_step == sixo.evaluate("test", "sixo", 8).nll_per_step


def test_weights_go_from_run_to_run_with_a_twist_and_without(data: Path, plain: runs.Run, tmp_path: Path) -> None:
    settings = {"objective.twist_dim": 7}
    one = fit(data, tmp_path / "a", init_from=plain.folder, model="dmm", max_steps=3, settings=settings, **TWIST)
    two = fit(
        data, tmp_path / "b", init_from=one.folder, model="dmm", max_steps=1, lr=1e-12, settings=settings, **TWIST
    )
    for key, value in two.net.state_dict().items():
        torch.testing.assert_close(value, one.net.state_dict()[key], rtol=0, atol=1e-9)
    back = fit(data, tmp_path / "c", init_from=one.folder, model="dmm", max_steps=1, objective="elbo")
    assert twist_of(back.net) is None
    with pytest.raises(CheckpointError, match="twist"):
        fit(data, tmp_path / "d", init_from=one.folder, model="dmm", settings={"objective.twist_dim": 9}, **TWIST)
    assert not (tmp_path / "d").exists()


def test_a_run_without_a_twist_is_not_evaluated_by_one(
    plain: runs.Run, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._run(["evaluate", str(plain.folder), "--objective", "sixo", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert "has no twist" in error["message"]
    with pytest.raises(ConfigError, match="no twist"):  # nor validated
        fit(data, plain.folder.parent / "valid", settings={"training.valid_objective": "sixo"})


def test_training_by_it_with_validation_by_another_bound(data: Path, tmp_path: Path) -> None:
    fit(data, tmp_path / "a", max_steps=2, settings={"training.valid_objective": "iwae"}, **TWIST)
    with pytest.raises(ConfigError, match="particles are not carried"):
        fit(data, tmp_path / "b", settings={"data.window": 4, "data.carry": True}, **TWIST)
    with pytest.raises(ConfigError, match="no KL weight"):
        fit(data, tmp_path / "b", settings={"objective.kl_steps": 9}, **TWIST)
    for model, says in (("vrae", "no z for every step"), ("rnn", "no latent variables")):
        with pytest.raises(ConfigError, match=says):
            fit(data, tmp_path / "b", model=model, **TWIST)


def test_a_twist_alone_needs_a_model_that_is_trained(
    data: Path, plain: runs.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["train", "--data", str(data), "--out", str(tmp_path / "a"), "--objective", "sixo", "--particles", "3"]
    asked += [
        "--max-steps",
        "1",
        "--set",
        "objective.twist_only=true",
        "--set",
        "objective.twist_dim=7",
        "--device",
        "cpu",
        "--json",
    ]
    for more in ([], ["--dry-run"]):
        assert cli._run([*asked, *more]) == 2
        assert "without --init-from they are random" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not (tmp_path / "a").exists()
    assert cli._run([*asked[:-1], "--dry-run", "--init-from", str(plain.folder)]) == 0
    text = {"experiment": {"title": "A", "updates": 2, "seeds": [0]}, "settings": {"data.path": str(data)}}
    first = {"name": "plain", "settings": {"model.name": "dmm"}}
    learned = {"model.name": "dmm", "objective.name": "sixo", "objective.twist_only": True}
    twist = {"name": "twist", "settings": learned}
    with pytest.raises(ConfigError, match=r"arm 'twist': .* they are random"):
        planned(parse({**text, "arm": [first, twist]}, "name"))
    assert len(planned(parse({**text, "arm": [first, {**twist, "init_from": "plain"}]}, "name"))) == 2
