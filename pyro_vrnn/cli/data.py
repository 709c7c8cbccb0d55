"""What is in a data set: the command `data`, and how a data set is described."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pyro_vrnn.cli.app import command
from pyro_vrnn.cli.terminal import out

SKIPS_SHOWN = 5


@command
def data(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A prepared .h5 file, or a data set's name.", show_default=False),
    ],
) -> dict[str, Any]:
    """Tell what is in a data set: counts, lengths, rates and baselines."""
    from pyro_vrnn.data import catalogue
    from pyro_vrnn.data.description import describe

    path = catalogue.find(file, say=out.say)
    found = describe(path)
    print_description(path, found)
    return {"schema": 1, "file": str(path), **found}


def print_description(path: Path, found: dict[str, Any]) -> None:
    """A data set's summary for people."""
    from pyro_vrnn.data.description import pace
    from pyro_vrnn.data.kinds import KINDS

    rate = found["steps_per_second"]
    form = [found["kind"], found["support"], f"{found['x_dim']} columns"]
    out.print(f"{path}: {', '.join(form + ([] if rate is None else [pace(rate)]))}")
    if found.get("recognised"):
        out.print(f"  recognised: {found['recognised']}")
    titles = {key: key for key in ("sequences", "steps", "shortest", "median", "longest")}
    if found["support"] == "binary":
        titles |= {"ones_per_step": "notes per step", "repeated_steps": "repeated"}
    if KINDS[found["kind"]].sampled:
        titles |= {"duration": "duration"}
    rows: list[tuple[object, ...]] = [("  split", *titles.values())]
    for split, counts in found["splits"].items():
        if "seconds" in counts:
            counts = counts | {"duration": _duration(counts["seconds"])}
        cells = (counts.get(key, "") for key in titles)
        rows.append((f"  {split}", *(f"{cell:.3f}" if isinstance(cell, float) else cell for cell in cells)))
    out.table(rows, right=tuple(range(1, len(rows[0]))))
    if found.get("floors"):
        for line in baseline_lines(found["floors"], found["kind"], found["support"], found["frame_length"]):
            out.print(f"  {line}")
    for line in [*_recordings(found["extra"]), *_notes(found["extra"]), *_columns(found["extra"]), *_table(found)]:
        out.print(f"  {line}")
    if carved := found["extra"].get("carved"):
        out.print(f"  validation split: {carved}")
    for key in ("source", "licence"):
        if found[key]:
            out.print(f"  {key}: {found[key]}")
    used = {name: value for name, value in found["options"].items() if value is not None and value is not False}
    if used:
        out.print(f"  options: {', '.join(f'{name}={_words(value)}' for name, value in used.items())}")
    if hidden := found["extra"].get("hidden_files"):
        out.print(f"  hidden files passed over: {hidden}")
    for line in _skipped(found["skipped"], found["extra"].get("skipped_count")):
        out.print(f"  {line}")
    for line in found["warnings"]:
        out.print(f"  warning: {line}")


def baseline_lines(scores: dict[str, float], kind: str, support: str, frame_length: int) -> list[str]:
    """The baselines of a data file, for people."""
    from pyro_vrnn.data.kinds import KINDS

    words = KINDS[kind].baseline_words(support)
    lines = [f"baselines on test, nats per step: {', '.join(f'{scores[key]:.2f} {words[key]}' for key in words)}"]
    if KINDS[kind].sampled:
        lines.append(f"  nats per sample: {', '.join(f'{scores[key] / frame_length:.4f}' for key in words)}")
    if "test_sequences" in scores:
        lines.append(f"  measured on {scores['test_sequences']} sequences of test, by {scores['train_sequences']}")
    return lines


def _words(value: Any) -> str:
    """A setting's value as it would be typed."""
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _duration(seconds: float) -> str:
    """h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _notes(extra: dict[str, Any]) -> list[str]:
    """Lines on what a piano-roll leaves out of its songs, and on what their headers had wrong."""
    from pyro_vrnn.data.description import counts_in

    left = {
        "of valid and test, of pitches that no training song has": extra.get("notes_dropped"),
        "that are not on a piano": extra.get("notes_outside"),
        "of the drums": extra.get("drum_notes"),
    }
    parts = [f"{count} {words}" for words, count in left.items() if type(count) is int and count]
    lines = [f"notes left out: {', '.join(parts)}"] if parts else []
    if "drum_notes" in extra:
        lines.append("velocities and pedals are not kept")
    if mended := counts_in(extra, "mended"):
        wrong = ", ".join(f"{what} ({count} file{'s' if count > 1 else ''})" for what, count in mended.items())
        lines.append(f"read in spite of their headers: {wrong}")
    return lines


def _columns(extra: dict[str, Any]) -> list[str]:
    """A line on the names of columns, of vectors that have some."""
    names = extra.get("columns")
    if not isinstance(names, list) or not names:
        return []
    more = [f"and {len(names) - 20} more"] if len(names) > 20 else []
    return [f"columns: {', '.join([*map(str, names[:20]), *more])}"]


def _table(found: dict[str, Any]) -> list[str]:
    """Lines on what a table was read as: its time, what was left out, what is missing."""
    extra, lines = found["extra"], []
    when = extra.get("time")
    if isinstance(when, dict):
        unit = f", {when['spacing_seconds']:g} s a step" if "spacing_seconds" in when else ""
        unit = f", {when['spacing']:g} a step" if "spacing" in when else unit
        lines.append(f"time column: {when.get('column')}{unit}")
    if isinstance(dropped := extra.get("dropped_columns"), dict):
        words = ", ".join(f"{name or 'without a name'} ({why})" for name, why in dropped.items())
        lines.append(f"columns left out: {words}; --columns keeps them")
    if extra.get("resorted"):
        lines.append(f"sequences put in the order of time: {extra['resorted']}")
    if type(count := extra.get("missing_values")) is int:
        values = sum(split["steps"] for split in found["splits"].values()) * found["x_dim"]
        lines.append(f"missing values: {count} of {values} ({100 * count / max(1, values):.2f}%)")
    if extra.get("steps_left_out"):
        lines.append(f"steps left out at the ends of sequences: {extra['steps_left_out']}")
    if isinstance(labels := extra.get("labels"), dict):
        names = sorted({str(label) for part in labels.values() for label in part})
        lines.append(f"labels: {', '.join(names[:20])}{' …' if len(names) > 20 else ''}")
    return lines


def _recordings(extra: dict[str, Any]) -> list[str]:
    """A line on the recordings of audio: how many, how many are silence, whether they are cut off or turned down."""
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
    if type(gain := extra.get("gain")) is float:
        parts.append(f"all samples multiplied by {gain:g}, so that none is beyond full scale")
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
