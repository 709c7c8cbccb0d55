"""What a notebook shows of a fitted estimator below scikit-learn's own box: a few numbers in a table."""

from __future__ import annotations

import html

from pyro_vrnn.programs.twist import size
from pyro_vrnn.runs import Run
from pyro_vrnn.runs.folder import best_validation, read_metrics, read_stop, updates_of


def table(run: Run) -> str:
    """The run of an estimator as a small HTML table, which is escaped and needs no network."""
    config = run.config
    rows = read_metrics(run.folder)
    best = best_validation(rows, run.state)
    found = [
        ("model", f"{config.model.name}, {config.model.likelihood} output, {size(run.net)}"),
        ("objective", f"{config.objective.name}, K={config.objective.particles}"),
        ("weights", f"of update {int(run.state['step']):,}, the best in validation"),
    ]
    if rows:
        stopped = f", stopped by {why}" if (why := read_stop(run.folder)) else ""
        found.append(
            ("training", f"{updates_of(run.folder, rows):,} updates in {float(rows[-1]['seconds']):.1f} s{stopped}")
        )
    if best is not None:
        bound = config.validated
        unit = f"nats per step ({bound.name}, K={bound.particles})"
        found.append(("best bound in validation", f"{-float(best['valid_nll_per_step']):.4f} {unit}"))
    cells = "".join(
        f'<tr><th style="text-align: left">{html.escape(name)}</th>'
        f'<td style="text-align: left">{html.escape(value)}</td></tr>'
        for name, value in found
    )
    return f'<table aria-label="the fitted model">{cells}</table>'
