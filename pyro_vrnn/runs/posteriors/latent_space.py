"""Latents as arrays and as a map, and the way between two sequences through latent space."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vrnn import media
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.batching import in_order
from pyro_vrnn.data.dataset import SequenceDataset, collate
from pyro_vrnn.media import pictures
from pyro_vrnn.models.latents import center
from pyro_vrnn.programs import Markov
from pyro_vrnn.runs.posteriors.neighbours import around, groups_of
from pyro_vrnn.runs.sampling import temperature_of
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, check_seed
from pyro_vrnn.system.files import make_folder, safe_name, write_bytes, write_json

Array = NDArray[Any]
Floats = NDArray[np.float64]
ONE_POINT = 1e-6
"""Points whose largest distance along an axis is this share of their size, or less, are one point in float32."""
MOST_POINTS = 1000
"""Points on a map; of more, one of every so many is drawn."""
MOST_PIECES = 1000
"""Pieces of sequences that are encoded at once."""


@dataclass(frozen=True)
class Latents:
    """The posterior's centers of some sequences; of a model with one z per sequence, one row each."""

    z: Array  # [rows, Z]
    lengths: Array  # rows of each sequence, [N]
    ids: list[str]

    def by_sequence(self) -> Array:
        """One point a sequence: its rows' mean. [N, Z]."""
        starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        return np.asarray(np.add.reduceat(self.z, starts, axis=0) / self.lengths[:, None])


@torch.no_grad()
def latents(run: Trained, dataset: SequenceDataset, *, batch_size: int = 32) -> Latents:
    """The center of q(z_t | ·) at each step (`latents.center`), the earlier z at theirs.

    Raises:
        ConfigError: a model without latent variables.
    """
    net = run.net
    if net.latent_dim == 0:
        raise ConfigError(f"{run.config.model.name!r} has no latent variables", "encode a run of another model")
    found: list[Array] = [np.zeros(0)] * len(dataset)
    for indices in in_order(dataset.lengths, batch_size):
        batch = collate(dataset, indices).to(run.device)
        features = net.features(batch.read)
        e, state, path = net.encode(batch, features), net.begin(batch), []
        for t, e_t in enumerate(e):
            path.append(center(net.q_z(state, e_t)))
            if not net.per_step:
                break
            state = net.next(state, path[-1], features[t])
        z = torch.stack(path, dim=1).cpu().numpy()  # [B, T, Z]
        for row, i in zip(z, indices, strict=True):
            found[i] = row[: dataset.lengths[i]]
    lengths = np.array([len(rows) for rows in found])
    return Latents(np.concatenate(found), lengths, list(dataset.ids))


def encode(
    run: Trained,
    *,
    data: str | None = None,
    split: str = "test",
    neighbours: int = 0,
    labels: str | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> list[Path]:
    """Write a split's latents as .npz (z, lengths, ids) and their map in two dimensions as .png.

    The map shows one point a sequence in the colour of its label, which windows of one song share
    (`labelled.labels_of`). Two latent units are shown as they are, more by t-SNE or PCA
    (`project`); the title says which.

    Args:
        run: the trained model.
        data: another data file of the same kind; the run's own by default.
        split: train, valid or test.
        neighbours: if above 0, also write so many nearest others of each sequence (`neighbours.write`).
        labels: a regular expression that finds a sequence's label in its id.
        seed: of the map, and of neighbours that are equally far away.
        out: folder; default RUN/latents.

    Returns:
        The .npz and the .png; and of neighbours a .csv and, last, the .json with their purity.

    Raises:
        ConfigError: no latent variables; neighbours, and scikit-learn is not installed; as many neighbours as there
            are sequences.
        DataError: the regular expression finds no label.
    """
    check_seed(seed)
    dataset = run.data(data, split)
    found = latents(run, dataset)
    points, groups = found.by_sequence(), groups_of(dataset, labels)
    near = around(dataset, points, neighbours, pattern=labels, seed=seed) if neighbours else None
    if len(points) > MOST_POINTS:  # t-SNE takes minutes beyond, and the eye sees no more
        chosen = np.linspace(0, len(points) - 1, MOST_POINTS).astype(int)
        points, groups = points[chosen], [groups[i] for i in chosen]
    places, how = project(np.asarray(points, np.float64), seed)
    folder = make_folder(out or run.output("latents"))
    held = io.BytesIO()
    np.savez(held, z=found.z, lengths=found.lengths, ids=np.array(found.ids))
    arrays, picture = folder / f"{split}.npz", folder / f"{split}.png"
    write_bytes(arrays, held.getvalue())
    title = f"{run.folder.name}: {split}, one point a sequence ({len(points)} of {len(found.ids)}), {how}"
    pictures.scatter(places, groups, picture, title=title)
    if near is None:
        return [arrays, picture]
    return [arrays, picture, *near.write(folder / f"{split}-neighbours", {"run": run.named, "split": split})]


def project(points: Floats, seed: int) -> tuple[Floats, str]:
    """Points [N, Z] in two dimensions, [N, 2], and how they came there in words.

    One or two units are shown as they are; more by t-SNE, or, without scikit-learn, by the two directions in which
    the points differ most (PCA). PCA also draws points that are all one, as those of a posterior that has become the
    prior: they have no neighbourhoods, and scikit-learn's t-SNE crashes on them.
    """
    count, units = points.shape
    if units == 1:
        return np.column_stack([points, np.zeros(count)]), "along its one unit"
    if units == 2:
        return points, "its two units as they are"
    if count < 4 or float(np.ptp(points, axis=0).max()) <= ONE_POINT * float(np.abs(points).max()):
        return _principal(points), f"{units} units by PCA"
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return _principal(points), f"{units} units by PCA (pip install 'pyro-vrnn[map]' draws it by t-SNE)"
    perplexity = min(30.0, (count - 1) / 3)
    tsne: Any = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    return np.asarray(tsne.fit_transform(points), np.float64), f"{units} units by t-SNE"


def _principal(points: Floats) -> Floats:
    centred = points - points.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)  # [min(N, Z), Z]
    found = np.zeros((len(points), 2))
    some = centred @ directions[:2].T
    found[:, : some.shape[1]] = some
    return found


