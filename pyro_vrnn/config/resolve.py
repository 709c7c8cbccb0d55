"""Settings: recipes (chain.py), then flags, then `--set`, to a checked RunConfig.

Which settings there are depends on the model and the objective: each has a config of its own in its own file, and
a setting that the chosen one does not have is an error that lists those it has.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

from pyro_vrnn.config import chain as chains
from pyro_vrnn.config import defaults
from pyro_vrnn.config.casting import dataclass_from, no_such
from pyro_vrnn.config.chain import leave_out, objective_class, put
from pyro_vrnn.config.run_config import DataConfig, RunConfig, TrainingConfig
from pyro_vrnn.data import catalogue
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.data.schema import read_info
from pyro_vrnn.models import model_class
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.system.errors import ConfigError, choose

DEFAULT_RECIPE = "chorales-vrnn"
DEFAULT_DATA, DEFAULT_MODEL = "chorales", "vrnn"
"""Of the default recipe."""
TABLES = ("model.network_dims",)
"""Settings that may be a table, whose entries `--set` can name: model.network_dims.prior."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A configuration and where each setting came from ("default", "recipe …", "--flag", "--set").

    Attributes:
        config: the settings.
        origins: by dotted name; of a setting by network, each network's.
        notes: what a user should be told.
        recipe: the name or path that was asked for.
        preparing: the command that prepares the recipe's data, if it says one and no other data was named.
    """

    config: RunConfig
    origins: dict[str, str]
    notes: tuple[str, ...] = ()
    recipe: str
    preparing: str = ""


def resolve(
    recipe: str | None = None, *, flags: dict[str, Any] | None = None, sets: tuple[str, ...] | list[str] = ()
) -> Resolved:
    """Recipe, then flags, then `--set`: the later wins.

    Args:
        recipe: a shipped name or a TOML file; None is what fits the data that is named (defaults.py), or the default
            recipe if none is.
        flags: dotted setting -> value, from command-line flags; None values are left out.
        sets: "key=value" texts.

    Raises:
        ConfigError: unknown names, bad values, contradictions.
    """
    above = _above(flags, sets)
    of_data = _of_data(above) if recipe is None else None
    notes: list[str] = []
    sources: list[chains.Source] = []
    raw: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if of_data is not None:
        raw, name = of_data
        origins = dict.fromkeys(_flat(raw), "from the data")
    else:
        name = recipe or DEFAULT_RECIPE
        sources = chains.chain(name)
    try:
        if sources:
            raw, origins = chains.merged(sources)
        notes += _apply(raw, origins, above, name, tell=of_data is None)
        config = build(raw)
    except ConfigError as error:
        setting = re.match(r"[\w.-]+", error.message)
        own = [source for source in reversed(sources) if source.path is not None]
        for source in own if setting and setting[0] not in above else ():
            assert setting is not None
            if line := chains.line_of(source.text, setting[0]):
                message = f"{source.name}, line {line}: {error.message}"
                raise ConfigError(message, error.hint, source.name) from None
        raise
    for key in _flat(config.to_dict()):
        origins.setdefault(key, "default")
    if of_data is not None:
        notes.append(defaults.in_words(config.to_dict()))
    said = [source.data for source in reversed(sources) if source.data and "data.path" not in above]
    return Resolved(config=config, origins=origins, notes=tuple(notes), recipe=name, preparing=said[0] if said else "")


def _apply(
    raw: dict[str, Any], origins: dict[str, str], above: dict[str, tuple[Any, str]], name: str, *, tell: bool
) -> list[str]:
    """Put flags and `--set` above a recipe's settings; what to tell the user of it, if anything."""
    notes = []
    for section in chains.CHOSEN:
        if (chosen := above.get(f"{section}.name")) is not None:
            gone = leave_out(raw, origins, section, chosen[0])
            notes += [f"{key} of recipe {name} left out: {chosen[0]!r} has no such setting" for key in gone if tell]
    for key, (value, origin) in above.items():
        section, dot, leaf = key.partition(".")
        leaf, nested, entry = leaf.partition(".")
        if not dot or (nested and (f"{section}.{leaf}" not in TABLES or "." in entry or not entry)):
            raise no_such(key, [f"{s}.*" for s in ("model", "objective", "data", "training")])
        if not isinstance(raw.get(section, {}), dict):
            raise ConfigError(f"{section}: must be a table in {name}")
        put(raw, origins, section, leaf, {entry: value} if nested else value, origin)
    if any(key.startswith("format.") for key in above):
        raise ConfigError("format.*: comes from the data file, not from settings", "choose other data instead")
    if raw.pop("format", None) is not None:  # a run's config.toml is a recipe too
        for key in [key for key in origins if key.startswith("format.")]:
            del origins[key]
    return notes


