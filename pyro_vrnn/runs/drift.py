"""How far a model of sound drifts while it hears itself: loudness and spectrum of its continuations by second.

A model that was trained on real sound reads its own output once it is let go, and what it plays may fade, get louder
or become a hum. Every second of its continuations is compared with what the training split sounds like on average,
and so is real sound that it was not trained on, second by second: that is the yardstick.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.media.curves import drift_by_second
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.programs import Markov
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError, DataError, NumericsError, check_seed
from pyro_vrnn.system.files import make_folder

Floats = NDArray[np.float64]
NUM = 8
"""How many continuations are averaged."""
PRIME_SECONDS = 0.5
"""Of real sound before each."""
WINDOW_SECONDS = 0.032
"""Of a spectrum, roughly: the nearest power of two of samples."""
WINDOWS_AT_ONCE = 1024
"""That are transformed together, which bounds the memory."""
REFERENCE_SECONDS = 600
"""Of sound that is read of a split, at most."""
MOST_SECONDS = 600
FLOOR = 1 / 12
"""Least power that is told from silence: the rounding noise of 16 bits, in squared 16-bit steps."""


@dataclass(frozen=True)
class Drift:
    """What `measure` found; S seconds, in dB, of all continuations together."""

    seconds: int
    """S."""
    num: int
    """How many continuations there are, and how many stretches of real sound."""
    prime_seconds: float
    """How much real sound each continues."""
    energy_db: list[float]
    """Mean power of the continuations in each second, over that of the training split. [S]"""
    distance_db: list[float]
    """`log_spectral_distance` of their mean spectrum in each second from that of the training split. [S]"""
    real_energy_db: list[float]
    """The first number for as many stretches of real sound, those that follow the same beginnings. [S]"""
    real_distance_db: list[float]
    """Likewise the second number. [S]"""
    real_seconds: float | None = None
    """How much real sound of the split was read; a stretch that is longer repeats it. None where it is not known."""

    @property
    def repeated(self) -> bool:
        """Whether the stretches of real sound repeat themselves, so that real sound past that is no other."""
        return self.real_seconds is not None and self.real_seconds < self.seconds + self.prime_seconds

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def power_spectrum(sounds: NDArray[Any], rate: int) -> Floats:
    """Welch's estimate over all sounds together: Hann windows of about 32 ms that overlap by half, powers averaged.

    Args:
        sounds: [..., samples], at least one window long.
        rate: samples per second.

    Returns:
        Power in each band, so scaled that white noise of variance v has v in every band. [window / 2 + 1]
    """
    size = window_samples(rate)
    shape = np.hanning(size + 1)[:-1]
    total, count = np.zeros(size // 2 + 1), 0
    for sound in sounds.reshape(-1, sounds.shape[-1]):
        windows = np.lib.stride_tricks.sliding_window_view(sound, size)[:: size // 2]
        for at in range(0, len(windows), WINDOWS_AT_ONCE):
            found = np.abs(np.fft.rfft(windows[at : at + WINDOWS_AT_ONCE] * shape)) ** 2
            total, count = total + found.sum(0), count + len(found)
    mean: Floats = total / count / (shape**2).sum()
    return mean


def window_samples(rate: int) -> int:
    """Samples of a window of `power_spectrum`."""
    return int(max(16, 2 ** round(np.log2(WINDOW_SECONDS * rate))))


def log_spectral_distance(spectrum: NDArray[Any], reference: NDArray[Any]) -> float:
    """Root of the mean over bands of (10 log10 S_k / R_k)^2, dB, level included; powers below `FLOOR` count as that.

    Args:
        spectrum, reference: S and R, powers in squared 16-bit steps. [bands] each.
    """
    return float(np.sqrt(np.mean(level(spectrum, reference) ** 2)))


def level(power: Any, reference: Any) -> Any:
    """10 log10 of power over reference, dB; either counts as `FLOOR` below it."""
    return 10 * np.log10(np.maximum(power, FLOOR) / np.maximum(reference, FLOOR))


@torch.no_grad()
def continuations(
    net: SequenceModel,
    primes: Tensor,
    steps: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tensor:
    """What the model plays after each of several beginnings, reading its own output.

    What a likelihood draws is what it gives as its `output`: a sample, or the mean where least squares says nothing of
    the noise. The guide infers the z of the beginnings.

    Args:
        net: in evaluation mode.
        primes: [T0, B, X].
        steps: T.
        progress: called with (steps done, of how many).

    Returns:
        [T, B, X].
    """
    program, batch, path = Markov(net), Batch.of(primes), []
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        program.guide(batch)
        state, _ = program.carry(batch)
        for done in range(1, steps + 1):
            z_t = net.p_z(state).sample()  # [B, Z]
            x_t = net.likelihood.output(net.p_x(state, z_t))  # [B, X]
            state = net.next(state, z_t, net.features(x_t))
            path.append(x_t)
            progress(done, steps)
    return torch.stack(path)


def measure(
    run: Trained,
    seconds: int = 60,
    *,
    num: int = NUM,
    data: str | os.PathLike[str] | None = None,
    split: str = "test",
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Drift:
    """Let a model continue real sound by itself, and compare each second with the training split.

    The sequences of a split lie end to end; the beginnings are half a second long, at equal distances in it, and the
    stretches of real sound are what comes after them, from its start again after its end. At most ten minutes of a
    split are read, of sequences at equal distances.

    Args:
        run: a model of sound.
        seconds: S, whole ones.
        num: how many continuations.
        data, split: where the beginnings and the real sound are from; the reference is of `data`'s training split.
        seed: of all that is drawn.
        progress: called with (steps done, of how many) while the model continues the beginnings.

    Raises:
        ConfigError: a model of other data than sound, or numbers out of range.
        DataError: the split is too short, or see `Trained.data`.
        NumericsError: the model plays numbers that are not finite.
    """
    form = run.format
    if not form.traits.sampled:
        hint = "evaluate RUN --forecast N scores forecasts of tables" if form.traits.series else ""
        raise ConfigError(f"drift is measured of sound, and this model is of {form.kind}", hint)
    if not 1 <= seconds <= MOST_SECONDS:
        raise ConfigError(f"--drift {seconds}: must be from 1 to {MOST_SECONDS} seconds")
    if num < 1:
        raise ConfigError(f"num={num}: must be at least 1")
    check_seed(seed)
    rate, size = form.sample_rate, form.frame_length
    first = max(1, round(PRIME_SECONDS * rate / size))  # steps
    steps = -(-seconds * rate // size)
    train, held = _sound(run, run.data(data, "train")), _sound(run, run.data(data, split))  # [frames, size]
    for name, sound in (("train", train), (split, held)):
        if sound.size < max(first * size, rate):
            message = f"{name}: {sound.size / rate:.2g} seconds of sound are too few to measure drift by"
            raise DataError(message, "it takes one second at least")
    places = [k * len(held) // num for k in range(num)]
    rows = np.stack([(at + np.arange(first + steps)) % len(held) for at in places])  # [num, T0 + T]
    primes = torch.from_numpy(run.encoding.of_values(held[rows[:, :first]])).to(run.device)
    with torch.random.fork_rng(devices=[run.device] if run.device.type == "cuda" else []):
        torch.manual_seed(seed)
        drawn = continuations(run.net, primes.movedim(1, 0), steps, progress).movedim(1, 0)  # [num, T, size]
    own = run.encoding.decode(drawn.double().cpu().numpy())
    if not np.isfinite(own).all():
        raise NumericsError("the continuations are not finite", "the model has diverged: train it with a smaller rate")
    reference = float(np.mean(train**2)), power_spectrum(train.reshape(-1), rate)
    energy, distance = by_second(own.reshape(num, -1), rate, *reference)
    real_energy, real_distance = by_second(held[rows[:, first:]].reshape(num, -1), rate, *reference)
    there = held.size / rate
    return Drift(seconds, num, first * size / rate, energy, distance, real_energy, real_distance, there)


def by_second(sounds: NDArray[Any], rate: int, power: float, spectrum: Floats) -> tuple[list[float], list[float]]:
    """Energy and spectral distance of each whole second of several sounds together, from a reference.

    Args:
        sounds: 16-bit steps, [num, samples].
        rate: samples per second.
        power, spectrum: the reference's mean square, and its `power_spectrum`.

    Returns:
        Both in dB, as `Drift` has them; what remains after the last whole second is left out.
    """
    cuts = [sounds[:, at : at + rate] for at in range(0, sounds.shape[1] - rate + 1, rate)]
    energy = [float(level(np.mean(np.square(cut, dtype=np.float64)), power)) for cut in cuts]
    return energy, [log_spectral_distance(power_spectrum(cut, rate), spectrum) for cut in cuts]


def _sound(run: Trained, dataset: SequenceDataset) -> Floats:
    """The frames of a split, of whole sequences at equal distances if it is long. 16-bit steps, [frames, samples]."""
    most = REFERENCE_SECONDS * run.format.sample_rate // run.format.frame_length
    apart = max(1, -(-int(dataset.lengths.sum()) // most))
    pieces = [dataset.piece(i, 0, most) for i in range(0, len(dataset), apart)]
    found: Floats = run.encoding.decode(np.concatenate(pieces))
    return found


def write(
    run: Trained,
    seconds: int = 60,
    *,
    out: Path | None = None,
    split: str = "test",
    **options: Any,
) -> tuple[Path, Drift]:
    """Measure the drift and draw it.

    Args:
        run: a model of sound.
        seconds: S.
        out: the folder of the figure; default RUN/figures.
        split: as the other options, see `measure`.
        options: see `measure`.

    Returns:
        The figure, and what was found.

    Raises:
        ConfigError, DataError, NumericsError: see `measure`.
    """
    found = measure(run, seconds, split=split, **options)
    path = make_folder(out or run.output("figures")) / f"drift-{split}.png"
    own, real = (found.energy_db, found.distance_db), (found.real_energy_db, found.real_distance_db)
    title = f"{run.folder.name}: {found.num} continuations of {split}"
    if found.repeated:
        title += f", whose {found.real_seconds:.3g} s of real sound repeat"
    drift_by_second({"its own continuation": own}, real, path, title)
    return path, found
