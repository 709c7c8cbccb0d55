"""An experiment's TOML: what it becomes, and what is refused, in which words."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from small import write_audio, write_like, write_small

from pyro_vrnn import cli
from pyro_vrnn.experiments import shipped
from pyro_vrnn.experiments.parsing import parse, read
from pyro_vrnn.experiments.plan import Experiment
from pyro_vrnn.experiments.tasks import epoch_pieces, planned
from pyro_vrnn.system.errors import ConfigError, DataError

TEXT = """
[experiment]
title = "Two bounds"
recipe = "jsb-vrnn"
seeds = [0, 3]
updates = 6
evaluate = [{ objective = "iwae", particles = 4 }, { objective = "elbo", split = "valid" }]

[settings]
model.latent_dim = 3
data.batch_size = 5

[grid]
"model.hidden_dim" = [8, 9]

[[arm]]
name = "elbo"
times = 2

[[arm]]
name = "iwae"
settings.objective = { name = "iwae", particles = 3 }
"""


def experiment(text: str = TEXT, **options: Any) -> Experiment:
    return parse(tomllib.loads(text), "name", **options)


def test_arms_are_their_settings_in_all_combinations() -> None:
    found = experiment()
    assert [arm.name for arm in found.arms] == [
        *("elbo-hidden_dim-8", "elbo-hidden_dim-9", "iwae-hidden_dim-8", "iwae-hidden_dim-9"),
    ]
    assert found.arms[3].settings == {
        "model.latent_dim": 3,
        "data.batch_size": 5,
        "model.hidden_dim": 9,
        "objective.name": "iwae",
        "objective.particles": 3,
    }
    assert [arm.times for arm in found.arms] == [2, 2, 1, 1]
    assert (found.seeds, found.reference, found.out) == ((0, 3), "elbo-hidden_dim-8", Path("runs/name"))
    assert [bound.title for bound in found.evaluate] == ["test iwae K=4", "valid elbo"]
    above = experiment(sets={"model.latent_dim": "2"})
    assert {arm.settings["model.latent_dim"] for arm in above.arms} == {"2"}


def test_its_written_form_is_the_same_experiment() -> None:
    found = experiment()
    again = parse(tomllib.loads(found.to_toml()), "name")
    assert again == found


def test_arms_come_after_what_they_start_from() -> None:
    text = '[[arm]]\nname="b"\ninit_from="a"\n[[arm]]\nname="c"\ninit_from="b"\n[[arm]]\nname="a"\n'
    assert [arm.name for arm in experiment(text).arms] == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[experimnt]\n", "experimnt: no such key; choose from experiment, settings, grid, arm"),
        ("[experiment]\nseed = [1]\n", "experiment.seed: no such key"),
        ("[experiment]\nseeds = [1, 1]\n", "expected different whole numbers"),
        ("[experiment]\nseeds = [1.5]\n", "expected a whole number"),
        ('[experiment]\nseeds = [1, "1"]\n', "expected different whole numbers"),
        ('[experiment]\nevaluate = [{objective = ["a"]}]\n', "experiment.evaluate.objective=['a']: expected a text"),
        ("[experiment]\nevaluate = [{split = {a = 1}}]\n", "experiment.evaluate.split={'a': 1}: expected a text"),
        ("[experiment]\nupdates = 3\nseconds = 2\n", "experiment has updates and seconds"),
        ("[experiment]\nupdates = 0\n", "experiment.updates=0: must be above 0"),
        ('[experiment]\nevaluate = [{objective = "iwea"}]\n', "objective 'iwea': choose from"),
        ('[experiment]\nevaluate = [{split = "tset"}]\n', "split 'tset': choose from"),
        ("[experiment]\nevaluate = [{k = 2}]\n", "experiment.evaluate.k: no such key"),
        ('[experiment]\nreference = "x"\n', "experiment.reference 'x': choose from name"),
        ("[settings]\ntraining.seed = 3\n", "arm 'name' sets training.seed"),
        ("[experiment]\nupdates = 4\n[settings]\ntraining.max_steps = 3\n", "arm 'name' sets training.max_steps"),
        ("[[arm]]\n", "arm 1.name='': must be a plain name"),
        ('[[arm]]\nname = "a/b"\n', "arm 1.name='a/b': must be a plain name"),
        ('[[arm]]\nname = "a"\n[[arm]]\nname = "a"\n', "two arms are named 'a'"),
        ('[[arm]]\nname = "a"\ninit_from = "b"\n', "init_from 'b': choose from a"),
        ('[[arm]]\nname = "a"\ninit_from = "a"\n', "init_from leads back to itself"),
        ('[[arm]]\nname = "a"\ntimes = 2\n', "times without a length"),
        ('[[arm]]\nname = "a"\n[arm.grid]\nmodel.cell = "gru"\n', "arm 1.grid: model.cell='gru': expected a list"),
        ('[[arm]]\nname = "a"\nsettings.a.b = 1\ngrid.a.b = [1]\n', "a.b is in its settings and in the grid"),
    ],
)
def test_mistakes_are_told(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as error:
        experiment(text)
    assert words in str(error.value)


def test_files_and_names(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    found = read(str(path), updates=3, seeds=[7], sets=["model.latent_dim=2"])
    assert found.name == "mine"
    assert found.length is not None
    assert (found.length.amount, found.seeds) == (3, (7,))
    with pytest.raises(ConfigError, match="experiment 'iwae-jbs': choose from") as error:
        read("iwae-jbs")
    assert "did you mean iwae-jsb?" in error.value.hint
    path.write_text("[experiment\n")
    with pytest.raises(ConfigError, match=r"mine\.toml: .*line 1"):
        read(str(path))
    with pytest.raises(ConfigError, match="expected KEY=VALUE"):
        read("iwae-jsb", sets=["model.latent_dim"])


@pytest.mark.parametrize("name", shipped.names())
def test_what_is_shipped_can_be_trained(name: str, tmp_path: Path) -> None:
    """With small networks on small data of its kind: the settings themselves are checked as `train` checks them."""
    first, second = shipped.text(name).splitlines()[:2]
    assert first.startswith("# ")
    assert first.endswith(".")
    assert second.startswith("# Data: pyro-vrnn prepare ")
    data = tmp_path / "data.h5"
    if "strokes" in second:
        write_like(data, "bivariate-gmm-pen")
    else:
        (write_audio if "audio" in second else write_small)(data)
    found = read(name, out=tmp_path / "out", updates=2, sets=[f"data.path={data}", "model.hidden_dim=8"])
    assert len(found.seeds) >= 3
    arms = planned(found)
    assert {task.config.training.max_steps for one in arms for task in one.tasks} <= {1, 2, 6}
    assert len({task.config.training.valid_objective for one in arms for task in one.tasks}) == 1


def test_sequences_are_so_many_updates(tmp_path: Path) -> None:
    data = write_small(tmp_path / "small.h5", train=23)
    text = f'[experiment]\nsequences = 60\nrecipe = "jsb-vrnn"\n[settings]\ndata.path = "{data}"\n'
    arms = '[[arm]]\nname="five"\nsettings.data.batch_size=5\n[[arm]]\nname="two"\nsettings.data.batch_size=2\n'
    five, two = planned(experiment(text + arms, out=tmp_path / "out"))
    for one in (five, two):
        steps = one.tasks[0].config.training.max_steps
        seen = [len(p.indices) for epoch in range(4) for p in epoch_pieces(one.plan, 0, epoch)]
        assert sum(seen[:steps]) >= 60 > sum(seen[: steps - 1])


def test_what_train_would_refuse_is_refused_before_anything_begins(tmp_path: Path) -> None:
    data = write_small(tmp_path / "small.h5")
    text = f'[experiment]\nrecipe = "jsb-vrnn"\n[settings]\ndata.path = "{data}"\n'
    text += '[[arm]]\nname = "good"\n[[arm]]\nname = "bad"\n'
    with pytest.raises(ConfigError, match=r"arm 'bad': model\.latents: no such setting"):
        planned(experiment(text + "settings.model.latents = 2\n", out=tmp_path / "out"))
    with pytest.raises(ConfigError, match="arm 'bad': likelihood 'gaussian' is for real data"):
        planned(experiment(text + 'settings.model.likelihood = "gaussian"\n', out=tmp_path / "out"))
    with pytest.raises(ConfigError, match=r"arm 'bad' starts from 'good', whose model\.latent_dim is another"):
        planned(experiment(text + 'init_from = "good"\nsettings.model.latent_dim = 2\n', out=tmp_path / "out"))
    looks = text.replace("[settings]", 'evaluate = [{ objective = "sixo" }]\n[settings]')
    with pytest.raises(ConfigError, match="arm 'good': objective 'sixo': this run has no twist"):
        planned(experiment(looks, out=tmp_path / "out"))
    with pytest.raises(DataError, match=r"arm 'bad': .*no such data file"):
        planned(experiment(text + 'settings.data.path = "none.h5"\n', out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_arms_of_different_bounds_are_validated_by_one(tmp_path: Path) -> None:
    """Else they would be in tables of their own; what an experiment says itself stands."""
    data = write_small(tmp_path / "small.h5")
    text = TEXT.replace("[settings]\n", f'[settings]\ndata.path = "{data}"\n')
    said: list[str] = []
    found = planned(experiment(text, out=tmp_path / "a"), said.append)
    assert {(one.plan.settings.validated.name, one.plan.settings.validated.particles) for one in found} == {
        ("iwae", 16)
    }
    assert [one.plan.settings.objective.name for one in found] == ["elbo", "elbo", "iwae", "iwae"]
    assert any("validated by iwae, K=16" in line for line in said)
    own = text.replace("[grid]", 'training.valid_objective = "elbo"\n[grid]')
    assert {one.plan.settings.validated.name for one in planned(experiment(own, out=tmp_path / "b"))} == {"elbo"}
    alike = text.replace('settings.objective = { name = "iwae", particles = 3 }', "times = 3")
    assert {one.plan.settings.validated.name for one in planned(experiment(alike, out=tmp_path / "c"))} == {"elbo"}


def test_a_bound_that_not_all_arms_can_have(tmp_path: Path) -> None:
    """sixo needs a twist: the arm without is told, and not scored by it; where no arm has one, it is refused."""
    head = '[experiment]\nseeds = [0]\nupdates = 2\nevaluate = [{ objective = "sixo", particles = 3 }]\n[settings]\n'
    head += f'model.name = "dmm"\ndata.path = "{write_small(tmp_path / "d.h5")}"\n'
    plain, twisted = '[[arm]]\nname = "elbo"\n', '[[arm]]\nname = "sixo"\nsettings.objective.name = "sixo"\n'
    said: list[str] = []
    found = planned(experiment(head + plain + twisted, out=tmp_path / "a"), said.append)
    assert [[bound.title for bound in one.tasks[0].bounds] for one in found] == [[], ["test sixo K=3"]]
    assert "is not scored by test sixo K=3: objective 'sixo': this run has no twist" in found[0].notes[-1]
    assert f"arm 'elbo' {found[0].notes[-1]}" in said
    file = tmp_path / "some.toml"
    file.write_text(head + plain + twisted)
    assert cli._run(["experiment", str(file), "--out", str(tmp_path / "c"), "--quiet", "--device", "cpu"]) == 0
    results = json.loads((tmp_path / "c" / "results.json").read_text("utf-8"))
    assert {run["arm"]: list(run["bounds"]) for run in results["runs"]} == {"elbo": [], "sixo": ["test sixo K=3"]}
    assert "KL per step" not in (tmp_path / "c" / "table.md").read_text("utf-8")  # by no bound that both have
    with pytest.raises(ConfigError, match="arm 'elbo': objective 'sixo': this run has no twist"):
        planned(experiment(head + plain, out=tmp_path / "b"))
