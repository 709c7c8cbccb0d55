"""results.json read back: exactly what `summary.summarise` writes, of this experiment, or one error."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from pyro_vrnn.experiments.plan import UNITS, Experiment
from pyro_vrnn.system.errors import ConfigError, DataError
from pyro_vrnn.system.files import read_plain_file

FILE = "results.json"
MOST_BYTES = 1 << 26
BELOW = 1e300
"""Of every number; beyond that, sums and widths of charts are not finite."""

Check = Callable[[Any, str], None]
"""Takes a value and its place in the file; ValueError where it is not what belongs there."""


def read(folder: Path, experiment: Experiment) -> dict[str, Any]:
    """What results.json of an experiment's folder holds.

    Folders are sent from one to another, so it is not trusted: arms and seeds are those of the experiment, numbers
    are finite, and nothing that is drawn or written by it is missing.

    Args:
        folder: that `experiment` wrote.
        experiment: its plan, read from the same folder.

    Raises:
        ConfigError: no results there yet, or not what `summary.summarise` writes of this experiment.
    """
    path, command = folder / FILE, f"`pyro-vrnn experiment {folder}`"
    if not path.exists():
        raise ConfigError(f"{folder}: no results yet", f"{command} trains its runs", path)
    try:
        found = json.loads(read_plain_file(path, MOST_BYTES), parse_constant=_no_number)
        _results(experiment)(found, "")
    except DataError as error:
        raise ConfigError(error.message, f"results.json is damaged: {command} makes it anew", path) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path}: is damaged, or of another experiment.toml: {error}", f"{command} makes it anew", path
        ) from None
    whole: dict[str, Any] = found
    return whole


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is not a number")


def _need(holds: bool, at: str, what: str) -> None:
    if not holds:
        raise ValueError(f"{at or 'the whole'}: expected {what}")


def _text(value: Any, at: str) -> None:
    _need(isinstance(value, str), at, "a text")


def _whole(value: Any, at: str) -> None:
    _need(isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63, at, "a count")


def _number(value: Any, at: str) -> None:
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    _need(plain and abs(value) < BELOW, at, "a finite number")  # NaN is not below


def _one_of(known: Collection[Any]) -> Check:
    """One of these; of the same type, since True == 1."""

    def check(value: Any, at: str) -> None:
        same = isinstance(value, str | int) and not isinstance(value, bool)
        _need(same and value in known, at, f"one of {', '.join(map(str, known))}"[:200])

    return check


def _or_null(inner: Check) -> Check:
    def check(value: Any, at: str) -> None:
        if value is not None:
            inner(value, at)

    return check


def _list(inner: Check) -> Check:
    def check(value: Any, at: str) -> None:
        _need(isinstance(value, list), at, "a list")
        for n, one in enumerate(value):
            inner(one, f"{at}[{n}]")

    return check


def _by(key: Check, inner: Check) -> Check:
    """An object of any such keys, with such values."""

    def check(value: Any, at: str) -> None:
        _need(isinstance(value, dict), at, "an object")
        for name, one in value.items():
            key(name, f"a key of {at}")
            inner(one, f"{at}[{name[:60]!r}]")

    return check


def _object(needed: Mapping[str, Check], others: Mapping[str, Check] | None = None) -> Check:
    """An object with these keys, and perhaps the others; further keys, as later versions may have, are not used."""

    def check(value: Any, at: str) -> None:
        _need(isinstance(value, dict), at, "an object")
        for name in needed:
            _need(name in value, at, f"{name!r} in it")
        for name, inner in {**needed, **(others or {})}.items():
            if name in value:
                inner(value[name], f"{at}.{name}" if at else name)

    return check


def _results(experiment: Experiment) -> Check:
    """All of it."""
    arm, seed = _one_of([one.name for one in experiment.arms]), _one_of(experiment.seeds)
    run = _object(
        {"arm": arm, "seed": seed, "status": _one_of(["waiting", "failed", "done"]), "message": _text, "steps": _whole},
        {
            "seconds": _number,
            "best": _object({"step": _whole, "valid_nll_per_step": _number}),
            "unscored": _by(_text, _text),
        },
    )
    shape = _object(
        {
            "equal": _or_null(_one_of(list(UNITS))),
            "seeds": _list(seed),
            "runs": _list(run),
            "sections": _list(_section(arm, experiment)),
        },
        {"timing": _text, "notes": _list(_text)},  # of before: without them
    )

    def check(found: Any, at: str) -> None:
        shape(found, at)
        _distinct(found["seeds"], "seeds")
        _need(bool(found["seeds"]), "seeds", "at least one")
        _distinct([(run["arm"], run["seed"]) for run in found["runs"]], "runs")
        _distinct([one["arm"] for section in found["sections"] for one in section["arms"]], "sections")

    return check


def _section(arm: Check, experiment: Experiment) -> Check:
    """Arms that were compared with each other."""
    by_seed = _by(_one_of([str(seed) for seed in experiment.seeds]), _number)
    spread = _object({"mean": _number, "deviation": _or_null(_number), "seeds": _whole})
    ends = {"low": _or_null(_number), "high": _or_null(_number)}
    pair = _object({"mean": _number, **ends, "wins": _whole, "seeds": _whole})
    one = _object(
        {
            "arm": arm,
            "parameters": _whole,
            "updates": _whole,
            "seconds_per_update": _or_null(_number),
            "runs": _whole,
            "values": _by(_text, by_seed),
            "spread": _by(_text, _or_null(spread)),
            "difference": _or_null(_by(_text, _or_null(pair))),
        }
    )
    shape = _object(
        {
            "data": _text,
            "init_from": _or_null(arm),
            "validated": _text,
            "reference": arm,
            "quantities": _by(_text, _text),
            "arms": _list(one),
        }
    )

    def check(section: Any, at: str) -> None:
        shape(section, at)
        names = [found["arm"] for found in section["arms"]]
        _need(section["reference"] in names, f"{at}.reference", "one of its arms")
        for found in section["arms"]:
            for part in ("values", "spread"):
                missing = section["quantities"].keys() - found[part].keys()
                _need(not missing, f"{at}, {found['arm']}, {part}", "every quantity")
            for both in filter(None, (found["difference"] or {}).values()):
                alike = (both["low"] is None) == (both["high"] is None)
                _need(alike, f"{at}, {found['arm']}, difference", "both ends of an interval")

    return check


def _distinct(values: list[Any], at: str) -> None:
    _need(len(set(values)) == len(values), at, "each but once")
