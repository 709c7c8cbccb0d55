"""What each setting means: the texts below a configuration's fields, for `config -v` and for docs/settings.md.

`python -m pyro_vrnn.settings > docs/settings.md` writes the page anew; a test asks that it is the newest.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pyro_vrnn.config import DataConfig, RunConfig, TrainingConfig
from pyro_vrnn.likelihoods import LIKELIHOODS
from pyro_vrnn.models import MODELS
from pyro_vrnn.objectives import OBJECTIVES


def meanings(cls: type[Any]) -> dict[str, str]:
    """Each field of a dataclass and the text below it, of the class itself or of one it inherits from."""
    found: dict[str, str] = {}
    for part in reversed([c for c in cls.__mro__ if dataclasses.is_dataclass(c)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(part))).body[0]
        assert isinstance(body, ast.ClassDef)
        for line, below in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                text = (
                    below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
                )
                if text or line.target.id not in found:
                    found[line.target.id] = " ".join(str(text).split())
    return {field.name: found[field.name] for field in dataclasses.fields(cls)}


def of_run(config: RunConfig) -> dict[str, str]:
    """Dotted settings of one run and what they mean."""
    parts = {"model": config.model, "objective": config.objective, "data": config.data, "training": config.training}
    return {f"{name}.{key}": text for name, part in parts.items() for key, text in meanings(type(part)).items()}


def page() -> str:
    """docs/settings.md."""
    models = {name: model.Config for name, model in MODELS.items()}
    lines = [
        "# Settings",
        "",
        "Every setting, its default and what it means. `--set training.patience=10` sets one, and so does a line in a",
        "recipe (TOML: `[training]`, then `patience = 10`); a flag such as `--objective` is short for one of them.",
        "`pyro-vrnn config RECIPE -v` shows what a recipe resolves to, with these words. A setting that the chosen",
        "model or objective does not have is an error.",
        "",
        "(This page is made of the code: `python -m pyro_vrnn.settings > docs/settings.md`.)",
        *_section("data", {"": DataConfig}),
        *_section("model", models),
        *_named("model.name", {name: sys.modules[model.__module__] for name, model in MODELS.items()}),
        *_named("model.likelihood", LIKELIHOODS),
        *_section("objective", OBJECTIVES),
        *_named("objective.name", OBJECTIVES),
        *_section("training", {"": TrainingConfig}),
    ]
    return "\n".join(lines) + "\n"


def _section(section: str, classes: dict[str, Any]) -> list[str]:
    """A table; a setting that not all of the classes have, or not with one default, says which have."""
    lines = ["", f"## {section}", "", "| setting | default | |", "|---|---|---|"]
    if "" not in classes:
        lines.append(f"| `{section}.name` | | See below. |")
    keys = dict.fromkeys(f.name for cls in classes.values() for f in dataclasses.fields(cls) if f.name != "name")
    for key in keys:
        fields = {n: f for n, cls in classes.items() for f in dataclasses.fields(cls) if f.name == key}
        cls = classes[next(iter(fields))]
        by_default: dict[str, list[str]] = {}
        for name, field in fields.items():
            by_default.setdefault(_text(field.default), []).append(name)
        default = ", ".join(
            f"`{d}`" + (f" ({', '.join(of)})" if len(by_default) > 1 else "") for d, of in by_default.items()
        )
        only = f"Of {', '.join(f'`{name}`' for name in fields)}. " if len(fields) < len(classes) else ""
        lines.append(
            f"| `{section}.{key}` | {default} | {only}{meanings(cls)[key]}{_choices(get_type_hints(cls)[key])} |"
        )
    return lines


def _named(setting: str, table: Mapping[str, object]) -> list[str]:
    """The first line of each docstring."""
    texts = {name: (inspect.getdoc(what) or "").splitlines()[0].replace("|", "\\|") for name, what in table.items()}
    return ["", f"| `{setting}` | |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in texts.items())]


def _choices(hint: Any) -> str:
    return f" One of {', '.join(map(str, get_args(hint)))}." if get_origin(hint) is Literal else ""


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    print(page(), end="")
