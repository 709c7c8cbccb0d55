"""Plain values (of TOML, or after `--set key=`) to the fields of a settings dataclass; each mistake has its words."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pyro_vrnn.system.errors import ConfigError


def no_such(key: str, known: list[str]) -> ConfigError:
    """The error for an unknown setting, with the nearest known one."""
    close = difflib.get_close_matches(key, known, n=1)
    guess = f"did you mean {close[0]}? " if close else ""
    return ConfigError(
        f"{key}: no such setting; choose from {', '.join(known)}", f"{guess}`pyro-vrnn config` lists all"
    )


def dataclass_from(cls: type[Any], raw: dict[str, Any], at: str) -> Any:
    """An instance from plain values; `at` is the section's name with a dot, for errors."""
    hints = get_type_hints(cls)
    known = [f.name for f in dataclasses.fields(cls)]
    for key in raw:
        if key not in known:
            raise no_such(at + key, [at + k for k in known])
    missing = [
        f.name
        for f in dataclasses.fields(cls)
        if f.name not in raw and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(f"{at}{missing[0]}: missing")
    return cls(**{k: cast(hints[k], v, at + k) for k, v in raw.items()})


def cast(hint: Any, value: Any, at: str) -> Any:
    """A TOML value, or the text after `--set key=`, as `hint`."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        if value not in args:
            raise ConfigError(f"{at}={value!r}: choose from {', '.join(map(str, args))}")
        return value
    if origin in (Union, types.UnionType):
        tables = [arm for arm in args if get_origin(arm) is dict]
        return cast(tables[0] if tables and isinstance(value, dict) else args[0], value, at)
    if origin is dict:
        return {str(key): cast(args[1], part, f"{at}.{key}") for key, part in value.items()}
    if origin is tuple:
        if isinstance(value, str):
            value = [part for part in value.replace("[", "").replace("]", "").split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            value = [value]
        if args[-1] is not Ellipsis and len(value) != len(args):
            raise ConfigError(f"{at}={value!r}: expected {len(args)} values")
        return tuple(cast(args[0], part, at) for part in value)
    wrong = ConfigError(f"{at}={value!r}: expected {_WORDS.get(hint, str(hint))}")
    if hint is str:
        if not isinstance(value, str):
            raise wrong
        return value
    if hint is bool:
        if isinstance(value, str) and value in ("true", "false"):
            return value == "true"
        if not isinstance(value, bool):
            raise wrong
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise wrong
    try:
        number = hint(value)
    except (ValueError, OverflowError):
        raise wrong from None
    if hint is int and isinstance(value, float) and number != value:
        raise wrong
    if hint is int and abs(number) >= 1 << 63:
        raise ConfigError(f"{at}={str(value)[:40]}: too large")
    if not math.isfinite(number):
        raise ConfigError(f"{at}={value!r}: must be finite")
    return number


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
