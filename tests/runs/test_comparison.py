"""Runs side by side: what differs, seeds as one group, bounds over three axes."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn import cli, runs
from pyro_vrnn.media import curves
from pyro_vrnn.runs.comparison import compare
from pyro_vrnn.system.errors import CheckpointError, ConfigError

SMALL = {
    "model.latent_dim": 3,
    "model.hidden_dim": 8,
    "model.network_dims": [8],
    "data.batch_size": 5,
    "training.log_every": 1,
    "training.valid_objective": "iwae",
    "training.valid_particles": 4,
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    data = write_small(folder / "small.h5")
    found = []
    for objective, particles in (("elbo", 1), ("iwae", 3)):
        for seed in (0, 1):
            name = f"{objective}-{seed}"
            pv.train(
                "jsb-vrnn",
                data=data,
                out=folder / name,
                epochs=6,
                objective=objective,
                particles=particles,
                seed=seed,
                settings=SMALL | {"training.validate_every": 2},
            )
            found.append(folder / name)
    return found


def test_groups_differences_and_the_figure(trained: list[Path], tmp_path: Path) -> None:
    found = compare(trained, tmp_path)
    assert found["comparable"]
    assert {"objective.name", "objective.particles", "training.seed"} <= found["differs"].keys()
    assert found["differs"]["objective.name"] == ["elbo", "elbo", "iwae", "iwae"]
    assert "model.latent_dim" not in found["differs"]
    assert [group["runs"] for group in found["groups"]] == [2, 2]
    best = [run["best"]["valid_nll_per_step"] for run in found["runs"]]
    group = found["groups"][0]
    assert group["valid_nll_per_step"] == pytest.approx((best[0] + best[1]) / 2)
    assert group["deviation"] == pytest.approx(abs(best[0] - best[1]) / 2**0.5)
    assert {run["bound"] for run in found["runs"]} == {"iwae, K=4"}
    assert all(run["sequences"] == 6 * 24 for run in found["runs"])
    assert (tmp_path / "comparison.png").read_bytes()[:4] == b"\x89PNG"


def test_the_common_bound_is_what_evaluate_says(trained: list[Path]) -> None:
    run = runs.load(trained[0])
    rows = [r for r in runs.read_metrics(trained[0]) if "valid_nll_per_step" in r]
    best = min(r["valid_nll_per_step"] for r in rows)
    assert run.evaluate("valid", "iwae", 4, seed=0).nll_per_step == pytest.approx(best, rel=1e-5)


def test_other_data_has_panels_of_its_own(
    trained: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what the data are like is one word, however much of it differs."""
    drawn: list[Figure] = []
    monkeypatch.setattr(curves, "save", lambda figure, path: drawn.append(figure))
    other = write_small(tmp_path / "other.h5", x_dim=7, extra={"pitches": [50, 52, 53, 55, 57, 59, 60]})
    more = pv.train("jsb-vrnn", data=other, out=tmp_path / "more", epochs=2, settings=SMALL)
    folders = [*trained[:2], more.folder]
    assert cli._run(["compare", *map(str, folders), "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "format." not in shown
    assert ["format", "small", "small", "other"] in [line.split() for line in shown.splitlines()]
    assert "not the same data" in shown
    (figure,) = drawn
    assert len(figure.axes) == 6
    assert [len(panel.get_lines()) for panel in figure.axes] == [1] * 6
    assert {panel.get_title(loc="left") for panel in figure.axes} == {"small", "other", ""}
    compare(trained, tmp_path)
    assert [len(panel.get_lines()) for panel in drawn[1].axes] == [2] * 3
    compare(trained[1:], tmp_path)  # a run on its own is called by its folder too
    labels = [text.get_text() for text in drawn[2].legends[0].get_texts()]
    assert labels == ["elbo-1: elbo, K=1", "iwae, K=3 (2 runs)"]


def test_what_cannot_be_compared(trained: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two runs"):
        compare(trained[:1], tmp_path)
    with pytest.raises(ConfigError, match="given twice"):
        compare([trained[0], trained[1], trained[0]], tmp_path)
    with pytest.raises(ConfigError, match="own particles"):
        pv.train("jsb-vrnn", settings={"training.valid_particles": 3})
    with pytest.raises(ConfigError, match="valid_objective"):
        pv.train("jsb-vrnn", settings={"training.valid_objective": "nonsense"})


def test_seeds_alone_are_one_group(trained: list[Path], tmp_path: Path) -> None:
    found = compare(trained[:2], tmp_path)
    (group,) = found["groups"]
    assert group["runs"] == 2
    assert group["group"] == "vrnn"
    assert group["seeds"] == 2
    again = tmp_path / "again"
    shutil.copytree(trained[0], again)
    (group,) = compare([trained[0], again], tmp_path)["groups"]
    assert (group["runs"], group["seeds"]) == (2, 1)


def test_a_bound_is_told_by_all_that_makes_it_one() -> None:
    from pyro_vrnn.config import resolve
    from pyro_vrnn.runs.comparison import Compared

    def bound(*sets: str) -> str:
        return Compared(Path(), resolve("jsb-vrnn", sets=sets).config, {}, [], {}).bound

    assert bound("training.valid_objective=iwae") == bound(
        "training.valid_objective=iwae", "training.valid_particles=5"
    )
    renyi = [bound("objective.name=renyi", "objective.particles=3", f"objective.alpha={a}") for a in (0.3, 0.5)]
    assert renyi[0] != renyi[1]


def test_where_the_weights_came_from_is_told(trained: list[Path], tmp_path: Path) -> None:
    data = trained[0].parent / "small.h5"
    on = pv.train("jsb-vrnn", data=data, out=tmp_path / "on", epochs=1, init_from=trained[0], settings=SMALL)
    found = compare([trained[0], on.folder], tmp_path)
    assert found["differs"]["init_from"][0] is None
    assert trained[0].name in found["differs"]["init_from"][1]
    assert "weights from" in (on.folder / "log.txt").read_text()
    wider = SMALL | {"model.hidden_dim": 9}
    with pytest.raises(CheckpointError, match=r"model\.hidden_dim: 8 there, 9 here"):
        pv.train("jsb-vrnn", data=data, out=tmp_path / "no", init_from=trained[0], settings=wider)
    assert not (tmp_path / "no").exists()


def test_repeating_a_finished_command_changes_nothing(trained: list[Path], tmp_path: Path) -> None:
    data = trained[0].parent / "small.h5"
    results = []
    for _ in range(2):
        results.append(pv.train("jsb-vrnn", data=data, out=tmp_path / "a", max_steps=3, settings=SMALL).result)
        rows = (tmp_path / "a" / "metrics.jsonl").read_text()
        assert "valid_nll_per_step" in rows
        assert len(rows.splitlines()) == 4
    first, second = results
    assert first is not None
    assert second is not None
    assert (second.best_step, second.best_nll) == (first.best_step, first.best_nll)
    assert first.best_step == 3  # the look at its stop, which resuming continues without
