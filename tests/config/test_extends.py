"""Recipes that build on one another, and settings by network."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_vrnn.config import build, parse_toml, recipes, resolve
from pyro_vrnn.config.chain import chain
from pyro_vrnn.models import MODELS
from pyro_vrnn.system.errors import ConfigError

BASE = """[model]
latent_dim = 5
network_dims = [9]
[objective]
kl_start = 0.5
kl_steps = 7
"""


def write(folder: Path, **texts: str) -> Path:
    """Files NAME.toml; the last one."""
    for name, text in texts.items():
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.toml").write_text(text)
    return folder / f"{name}.toml"


def test_a_file_states_only_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later ones win; a path is relative to the file that names it; it is said from which file a setting comes."""
    write(tmp_path / "base", a=BASE)
    middle = write(tmp_path, b='extends = "base/a.toml"\n[model]\nhidden_dim = 3\n[data]\nbatch_size = 2\n')
    top = write(tmp_path / "top", c='extends = "../b.toml"\n[data]\nbatch_size = 4\n')
    monkeypatch.chdir(tmp_path / "base")
    found = resolve(str(top))
    assert (found.config.model.latent_dim, found.config.model.hidden_dim, found.config.data.batch_size) == (5, 3, 4)
    assert found.origins["data.batch_size"] == f"recipe {top}"
    assert Path(found.origins["model.hidden_dim"].removeprefix("recipe ")).resolve() == middle
    assert found.origins["model.latent_dim"].endswith("base/a.toml")
    assert found.origins["training.seed"] == "default"


def test_a_shipped_recipe_can_be_built_on(tmp_path: Path) -> None:
    mine = write(tmp_path, mine='extends = "jsb-vrnn"\n[model]\nlatent_dim = 8\n')
    found, base = resolve(str(mine)), resolve("jsb-vrnn")
    assert found.config.model.latent_dim == 8
    assert found.config.training == base.config.training
    assert found.origins["training.learning_rate"] == "recipe jsb-vrnn"
    assert found.preparing == base.preparing != ""


def test_what_another_model_or_objective_does_not_have_is_left_out(tmp_path: Path) -> None:
    table = "[model.network_dims]\nphi_x = [7]\nphi_z = [6]\n"
    write(tmp_path, a=BASE.replace("network_dims = [9]\n", "") + table)
    top = write(tmp_path, b='extends = "a.toml"\n[model]\nname = "rnn"\n[objective]\nname = "elbo-mc"\n')
    found = resolve(str(top)).config
    assert found.model.network_dims == {"phi_x": (7,)}
    assert found.objective.kl_steps == 7
    weighted = write(tmp_path, c='extends = "a.toml"\n[objective]\nname = "iwae"\n')
    assert resolve(str(weighted)).config.objective.particles == 5
    flag = resolve(str(tmp_path / "a.toml"), flags={"model.name": "rnn"})
    assert flag.config.model.network_dims == {"phi_x": (7,)}
    assert any(note.startswith("model.network_dims.phi_z of recipe") for note in flag.notes)


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"a": 'extends = "b.toml"\n', "b": 'extends = "a.toml"\n'}, r"a\.toml -> \S*b\.toml -> .*circle"),
        ({"a": 'extends = "a.toml"\n'}, r"a\.toml -> \S*a\.toml: .*circle"),
        ({"a": 'extends = "jbs-vrnn"\n'}, r"a\.toml -> recipe 'jbs-vrnn': no such recipe; there is jsb-vrnn"),
        ({"a": 'extends = "b.toml"\n', "b": 'extends = "no.toml"\n'}, r"a\.toml -> \S*b\.toml -> recipe 'no\.toml'"),
        ({"a": 'extends = "/etc/passwd"\n'}, r"a\.toml -> /etc/passwd: no name of a TOML file"),
        ({"a": "# mine\nextends = 3\n"}, r"a\.toml, line 2: extends=3: expected one name"),
        ({"a": 'extends = "b.toml"\n', "b": "not toml"}, r"a\.toml -> \S*b\.toml: .*line 1"),
        ({"a": 'extends = "b.toml"\n', "b": "[model]\nlatent_dim = 'x'\n"}, r"b\.toml, line 2: model\.latent_dim"),
        ({"a": 'extends = "b.toml"\n[model]\nname = "lstm"\n', "b": "[model]\nname = 'vrnn'\n"}, r"model 'lstm'"),
        ({"a": 'extends = "jsb-vrnn"\n[model]\nlatent_dim = -1\n'}, r"a\.toml, line 3: model\.latent_dim=-1"),
        ({"a": 'extends = "jsb-vrnn"\nmodel = 3\n'}, r"model: must be a table"),
    ],
)
def test_mistakes_name_the_way(texts: dict[str, str], says: str, tmp_path: Path) -> None:
    write(tmp_path, **texts)
    with pytest.raises(ConfigError, match=says):
        resolve(str(tmp_path / "a.toml"))


