"""Draw by running the *model* that was trained, freely or continuing from a given beginning; write what it plays."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyro_vrnn import media
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.programs import Markov, weights
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, check_seed
from pyro_vrnn.system.files import make_folder, safe_name, write_json

DEFAULT_STEPS = 64
MOST_STEPS = 100_000
MOST_DRAWS = 10_000
"""That a MIDI file of the finest ticks holds with room to spare."""


@dataclass(frozen=True)
class Draw:
    """Sequences drawn together; B of T steps each."""

    x: Tensor  # [T, B, X]
    z: Tensor  # [T, B, Z]
    log_prob: Tensor  # log p(x, z) as they were drawn (at the temperature; given steps scored plainly), nats, [B]


def temperature_of(net: SequenceModel, asked: float | None = None) -> float:
    """What x is drawn at: what was asked for, or else what is usual for the likelihood, and never 1 unseen."""
    return net.likelihood.usual_temperature if asked is None else asked


@torch.no_grad()
def draw(
    net: SequenceModel, num: int, steps: int, *, prime: Tensor | None = None, temperature: float | None = None
) -> Draw:
    """Run the markov model forward in time.

    Args:
        net: in evaluation mode.
        num: B.
        steps: T, the given beginning included.
        prime: [T0, X] with T0 <= T: a beginning for all; the guide infers its z, the model continues from there.
        temperature: of the drawn x_t; by default what is usual for the likelihood (`temperature_of`).
    """
    temperature = temperature_of(net, temperature)
    program = Markov(net)
    device = next(net.parameters()).device
    lengths = torch.full((num,), steps, device=device)
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        if prime is None:
            model: Any = program.model
            batch = Batch(lengths)
        else:
            x = prime.to(device)[:, None].expand(-1, num, -1)  # [T0, B, X]
            given = Batch.of(x)
            seen = poutine.trace(program.guide).get_trace(given)
            model = poutine.replay(program.model, trace=seen)
            batch = Batch(lengths, given.x, observed=given.observed)
        trace = poutine.trace(model).get_trace(batch, temperature=temperature)
        trace.compute_log_prob()
    sites = {k: v for k, v in trace.nodes.items() if v["type"] == "sample" and not site_is_subsample(v)}
    log_prob = torch.stack([site["log_prob"] for site in sites.values()]).sum(0)
    return Draw(
        x=trace.nodes["_RETURN"]["value"],
        z=torch.stack([site["value"] for name, site in sites.items() if name.startswith("z_")]),
        log_prob=log_prob,
    )


@torch.no_grad()
def log_joint(net: SequenceModel, x: Tensor, z: Tensor) -> Tensor:
    """log p(x, z) of given sequences, nats, [B]: what `draw` says of its own draw at temperature 1.

    Args:
        net: in evaluation mode.
        x: [T, B, X].
        z: [T, B, Z].
    """
    batch = Batch(torch.full((x.shape[1],), len(x), device=x.device), x)
    given = {f"z_{t + 1}": z_t for t, z_t in enumerate(z)}
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        return weights.log_joint(Markov(net).model, batch, given, 1)[0]


def write(
    run: Trained,
    *,
    num: int = 4,
    steps: int | None = None,
    seconds: float | None = None,
    temperature: float | None = None,
    prime: str | Path | None = None,
    prime_index: str | None = None,
    prime_steps: int | None = None,
    seed: int = 0,
    out: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Draw and write sequences: media, picture and a .json each, and one picture of all (media/ says which).

    Args:
        run: the trained model.
        num: how many.
        steps: length of each, the given beginning included; default: `Trained.sample_steps` if the beginning is
            shorter, else 64 after the beginning.
        seconds: the same in seconds.
        temperature: below 1 surer, above 1 wilder; default 1, and next to 0 for a likelihood that was trained by least
            squares, so that its means are drawn (`Likelihood.usual_temperature`).
        prime: a file of the kind that the model draws, to continue from.
        prime_index: a number or id of the run's test split to continue from.
        prime_steps: how much of it; default 16.
        seed: the same seed draws the same.
        out: folder; default RUN/samples.
        progress: called with (files done, of how many).

    Returns:
        The files written, the media first.

    Raises:
        ConfigError: contradicting or impossible options.
        DataError: a prime that cannot be read.
    """
    form = run.format
    check_seed(seed)
    if num < 1:
        raise ConfigError(f"--num {num}: must be at least 1")
    if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
        raise ConfigError(f"--seconds {seconds}: must be above 0")
    usual, temperature = temperature_of(run.net), temperature_of(run.net, temperature)
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"--temperature {temperature}: must be a number above 0", "1 is the model as it was trained")
    if num > MOST_DRAWS:
        raise ConfigError(f"--num {num}: at most {MOST_DRAWS} at once", "draw more with other values of --seed")
    if seconds is not None and form.steps_per_second is None:
        raise ConfigError(f"--seconds {seconds}: these {form.kind} have no time", "use --steps")
    given = _prime(run, prime, prime_index, prime_steps)
    first = 0 if given is None else len(given)
    if steps is not None and seconds is not None:
        raise ConfigError("--steps and --seconds: give one of them")
    if seconds is not None:
        steps = round(seconds * (form.steps_per_second or 1.0))
        if steps < 1:
            rate = form.steps_per_second or 1.0
            raise ConfigError(f"--seconds {seconds}: a step is {1 / rate:.4g} seconds", "ask for at least one")
    length = usual_steps(run.sample_steps, first) if steps is None else steps
    if length < max(1, first):
        raise ConfigError(f"{length} steps: must be at least {max(1, first)}", "the given beginning is counted in")
    if length > MOST_STEPS:
        raise ConfigError(f"{length} steps: at most {MOST_STEPS} can be written", "ask for fewer --steps")
    drawn = seeded(run, num, length, seed, prime=given, temperature=temperature)
    stored = decoded(run, drawn)
    if given is not None:  # what was missing of the beginning is missing in what is written
        lost = np.isnan(given.cpu().numpy())
        for sequence in stored if lost.any() else ():
            sequence[:first][lost] = np.nan
    folder = make_folder(out or run.output("samples"))
    files: list[Path] = []
    others: list[Path] = []
    width = max(2, len(str(num - 1)))
    source = "" if given is None else f"-from-{safe_name(str(prime_index or Path(str(prime)).stem))}-{first}"
    stem = f"{seed}{source}" + ("" if temperature == usual else f"-at-{temperature:g}")
    for i, sequence in enumerate(stored):
        name = f"sample-{stem}-{i:0{width}d}"
        title = f"{run.config.model.name}, {run.folder.name}, seed {seed}, sample {i}"
        holes = form.missing and given is not None
        medium, picture, facts = media.write(form, sequence, folder / name, title=title, given=first, holes=holes)
        about = folder / f"{name}.json"
        write_json(
            about,
            {
                "schema": 1,
                "file": medium.name,
                "run": run.named,
                "checkpoint": run.step_folder.name,
                "draw": i,
                "num": num,
                "steps": length,
                "temperature": temperature,
                "prime": None if prime is None else str(prime),
                "prime_index": prime_index,
                "prime_steps": first,
                "seed": seed,
                "log_joint": float(drawn.log_prob[i]),  # of x and z, nats
                **facts,
            },
        )
        files.append(medium)
        others += [about] if picture is None else [picture, about]
        if progress is not None:
            progress(i + 1, num)
    titles = [f"sample {i}" for i in range(num)]
    picture = media.overview(form, stored, folder / f"samples-{stem}.png", titles, first)
    return [*files, *others, *([] if picture is None else [picture])]


