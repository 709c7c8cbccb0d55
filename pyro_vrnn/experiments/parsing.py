"""An experiment's TOML file, found and checked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_vrnn.config import parse_toml
from pyro_vrnn.config.casting import cast, no_such
from pyro_vrnn.experiments import shipped
from pyro_vrnn.experiments.plan import FILE, UNITS, Arm, Bound, Experiment, Length
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.system.errors import ConfigError, check_seed, choose
from pyro_vrnn.system.files import safe_name, unlinked

MAX_BYTES = 1 << 20
SPLITS = ("train", "valid", "test")
OWN = {"training.seed": "seeds", "training.max_steps": "updates", "training.epochs": "updates"}
"""Settings that an experiment makes itself, and from what."""


def read(
    named: str,
    *,
    out: Path | None = None,
    updates: int | None = None,
    seeds: Sequence[int] | None = None,
    sets: Sequence[str] = (),
) -> Experiment:
    """An experiment by its file, its shipped name, or the folder of its results.

    Args:
        named: a TOML file, the name of a shipped experiment, or a folder that an experiment wrote.
        out: the folder of the results; default: the file's own choice, or runs/NAME.
        updates: makes the experiment so many updates long, whatever the file says.
        seeds: in the place of the file's.
        sets: "key=value" texts, for all runs.

    Raises:
        ConfigError: no such experiment; something unknown, missing or contradictory in it; a link in a folder.
    """
    path = Path(named)
    if named in shipped.names():
        text, name, where = shipped.text(named), named, named
    else:
        folder = path if (path / FILE).is_file() else None
        path = unlinked(path, path / FILE) if folder is not None else path
        if not path.is_file():
            error = choose("experiment", named, shipped.names())
            raise ConfigError(error.message, f"{error.hint or ''} or give the path of a TOML file".strip())
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_BYTES} bytes", "experiments are small TOML files", path)
        try:
            text = path.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: not UTF-8 text ({error.reason} at byte {error.start})", path=path) from None
        out, name, where = out or folder, (folder or path).absolute().stem, str(path)
    raw = parse_toml(text, where)
    try:
        head = _table(raw.get("experiment", {}), "experiment")
        if updates is not None:
            raw["experiment"] = {k: v for k, v in head.items() if k not in UNITS} | {"updates": updates}
        if seeds is not None:
            raw["experiment"] = _table(raw.get("experiment", {}), "experiment") | {"seeds": list(seeds)}
        given: dict[str, Any] = {}
        for item in sets:
            key, eq, value = item.partition("=")
            if not eq or not key.strip():
                raise ConfigError(f"--set {item!r}: expected KEY=VALUE", "for example --set model.latent_dim=16")
            given[key.strip()] = value.strip()
        return parse(raw, name, out, given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error.message}", error.hint, error.path or where) from None


def parse(
    raw: Mapping[str, Any], name: str, out: Path | None = None, sets: Mapping[str, Any] | None = None
) -> Experiment:
    """Nested plain values to a checked experiment; `sets` stand above every arm's own settings.

    Raises:
        ConfigError: something unknown, missing or contradictory.
    """
    _known(raw, ["experiment", "settings", "grid", "arm"], "")
    head = _table(raw.get("experiment", {}), "experiment")
    _known(head, ["title", "recipe", "seeds", "evaluate", "reference", "out", *UNITS], "experiment.")
    length = _length(head)
    common, grid = _settings(raw.get("settings", {}), "settings"), _grid(raw.get("grid", {}), "grid")
    given = raw.get("arm", [{"name": name}])
    if not isinstance(given, list) or not given:
        raise ConfigError("arm: expected tables, each headed [[arm]]", "give at least one [[arm]] with a name")
    arms: list[Arm] = []
    for number, one in enumerate(given, 1):
        arms += _arms(_table(one, f"arm {number}"), f"arm {number}", head.get("recipe"), common, grid, sets or {})
    for arm in arms:
        for key in (k for k in OWN if k in arm.settings):
            if key == "training.seed" or length is not None:
                raise ConfigError(f"arm {arm.name!r} sets {key}", f"[experiment] {OWN[key]} decides it for all runs")
        if arm.times != 1 and length is None:
            raise ConfigError(f"arm {arm.name!r}: times without a length", "give [experiment] updates = N")
    names = [arm.name for arm in arms]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise ConfigError(f"two arms are named {twice[0]!r}", "give each [[arm]] another name")
    given_seeds = head.get("seeds", [0])
    seeds = [cast(int, s, "experiment.seeds") for s in given_seeds] if isinstance(given_seeds, list) else []
    if not seeds or len(set(seeds)) < len(seeds):
        raise ConfigError(f"experiment.seeds={given_seeds!r}: expected different whole numbers", "seeds = [0, 1, 2]")
    reference = head.get("reference", names[0])
    if reference not in names:
        raise choose("experiment.reference", str(reference), names)
    return Experiment(
        name=name,
        title=cast(str, head.get("title", name), "experiment.title"),
        seeds=tuple(map(check_seed, seeds)),
        length=length,
        evaluate=tuple(_bounds(head.get("evaluate", [{"objective": "iwae", "particles": 100}]))),
        arms=tuple(_in_order(arms)),
        reference=reference,
        out=out or Path(cast(str, head.get("out", f"runs/{name}"), "experiment.out")),
    )


def _arms(
    one: dict[str, Any],
    at: str,
    recipe: Any,
    common: dict[str, Any],
    grid: dict[str, list[Any]],
    sets: Mapping[str, Any],
) -> list[Arm]:
    """One [[arm]], or one for each combination of its grid and the experiment's."""
    _known(one, ["name", "recipe", "settings", "grid", "times", "init_from"], f"{at}.")
    name = cast(str, one.get("name", ""), f"{at}.name")
    if not name or safe_name(name) != name:
        raise ConfigError(f"{at}.name={name!r}: must be a plain name, since a folder has it", "letters, digits, . _ -")
    own, grid = _settings(one.get("settings", {}), f"{at}.settings"), grid | _grid(one.get("grid", {}), f"{at}.grid")
    if both := sorted(own.keys() & grid.keys()):
        raise ConfigError(f"arm {name!r}: {both[0]} is in its settings and in the grid", "leave one of them out")
    times = cast(float, one.get("times", 1.0), f"{at}.times")
    if not times > 0:
        raise ConfigError(f"{at}.times={times}: must be above 0")
    found = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        recipe = one.get("recipe", recipe)
        found.append(
            Arm(
                name="-".join([name, *(f"{safe_name(_leaf(key))}-{_word(value)}" for key, value in chosen.items())]),
                recipe=None if recipe is None else cast(str, recipe, f"{at}.recipe"),
                settings=common | own | chosen | dict(sets),
                times=times,
                init_from=None if "init_from" not in one else cast(str, one["init_from"], f"{at}.init_from"),
            )
        )
    return found


