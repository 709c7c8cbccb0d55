"""A recipe and those that it builds on: `extends = "…"` takes another one's settings, so that a file states its own."""

from __future__ import annotations

import dataclasses
import difflib
import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vrnn.config import recipes
from pyro_vrnn.models import model_class
from pyro_vrnn.models.base import OTHERS
from pyro_vrnn.objectives import OBJECTIVES, Objective
from pyro_vrnn.system.errors import ConfigError, choose

MAX_RECIPE_BYTES = 1 << 20
EXTENDS = "extends"


@dataclass(frozen=True)
class Source:
    """One file of settings."""

    name: str
    """A shipped recipe's name, or a path: what messages and origins call it."""
    text: str
    raw: dict[str, Any]
    """Its own settings, as nested plain values."""
    path: Path | None = None
    """Where it lies; None for a shipped recipe."""

    @property
    def data(self) -> str:
        """The command that prepares its data, from the comment `# Data: …` at its head; "" if there is none."""
        said = [line.removeprefix("Data: ") for line in recipes.head(self.text) if line.startswith("Data: ")]
        return said[0] if said else ""


def chain(recipe: str) -> list[Source]:
    """The recipe's file, after those that it builds on: the first one builds on nothing.

    Args:
        recipe: a shipped name, a TOML file or a run's folder. What a file extends is a shipped name, or a path
            relative to the file.

    Raises:
        ConfigError: one of them is not there or is no TOML, or they build on each other in a circle; it says by which
            way it was reached.
    """
    found = [_read(recipe, None, [])]
    while EXTENDS in found[-1].raw:
        last, way = found[-1], [source.name for source in found]
        wanted = last.raw.pop(EXTENDS)
        if not isinstance(wanted, str):
            raise ConfigError(
                f"{last.name}, line {line_of(last.text, EXTENDS)}: extends={wanted!r}: expected one name or path",
                "a shipped recipe's name, or the path of a TOML file relative to this one",
            )
        beside = None if last.path is None else last.path.parent
        source = _read(wanted, beside, way)
        if any(_same(source, other) for other in found):
            raise ConfigError(f"{' -> '.join([*way, source.name])}: recipes that build on each other in a circle")
        found.append(source)
    return found[::-1]


def merged(sources: Sequence[Source]) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings of a chain, the later ones in the place of the earlier, and from which file each comes.

    Where a file chooses another model or objective, what that one does not have of the settings before is left out.

    Raises:
        ConfigError: an unknown model or objective.
    """
    raw: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in sources:
        for section, part in source.raw.items():
            if not isinstance(part, dict) or not isinstance(raw.get(section, {}), dict):
                raw[section] = part  # which is an error, told when all is known
                continue
            if "name" in part:
                leave_out(raw, origins, section, part["name"])
            for key, value in part.items():
                put(raw, origins, section, key, value, f"recipe {source.name}")
    return raw, origins


def put(raw: dict[str, Any], origins: dict[str, str], section: str, key: str, value: Any, origin: str) -> None:
    """Set one setting, or those entries of a table that `value` is one of; other entries stay."""
    node, at = raw.setdefault(section, {}), f"{section}.{key}"
    before = node.get(key)
    if isinstance(value, dict) and before is not None:
        if not isinstance(before, dict):
            before = {OTHERS: before}
            origins[f"{at}.{OTHERS}"] = origins.pop(at, origin)
        node[key] = before | value
    else:
        for name in [name for name in origins if name.startswith(f"{at}.")]:
            del origins[name]
        node[key] = value
    origins.pop(at, None)
    origins.update({f"{at}.{name}": origin for name in value} if isinstance(value, dict) else {at: origin})


def leave_out(raw: dict[str, Any], origins: dict[str, str], section: str, chosen: Any) -> list[str]:
    """Take out the settings of the model or objective before that the chosen one does not have; their names.

    What neither has is a mistake, and stays to be told.

    Raises:
        ConfigError: there is no such model or objective.
    """
    part = raw.get(section, {})
    if section not in CHOSEN or not isinstance(part, dict):
        return []
    default, find = CHOSEN[section]
    before, own = (find(str(name)) for name in (part.get("name", default), chosen))
    fields, keep = ({field.name for field in dataclasses.fields(cls)} for cls in (before, own))
    gone = [key for key in part if key in fields - keep]
    for key in gone:
        del part[key]
    dims = part.get("network_dims")
    if isinstance(dims, dict) and "network_dims" in keep:
        without = [name for name in dims if name in before.networks and name not in own.networks]
        part["network_dims"] = {name: widths for name, widths in dims.items() if name not in without}
        gone += [f"network_dims.{name}" for name in without]
    for key in gone:
        for name in [name for name in origins if f"{name}.".startswith(f"{section}.{key}.")]:
            del origins[name]
    return [f"{section}.{key}" for key in gone]


def objective_class(name: str) -> type[Objective]:
    """The objective of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in OBJECTIVES:
        raise choose("objective", name, OBJECTIVES)
    return OBJECTIVES[name]


