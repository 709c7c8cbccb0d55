"""Settings: frozen dataclasses; recipe (TOML) + flags + `--set` -> RunConfig; to and from TOML.

Which settings there are depends on the model and the objective: each has a config of its own in its own file, and
a setting that the chosen one does not have is an error that lists those it has.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vrnn.config import defaults, recipes
from pyro_vrnn.config.casting import dataclass_from, no_such
from pyro_vrnn.config.run_config import DataConfig, RunConfig, TrainingConfig
from pyro_vrnn.data import catalogue
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.data.schema import read_info
from pyro_vrnn.models import model_class
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.objectives import OBJECTIVES, Objective
from pyro_vrnn.system.errors import ConfigError, choose

MAX_RECIPE_BYTES = 1 << 20
DEFAULT_RECIPE = "chorales-vrnn"
DEFAULT_DATA, DEFAULT_MODEL = "chorales", "vrnn"
"""Of the default recipe."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A configuration and where each setting came from ("default", "recipe …", "--flag", "--set")."""

    config: RunConfig
    origins: dict[str, str]
    notes: tuple[str, ...] = ()
    recipe: str


def recipe_text(recipe: str) -> str:
    """The TOML text of a shipped recipe or of a file."""
    if recipe in recipes.names():
        return recipes.text(recipe)
    path = Path(recipe)
    if (path / "config.toml").is_file():  # a run's folder
        path /= "config.toml"
    if not path.exists():
        error = choose("recipe", recipe, recipes.names())
        or_path = "the path of a TOML file or of a run"
        raise ConfigError(error.message, f"{error.hint} (or {or_path})" if error.hint else f"or give {or_path}")
    return _read_text(path)


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"{path}: not a regular file", "give a TOML file, or the folder of a run", path)
    if path.suffix in (".h5", ".csv"):
        raise ConfigError(f"{path}: data is no recipe", f"pyro-vrnn train --data {path}", path)
    if path.stat().st_size > MAX_RECIPE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_RECIPE_BYTES} bytes", "recipes are small TOML files", path)
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start})", "give a TOML file"
        ) from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """ConfigError with the line on bad TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: {error}", "recipes are TOML: [section] and key = value") from None


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
    notes = []
    if of_data is None:
        name = recipe or DEFAULT_RECIPE
        text = recipe_text(name)
        raw = parse_toml(text, name)
        origins = dict.fromkeys(_flat(raw), f"recipe {name}")
    else:
        raw, name = of_data
        text, origins = "", dict.fromkeys(_flat(raw), "from the data")
    for section, find in (("model", model_class), ("objective", _objective_class)):
        part = raw.get(section, {})
        chosen = above.get(f"{section}.name")
        if chosen is None or not isinstance(part, dict) or chosen[0] == part.get("name"):
            continue
        cls: Any = find(str(chosen[0]))
        keep = {f.name for f in dataclasses.fields(getattr(cls, "Config", cls))}
        for key in [k for k in part if k not in keep]:
            if of_data is None:
                notes.append(f"{section}.{key} of recipe {name} left out: {chosen[0]!r} has no such setting")
            del part[key], origins[f"{section}.{key}"]
    for key, (value, origin) in above.items():
        section, dot, leaf = key.partition(".")
        if not dot or "." in leaf:
            raise no_such(key, [f"{s}.*" for s in ("model", "objective", "data", "training")])
        node = raw.setdefault(section, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{section}: must be a table in {name}")
        node[leaf] = value
        origins[key] = origin
    if any(key.startswith("format.") for key in above):
        raise ConfigError("format.*: comes from the data file, not from settings", "choose other data instead")
    if raw.pop("format", None) is not None:  # a run's config.toml is a recipe too
        origins = {key: origin for key, origin in origins.items() if not key.startswith("format.")}
    try:
        config = build(raw)
    except ConfigError as error:
        setting = re.match(r"[\w.-]+", error.message)
        line = _line_of(text, setting[0]) if setting and setting[0] not in above else 0
        if not line or name in recipes.names():
            raise
        raise ConfigError(f"{name}, line {line}: {error.message}", error.hint, name) from None
    for key in _flat(config.to_dict()):
        origins.setdefault(key, "default")
    if of_data is not None:
        notes.append(defaults.in_words(config.to_dict()))
    return Resolved(config=config, origins=origins, notes=tuple(notes), recipe=name)


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


def _line_of(text: str, name: str) -> int:
    """The line of a TOML text where a setting (`model.cell`) or a section stands, written as usual; 0 if none does."""
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([\w.-]+)\s*\]", line)
        key = re.match(r"\s*([\w.-]+)\s*=", line)
        section = header[1] if header else section
        found = f"{section}.{key[1]}".lstrip(".") if key else section if header else ""
        if found == name:
            return number
    return 0


def _objective_class(name: str) -> type[Objective]:
    """The objective of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in OBJECTIVES:
        raise choose("objective", name, OBJECTIVES)
    return OBJECTIVES[name]


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
    model_cls, cls = model_class(str(model_name)), _objective_class(str(objective_name))
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
    return [f"{a}.{b}" for a, part in raw.items() if isinstance(part, dict) for b in part]