def seeded(
    run: Trained, num: int, steps: int, seed: int, *, prime: Tensor | None = None, temperature: float | None = None
) -> Draw:
    """`draw` with random numbers of its own; those outside are left as they were."""
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(seed)
        return draw(run.net, num, steps, prime=prime, temperature=temperature)


def decoded(run: Trained, drawn: Draw) -> list[NDArray[Any]]:
    """What was drawn, in the units of the data's source. B of [T, columns]."""
    return [run.encoding.decode(x) for x in drawn.x.movedim(1, 0).double().cpu().numpy()]


def usual_steps(sequence_steps: int, first: int) -> int:
    """How long a sample is that continues from `first` steps; `sequence_steps` as in `Trained.sample_steps`."""
    return sequence_steps if first < sequence_steps <= MOST_STEPS else first + DEFAULT_STEPS


def _prime(run: Trained, file: str | Path | None, index: str | None, steps: int | None) -> Tensor | None:
    """The beginning to continue from, [T0, X]."""
    if file is None and index is None:
        if steps is not None:
            raise ConfigError("--prime-steps without a prime", "give --prime FILE or --prime-index I")
        return None
    if file is not None and index is not None:
        raise ConfigError("--prime and --prime-index: give one of them")
    if file is not None:
        roll = run.encoding.of_values(run.read_file(Path(file)))
    else:
        assert index is not None
        dataset = run.data()
        roll = dataset[dataset.find(index)]
    wanted = min(16, len(roll)) if steps is None else steps
    if not 1 <= wanted <= len(roll):
        raise ConfigError(f"--prime-steps {wanted}: the given sequence has {len(roll)} steps")
    return torch.from_numpy(roll[:wanted])
