"""What an experiment tells beside its numbers: why some are missing, what was left out, how it continues."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import grids
import pytest

from pyro_vrnn import cli
from pyro_vrnn.experiments import costs, figures, page, summary
from pyro_vrnn.experiments.costs import Cost
from pyro_vrnn.experiments.parsing import read
from pyro_vrnn.experiments.runner import Runner
from pyro_vrnn.system.errors import ConfigError

HEAD = grids.TEXT.replace("= 12", "= 5").partition("[[arm]]")[0]
ARMS = """
[[arm]]
name = "wild"
settings.training.learning_rate = 1e38

[[arm]]
name = "elbo"
recipe = "jsb-srnn-filtering"
settings.model.name = "vrnn"
"""
ONE = HEAD + '[[arm]]\nname = "only"\n'


def quickly(patch: pytest.MonkeyPatch) -> None:
    """Nothing is drawn, and nothing timed."""
    patch.setattr(figures, "draw", lambda *given: [])
    patch.setattr(costs, "measure", lambda arms, *given: [Cost(0.01, 1e-6) for _ in arms])


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quickly(monkeypatch)


def runner(file: Path, out: Path, **options: Any) -> Runner:
    return Runner(read(str(file), out=out, **options), device="cpu")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its reference fails; its other arm has no place for a setting of its recipe."""
    folder = tmp_path_factory.mktemp("told")
    with pytest.MonkeyPatch.context() as patch:
        quickly(patch)
        runner(grids.write(folder, HEAD + ARMS), folder / "out").run()
    return folder / "out"


@pytest.mark.parametrize(
    ("waiting", "says"),
    [
        ((), "measured, but with nothing to be compared with, as wild has failed: elbo"),
        (("wild",), "measured, while wild is not yet: elbo"),
        (("elbo",), "not measured yet: elbo"),
    ],
)
def test_why_an_arm_is_not_compared(made: Path, tmp_path: Path, waiting: tuple[str, ...], says: str) -> None:
    shutil.copytree(made, tmp_path / "out")
    found = json.loads((made / "results.json").read_text())
    for run in found["runs"]:
        if run["arm"] in waiting:
            run["status"] = "waiting"
    for arm in found["sections"][0]["arms"]:
        if arm["arm"] in waiting:
            arm["spread"] = dict.fromkeys(arm["spread"])
    (tmp_path / "out" / "results.json").write_text(json.dumps(found))
    text = page.write(tmp_path / "out").read_text()
    assert f"By test iwae K=4: {says}." in text


def test_settings_that_were_left_out_are_told_everywhere(made: Path) -> None:
    note = "arm 'elbo': model.posterior of recipe jsb-srnn-filtering left out: 'vrnn' has no such setting"
    assert note in json.loads((made / "results.json").read_text())["notes"]
    assert f"- {note}" in (made / "table.md").read_text().splitlines()
    assert note.replace("'", "&#39;") in page.write(made, made.parent / "page.html").read_text()


def test_the_table_and_the_curves_say_how_far_they_go(made: Path) -> None:
    words = "Each run counts to its end here; the curves are drawn as far as all seeds of an arm go."
    assert words in (made / "table.md").read_text()
    assert words in page.write(made, made.parent / "page.html").read_text()


@pytest.mark.parametrize("noise", [0.97, 1.0, 1.03])
def test_equal_time_of_arms_that_cost_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: float) -> None:
    """Both reach their only look, whichever was timed a little slower."""
    both = (
        HEAD.replace("[0, 1]", "[0]") + '[[arm]]\nname = "one"\n\n[[arm]]\nname = "two"\nsettings.model.dropout = 0.1\n'
    )
    monkeypatch.setattr(costs, "measure", lambda arms, *given: [Cost(0.01, 1e-6), Cost(0.01 * noise, 1e-6)])
    results = runner(grids.write(tmp_path, both), tmp_path / "out").run()
    (section,) = results["sections"]
    assert summary.TIMED in section["quantities"]
    assert [list(arm["values"][summary.TIMED]) for arm in section["arms"]] == [["0"], ["0"]]


def test_the_best_is_that_of_the_checkpoint_after_a_longer_length(tmp_path: Path) -> None:
    """The look at the end of the shorter one has no row any more."""
    file = grids.write(tmp_path, ONE.replace("[0, 1]", "[0]").replace("= 5", "= 7"))
    runner(file, tmp_path / "out").run()
    results = runner(file, tmp_path / "out", updates=8).run()
    (run,), (section,) = results["runs"], results["sections"]
    assert section["arms"][0]["values"]["valid"]["0"] == run["best"]["valid_nll_per_step"]


def test_a_restart_with_fewer_seeds_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """While updates are timed, and while its first run is trained."""
    file, out = grids.write(tmp_path, ONE), tmp_path / "out"
    runner(file, out).run()
    said: list[str] = []

    def told(*given: Any) -> Any:
        code = cli._run(["report", str(out)])
        said.append(f"{code} {capsys.readouterr().err}")
        return [Cost(0.01, 1e-6)]

    monkeypatch.setattr(costs, "measure", told)
    monkeypatch.setattr("pyro_vrnn.experiments.work.carry_out", lambda *given, **more: told() and done(*given, **more))
    from pyro_vrnn.experiments.work import failed

    def done(task: Any, **more: Any) -> Any:
        return failed(task, "it was so")

    runner(file, out, seeds=[2]).run()
    timing, training = said
    assert timing.startswith("2 ")
    assert f"{out}: no results yet" in timing
    assert training.startswith("0 ")
    assert not re.search("damaged", timing + training)


def test_ctrl_c_while_updates_are_timed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pressed(*given: Any) -> Any:
        raise KeyboardInterrupt

    file, out = grids.write(tmp_path, ONE), tmp_path / "an out"
    monkeypatch.setattr(costs, "measure", pressed)
    assert cli._run(["experiment", str(file), "--out", str(out), "--device", "cpu"]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"interrupted: 0 of 2 runs are done; pyro-vrnn experiment '{out}' continues"
    quickly(monkeypatch)
    assert read(str(out)).seeds == (0, 1)


def test_a_short_dry_run_is_told_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = grids.write(tmp_path, ONE)
    for update, says in ((0.01, "0.1 s"), (10.0, "100 s"), (300.0, "50 min"), (3000.0, "8.3 h")):
        monkeypatch.setattr(costs, "measure", lambda arms, *given, update=update: [Cost(update, 0.0)])
        assert cli._run(["experiment", str(file), "--out", str(tmp_path / "no"), "--dry-run", "--device", "cpu"]) == 0
        shown = capsys.readouterr().out
        assert f"2 of 2 runs to train, {says} in turn" in shown
        assert "hours" not in shown


LINKED = ("results.json", "experiment.toml", "runs", "runs/elbo", "runs/elbo/seed-0", "runs/elbo/seed-0/metrics.jsonl")


@pytest.mark.parametrize("name", [*LINKED, "runs/elbo/seed-0/config.toml"])
def test_links_in_a_folder_that_was_sent_are_not_followed(
    made: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(made, tmp_path / "sent"))
    (folder / name).rename(tmp_path / "secret")
    (folder / name).symlink_to(tmp_path / "secret")
    (tmp_path / "link").symlink_to(folder)  # the folder itself may be one
    for given in (folder, tmp_path / "link"):
        assert cli._run(["report", str(given), "--json", "--quiet"]) == 2
        assert f"{folder / name}: is a symbolic link" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert not (folder / "report.html").exists()
    if name != "results.json":
        with pytest.raises(ConfigError, match="is a symbolic link"):
            runner(folder, folder)
