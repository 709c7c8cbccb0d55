"""The shipped experiments, one TOML file each: its first line says what it is, its second how its data is made."""

from __future__ import annotations

from importlib import resources


def names() -> list[str]:
    """The names of all shipped experiments."""
    return sorted(f.name.removesuffix(".toml") for f in resources.files(__name__).iterdir() if f.name.endswith(".toml"))


def text(name: str) -> str:
    """The TOML text of a shipped experiment."""
    return (resources.files(__name__) / f"{name}.toml").read_text("utf-8")