def _model_config(name: str) -> Any:
    """The settings that a model of this name has, as a dataclass."""
    return model_class(name).Config


CHOSEN: dict[str, tuple[str, Callable[[str], Any]]] = {
    "model": ("vrnn", _model_config),
    "objective": ("elbo", objective_class),
}
"""The sections whose settings depend on a name in them: the usual name, and how a name's settings are looked up."""


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """ConfigError with the line on bad TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: {error}", "recipes are TOML: [section] and key = value") from None


def line_of(text: str, name: str) -> int:
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


def _read(recipe: str, beside: Path | None, way: list[str]) -> Source:
    """One file; `way` names those that led to it."""
    if recipe in recipes.names():
        text = recipes.text(recipe)
        return Source(recipe, text, parse_toml(text, recipe))
    path = Path(recipe) if beside is None else beside / recipe
    if (path / "config.toml").is_file():  # a run's folder
        path /= "config.toml"
    led = "".join(f"{name} -> " for name in way)
    if not path.exists():
        close = difflib.get_close_matches(recipe, recipes.names(), n=3)
        there_are = ", ".join(close or [*recipes.groups()["first"], "…"])  # all would be a wall of text
        hint = "`pyro-vrnn recipes` lists what is shipped; or give the path of a TOML file or of a run"
        raise ConfigError(f"{led}recipe {recipe!r}: no such recipe; there is {there_are}", hint)
    if beside is not None and path.suffix != ".toml":  # what a file that somebody sent names is not opened for it
        raise ConfigError(
            f"{led}{path}: no name of a TOML file", "a recipe builds on a shipped recipe or a .toml", path
        )
    name = recipe if beside is None else str(path)
    text = _read_text(path, led)
    return Source(name, text, parse_toml(text, f"{led}{name}"), path)


def _read_text(path: Path, led: str) -> str:
    if not path.is_file():
        raise ConfigError(f"{led}{path}: not a regular file", "give a TOML file, or the folder of a run", path)
    if path.suffix in (".h5", ".csv"):
        raise ConfigError(f"{led}{path}: data is no recipe", f"pyro-vrnn train --data {path}", path)
    if path.stat().st_size > MAX_RECIPE_BYTES:
        raise ConfigError(f"{led}{path}: larger than {MAX_RECIPE_BYTES} bytes", "recipes are small TOML files", path)
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"{led}{path}: not UTF-8 text ({error.reason} at byte {error.start})"
        raise ConfigError(message, "give a TOML file") from None


def _same(a: Source, b: Source) -> bool:
    """Whether both are one file, by whatever path."""
    if a.path is None or b.path is None:
        return a.path is b.path and a.name == b.name
    return a.path.resolve() == b.path.resolve()
