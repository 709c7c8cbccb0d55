"""What each setting means: the texts below a configuration's fields, for `config -v` and for docs/settings.md.

`python -m pyro_vrnn.config.reference docs/settings.md` writes the page anew; a test asks that it is the newest.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pyro_vrnn.config import DEFAULT_RECIPE, DataConfig, RunConfig, TrainingConfig
from pyro_vrnn.models import MODELS, model_class
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.objectives import OBJECTIVES
from pyro_vrnn.system.errors import ConfigError

DEFAULTS = {"model": "`vrnn`", "objective": "`elbo`"}


def meanings(cls: type[Any]) -> dict[str, str]:
    """Each field of a dataclass and the text below it, of the class itself or of one it inherits from.

    Raises:
        ConfigError: there is no source code to read it from.
    """
    found: dict[str, str] = {}
    for part in reversed([c for c in cls.__mro__ if dataclasses.is_dataclass(c)]):
        try:
            source = inspect.getsource(part)
        except OSError as error:
            raise ConfigError("the package was installed without its source code", "see docs/settings.md") from error
        body = ast.parse(textwrap.dedent(source)).body[0]
        assert isinstance(body, ast.ClassDef)
        for line, below in zip(body.body, [*body.body[1:], None], strict=True):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
                text = (
                    below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
                )
                if text or line.target.id not in found:
                    found[line.target.id] = " ".join(str(text).split())
    return {field.name: found[field.name] for field in dataclasses.fields(cls)}


def called(name: str) -> str:
    """The dotted setting of this last name, `objective.alpha` of alpha; "" if there is none."""
    classes: dict[str, list[Any]] = {
        "model": [model.Config for model in MODELS.values()],
        "objective": [*OBJECTIVES.values()],
        "data": [DataConfig],
        "training": [TrainingConfig],
    }
    found = [s for s, held in classes.items() for cls in held if name in {f.name for f in dataclasses.fields(cls)}]
    return f"{found[0]}.{name}" if found else ""


def of_run(config: RunConfig) -> dict[str, str]:
    """Dotted settings of one run and what they mean."""
    parts = {"model": config.model, "objective": config.objective, "data": config.data, "training": config.training}
    found = {f"{name}.{key}": text for name, part in parts.items() for key, text in meanings(type(part)).items()}
    chosen = (model_class(config.model.name), OBJECTIVES[config.objective.name])
    return found | dict(zip(("model.name", "objective.name"), map(_first_line, chosen), strict=True))


def page() -> str:
    """docs/settings.md."""
    models = {name: model.Config for name, model in MODELS.items()}
    lines = [
        "# Settings",
        "",
        "Every setting, its default and what it means. `--set training.patience=10` sets one, and so does a line in a",
        "recipe (TOML: `[training]`, then `patience = 10`); a flag such as `--objective` is short for one of them.",
        "`pyro-vrnn config RECIPE -v` shows what a recipe resolves to, with these words. The default is what holds",
        f"where neither the recipe nor a flag says otherwise; without a RECIPE, it is `{DEFAULT_RECIPE}`. A setting",
        "that the chosen model or objective does not have is an error; those of a recipe whose model or objective a",
        "flag changes are left out, with a note.",
        "",
        "(This page is made of the code: `python -m pyro_vrnn.config.reference docs/settings.md`.)",
        *_section("data", {"": DataConfig}),
        *_section("model", models),
        *_named("model.name", MODELS),
        "",
        "| `model.name` | networks for `model.network_dims`, as in `--set model.network_dims.prior=500,500` |",
        "|---|---|",
        *(f"| `{name}` | {', '.join(f'`{n}`' for n in cls.networks)} |" for name, cls in models.items()),
        *_named("model.likelihood", LIKELIHOODS),
        *_section("objective", OBJECTIVES),
        *_named("objective.name", OBJECTIVES),
        *_section("training", {"": TrainingConfig}),
    ]
    return "\n".join(lines) + "\n"


def _section(section: str, classes: dict[str, Any]) -> list[str]:
    """A table; where not all of the classes have a setting, or not alike, it is said which."""
    lines = ["", f"## {section}", "", "| setting | default | |", "|---|---|---|"]
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}  # by setting and text, the defaults and whose they are
    for name, cls in classes.items():
        texts, hints = meanings(cls), get_type_hints(cls)
        for field in dataclasses.fields(cls):
            text = f"{texts[field.name]}{_choices(hints[field.name])}" if field.name != "name" else "See below."
            default = DEFAULTS[section] if field.name == "name" else _text(field.default)
            rows.setdefault((field.name, text), {}).setdefault(default, []).append(name)
    keys = list(dict.fromkeys(key for key, _ in rows))
    for (key, text), defaults in sorted(rows.items(), key=lambda row: keys.index(row[0][0])):
        default = ", ".join(f"{d} ({', '.join(of)})" if len(defaults) > 1 else d for d, of in defaults.items())
        having = [name for of in defaults.values() for name in of]
        only = f" *({', '.join(having)})*" if len(having) < len(classes) and len(defaults) == 1 else ""
        lines.append(f"| `{section}.{key}` | {default} | {_cell(text)}{only} |")
    return lines


def _named(setting: str, table: Mapping[str, type[Any]]) -> list[str]:
    """The first line of each class's docstring."""
    texts = {name: _first_line(what) for name, what in table.items()}
    return ["", f"| `{setting}` | |", "|---|---|", *(f"| `{name}` | {_cell(text)} |" for name, text in texts.items())]


def _first_line(cls: type[Any]) -> str:
    """The first line of a class's docstring, or of its module's where it refers to that."""
    text, module = (inspect.getdoc(what) or "" for what in (cls, sys.modules[cls.__module__]))
    return (module if text.startswith("See the module") else text).splitlines()[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _choices(hint: Any) -> str:
    return f" One of {', '.join(map(str, get_args(hint)))}." if get_origin(hint) is Literal else ""


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
