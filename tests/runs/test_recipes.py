"""The recipes at the papers' settings: each is planned at its full size, and trained for two updates.

What is reduced for the updates: the widths (recurrent 6, latent 3, hidden layers 5), 3 components of a mixture, batches
of 2, pieces of 4 steps, frames of 20 samples, tiny data. Everything else is the recipe's own.
"""

from __future__ import annotations

import dataclasses
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from fits import FIRST_RECIPES
from small import SOUND, write_audio, write_like, write_small

import pyro_vrnn as pv
from pyro_vrnn.config import recipes, resolve
from pyro_vrnn.runs import plan as plans
from pyro_vrnn.system.errors import CheckpointError, DataError

PAPERS = [name for name in recipes.names() if name not in FIRST_RECIPES]
FULL = [name for name in PAPERS if not name.endswith(recipes.SMALL)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny data file for each likelihood, and audio and piano-rolls of the papers' widths."""
    folder = tmp_path_factory.mktemp("data")
    found = {
        "roll": write_small(folder / "roll.h5", train=6, longest=9),
        "sound": write_audio(folder / "sound.h5", counts=(4, 2, 1)),
        "strokes": write_like(folder / "strokes.h5", "bivariate-gmm-pen"),
        "symbols": write_like(folder / "symbols.h5", "categorical"),
        "full roll": write_small(folder / "full_roll.h5", train=6, x_dim=88),
        "full sound": write_audio(folder / "full_sound.h5", frame=200, counts=(2, 1, 1)),
    }
    return found | {f"full {kind}": found[kind] for kind in ("strokes", "symbols")}


def kind_of(name: str) -> str:
    likelihood = resolve(name).config.model.likelihood
    kinds = {"bivariate-gmm-pen": "strokes", "categorical": "symbols", "bernoulli": "roll"}
    return "sound" if likelihood in SOUND else kinds[likelihood]


def planned(name: str, data: Path, monkeypatch: pytest.MonkeyPatch) -> plans.Plan:
    """What `train --dry-run` makes, but for the weights' numbers: a net of 80 million takes a second."""
    real = plans.build_net

    def build_net(settings: Any) -> Any:
        with torch.device("meta"):
            return real(settings)

    monkeypatch.setattr(plans, "build_net", build_net)
    config = resolve(name, flags={"data.path": str(data)}).config
    return plans.plan(config)


@pytest.mark.parametrize("name", PAPERS)
def test_a_recipe_is_planned_at_its_full_size(
    name: str, files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = planned(name, files[f"full {kind_of(name)}"], monkeypatch)
    assert found.parameters > 1000
    assert found.settings.model.name == found.net.__class__.Config(name=found.settings.model.name).name


@pytest.mark.parametrize("name", FULL)
def test_a_recipe_trains_for_two_updates(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    config = resolve(name).config
    small: dict[str, Any] = {"model.hidden_dim": 6, "model.network_dims": [5], "data.batch_size": 2}
    small |= {"training.max_steps": 2, "training.log_every": 1}
    small |= {"model.latent_dim": 3} if config.model.latent else {}
    small |= {"model.components": 3} if config.model.components else {}
    small |= {"data.window": 4} if config.data.window else {}
    run = pv.train(name, data=files[kind_of(name)], out=tmp_path / "run", device="cpu", settings=small)
    assert run.result is not None
    assert run.result.steps == 2
    reduced = {"hidden_dim", "network_dims", "latent_dim", "components"}
    asked, trained = dataclasses.asdict(config.model), dataclasses.asdict(run.config.model)
    assert {k: v for k, v in asked.items() if k not in reduced} == {
        k: v for k, v in trained.items() if k not in reduced
    }


def test_widths_are_the_papers(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """VRNN on Blizzard, added up by hand; 20 components of 200 samples."""

    def mlp(*dims: int) -> int:
        return sum((a + 1) * b for a, b in pairwise(dims))

    z, h, x = 200, 4000, 200
    networks = mlp(x, *[600] * 4) + mlp(z, *[500] * 4) + mlp(600 + h, *[500] * 4, 2 * z) + mlp(h, *[500] * 4, 2 * z)
    lstm = 4 * h * (600 + 500 + h + 2)
    gauss = networks + lstm + mlp(500 + h, *[600] * 4, 2 * x)
    assert planned("vrnn-gauss-blizzard", files["full sound"], monkeypatch).parameters == gauss
    gmm = planned("vrnn-gmm-blizzard", files["full sound"], monkeypatch).net
    assert gmm.likelihood.components == 20
    assert sum(p.numel() for p in gmm.likelihood.parameters()) == mlp(500, 20 * (2 * x + 1))


def test_a_run_keeps_its_widths_by_network(files: dict[str, Path], tmp_path: Path) -> None:
    """In its config.toml, from which it is loaded and resumed; its weights fit no run of other widths."""
    widths = {"others": [5], "prior": [4, 3]}
    asked: dict[str, Any] = {"model.hidden_dim": 6, "model.latent_dim": 3, "model.network_dims": widths}
    asked |= {"model.learned_start": False, "data.batch_size": 2, "training.max_steps": 1}
    out, data = tmp_path / "run", files["roll"]
    pv.train("jsb-vrnn", data=data, out=out, device="cpu", settings=asked)
    run = pv.load(out)
    assert run.config.model.network_dims == {"others": (5,), "prior": (4, 3)}
    assert run.net.state_dict()["phi_prior.mlp.2.weight"].shape == (3, 4)
    more = pv.train("jsb-vrnn", data=data, out=out, device="cpu", settings=asked | {"training.max_steps": 2})
    assert more.result is not None
    assert more.result.steps == 2
    other = asked | {"model.network_dims": [5]}
    with pytest.raises(CheckpointError, match="network_dims"):
        pv.train("jsb-vrnn", data=data, out=tmp_path / "b", device="cpu", settings=other, init_from=out)


def test_schedules_are_the_papers() -> None:
    srnn, timit = resolve("srnn-blizzard").config, resolve("srnn-timit").config
    assert [srnn.objective.beta(n) for n in (0, 1, 8000)] == pytest.approx([0.2, 0.2001, 1.0])
    assert timit.objective.beta(1) - timit.objective.beta(0) == pytest.approx(0.0003, rel=1e-3)
    assert (timit.data.window, timit.data.carry, timit.model.learned_start) == (40, True, False)
    assert resolve("vrae-songs-2d").config.training.adam_betas == (0.95, 0.999)
    assert resolve("srnn-muse").config.training.adam_eps == 1e-4


def test_the_page_of_papers_has_them_all() -> None:
    """Each that is not small, and none that is not there."""
    page = (Path(__file__).parents[2] / "docs" / "papers.md").read_text(encoding="utf-8")
    first = [row.split("|")[1] for row in page.splitlines() if row.startswith("| `")]
    named = [name for cell in first for name in re.findall(r"`([\w-]+)`", cell)]
    assert len(named) == len(set(named))
    assert {*FULL, "srnn-jsb"} == set(named)


def test_missing_data_says_how_it_is_prepared(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as error:
        pv.train("rnn-gmm-timit")
    assert error.value.hint == "pyro-vrnn prepare timit TIMIT --split-by file --out data/timit.h5"
    with pytest.raises(DataError) as error:  # another file was named: its own affair
        pv.train("rnn-gmm-timit", data="mine.h5")
    assert "TIMIT" not in error.value.hint
