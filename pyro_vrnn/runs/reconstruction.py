"""Through the posterior and back: what a model makes of a given sequence; noise taken off, holes filled in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor

from pyro_vrnn import media
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.fast import loop_of
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.programs.stacked import Path as LatentPath
from pyro_vrnn.runs.sampling import draw as sample
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, check_seed
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
        draw: give draws of x in the place of means.
    """
    with pyro.validation_enabled(False):
        given = x
        if hole is None:
            emission = _emission(net, x)
            return emission.sample()[:, 0] if draw else emission.mean[:, 0]
        inside = torch.zeros(len(x), 1, dtype=torch.bool, device=x.device)
        inside[hole.begin : hole.end] = True
        x = torch.where(inside, _continued(net, x[: hole.begin], hole.end, like=x), x)
        for _ in range(rounds):
            x = torch.where(inside, _emission(net, x).sample()[:, 0], given)
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
) -> list[Path]:
    """Write a sequence as it was given to the model and as it came back, and a .json that says how.

    Args:
        run: the trained model.
        file: of the kind that the model draws; or else a sequence of its data:
        split, sequence: which one.
        steps: so many first steps of it; all by default.
        noise: spoil what the model is given by so much (see training.input_noise): denoising.
        hide: first step of a hole and the one after its last: infilling.
        draw: write draws of x rather than means (of bits, the likelier value).
        seed: of all that is random.
        out: folder; default RUN/reconstructions.

    Returns:
        The files: given, reconstructed, their pictures, and the .json last.

    Raises:
        ConfigError: a hole outside the sequence, or nothing to hide it behind.
        DataError: a file that cannot be read.
    """
    check_seed(seed)
    if file is not None:
        x, name = torch.from_numpy(run.encoding.of_values(media.read(run.format, file))), file.stem
    else:
        dataset = run.data(split=split)
        index = dataset.find(sequence)
        x, name = torch.from_numpy(dataset[index]), dataset.ids[index]
    if steps is not None and not 1 <= steps <= len(x):
        raise ConfigError(f"--steps {steps}: the sequence has {len(x)}")
    x = x[:steps].to(run.device)
    if noise < 0:
        raise ConfigError(f"--noise {noise}: must be 0 or more")
    if noise > 1 and run.format.support != "real":
        raise ConfigError(f"--noise {noise}: the share of {run.format.support} values that is changed, at most 1")
    if hide is not None and not 0 <= hide[0] < hide[1] <= len(x):
        raise ConfigError(f"--hide {hide[0]}:{hide[1]}: not a part of the sequence's {len(x)} steps")
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(seed)
        spoilt = noisy(x, run.format.support, noise) if noise else x
        back = reconstruct(run.net, spoilt, hole=None if hide is None else Hole(*hide), draw=draw)
    if run.format.support == "binary" and not draw:
        back = (back > 0.5).to(x)
    if run.format.traits.pen and not draw:
        back[..., -1] = (back[..., -1] > 0.5).to(x)
    folder = make_folder(out or run.output("reconstructions"))
    stem = f"{split}-{safe_name(name)}" if file is None else safe_name(name)
    stem += (f"-noise-{noise:g}" if noise else "") + (f"-without-{hide[0]}-{hide[1]}" if hide else "")
    stem += f"-draw-{seed}" if draw else f"-seed-{seed}" if noise and seed else ""
    files: list[Path] = []
    if hide is not None and not run.format.symbols:  # what the model was given has nothing there
        spoilt = spoilt.clone()
        spoilt[hide[0] : hide[1]] = 0
    for word, values in (("given", spoilt), ("reconstructed", back)):
        stored = run.encoding.decode(values.double().cpu().numpy())
        title = f"{run.folder.name}: {name}, {word}" + (f", steps {hide[0]} to {hide[1] - 1} hidden" if hide else "")
        where = folder / f"{stem}-{word}"
        medium, picture, _ = media.write(run.format, stored, where, title=title, hidden=hide, holes=word == "given")
        files += [medium] if picture is None else [medium, picture]
    about = folder / f"{stem}.json"
    error = float((back - x).square().nanmean())
    facts = {"sequence": name, "split": None if file else split, "steps": len(x), "noise": noise, "hide": hide}
    facts |= {"draw": draw, "seed": seed, "mean_square_error": error, "run": run.named}
    if run.format.support == "binary":
        facts["bits_changed"] = float(np.mean(back.cpu().numpy() != x.cpu().numpy()))
    write_json(about, {"schema": 1, "files": [f.name for f in files], **facts})
    return [*files, about]