def test_shipped_recipes_are_in_a_group_once_and_build_on_shipped_ones() -> None:
    groups = recipes.groups()
    assert sorted(name for names in groups.values() for name in names) == recipes.names()
    assert all(groups.values())
    for name in recipes.names():
        assert all(source.path is None for source in chain(name))
        assert recipes.head(recipes.text(name))[1].startswith("Data: pyro-vrnn prepare ")
        if name.endswith(recipes.SMALL):
            assert name.removesuffix(recipes.SMALL) in recipes.names()


def test_widths_by_network() -> None:
    """One value for all, some by name above it, and what is named after a table was there."""
    found = resolve("jsb-vrnn", sets=["model.network_dims.prior=500,400", "model.network_dims.decoder="])
    model = found.config.model
    assert model.network_dims == {"others": (128,), "prior": (500, 400), "decoder": ()}
    assert (model.widths("prior"), model.widths("decoder"), model.widths("phi_x")) == ((500, 400), (), (128,))
    assert found.origins["model.network_dims.prior"] == "--set"
    assert found.origins["model.network_dims.others"] == "recipe jsb-vrnn"
    assert "model.network_dims" not in found.origins
    again = build(parse_toml(found.config.to_toml(), "config.toml"))
    assert again == found.config
    one = resolve("vrnn-gauss-blizzard", sets=["model.network_dims=8"])
    assert one.config.model.network_dims == (8,)
    assert [key for key in one.origins if "network_dims" in key] == ["model.network_dims"]
    alone = resolve(sets=["model.name=vrae", "model.network_dims.decoder=3"]).config.model
    assert (alone.widths("decoder"), alone.widths("phi_x")) == ((3,), ())  # the model's own default


@pytest.mark.parametrize("name", MODELS)
def test_an_unknown_network_is_told_with_those_there_are(name: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(sets=[f"model.name={name}", "model.network_dims.theta=3"])
    assert error.value.message.startswith(f"model.network_dims.theta: {name!r} has no such network; choose from ")
    for network in (*MODELS[name].Config.networks, "others"):
        assert network in error.value.message
        resolve(sets=[f"model.name={name}", f"model.network_dims.{network}=3"])


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["model.network_dims.prior=0"], "model.network_dims.prior=[0]: widths must be at least 1"),
        (["model.network_dims.prior=x"], "model.network_dims.prior='x'"),
        (["model.network_dims."], "KEY=VALUE"),
        (["model.network_dims.=3"], "no such setting"),
        (["model.network_dims.prior.x=3"], "no such setting"),
        (["model.latent_dim.x=3"], "no such setting"),
        (["model.components=5"], "'bernoulli' is no mixture"),
        (["model.likelihood=gmm", "model.components=1"], "at least 2"),
        (["model.likelihood=gmm", "model.components=-1"], "at least 2"),
        (["training.adam_eps=0"], "training.adam_eps=0.0: must be above 0"),
        (["model.learned_start=maybe"], "true or false"),
    ],
)
def test_mistakes(sets: list[str], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        resolve(sets=sets)
    assert says in f"{error.value.message} {error.value.hint}", error.value.message
