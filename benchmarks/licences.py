"""The licences of what an installation brings, from the packages' own metadata, as a page.

    python benchmarks/licences.py docs/licences.md        (make licences)

For the core and each extra of pyproject.toml: all packages that pip would install for it here, with the licence that
each states (License-Expression, or its classifier, or the first line of its License field). What is not installed is
listed as such. Exit code 1 if a package of the core has a licence that is not one of PERMISSIVE.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PERMISSIVE = (
    *(
        "Apache",
        "MIT",
        "BSD",
        "0BSD",
        "3-Clause BSD",
        "ISC",
        "PSF",
        "Python Software Foundation",
        "Python-2.0",
        "Zlib",
        "CC0",
        "BSL-1.0",
    ),
    *("MPL", "Mozilla Public License 2.0", "HPND", "Unlicense", "MIT-CMU", "NCSA"),
    "LGPL",  # libraries that are linked to and can be replaced: soxr, and libsndfile within soundfile
)
"""How licences begin that let a program of any licence use the package as it is installed."""
EXCLUDED = ("dev", "docs")
"""Extras for those who work on this repository."""
WORDS = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "GNU General Public License v3 or later (GPLv3+)": "GPL-3.0-or-later",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
"""Classifiers in short."""
UNSTATED = "not stated"
TEXT = """# Licences of what is installed

pyro-vrnn is under the Apache License 2.0 (LICENSE). These are the packages that it brings, with the licences that they
state themselves, as `make licences` found them on Linux. This is a list and no legal advice.

Everything in the core is permissive, or weak copyleft that is linked to and can be replaced (`soxr`; the wheels of
`soundfile` bring libsndfile, LGPL-2.1). For GPUs, torch from PyPI also brings NVIDIA's libraries (`nvidia-…`), which
are under licences of NVIDIA's own; its CPU wheels do not.

Of the extras, **`chess` is different: python-chess is GPL-3.0-or-later.** It is imported only to read games
(`prepare symbols games.pgn`), and nothing else needs it. Who passes on a program that contains it passes the whole on
under the GPL.
"""


def is_nvidia(name: str) -> bool:
    """Whether a package is one of those that torch brings for GPUs."""
    return name.startswith(("nvidia-", "cuda-"))


def requirements() -> dict[str, list[str]]:
    """What the core and each extra ask for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {k: v for k, v in project["optional-dependencies"].items() if k not in EXCLUDED}
    return {"core": project["dependencies"], **extras}


def installed(name: str) -> metadata.Distribution | None:
    """A package, if it is here."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        return None


def closure(wanted: Iterable[str]) -> set[str]:
    """The names of all packages that requirements bring on this system, in their canonical form."""
    found: set[str] = set()
    waiting = [Requirement(text) for text in wanted]
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        one = waiting.pop()
        key = canonicalize_name(one.name), frozenset(one.extras)
        if key in seen:
            continue
        seen.add(key)
        found.add(key[0])
        package = installed(one.name)
        for text in (package.requires or ()) if package is not None else ():
            needed = Requirement(text)
            extras = one.extras or {""}
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append(needed)
    return found


def licence(name: str) -> str:
    """What a package states, in one line; an expression wins over classifiers, and these over free text."""
    package = installed(name)
    if package is None:
        return "not installed"
    about = package.metadata
    if expression := about.get("License-Expression"):
        return expression
    classifiers = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License ::")]
    if stated := [WORDS.get(c, c) for c in classifiers if c != "OSI Approved"]:
        return " or ".join(stated)
    first = (about.get("License") or "").strip().splitlines()
    return re.sub(r"[|\s]+", " ", first[0])[:60] if first else UNSTATED


def is_permissive(stated: str) -> bool:
    """Whether every part of an expression that must hold has a permissive choice."""
    parts = re.split(r"\s+AND\s+|;", stated.replace("(", " ").replace(")", " "))
    return all(
        any(choice.strip().startswith(PERMISSIVE) for choice in re.split(r"\s+(?:OR|or)\s+", part)) for part in parts
    )


def page() -> str:
    """The page, in Markdown."""
    parts = [TEXT]
    core = closure(requirements()["core"])
    for name, wanted in requirements().items():
        names = {one for one in (core if name == "core" else closure(wanted) - core) if not is_nvidia(one)}
        title = "The core" if name == "core" else f"Extra `{name}`"
        rows = "".join(f"| {one} | {licence(one)} |\n" for one in sorted(names))
        parts.append(f"## {title}\n\n" + (f"| package | licence |\n|---|---|\n{rows}" if rows else "Nothing more.\n"))
    return "\n".join(parts)


def not_permissive() -> list[str]:
    """The packages of the core that are here and not permissive, with their licences; NVIDIA's are told in the text."""
    found = {name: licence(name) for name in closure(requirements()["core"]) if installed(name) and not is_nvidia(name)}
    return [f"{name}: {stated}" for name, stated in sorted(found.items()) if not is_permissive(stated)]


def main(path: Path) -> int:
    """Write the page, and return the exit code."""
    path.write_text(page(), encoding="utf-8")
    for line in not_permissive():
        print(f"not permissive, in the core: {line}")
    return 1 if not_permissive() else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
