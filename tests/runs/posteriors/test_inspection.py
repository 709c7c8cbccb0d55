from __future__ import annotations

import json
import math
import re
import shlex
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn import cli
from pyro_vrnn.data.dataset import collate
from pyro_vrnn.programs import Stacked, terms
from pyro_vrnn.runs.posteriors import inspection
from pyro_vrnn.system.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pv.Run:
    folder = tmp_path_factory.mktemp("inspection")
    data = write_small(folder / "small.h5")
    settings = {"model.latent_dim": 3, "model.hidden_dim": 8, "model.network_dims": [8]}
    return pv.train(data=data, out=folder / "run", max_steps=40, device="cpu", lr=1e-2, settings=settings)


@pytest.mark.parametrize("particles", [1, 3])
def test_the_report_adds_up(run: pv.Run, tmp_path: Path, particles: int) -> None:
    """Its sites, sums and bound are those of the stacked program's evaluation on the same draws."""
    found = inspection.inspect(run, sequence="1", particles=particles, seed=5, out=tmp_path)
    dataset = run.data()
    steps = int(dataset.lengths[1])
    assert found["sequence"] == "test-1"
    assert found["steps"] == steps == len(found["kl_by_step"])
    assert [s["name"] for s in found["sites"]] == [f"{v}_{t}" for t in range(1, steps + 1) for v in "zx"]
    torch.manual_seed(5)
    with torch.no_grad():
        pair = Stacked(run.net)
        expected = terms(pair.model, pair.guide, collate(dataset, [1]), particles)
    log_weights = expected.log_weights[:, 0]
    assert found["bound"] == pytest.approx(float(torch.logsumexp(log_weights, 0)) - math.log(particles), rel=1e-5)
    assert sum(found["kl_by_step"]) == pytest.approx(float(expected.kl.mean()), rel=1e-4)
    assert sum(found["kl_by_unit"]) * steps == pytest.approx(sum(found["kl_by_step"]), rel=1e-5)
    latent = [s for s in found["sites"] if s["kind"] == "latent"]
    observed = [s for s in found["sites"] if s["kind"] == "observed"]
    assert [s["kl"] for s in latent] == found["kl_by_step"]
    assert -sum(s["log_prob_p"] for s in observed) == pytest.approx(float(expected.nll.mean()), rel=1e-5)
    total = sum(s["log_prob_p"] for s in found["sites"]) - sum(s["log_prob_q"] for s in latent)
    assert total == pytest.approx(float(log_weights.mean()), rel=1e-5)
    assert found["active_units"] == sum(v > 0.01 for v in found["kl_by_unit"])
    assert len(found["files"]) == 3
    assert all(Path(f).read_bytes().startswith(b"\x89PNG") for f in found["files"])


def test_one_z_of_a_whole_sequence_is_shown_once(
    run: pv.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"model.latent_dim": 3, "model.hidden_dim": 8}
    data = run.config.data.path
    vrae = pv.train(data=data, model="vrae", out=tmp_path / "r", max_steps=2, device="cpu", settings=settings)
    for folder, shown in ((vrae.folder, {"z_1"}), (run.folder, {"z_1", "z_2", "z_3"})):
        assert cli._run(["inspect", str(folder), "--sequence", "1", "--out", str(tmp_path), "--verbose"]) == 0
        first = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
        assert {name for name in first if name in ("z_1", "z_2", "z_3")} == shown
        assert {"x_1", "x_2", "x_3"} <= first
    found = vrae.inspect(sequence="1", out=tmp_path)
    assert sum(found["kl_by_unit"]) == pytest.approx(sum(found["kl_by_step"]), rel=1e-5)


def test_the_trace_is_pyros(run: pv.Run) -> None:
    x = run.data()[0]
    trace = run.posterior(x)
    assert trace.nodes["z_1"]["value"].shape == (1, 3)
    assert trace.nodes["x_1"]["is_observed"]
    assert torch.isfinite(trace.log_prob_sum())


def test_several_sequences_get_a_line_each(run: pv.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["inspect", str(run.folder), "--sequence", "1:3", "--particles", "3"]
    assert cli._run([*argv, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"schema", "split", "particles", "sequences", "files"}
    assert [row["index"] for row in found["sequences"]] == [1, 2]
    assert [row["seed"] for row in found["sequences"]] == [1, 2]
    assert {row["pareto_k"] for row in found["sequences"]} == {None}
    assert cli._run(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["sequence", "steps", "bound", "KL", "active", "ESS", "k-hat"]
    row = found["sequences"][1]
    assert lines[2].split() == [
        "test-2", str(row["steps"]), f"{row['bound']:.3f}", f"{row['kl']:.3f}", str(row["active_units"]),
        f"{row['ess']:.1f}", "-",
    ]  # fmt: skip
    assert lines[3] == "2 of 2: k-hat needs 25 particles or more"


def test_one_sequence_says_how_its_draws_weigh(run: pv.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._run(["inspect", str(run.folder), "--particles", "3", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^effective sample size [123]\.\d of 3\nk-hat needs 25 particles or more$", shown, re.MULTILINE)


def test_the_page_runs(
    run: pv.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its commands and its Python, on a small run in the place of runs/bach."""
    for package in ("xarray", "h5netcdf"):
        pytest.importorskip(package)
    page = (Path(__file__).parents[3] / "docs" / "posteriors.md").read_text("utf-8")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "bach").symlink_to(run.folder)
    (commands,) = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    for line in re.findall(r"^\$ pyro-vrnn (.*)$", commands, re.MULTILINE):
        assert cli._run(shlex.split(line)) == 0, line
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of ArviZ, about its next version
        warnings.simplefilter("ignore", UserWarning)  # about k-hats of a model that has learned little
        pytest.importorskip("arviz")
        exec(compile(code, "posteriors.md", "exec"), names)
    steps = run.data().lengths
    assert names["by_step"]["x"].shape == (1, 100, 6, int(steps[:6].max()))
    assert names["mean_z"].shape == (int(steps[0]), 3)
    assert names["found"].n_data_points == int(steps[:6].sum())
    assert names["kl_by_unit"].shape == (3,)
    names["tree"].close()
    names["one"].close()


@pytest.mark.parametrize(
    "x", [np.zeros((3, 4)), np.zeros((0, 11)), np.full((3, 11), np.nan), np.full((3, 11), 0.5), np.zeros(11)]
)
def test_sequences_it_cannot_score(run: pv.Run, x: np.ndarray) -> None:
    with pytest.raises(DataError):
        run.posterior(x)


def test_impossible_requests(run: pv.Run, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="particles"):
        run.posterior(run.data()[0], particles=0)
    with pytest.raises(ConfigError, match="no sequence"):
        inspection.inspect(run, sequence="99", out=tmp_path)
    with pytest.raises(ConfigError, match="choose from"):
        inspection.inspect(run, split="dev", out=tmp_path)
