"""What `prepare` is asked to do: which source, with which options, into which file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_vrnn.data import catalogue
from pyro_vrnn.data.schema import DataInfo, read_info
from pyro_vrnn.data.sources import SOURCES, audio
from pyro_vrnn.data.sources.recordings import describe_sources
from pyro_vrnn.data.writer import check_free
from pyro_vrnn.system.errors import ConfigError, DataError, choose

GENERAL = ("path", "source", "overwrite", "progress")
LISTS = {"columns", "drop", "one_hot", "missing"}
"""Options that are several texts with commas between."""
COMMON = ("seed", "strict", "jobs")
"""Options that every `prepare` takes, so that one script can give them to all; a kind that has no use for one ignores
it."""


def _words(value: Any) -> str:
    """An option as it would be typed."""
    parts = value if isinstance(value, list | tuple) else [value]
    return ",".join(f"{part:g}" if isinstance(part, float) else str(part) for part in parts)


@dataclass(frozen=True)
class Job:
    """One data file to make."""

    path: Path
    make: Callable[..., DataInfo]
    options: dict[str, Any]
    done: bool
    """Whether the file is there already, made with the same options (of data that cannot change)."""

    def run(self, *, overwrite: bool, progress: Callable[[int, int], None]) -> DataInfo:
        """Make it; errors are the source's own, but that a file in the way is told from the one that was asked for."""
        try:
            check_free(self.path, overwrite)
        except ConfigError as error:
            others = self.otherwise()
            hint = f"{error.hint}; it was made with {', '.join(others)}" if others else error.hint
            raise ConfigError(error.message, hint, self.path) from None
        return self.make(self.path, overwrite=overwrite, progress=progress, **self.options)

    def otherwise(self) -> list[str]:
        """The options with which the file that is there was made, where they are not those asked for: `rate=10.0`."""
        try:
            made = read_info(self.path).options
        except DataError:
            return []
        usual = {name: p.default for name, p in inspect.signature(self.make).parameters.items()}
        asked = {name: value for name, value in (usual | self.options).items() if name not in (*GENERAL, "strict")}
        found = []
        if "source" in self.options and "source" in made:
            names = describe_sources(self.options["source"])
            if made["source"] not in (names, names[0]):
                found.append(f"source={_words(made['source'])}")
        for name, value in asked.items():
            was = made.get(name, usual.get(name))
            if (name in made or name in self.options) and _words(was) != _words(value):
                found.append(f"{name}={_words(was)}")
        return found


def plan(kind: str, sources: Sequence[str], out: Path | None, options: dict[str, Any]) -> Job:
    """Check a `prepare` before any work.

    Args:
        kind: of source.
        sources: files, folders or known names; most kinds take one.
        out: the file to make; a name below data/ by default.
        options: by name, as texts or numbers from the command line.

    Raises:
        ConfigError: an unknown kind, no source or too many.
    """
    if kind not in SOURCES:
        raise choose("kind of source", kind, [*SOURCES, "convert"])
    make = SOURCES[kind]
    known = inspect.signature(make).parameters
    if unknown := set(options) - set(known) - set(COMMON):
        raise choose(f"option of prepare {kind}", min(unknown), sorted({*known} - {*GENERAL}))
    options = {k: v for k, v in options.items() if k in known}
    if "splits" in options:
        options["splits"] = _shares(options["splits"])
    for name in LISTS & set(options):
        options[name] = [part.strip() for part in str(options[name]).split(",")]
    if options.get("seconds") == 0:
        options["seconds"] = None
    if "index" in options and not sources:
        sources = [str(Path(options["index"]).parent)]
    if "source" not in known:
        if sources:
            raise ConfigError(f"prepare {kind} takes no SOURCE", "the chorales are music21's own")
        name = options.setdefault("resolution", "quarter")
        path = out or catalogue.FOLDER / ("chorales.h5" if name == "quarter" else f"chorales_{name}.h5")
        return Job(path, make, options, _made_with(path, options))
    if not sources:
        names = f", or one of {', '.join(sorted(catalogue.NAMES))}" if kind == "pianoroll" else ""
        raise ConfigError(f"prepare {kind} needs a SOURCE", f"a file or folder{names}")
    if len(sources) > 1 and kind != "audio":
        raise ConfigError(f"prepare {kind} takes one SOURCE, not {len(sources)}", "give a folder for several files")
    options["source"] = list(sources) if kind == "audio" else sources[0]
    stem = Path(sources[0]).resolve().stem
    path = out or catalogue.FOLDER / catalogue.NAMES.get(sources[0], f"{stem}.h5")
    return Job(path, make, options, done=False)


def convert(
    sources: Sequence[str],
    out: Path | None,
    options: dict[str, Any],
    *,
    overwrite: bool,
    progress: Callable[[int, int], None],
    say: Callable[[str], None],
) -> list[Path]:
    """Recordings to wav or npy files, what `prepare convert` does; see `sources.audio.convert`.

    Raises:
        ConfigError: no source, or no folder to write to.
    """
    if not sources or out is None:
        raise ConfigError(
            "prepare convert needs a SOURCE and --out DIR", "for example: prepare convert mp3s --out wavs"
        )
    given: dict[str, Any] = {"sample_rate": 16000, "to": "wav"} | options
    return audio.convert(
        list(sources),
        out,
        overwrite=overwrite,
        progress=progress,
        skipped=lambda name, reason: say(f"skipped {name}: {reason}"),
        **given,
    )


def _shares(text: str) -> tuple[float, ...]:
    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError:
        shares = ()
    if len(shares) != 3 or not all(0 <= s <= 100 for s in shares) or abs(sum(shares) - 100) > 1e-9:
        raise ConfigError(f"--splits {text!r}: expected three shares that sum to 100", "for example 90,5,5")
    return shares


def _made_with(path: Path, options: dict[str, Any]) -> bool:
    try:
        made = read_info(path).options if path.exists() else {}
    except DataError:
        return False
    return all(made.get(name) == value for name, value in options.items()) and bool(made)
