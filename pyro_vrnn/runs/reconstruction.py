"""Through the posterior and back: what a model makes of a given sequence; noise taken off, holes filled in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

from pyro_vrnn import media
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.fast import loop_of
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.programs.stacked import Path as LatentPath
from pyro_vrnn.runs.denoising import Errors, errors, measure, square_error, summary, variance
from pyro_vrnn.runs.posteriors.inspection import selected
from pyro_vrnn.runs.sampling import draw as sample
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, DataError, check_seed
from pyro_vrnn.system.files import make_folder, safe_name, write_json
from pyro_vrnn.training.transition_inputs import noisy

ROUNDS = 20
"""How often a hole is filled with what the model says of it, given what it said before."""


@dataclass(frozen=True)
class Hole:
    """Steps that are hidden from the model: begin to end, of 0, 1, …; end is not in it."""

    begin: int
    end: int


@torch.no_grad()
def reconstruct(
    net: SequenceModel, x: Tensor, *, hole: Hole | None = None, rounds: int = ROUNDS, draw: bool = False
) -> Tensor:
    """E[x_t | z, x_{<t}] (or a draw) along one draw of z ~ q(z | x). [T, X].

    With a hole, x there is first what the model draws on its own account, and then `rounds` times drawn anew from
    p(x_t | z) with z ~ q(z | x so far): a Markov chain whose draws come to agree with what is around the hole. What
    is not hidden is returned as it was given.

    Args:
        net: in evaluation mode.
        x: [T, X].
        hole: what is hidden.
        rounds: of the chain.
        draw: give draws of x in the place of means (`Likelihood.output`: of least squares these are its means).
    """
    with pyro.validation_enabled(False):
        given = x
        if hole is None:
            emission = _emission(net, x)
            return net.likelihood.output(emission)[:, 0] if draw else emission.mean[:, 0]
        inside = torch.zeros(len(x), 1, dtype=torch.bool, device=x.device)
        inside[hole.begin : hole.end] = True
        x = torch.where(inside, _continued(net, x[: hole.begin], hole.end, like=x), x)
        for _ in range(rounds):
            x = torch.where(inside, net.likelihood.output(_emission(net, x))[:, 0], given)
        kept = ~inside & ~given.isnan()
        return torch.where(kept, given, x if draw else _emission(net, x).mean[:, 0])


def _emission(net: SequenceModel, x: Tensor) -> Any:
    """p(x_t | z) at each step along a draw of the guide. [T, 1 | X]."""
    batch = Batch.of(x[:, None])
    features = net.features(batch.read)
    drawn = loop_of(net).infer(features, net.encode(batch, features), net.begin(batch), torch.Size([1]))
    return LatentPath(net, batch, drawn.z, drawn.states, drawn.q_z).p_x


def _continued(net: SequenceModel, before: Tensor, end: int, like: Tensor) -> Tensor:
    """What the model draws after a beginning, in a tensor as long as `like`. [T, X]."""
    prime = before if len(before) else None
    filled = torch.zeros_like(like)
    filled[:end] = sample(net, 1, end, prime=prime).x[:, 0]
    return filled


def write(
    run: Trained,
    *,
    file: Path | None = None,
    split: str = "test",
    sequence: str = "0",
    steps: int | None = None,
    noise: float = 0.0,
    hide: tuple[int, int] | None = None,
    draw: bool = False,
    seed: int = 0,
    out: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Path]:
    """Write a sequence as it was given to the model and as it came back, and a .json that says how, and how well.

    With noise that is what `denoising.summary` says. Of several sequences there is the .json alone, with a row for
    each and means over them; the random numbers of number i are those of seed + i.

    Args:
        run: the trained model.
        file: of the kind that the model draws; or else a sequence of its data:
        split, sequence: which one, or which several (`inspection.selected`).
        steps: so many first steps of it; all by default.
        noise: spoil what the model is given by so much (see training.input_noise): denoising.
        hide: first step of a hole and the one after its last: infilling.
        draw: write draws of x rather than means (of bits, the likelier value).
        seed: of all that is random.
        out: folder; default RUN/reconstructions.
        progress: called with (sequences done, of how many), of several.

    Returns:
        The files: given, reconstructed, their pictures, and the .json last.

    Raises:
        ConfigError: a hole outside the sequence, or nothing to hide it behind; noise out of range.
        DataError: a file that cannot be read.
    """
    check_seed(seed)
    if not (math.isfinite(noise) and noise >= 0):
        raise ConfigError(f"--noise {noise}: must be 0 or more")
    if noise > 1 and run.format.support != "real":
        raise ConfigError(f"--noise {noise}: the share of {run.format.support} values that is changed, at most 1")
    hole = None if hide is None else Hole(*hide)
    facts: dict[str, Any] = {"split": None if file else split, "noise": noise, "hide": hide, "draw": draw, "seed": seed}
    facts["run"] = run.named
    several = False
    if file is not None:
        x, name = torch.from_numpy(run.encoding.of_values(run.read_file(file))), file.stem
    else:
        dataset = run.data(split=split)
        indices, several = selected(dataset, sequence)
        x, name = torch.from_numpy(dataset[indices[0]]), dataset.ids[indices[0]]
    unit = _unit(run)
    stem = safe_name(name) if file is not None else f"{split}-{safe_name(sequence if several else name)}"
    stem += (f"-noise-{noise:g}" if noise else "") + (f"-without-{hide[0]}-{hide[1]}" if hide else "")
    stem += f"-draw-{seed}" if draw else f"-seed-{seed}" if noise and seed else ""
    if several:
        passed = []
        for done, i in enumerate(indices, 1):
            x = torch.from_numpy(dataset[i])
            passed.append(_pass(run, x, dataset.ids[i], steps, noise, unit, hole, draw, check_seed(seed + i)))
            progress(done, len(indices))
        means = {key: _mean([one.numbers()[key] for one in passed]) for key in passed[0].numbers()}
        facts |= {"sequences": [one.facts() for one in passed], **means, **_denoised(run, passed, noise, unit)}
        about = make_folder(out or run.output("reconstructions")) / f"{stem}.json"
        write_json(about, {"schema": 1, "files": [], **facts})
        return [about]
    one = _pass(run, x, name, steps, noise, unit, hole, draw, seed)
    folder = make_folder(out or run.output("reconstructions"))
    files: list[Path] = []
    given = one.given
    if hide is not None and not run.format.symbols:  # what the model was given has nothing there
        given = given.clone()
        given[hide[0] : hide[1]] = 0
    for word, values in (("given", given), ("reconstructed", one.back)):
        stored = run.encoding.decode(values.double().cpu().numpy())
        title = f"{run.folder.name}: {name}, {word}" + (f", steps {hide[0]} to {hide[1] - 1} hidden" if hide else "")
        where = folder / f"{stem}-{word}"
        medium, picture, _ = media.write(run.format, stored, where, title=title, hidden=hide, holes=word == "given")
        files += [medium] if picture is None else [medium, picture]
    about = folder / f"{stem}.json"
    facts = one.facts() | facts | _denoised(run, [one], noise, unit)
    write_json(about, {"schema": 1, "files": [f.name for f in files], **facts})
    return [*files, about]


@dataclass(frozen=True)
class Passed:
    """A sequence that went through the posterior and back. Tensors are [T, X]."""

    name: str
    clean: Tensor
    given: Tensor
    """With noise, if there is any."""
    back: Tensor
    form: DataFormat
    unit: float | None
    """What a square error is measured in, see `denoising.errors`."""
    errors: Errors | None
    """None without noise, and where nothing was observed."""

    def numbers(self) -> dict[str, float | None]:
        """How far what came back is from the sequence without noise; None where nothing was observed."""
        clean, back = self.clean.cpu().numpy(), self.back.cpu().numpy()
        found = {"mean_square_error": square_error(self.form, clean, back, self.unit)}
        if self.form.support == "binary":
            seen = ~np.isnan(clean)
            found["bits_changed"] = float(np.mean(back[seen] != clean[seen])) if seen.any() else None
        return found

    def facts(self) -> dict[str, Any]:
        """What the .json says of it."""
        denoised = {} if self.errors is None else {
            "error_before": self.errors.before, "error_after": self.errors.after
        }  # fmt: skip
        numbers = self.numbers()
        note = {"note": "nothing observed"} if numbers["mean_square_error"] is None else {}
        return {"sequence": self.name, "steps": len(self.clean), **numbers, **denoised, **note}


def _pass(
    run: Trained,
    x: Tensor,
    name: str,
    steps: int | None,
    noise: float,
    unit: float | None,
    hole: Hole | None,
    draw: bool,
    seed: int,
) -> Passed:
    """One sequence through the posterior and back."""
    if steps is not None and not 1 <= steps <= len(x):
        raise ConfigError(f"--steps {steps}: the sequence has {len(x)}")
    x = x[:steps].to(run.device)
    if hole is not None and not 0 <= hole.begin < hole.end <= len(x):
        raise ConfigError(f"--hide {hole.begin}:{hole.end}: not a part of the sequence's {len(x)} steps")
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(seed)
        given = noisy(x, run.format.support, noise) if noise else x
        back = reconstruct(run.net, given, hole=hole, draw=draw)
    form = run.format
    if form.support == "binary" and not draw:
        back = (back > 0.5).to(x)
    if form.traits.pen and not draw:
        back[..., -1] = (back[..., -1] > 0.5).to(x)
    clean, spoilt, found = (values.cpu().numpy() for values in (x, given, back))
    apart = errors(form, clean, spoilt, found, unit) if noise else None
    return Passed(name, x, given, back, form, unit, apart)


def _mean(values: Sequence[float | None]) -> float | None:
    """Over those that there are."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None


def _unit(run: Trained) -> float | None:
    """What errors are measured in: see `denoising.variance`. None where a file is given and the run's data is gone."""
    try:
        info = run.data(split="train").info
    except DataError:  # a model of bits needs none, and of numbers the words say that the unit is another
        return None if run.format.support == "real" else 1.0
    return variance(run.format, run.encoding, info)


def _denoised(run: Trained, passed: Sequence[Passed], noise: float, unit: float | None) -> dict[str, Any]:
    """What there is to say of errors: of numbers what they are measured in, and what noise did, if any."""
    if not noise:
        return {"error": measure(run.format, unit)} if run.format.support == "real" else {}
    return summary(run.format, [one.errors for one in passed if one.errors is not None], unit)
