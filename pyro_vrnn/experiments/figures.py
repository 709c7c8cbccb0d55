"""The figures of an experiment: validation curves by updates, sequences and seconds, and what each run reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pyro_vrnn.experiments.summary import TIMED, Outcomes, sections_of, validations
from pyro_vrnn.experiments.tasks import Planned
from pyro_vrnn.media import curves
from pyro_vrnn.runs.comparison import AXES
from pyro_vrnn.system.files import make_folder


def draw(arms: Sequence[Planned], outcomes: Outcomes, results: Mapping[str, Any], out: Path) -> list[Path]:
    """Write curves.png and bounds.png, of what is done.

    Returns:
        The files; none before the first run is done.
    """
    groups: dict[str, dict[str, list[Any]]] = {}
    sections = sections_of(arms)
    bounds = {section.validated for section in sections}
    for section in sections:
        for one in section.arms:
            rows = [
                found
                for task in one.tasks
                if (outcomes.get(task) or {}).get("status") == "done" and (found := validations(task))
            ]
            if rows:
                groups.setdefault(section.title, {})[one.arm.name] = rows
    if not groups:
        return []
    folder = make_folder(out / "figures")
    ylabel = "validation NLL, nats per step" + (f" ({next(iter(bounds))})" if len(bounds) == 1 else "")
    curves.comparison(groups, folder / "curves.png", AXES, ylabel)
    panels: dict[str, dict[str, Any]] = {}
    for section, found in zip(sections, results["sections"], strict=True):
        for quantity, words in found["quantities"].items():
            if quantity not in ("kl", "updates", "sequences", TIMED):
                panels.setdefault(section.title, {})[words] = {a["arm"]: a["values"][quantity] for a in found["arms"]}
    curves.reached(panels, folder / "bounds.png", "nats per step")
    return [folder / "curves.png", folder / "bounds.png"]
