"""A run on one HTML page: what it is, its curves, scores, samples and posterior, what is unusual, how to repeat it."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tomli_w

from pyro_vrnn import media, weights
from pyro_vrnn.data.baselines import baselines
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.media import findings, report
from pyro_vrnn.media.findings import Finding
from pyro_vrnn.media.report import Figure, Page, Piece
from pyro_vrnn.objectives import make_objective
from pyro_vrnn.objectives.evaluation import evaluate
from pyro_vrnn.programs import Stacked
from pyro_vrnn.runs import inspection, sampling
from pyro_vrnn.runs.folder import read_environment, read_metrics, read_stop
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError, check_seed
from pyro_vrnn.system.files import write_bytes

MOST_SAMPLES = 16
MOST_STEPS = 1000
"""Of a sample on the page."""
SYMBOLS = 300
"""Symbols of a text that is sampled, at least."""
POSTERIOR_STEPS = 200
"""Scored steps of the test sequence that the posterior is taken of."""
SECONDS = 10.0
"""Of each sound, at most."""
SOUND_BYTES = 2_200_000
"""All sounds together, before they are written as text, which takes a third more."""
Scores = list[tuple[str, str, str]]


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
        seed: of the samples, the test bound and the posterior.
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
    told = findings.of_training(rows, clip, stopped, shlex.quote(run.named))
    told += _diagnostics(run.folder)
    scores, dataset = _validated(run, rows), None
    figures: list[Figure] = []
    words = "This model has no latent variables, and so no posterior."
    try:
        dataset = run.data()
        scores += _tested(run, dataset, seed, told, progress)
        if run.net.latent_dim > 0:
            figures, words = _posterior(run, dataset, seed, told)
    except (DataError, NumericsError) as error:
        told.append(Finding(f"The test split was not measured: {error.message}.", error.hint or ""))
        words = words if run.net.latent_dim == 0 else "It was not looked into: the test split was not measured."
    pieces, about = _samples(run, dataset, num, seed)
    raw = {section: part for section, part in config.to_dict().items() if section != "format"}
    return Page(
        title=f"{run.folder.resolve().name}: {config.model.name} on {Path(config.data.path).stem}",
        facts=_facts(run, rows, stopped),
        findings=told,
        scores=scores,
        curves=report.training_curves(rows, clip, run.net.latent_dim > 0),
        samples=pieces,
        samples_words=about,
        posterior=figures,
        posterior_words=words,
        settings=_changed(run),
        commands=_commands(run, rows, stopped, num, seed),
        recipe=tomli_w.dumps(raw),
        made=_flat(read_environment(run.folder)),
    )


def _facts(run: Trained, rows: list[dict[str, Any]], stopped: str) -> list[tuple[str, str]]:
    """What the run is, in words and values."""
    config, form, last = run.config, run.format, rows[-1] if rows else {}
    count = sum(p.numel() for p in run.net.parameters())
    found = [
        ("model", f"{config.model.name}, {config.model.likelihood} output, {count:,} parameters"),
        ("objective", f"{config.objective.name}, K={config.objective.particles}"),
        ("data", f"{config.data.path} ({form.kind}, {form.support}, {form.x_dim} columns of x)"),
        ("training", f"{_updates(rows):,} updates" + (f", stopped by {stopped}" if stopped else "")),
        ("seed", str(config.training.seed)),
        ("checkpoint", run.step_folder.name),
    ]
    seconds = last.get("seconds")
    return found if seconds is None else [*found, ("time", f"{_duration(float(seconds))} of training")]


def _updates(rows: list[dict[str, Any]]) -> int:
    return max((int(row["step"]) for row in rows), default=0)


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )


def _diagnostics(folder: Path) -> list[Finding]:
    """Whether numbers were once not finite."""
    found = sorted(f.name for f in (folder / "diagnostics").glob("*.json"))
    what = f"Numbers were not finite once: diagnostics/{found[-1]} says where." if found else ""
    return [Finding(what, "Try a smaller training.learning_rate or training.clip_norm.")] if found else []


def _validated(run: Trained, rows: list[dict[str, Any]]) -> Scores:
    """The best validation."""
    found = [row for row in rows if "valid_nll_per_step" in row]
    if not found:
        return []
    best, bound = min(found, key=lambda row: float(row["valid_nll_per_step"])), run.config.validated
    unit = f"nats per step ({bound.name}, K={bound.particles}), at update {best['step']:,}"
    return [("best NLL on validation", f"{best['valid_nll_per_step']:.4f}", unit)]


def _tested(
    run: Trained,
    dataset: SequenceDataset,
    seed: int,
    told: list[Finding],
    progress: Callable[[int, int], None] | None,
) -> Scores:
    """The ELBO of the test split and the baselines beside it; `told` hears of baselines that are better."""
    found = evaluate(
        Stacked(run.net),
        dataset,
        make_objective("elbo", 1, run.config.objective),
        split="test",
        batch_size=32,
        seed=seed,
        device=run.device,
        progress=progress,
    )
    form, nll = run.format, found.nll_per_step
    spread = "" if found.stderr is None else f" ± {found.stderr:.4f}"
    over = f", standard error over {found.sequences} sequences" if spread else ""
    exact = "exact" if run.net.latent_dim == 0 else "elbo, K=1, an upper bound on the NLL"
    scores = [("NLL on test", f"{nll:.4f}{spread}", f"nats per step ({exact}){over}")]
    if run.net.latent_dim > 0:
        scores.append(("KL on test", f"{found.kl_per_step:.4f}", "nats per step, a part of the NLL"))
    simple, words = baselines(dataset.info.path, run.encoding), form.traits.baseline_words(form.support)
    scores += [("baseline on test", f"{simple[key]:.4f}", f"nats per step ({what})") for key, what in words.items()]
    sound = form.by_sample(nll)
    if sound:
        unit = f"bits; amplitude in {sound['amplitude_unit']}"
        scores.append(("NLL per sample on test", f"{sound['bits_per_sample']:.4f}", unit))
    told += findings.of_baselines(nll, {what: simple[key] for key, what in words.items()})
    return scores


def _posterior(run: Trained, dataset: SequenceDataset, seed: int, told: list[Finding]) -> tuple[list[Figure], str]:
    """Charts of the posterior of the first test sequence, and what they are about; `told` hears of idle units."""
    given = int(dataset.given[0])
    x = dataset[0][: given + POSTERIOR_STEPS]
    kl = inspection.posterior(run, x, seed=seed, given=given).kl()  # [1, T, Z]
    by_step, by_unit = kl.sum(-1).mean(0).tolist(), kl.mean((0, 1)).tolist()
    active = sum(value > inspection.ACTIVE_NATS for value in by_unit)
    told += findings.of_units(by_unit, active, inspection.ACTIVE_NATS)
    steps = f"the first {len(x)} steps" if len(x) < int(dataset.lengths[0]) else f"{len(x)} steps"
    words = (
        f"Test sequence {dataset.ids[0]}, {steps}: {active} of {len(by_unit)} latent units are active (KL above "
        f"{inspection.ACTIVE_NATS:g} nats per step); KL {sum(by_step):.3f} nats in all."
    )
    if not run.net.per_step:
        words += " One z is about the whole sequence; there is no z of single steps."
    return report.posterior_curves(by_step if run.net.per_step else [], by_unit, inspection.ACTIVE_NATS), words


def _samples(run: Trained, dataset: SequenceDataset | None, num: int, seed: int) -> tuple[list[Piece], str]:
    """What the model samples, and a test sequence beside it to compare."""
    form = run.format
    steps = min(sampling.usual_steps(run.sample_steps, 0), MOST_STEPS)
    steps = max(steps, SYMBOLS) if form.level else steps
    stored = sampling.decoded(run, sampling.seeded(run, num, steps, seed))
    rate = form.sample_rate if form.traits.sampled else media.pianorolls.HEARD_RATE
    seconds = min(SECONDS, SOUND_BYTES / (2 * rate * (num + 1)))
    named = [(f"Sample {i}", values) for i, values in enumerate(stored)]
    if dataset is not None:
        real = run.encoding.decode(dataset[0][:MOST_STEPS])
        named.append((f"From the data: test sequence {dataset.ids[0]}", real))
    pieces = [Piece(name, media.show(form, values, name, seconds)) for name, values in named]
    words = f"{num} sampled with seed {seed}, {steps} steps each"
    return pieces, words + ("." if dataset is None else ", and a sequence of the test split beside them.")


def _changed(run: Trained) -> list[tuple[str, str, str]]:
    """Settings that differ from the defaults of their model, objective and section: name, value, default."""
    config, found = run.config, []
    for section in ("model", "objective", "data", "training"):
        part = getattr(config, section)
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            made = field.default_factory
            default = field.default if made is dataclasses.MISSING else made()
            if value != default:
                said = "none" if default is dataclasses.MISSING else _say(default)
                found.append((f"{section}.{field.name}", _say(value), said))
    return found


def _commands(run: Trained, rows: list[dict[str, Any]], stopped: str, num: int, seed: int) -> list[str]:
    """What makes the run again, with as many updates if it was cut short, and then this page."""
    if (shipped := weights.name_of(run.folder)) is not None:
        card = weights.card(shipped)
        page = ["pyro-vrnn", "report", shipped, "--num", str(num), "--seed", str(seed)]
        return [card.prepare, card.train, shlex.join(page)]
    again = f"{run.folder}-again"
    command = ["pyro-vrnn", "train", str(run.folder / "config.toml"), "--out", again]
    if (start := read_environment(run.folder).get("init_from")) is not None:
        command += ["--init-from", str(start)]
    if stopped in ("max-time", "signal"):
        command += ["--max-steps", str(_updates(rows))]
    return [shlex.join(command), shlex.join(["pyro-vrnn", "report", again, "--num", str(num), "--seed", str(seed)])]


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    """Nested values by dotted names, without absent ones."""
    found = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{key}.")
        elif value is not None:
            found.append((f"{before}{key}", _say(value)))
    return found


def _say(value: object) -> str:
    """A value of TOML or JSON in words."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_say, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
