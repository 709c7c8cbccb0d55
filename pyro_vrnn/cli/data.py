"""Data files: prepare, data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import command
from pyro_vrnn.cli.terminal import out

SKIPS_SHOWN = 5


@command
def prepare(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="KIND",
            help="chorales, pianoroll, midi, audio, timit, iamondb, strokes, text, symbols or vectors; "
            "or convert (recordings to wav or npy files).",
            show_default=False,
        ),
    ],
    source: Annotated[
        list[str] | None,
        typer.Argument(metavar="SOURCE", help="File or folder of raw data, or a known name.", show_default=False),
    ] = None,
    out_: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE.h5", help="Default: a name below data/.")
    ] = None,
    resolution: Annotated[str | None, typer.Option(help="chorales: quarter, eighth or sixteenth notes a step.")] = None,
    sample_rate: Annotated[int | None, typer.Option(min=1, help="audio: samples a second, 16000.")] = None,
    frame: Annotated[int | None, typer.Option(min=1, help="audio, timit: samples a step, 200.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="audio, timit: length of the windows; 0 for whole recordings.")
    ] = None,
    resample: Annotated[bool | None, typer.Option("--resample", help="audio: bring other rates to this one.")] = None,
    splits: Annotated[
        str | None, typer.Option(help="Shares of train, valid, test: audio 90,5,5; midi, symbols 80,10,10.")
    ] = None,
    split_by: Annotated[
        str | None, typer.Option(help="audio: file, folder (a speaker each), or time (the end of each is held out).")
    ] = None,
    index: Annotated[str | None, typer.Option(help="audio: index.csv of one file a split.")] = None,
    normalise: Annotated[str | None, typer.Option(help="audio: standard (deviation) or range (max - min).")] = None,
    rate: Annotated[float | None, typer.Option(help="midi: steps a second, 20.")] = None,
    window: Annotated[int | None, typer.Option(min=1, help="midi, text: steps of a sequence.")] = None,
    hop: Annotated[int | None, typer.Option(min=1, help="midi: steps from one window to the next.")] = None,
    level: Annotated[str | None, typer.Option(help="text: char or word.")] = None,
    binary: Annotated[bool | None, typer.Option("--binary", help="vectors: pixels to bits.")] = None,
    clip: Annotated[float | None, typer.Option(help="strokes, iamondb: longest move, in deviations, 10.")] = None,
    to: Annotated[str | None, typer.Option(help="convert: wav or npy.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the splits.")] = None,
    strict: Annotated[bool | None, typer.Option("--strict", help="Stop at the first thing that is skipped.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="audio: processes that decode.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace FILE.h5.")] = False,
) -> dict[str, Any]:
    """Raw files to one HDF5 data set."""
    from pyro_vrnn.cli.console import counting
    from pyro_vrnn.data.description import describe
    from pyro_vrnn.data.preparing import convert, plan

    asked = {
        "resolution": resolution,
        "sample_rate": sample_rate,
        "frame": frame,
        "seconds": seconds,
        "resample": resample,
        "splits": splits,
        "split_by": split_by,
        "index": index,
        "normalise": normalise,
        "rate": rate,
        "window": window,
        "hop": hop,
        "level": level,
        "binary": binary,
        "clip": clip,
        "to": to,
        "seed": seed,
        "strict": strict,
        "jobs": jobs,
    }
    options = {name: value for name, value in asked.items() if value is not None}
    if kind == "convert":
        with counting(out.console(), "converting", quiet=out.quiet) as progress:
            files = convert(source or [], out_, options, overwrite=overwrite, progress=progress, say=out.say)
        out.print(*files)
        return {"schema": 1, "files": [str(f) for f in files]}
    job = plan(kind, source or [], out_, options)
    if job.done and not overwrite:
        out.say(f"{job.path}: already prepared (--overwrite makes it again)")
    else:
        with counting(out.console(), f"preparing {kind}", quiet=out.quiet) as progress:
            job.run(overwrite=overwrite, progress=progress)
    found = describe(job.path)
    print_description(job.path, found)
    return {"schema": 1, "file": str(job.path), **found}


@command
def data(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A prepared .h5 file, or a data set's name.", show_default=False),
    ],
) -> dict[str, Any]:
    """What is in a data set: counts, lengths, rates, simple reference scores, where it is from."""
    from pyro_vrnn.data import catalogue
    from pyro_vrnn.data.description import describe

    path = catalogue.find(file, say=out.say)
    found = describe(path)
    print_description(path, found)
    return {"schema": 1, "file": str(path), **found}


def print_description(path: Path, found: dict[str, Any]) -> None:
    """A data set's summary for people."""
    rate = found["steps_per_second"]
    form = [found["kind"], found["support"], f"{found['x_dim']} columns"]
    out.print(f"{path}: {', '.join(form + ([] if rate is None else [f'{rate:.4g} steps a second']))}")
    if found.get("recognised"):
        out.print(f"  recognised: {found['recognised']}")
    titles = {key: key for key in ("sequences", "steps", "shortest", "median", "longest")}
    if found["support"] == "binary":
        titles |= {"ones_per_step": "notes a step", "repeated_steps": "repeated"}
    if found["kind"] == "audio":
        titles |= {"duration": "duration"}
    rows: list[tuple[object, ...]] = [("  split", *titles.values())]
    for split, counts in found["splits"].items():
        if "seconds" in counts:
            counts = counts | {"duration": _duration(counts["seconds"])}
        cells = (counts.get(key, "") for key in titles)
        rows.append((f"  {split}", *(f"{cell:.3f}" if isinstance(cell, float) else cell for cell in cells)))
    out.table(rows, right=tuple(range(1, len(rows[0]))))
    if found.get("floors"):
        for line in floor_lines(found["floors"], found["kind"], found["support"], found["frame_length"]):
            out.print(f"  {line}")
    for line in [*_recordings(found["extra"]), *_notes(found["extra"]), *_columns(found["extra"])]:
        out.print(f"  {line}")
    for key in ("source", "licence"):
        if found[key]:
            out.print(f"  {key}: {found[key]}")
    used = {name: value for name, value in found["options"].items() if value is not None and value is not False}
    if used:
        out.print(f"  options: {', '.join(f'{name}={_words(value)}' for name, value in used.items())}")
    for line in _skipped(found["skipped"], found["extra"].get("skipped_count")):
        out.print(f"  {line}")
    for line in found["warnings"]:
        out.print(f"  warning: {line}")


