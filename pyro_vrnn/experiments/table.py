"""The table of an experiment as Markdown and CSV, from what `summary` found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_vrnn.media.tables import write_rows
from pyro_vrnn.system.files import write_bytes

NUMBERS = ("mean", "deviation", "seeds")
DIFFERENCES = ("mean", "low", "high", "wins", "seeds")


def write(results: Mapping[str, Any], out: Path) -> None:
    """Write table.md, and table.csv: a row for each arm and quantity, numbers with all of their digits."""
    write_bytes(out / "table.md", ("\n".join(markdown(results)) + "\n").encode())
    rows = []
    for section in results["sections"]:
        for arm in section["arms"]:
            for quantity, title in section["quantities"].items():
                own, difference = arm["spread"][quantity], (arm["difference"] or {}).get(quantity)
                first = (section["data"], section["init_from"] or "", arm["arm"], quantity, title)
                rows.append([*first, *_cells(own, NUMBERS), *_cells(difference, DIFFERENCES)])
    header = ["data", "init_from", "arm", "quantity", "title", *NUMBERS]
    write_rows(out / "table.csv", [*header, "difference", "low", "high", "wins", "pairs"], rows)


def _cells(found: Mapping[str, Any] | None, keys: Sequence[str]) -> list[object]:
    return ["" if found is None or found[key] is None else found[key] for key in keys]


def markdown(results: Mapping[str, Any]) -> list[str]:
    """The lines of table.md."""
    lines = [f"# {results['title']}", ""]
    waiting = [run for run in results["runs"] if run["status"] == "waiting"]
    if waiting:
        lines += [f"Not finished: {len(waiting)} of {len(results['runs'])} runs are still to be done.", ""]
    for section in results["sections"]:
        lines += _section(section, results)
    if results["notes"]:
        lines += ["## Notes on settings", "", *(f"- {note}" for note in results["notes"]), ""]
    failures = [run for run in results["runs"] if run["status"] == "failed"]
    if failures:
        lines += ["## Runs that failed", "", "They are left out of all numbers above.", ""]
        lines += [
            f"- {run['arm']}, seed {run['seed']}, after update {run['steps']:,}: {run['message']}" for run in failures
        ]
        lines += [""]
    unscored = [(run, *item) for run in results["runs"] for item in run.get("unscored", {}).items()]
    if unscored:
        lines += ["## Bounds that are not finite", "", "They are left out of the numbers above; the runs stand.", ""]
        lines += [f"- {run['arm']}, seed {run['seed']}, {title}: {why}" for run, title, why in unscored]
        lines += [""]
    return lines[:-1]


def _section(section: Mapping[str, Any], results: Mapping[str, Any]) -> list[str]:
    """One table of values, and one of differences."""
    lines = [f"## {section_title(section)}", "", section_words(section, results), "", *grid(*values(section)), ""]
    header, rows = differences(section)
    if rows:
        lines += [f"{differences_words(section, results)}.", "", *grid(header, rows), ""]
    return [*lines, costs_words(results), ""]


def section_title(section: Mapping[str, Any]) -> str:
    """The data, and what its arms continue from."""
    start = "" if section["init_from"] is None else f", continued from {section['init_from']}"
    return f"{section['data']}{start}"


def section_words(section: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """What the numbers of a section are."""
    seeds, unit = results["seeds"], results["equal"]
    told = f"Nats per step, lower is better. Validation is the best value by {section['validated']}, "
    told += "and the other bounds are those of that checkpoint. "
    told += f"Seeds {', '.join(map(str, seeds))}: mean ± standard deviation." if len(seeds) > 1 else ""
    told += f"One seed ({seeds[0]}): there is no spread, and a difference may be chance." if len(seeds) == 1 else ""
    told += f" Equal {unit}." if unit else " Each arm has the length of its recipe."
    return told + " Each run counts to its end here; the curves are drawn as far as all seeds of an arm go."


def values(section: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of values: a row for each arm."""
    titles, rows = section["quantities"], []
    for arm in section["arms"]:
        cells = [_value(arm["spread"][q], arm["runs"]) for q in titles]
        update = arm["seconds_per_update"]
        cost = "-" if update is None else f"{1e3 * update:.3g}"
        rows.append([arm["arm"], *cells, f"{arm['updates']:,}", cost, f"{arm['parameters']:,}"])
    return ["arm", *titles.values(), "updates", "ms per update", "parameters"], rows


def differences(section: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the table of differences from the reference; no rows where there is none."""
    titles = {q: title for q, title in section["quantities"].items() if q != "kl"}
    others = [arm for arm in section["arms"] if arm["difference"] is not None]
    found = any(arm["difference"].get(q) for arm in others for q in titles)
    rows = [[arm["arm"], *(_difference(arm["difference"].get(q)) for q in titles)] for arm in others]
    return ["arm", *titles.values()], rows if found else []


def differences_words(section: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """What the numbers of that table are."""
    many = len(results["seeds"]) > 1
    what = ": mean [95% interval of Student's t], and in how many seeds the arm is better" if many else ""
    return f"Difference from {section['reference']}, paired by seed{what}"


def costs_words(results: Mapping[str, Any]) -> str:
    """What a table's milliseconds and seconds of updates are."""
    return (
        "ms per update is what one costs here, all arms timed in turn in one process, by "
        f"{results.get('timing', 'the processor time of one thread')}; seconds of updates are updates times that."
    )


def _value(found: Mapping[str, Any] | None, runs: int) -> str:
    if found is None:
        return "-"
    some = f" ({found['seeds']} of {runs})" if found["seeds"] < runs else ""
    return f"{found['mean']:.3f}" + ("" if found["deviation"] is None else f" ± {found['deviation']:.3f}") + some


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    if found["low"] is None:
        return f"{found['mean']:+.3f}"
    return f"{found['mean']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}], {found['wins']}/{found['seeds']}"


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Line up the columns of a Markdown table; its lines."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in [header, *rows]]
    lines.insert(1, ["-" * width for width in widths])
    return [f"| {' | '.join(line)} |" for line in lines]
