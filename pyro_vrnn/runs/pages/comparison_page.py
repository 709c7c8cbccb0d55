"""Several runs on one HTML page: scores and baselines, settings that differ, curves over one another, samples."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.media.pages import figures, report
from pyro_vrnn.media.pages.report import Comparison, Figure, Piece
from pyro_vrnn.runs.comparison import AXES, Compared, Together, together
from pyro_vrnn.runs.folder import read_metrics
from pyro_vrnn.runs.pages import scores
from pyro_vrnn.runs.pages.pieces import pieces
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError, check_seed
from pyro_vrnn.system.files import write_bytes

MOST_RUNS = 15
"""On one page: as many as there are colours and dashes."""


def write(
    runs: Sequence[Trained],
    path: Path,
    *,
    num: int = 2,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the page; it needs no other file and no network.

    Where the data of a run is not found, its test scores are left out, and the page says so.

    Args:
        runs: two or more trained models, validated.
        path: the HTML file.
        num: how many samples of each.
        seed: of the samples and the test bounds.
        progress: called with (runs measured, of how many).

    Raises:
        ConfigError: what `comparison.compare` refuses, too many runs, or the file cannot be written.
    """
    check(len(runs), path)
    check_seed(seed)
    write_bytes(path, report.fill(page(runs, path, num, seed, progress)).encode("utf-8", "backslashreplace"))
    return path


def check(count: int, path: Path) -> None:
    """Refuse what cannot become a page, before anything is measured.

    Args:
        count: of the runs.
        path: the HTML file.

    Raises:
        ConfigError: too many runs, or the path is a folder.
    """
    if count > MOST_RUNS:
        raise ConfigError(f"{count} runs: at most {MOST_RUNS} on one page", "compare fewer of them, or without --html")
    if path.is_dir():
        raise ConfigError(f"--html {path}: is a folder", "give a file name that ends in .html")


def page(
    runs: Sequence[Trained],
    path: Path,
    num: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """All that the page says; see `write`."""
    found = together([run.folder for run in runs])
    names = _names(found.runs)
    rows: list[list[str]] = []
    notes: list[str] = []
    samples: list[Piece] = []
    for done, (run, one, name) in enumerate(zip(runs, found.runs, names, strict=True)):
        measured, dataset, note = _measured(run, seed)
        rows.append([name, f"{one.best['valid_nll_per_step']:.4f}", one.bound, *measured, *_trained(one)])
        notes += [f"{name}: {note}"] if note else []
        first = one.data not in [other.data for other in found.runs[:done]]  # one of the data is enough
        share = 1 / len(runs)
        samples += pieces(run, dataset if first else None, num, seed, of=f"{name}: ", share=share)[0]
        if progress is not None:
            progress(done + 1, len(runs))
    settings = [[key, *map(_say, values)] for key, values in found.differs.items() if not key.startswith("format.")]
    return Comparison(
        title=f"{len(runs)} runs side by side",
        words=_words(found),
        scores_head=SCORES,
        scores=rows,
        scores_numbers=NUMBERS,
        scores_words=[*ABOUT, *_seeds(found), *notes],
        settings_head=["setting", *names],
        settings=settings,
        legend=[(figures.mark(n), f"{name} ({one.config.model.name})") for n, (name, one) in enumerate(
            zip(names, found.runs, strict=True))],
        curves=_curves(found, names),
        samples=samples,
        samples_words=f"{num} of each run, sampled with seed {seed}, and a test sequence of each data set.",
        command=shlex.join(["pyro-vrnn", "compare", *(run.named for run in runs), "--html", str(path)]),
    )  # fmt: skip


SCORES = [
    *("run", "NLL on validation", "its bound", "NLL on test", "KL on test", "best baseline on test"),
    *("updates", "sequences", "seconds"),
]
NUMBERS = (1, 3, 4, 5, 6, 7, 8)
ABOUT = [
    "Nats per step; lower is better. On validation the best, by the bound that the run was validated with; on test the "
    "ELBO with K=1 (exact without latent variables), with its standard error over sequences, and the best baseline "
    "without a network."
]


def _measured(run: Trained, seed: int) -> tuple[list[str], SequenceDataset | None, str]:
    """NLL, KL and the best baseline on test, the data, and what is to be noted."""
    try:
        dataset = run.data()
        tested = scores.measure(run, dataset, seed)
    except (DataError, NumericsError) as error:
        return ["-", "-", "-"], None, f"the test split was not measured: {error.message}."
    kl = f"{tested.found.kl_per_step:.4f}" if run.net.latent_dim > 0 else "-"
    baseline = f"{min(tested.baselines.values()):.4f}" if tested.baselines else "-"
    return [scores.plus_minus(tested.found), kl, baseline], dataset, ""


def _trained(one: Compared) -> list[str]:
    """Updates, sequences and seconds of the training."""
    last = one.rows[-1]
    return ["-" if last.get(key) is None else f"{last[key]:,.0f}" for key in AXES]


def _words(found: Together) -> list[str]:
    """Whether the numbers can be compared."""
    if len(found.data) > 1:
        return ["Not the same data: the numbers are not comparable, and the curves have charts of their own."]
    if len(found.bounds) > 1:
        return ["Not the same bound on validation (training.valid_objective): those numbers are not comparable."]
    return [f"All on {found.titles[found.data[0]]}, validated by {found.bounds[0]}."]


def _seeds(found: Together) -> list[str]:
    """Mean and deviation over the seeds of one setting."""
    return [
        f"{group['group']}: {group['valid_nll_per_step']:.4f} ± {group['deviation']:.4f} on validation "
        f"(mean and deviation over {group['runs']} runs of {group['seeds']} seeds)."
        for group in found.summaries()
        if group["runs"] > 1
    ]


def _curves(found: Together, names: Sequence[str]) -> list[tuple[str, list[Figure]]]:
    """Charts for each data set."""
    order = {name: n for n, name in enumerate(names)}
    charts = []
    for data in found.data:
        here = {name: one for name, one in zip(names, found.runs, strict=True) if one.data == data}
        looked = {name: one.rows for name, one in here.items()}
        logged = {name: read_metrics(one.folder) for name, one in here.items()}
        drawn = figures.compared_curves(looked, AXES, "NLL on validation, nats per step", "valid_nll_per_step", order)
        by_update = {"step": AXES["step"]}
        drawn += figures.compared_curves(logged, by_update, "Training loss, nats per step", "loss", order)
        latent = {name: one.rows for name, one in here.items() if one.config.model.latent}
        kl = "KL on validation, nats per step"
        drawn += figures.compared_curves(latent, by_update, kl, "valid_kl_per_step", order)
        charts.append((found.titles[data] if len(found.data) > 1 else "", drawn))
    return charts


def _names(runs: Sequence[Compared]) -> list[str]:
    """What each run is called: its folder's name where that tells it from the others."""
    short = [run.folder.resolve().name for run in runs]
    return [name if short.count(name) == 1 else str(run.folder) for name, run in zip(short, runs, strict=True)]


def _say(value: object) -> str:
    return "-" if value is None else str(value)