def floor_words(kind: str, support: str) -> dict[str, str]:
    """What the floors of such data are."""
    if support == "categorical":
        return {"independent": "symbols at their rates (unigrams)", "last": "each after the one before (bigrams)"}
    if support == "binary":
        notes = "notes" if kind == "pianoroll" else "columns"
        return {"independent": f"independent {notes}", "last": "each from its own last value"}
    what = {"audio": "samples", "strokes": "moves and a coin for the pen"}.get(kind, "columns")
    return {"independent": f"independent Gaussian {what}", "last": "each from its own last value, by a line"}


def floor_lines(low: dict[str, float], kind: str, support: str, frame_length: int) -> list[str]:
    """The floors of a data file, for people."""
    words = floor_words(kind, support)
    lines = [f"floors on test, nats a step: {', '.join(f'{low[key]:.2f} {words[key]}' for key in words)}"]
    if kind == "audio":
        lines.append(f"  nats a sample: {', '.join(f'{low[key] / frame_length:.4f}' for key in words)}")
    if "test_sequences" in low:
        lines.append(f"  measured on {low['test_sequences']} test sequences, by {low['train_sequences']} of train")
    return lines


def _words(value: Any) -> str:
    """A setting's value as it would be typed."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _duration(seconds: float) -> str:
    """h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _notes(extra: dict[str, Any]) -> list[str]:
    """A line on notes that valid and test songs had and the file has not."""
    dropped = extra.get("notes_dropped")
    if not dropped:
        return []
    return [f"notes left out: {dropped} of valid and test, of pitches that no training song has"]


def _columns(extra: dict[str, Any]) -> list[str]:
    """A line on the names of columns, of vectors that have some."""
    names = extra.get("columns")
    if not isinstance(names, list) or not names:
        return []
    more = [f"and {len(names) - 20} more"] if len(names) > 20 else []
    return [f"columns: {', '.join([*map(str, names[:20]), *more])}"]


def _recordings(extra: dict[str, Any]) -> list[str]:
    """A line on the recordings of audio: how many, how many are silence, and whether they are cut off."""
    from pyro_vrnn.data.description import counts_in
    from pyro_vrnn.data.schema import SPLITS

    recordings, silent = counts_in(extra, "recordings"), sum(counts_in(extra, "silent_recordings").values())
    if not recordings:
        return []
    parts = [", ".join(f"{count} {split}" for split in SPLITS if (count := recordings.get(split)))]
    if silent:
        parts.append(f"{silent} of them all silence")
    for key, words in (("full_scale_samples", "at full scale"), ("clipped_samples", "clipped to 16 bits")):
        if extra.get(key):
            parts.append(f"{extra[key]} samples {words}")
    return [f"recordings: {'; '.join(parts)}"]


def _skipped(skips: Any, count: Any) -> list[str]:
    """The first few things that were left out, and how many more."""
    if not isinstance(skips, list) or not skips:
        return []
    shown = skips[:SKIPS_SHOWN]
    lines = ["skipped:"]
    for skip in shown:
        words = ": ".join(map(str, skip.values())) if isinstance(skip, dict) else str(skip)
        lines.append(f"  {words}")
    more = (count if type(count) is int else len(skips)) - len(shown)
    return [*lines, f"  and {more} more, in the file's `skipped`"] if more > 0 else lines