def _in_order(arms: Sequence[Arm]) -> list[Arm]:
    """The arms, each after the one that it starts from; ConfigError where there is no such order."""
    names, waiting = [arm.name for arm in arms], list(arms)
    placed: list[Arm] = []
    for arm in arms:
        if arm.init_from is not None and arm.init_from not in names:
            raise choose(f"arm {arm.name!r}: init_from", arm.init_from, names)
    while waiting:
        done = {arm.name for arm in placed} | {None}
        ready = [arm for arm in waiting if arm.init_from in done]
        if not ready:
            raise ConfigError(f"arm {waiting[0].name!r}: init_from leads back to itself", "start one arm afresh")
        placed += ready
        waiting = [arm for arm in waiting if arm not in ready]
    return placed


def _length(head: Mapping[str, Any]) -> Length | None:
    """The one length of an experiment, if it has one."""
    given = [unit for unit in UNITS if unit in head]
    if len(given) > 1:
        raise ConfigError(f"experiment has {' and '.join(given)}", f"choose what is equal: one of {', '.join(UNITS)}")
    if not given:
        return None
    amount = cast(UNITS[given[0]], head[given[0]], f"experiment.{given[0]}")
    if not amount > 0:
        raise ConfigError(f"experiment.{given[0]}={amount}: must be above 0")
    return Length(unit=given[0], amount=float(amount))


def _bounds(given: Any) -> list[Bound]:
    """The bounds to report."""
    if not isinstance(given, list):
        raise ConfigError("experiment.evaluate: expected tables", 'evaluate = [{objective = "iwae", particles = 100}]')
    found = []
    for one in given:
        table = _table(one, "experiment.evaluate")
        kinds = {"objective": str, "particles": int, "split": str}
        _known(table, list(kinds), "experiment.evaluate.")
        bound = Bound(**{key: cast(kinds[key], value, f"experiment.evaluate.{key}") for key, value in table.items()})
        if bound.objective not in OBJECTIVES:
            raise choose("experiment.evaluate: objective", bound.objective, OBJECTIVES)
        if bound.split not in SPLITS:
            raise choose("experiment.evaluate: split", bound.split, SPLITS)
        if bound.particles is not None and bound.particles < 1:
            raise ConfigError(f"experiment.evaluate.particles={bound.particles}: must be at least 1")
        found.append(bound)
    if len({bound.title for bound in found}) < len(found):
        raise ConfigError("experiment.evaluate has a bound twice", "leave one of them out")
    return found


def _settings(given: Any, at: str) -> dict[str, Any]:
    """Settings by dotted names, written so or as nested tables."""
    found: dict[str, Any] = {}
    for key, value in _table(given, at).items():
        found |= {f"{key}.{leaf}": v for leaf, v in value.items()} if isinstance(value, dict) else {key: value}
    return found


def _grid(given: Any, at: str) -> dict[str, list[Any]]:
    """Settings and the values that each takes."""
    found = _settings(given, at)
    for key, values in found.items():
        if not isinstance(values, list) or not values:
            raise ConfigError(f"{at}: {key}={values!r}: expected a list of values", f"{key} = [1, 2]")
    return found


def _table(given: Any, at: str) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ConfigError(f"{at}: must be a table", f"[{at}]")
    return given


def _known(given: Mapping[str, Any], known: list[str], at: str) -> None:
    for key in given:
        if key not in known:
            error = no_such(at + key, [at + k for k in known])
            raise ConfigError(
                error.message.replace("no such setting", "no such key"), error.hint.partition("`")[0].strip()
            )


def _leaf(key: str) -> str:
    """A setting's name without its section; that of `objective.name` is the section."""
    section, _, leaf = key.rpartition(".")
    return section if leaf in ("name", "path") else leaf


def _word(value: Any) -> str:
    """A value as a part of a folder's name."""
    parts = value if isinstance(value, list) else [value]
    text = "x".join(Path(str(part)).stem if str(part).endswith(".h5") else str(part) for part in parts)
    if isinstance(value, float) and math.isfinite(value):
        text = f"{value:g}"
    return safe_name(text)
