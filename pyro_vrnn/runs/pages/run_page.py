"""A run on one HTML page: what it is, its curves, scores, samples and posterior, what is unusual, how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import tomli_w

from pyro_vrnn.media.pages import figures, findings, report
from pyro_vrnn.media.pages.findings import Finding
from pyro_vrnn.media.pages.report import Figure, Page
from pyro_vrnn.runs.folder import read_environment, read_metrics, read_stop, updates_of
from pyro_vrnn.runs.pages import latents, provenance, scores
from pyro_vrnn.runs.pages.pieces import pieces
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError, check_seed
from pyro_vrnn.system.files import write_bytes

MOST_SAMPLES = 16


def write(
    run: Trained,
    path: Path | None = None,
    *,
    num: int = 4,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the page; it needs no other file and no network. The same run and seed give the same bytes.

    Where the data is not found, what needs it is left out, and the page says so.

    Args:
        run: the trained model.
        path: the HTML file; default RUN/report.html.
        num: how many samples.
        seed: of the samples, the test bound, the posterior and the map.
        progress: called with (sequences evaluated, of how many).

    Raises:
        ConfigError: too many samples, or the file cannot be written.
    """
    if not 1 <= num <= MOST_SAMPLES:
        raise ConfigError(f"--num {num}: must be at least 1, and at most {MOST_SAMPLES} on one page")
    check_seed(seed)
    path = path or run.output("report.html")
    if path.is_dir():
        raise ConfigError(f"--out {path}: is a folder", "give a file name that ends in .html")
    write_bytes(path, report.fill(page(run, num, seed, progress)).encode("utf-8", "backslashreplace"))
    return path


def page(run: Trained, num: int, seed: int, progress: Callable[[int, int], None] | None = None) -> Page:
    """All that the page says; see `write`."""
    rows, config = read_metrics(run.folder), run.config
    stopped, clip = read_stop(run.folder), config.training.clip_norm
    told = findings.of_training(rows, clip, stopped, updates_of(run.folder, rows), shlex.quote(run.named))
    told += provenance.diagnostics(run.folder)
    measured, dataset = scores.validated(run, rows), None
    charts: list[Figure] = []
    words, of_all = "This model has no latent variables, and so no posterior.", latents.Told()
    try:
        dataset = run.data()
        tested = scores.measure(run, dataset, seed, progress)
        measured += scores.in_words(run, tested)
        told += findings.of_baselines(tested.found.nll_per_step, tested.baselines)
    except (DataError, NumericsError) as error:
        told.append(Finding(f"The test split was not measured: {error.message}.", error.hint or ""))
    if run.net.latent_dim > 0:
        words = "It was not looked into: the test split was not found."
    if run.net.latent_dim > 0 and dataset is not None:
        try:
            charts, words = latents.posterior(run, dataset, seed, told)
            of_all = latents.told(run, dataset, seed)
        except (DataError, NumericsError) as error:
            told.append(Finding(f"The posterior was not looked into: {error.message}.", error.hint or ""))
            words = "It was not looked into, for the reason above."
    shown, about = pieces(run, dataset, num, seed)
    raw = {section: part for section, part in config.to_dict().items() if section != "format"}
    return Page(
        title=f"{run.folder.resolve().name}: {config.model.name} on {Path(config.data.path).stem}",
        facts=provenance.facts(run, rows, stopped),
        findings=told,
        scores=measured,
        curves=figures.training_curves(run.config.objective.drawn(rows), clip, run.net.latent_dim > 0),
        samples=shown,
        samples_words=about,
        posterior=charts,
        posterior_words=words,
        latents=of_all.figures,
        latents_words=of_all.words,
        latents_scores=of_all.scores,
        settings=provenance.changed(run),
        commands=provenance.commands(run, rows, stopped, num, seed),
        recipe=tomli_w.dumps(raw),
        made=provenance.flat(read_environment(run.folder)),
    )