@torch.no_grad()
def interpolate(
    run: Trained,
    first: str,
    second: str,
    *more: str,
    split: str = "test",
    points: int = 5,
    steps: int | None = None,
    seed: int = 0,
    out: Path | None = None,
) -> list[Path]:
    """Draw from points on the straight line between two sequences' z, and all of them one after the other (a medley).

    With more sequences the way leads from each to the next, and its points are evenly spaced in their number.

    Args:
        run: of a model with one z per sequence (vrae).
        first, second, more: sequences of the split (number or id), or files of the kind that the model draws, of which
            as much is read as a window of the data has; `run.say` is told.
        split: where they are.
        points: how many, both ends included.
        steps: of each piece; as long as the first sequence by default.
        seed: of the draws.
        out: folder; default RUN/interpolations.

    Raises:
        ConfigError: a model with a z for every step, or fewer points than sequences.
        DataError: a file that cannot be read.
    """
    if run.net.per_step:
        raise ConfigError(
            f"{run.config.model.name!r} has a z for every step: there is no line between two sequences",
            "interpolate a run of vrae",
        )
    names = [first, second, *more]
    if not len(names) <= points <= MOST_PIECES:
        ends = "2, the ends," if not more else f"{len(names)}, one for each sequence,"
        raise ConfigError(f"--points {points}: must be at least {ends} and at most {MOST_PIECES}")
    check_seed(seed)
    given = [_given(run, name, split) for name in names]
    length = len(given[0]) if steps is None else steps
    if length < 1:
        raise ConfigError(f"--steps {length}: must be at least 1")
    z = torch.cat([_code(run, x) for x in given])  # [sequences, Z]
    place = torch.linspace(0, len(names) - 1, points, device=run.device)
    before = place.long().clamp(max=len(names) - 2)
    share = (place - before)[:, None]
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(seed)
        x = _drawn(run, (1 - share) * z[before] + share * z[before + 1], length)  # [T, points, X]
    folder = make_folder(out or run.output("interpolations"))
    stem = safe_name("-to-".join(safe_name(Path(name).stem) for name in names))
    stored = [run.encoding.decode(piece) for piece in x.movedim(1, 0).double().cpu().numpy()]
    files = []
    for name, values in [(f"{stem}-{i}", values) for i, values in enumerate(stored)] + [
        (f"{stem}-medley", np.concatenate(stored))
    ]:
        medium, picture, _ = media.write(run.format, values, folder / name, title=f"{run.folder.name}: {name}")
        files += [medium] if picture is None else [medium, picture]
    about = folder / f"{stem}.json"
    facts = {
        "first": first,
        "second": second,
        "more": list(more),
        "split": split,
        "points": points,
        "steps": length,
        "steps_read": [len(x) for x in given],
        "seed": seed,
    }
    write_json(about, {"schema": 1, "files": [f.name for f in files], "run": run.named, **facts})
    return [*files, about]


def _given(run: Trained, name: str, split: str) -> Tensor:
    """A sequence of the split, or a file, of which a model of windows reads as much as a window. [T, X]."""
    if Path(name).suffix and Path(name).exists():
        found = run.encoding.of_values(run.read_file(Path(name)))
        most = run.format.sequence_steps
        if 0 < most < len(found):  # its z is about so many steps
            run.say(
                f"note: {name}: its first {most} of {len(found)} steps are read, as many as a window of the data has"
            )
            return torch.from_numpy(found[:most])
        return torch.from_numpy(found)
    dataset = run.data(split=split)
    return torch.from_numpy(dataset[dataset.find(name)])


def _code(run: Trained, x: Tensor) -> Tensor:
    """The posterior's center of z_1. [1, Z]."""
    batch = Batch.of(x[:, None]).to(run.device)
    e = run.net.encode(batch, run.net.features(batch.read))
    return center(run.net.q_z(run.net.begin(batch), e[0]))


def _drawn(run: Trained, z: Tensor, steps: int) -> Tensor:
    """Draw x given z_1, at the temperature that is usual for the likelihood. z [B, Z] -> [T, B, X]."""
    model: Callable[..., Any] = pyro.poutine.condition(Markov(run.net).model, data={"z_1": z})
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        batch = Batch(torch.full((len(z),), steps, device=z.device))
        x: Tensor = model(batch, temperature=temperature_of(run.net))
    return x