def _above(flags: dict[str, Any] | None, sets: tuple[str, ...] | list[str]) -> dict[str, tuple[Any, str]]:
    """What stands above a recipe: setting -> value and where it comes from."""
    above: dict[str, tuple[Any, str]] = {}
    for key, value in (flags or {}).items():
        if value is not None:
            above[key] = (value, "--flag")
    for item in sets:
        key, eq, given = item.partition("=")
        if not eq or not key.strip():
            raise ConfigError(f"--set {item!r}: expected KEY=VALUE", "for example --set model.latent_dim=16")
        above[key.strip()] = (given.strip(), "--set")
    return above


def _of_data(above: dict[str, tuple[Any, str]]) -> tuple[dict[str, Any], str] | None:
    """Settings for the data that was named without a recipe, or for the model; and a name for the run.

    None where the default recipe is meant: neither was named, or there is no such file (which is told later).
    """
    data = str(above["data.path"][0]) if "data.path" in above else DEFAULT_DATA
    model = str(above["model.name"][0]) if "model.name" in above else None
    if data == DEFAULT_DATA:
        if model is None or model == DEFAULT_MODEL:
            return None
        return defaults.settings_for(None, model), f"{DEFAULT_DATA}-{model}"
    path = catalogue.prepared(data)
    if path is None or not path.is_file():
        return None
    likelihood = str(above["model.likelihood"][0]) if "model.likelihood" in above else None
    return defaults.settings_for(
        read_info(path), model, likelihood
    ), path.stem if model is None else f"{path.stem}-{model}"


def build(raw: dict[str, Any]) -> RunConfig:
    """Nested plain values (a parsed config.toml) to a checked RunConfig."""
    sections = [f.name for f in dataclasses.fields(RunConfig)]
    for key, value in raw.items():
        if key not in sections:
            raise no_such(key, sections)
        if not isinstance(value, dict):
            raise ConfigError(f"{key}: must be a table, [{key}]", "settings stand under [model], [objective], …")
    model, objective = raw.get("model", {}), raw.get("objective", {})
    model_name, objective_name = model.get("name", "vrnn"), objective.get("name", "elbo")
    model_cls, cls = model_class(str(model_name)), objective_class(str(objective_name))
    own = {f.name for f in dataclasses.fields(cls)}
    for key in objective:
        others = [n for n, o in OBJECTIVES.items() if key in {f.name for f in dataclasses.fields(o)}]
        if key not in own and others and not (cls.weighted and key.startswith("kl_")):
            raise ConfigError(
                f"objective.{key}: {objective_name!r} has no such setting; it has {', '.join(sorted(own))}",
                f"it is a setting of {', '.join(others)}: --objective {others[0]}",
            )
    if cls.weighted and (bad := sorted(k for k in objective if k.startswith("kl_"))):
        raise ConfigError(
            f"objective.{bad[0]}: {objective_name!r} has no KL weight: beta < 1 in an importance weight is no bound",
            "anneal with --objective elbo; settings of this one: "
            + ", ".join(f"objective.{f.name}" for f in dataclasses.fields(cls)),
        )
    config = RunConfig(
        model=dataclass_from(model_cls.Config, model, "model."),
        objective=dataclass_from(cls, objective, "objective."),
        data=dataclass_from(DataConfig, raw.get("data", {}), "data."),
        training=dataclass_from(TrainingConfig, raw.get("training", {}), "training."),
        format=dataclass_from(DataFormat, raw["format"], "format.") if "format" in raw else None,
    )
    if not config.model.latent and (cls.weighted or config.objective.particles > 1):
        raise ConfigError(
            f"objective {objective_name!r} with {config.objective.particles} particles: {model_name!r} has no latent "
            "variables, so all particles are one and every bound is its exact likelihood",
            "use --objective elbo --particles 1",
        )
    if cls.scores_twice and config.model.dropout > 0:
        raise ConfigError(
            f"objective {objective_name!r} with model.dropout={config.model.dropout}: it runs the guide again to score "
            "its draw, and the dropout would be another",
            "set model.dropout=0, or use another objective",
        )
    training = config.training
    if training.precision == "bf16" and (cls.scores_twice or cls.stepwise or training.program == "markov"):
        what = "training.program=markov" if training.program == "markov" else f"objective {objective_name!r}"
        raise ConfigError(
            f"training.precision=bf16 with {what}: networks run step by step there, in another precision than the draw",
            "use training.precision=tf32 or float32",
        )
    _ = config.validated  # refuses particles that its objective cannot have
    if config.model.likelihood not in LIKELIHOODS:
        raise choose("likelihood", config.model.likelihood, LIKELIHOODS)
    return config


def _flat(raw: dict[str, Any]) -> list[str]:
    """The dotted names of all settings; of a table's entries too."""
    found = []
    for section, part in raw.items():
        for key, value in part.items() if isinstance(part, dict) else ():
            at = f"{section}.{key}"
            found += [f"{at}.{name}" for name in value] if isinstance(value, dict) else [at]
    return found
