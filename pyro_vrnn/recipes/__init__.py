"""The shipped recipes, one TOML file per experiment; the first line of each says what it is."""

from __future__ import annotations

from importlib import resources


def names() -> list[str]:
    """Of all shipped recipes."""
    return sorted(f.name.removesuffix(".toml") for f in resources.files(__name__).iterdir() if f.name.endswith(".toml"))


def text(name: str) -> str:
    """The TOML text of a shipped recipe."""
    return (resources.files(__name__) / f"{name}.toml").read_text("utf-8")
