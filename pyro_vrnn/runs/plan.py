"""A training that has been checked and not begun: `config`, `train --dry-run` and `train` all ask for the same plan.

What the settings alone say is checked when they are resolved (config/); what they say of the data, of the model and of
the processes at hand is checked here, once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from pyro_vrnn import weights
from pyro_vrnn.config import RunConfig
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.format import format_of
from pyro_vrnn.data.kinds import KINDS
from pyro_vrnn.data.schema import DataInfo, read_info
from pyro_vrnn.models import SequenceModel, build
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.programs.twist import is_twist, sizes
from pyro_vrnn.runs.content import Content, content_of, find_data
from pyro_vrnn.runs.folder import read_config
from pyro_vrnn.system.errors import CheckpointError, ConfigError, DataError
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.parallel import Ranks
from pyro_vrnn.training.transition_inputs import feeds_back


@dataclass(frozen=True)
class Plan:
    """Settings and data that fit each other.

    Attributes:
        settings: complete: the data file's path and format are in them, so they rebuild the model alone.
        info: what the data file says of itself.
        content: what training reads of it, to know it again by.
        train: the training split, cut into pieces where the settings say so.
        valid: the validation split.
        net: the network with its first weights, on the CPU.
        random: torch's random state after those were drawn, from which a training continues.
        init_from: the checkpoint whose weights the run starts from, if one was named.
    """

    settings: RunConfig
    info: DataInfo
    content: Content
    train: SequenceDataset
    valid: SequenceDataset
    net: SequenceModel
    random: Tensor
    init_from: Path | None

    @property
    def parameters(self) -> int:
        """How many numbers model and guide learn."""
        return sizes(self.net)[0]

    @property
    def origin(self) -> str | None:
        """`init_from` as a RUN argument: the name of a shipped model, or the checkpoint's path."""
        if self.init_from is None:
            return None
        return weights.name_of(self.init_from.parents[1]) or str(self.init_from)


def plan(
    settings: RunConfig,
    *,
    ranks: Ranks | None = None,
    init_from: str | Path | None = None,
    known: Content | None = None,
    preparing: str = "",
    say: Callable[[str], None] = lambda message: None,
) -> Plan:
    """Check everything about a training that can be checked before it begins.

    Args:
        settings: as resolved.
        ranks: the processes that share the training; alone by default.
        init_from: a run whose weights the training is to start from.
        known: what the data of the run that is resumed holds; its file may lie elsewhere now.
        preparing: the command that prepares the data, for the error where it is missing.
        say: told when a data set is prepared on the way.

    Raises:
        ConfigError: settings that do not fit the data, the model or the number of processes.
        DataError: the data file is missing, damaged, or has no validation split.
        CheckpointError: the run of `init_from` is missing or damaged, has another model, or its weights do not fit.
    """
    ranks = ranks or Ranks()
    _check_ranks(settings, ranks)
    origin, source = (None, None) if init_from is None else checkpoint.find(Path(init_from))
    theirs = origin is not None and read_config(origin).data.path == settings.data.path
    hint = weights.data_hint(origin) if origin is not None and theirs else ""
    moved = known is not None or bool(hint)
    path = ranks.first(lambda: find_data(settings.data.path, moved=moved, preparing=preparing, hint=hint, say=say))
    info = read_info(path)
    _check_support(settings, info)
    _check_missing(settings, info)
    data = dataclasses.replace(settings.data, path=str(path.resolve()))
    settings = dataclasses.replace(settings, format=format_of(info), data=data)
    if data.dither and not KINDS[info.kind].sampled:
        raise ConfigError(f"data.dither: {path} is {info.kind}", "it is for audio, whose samples are steps of 16 bits")
    if data.transpose and not _all_keys(info):
        hint = "`prepare pianoroll` keeps all keys; `prepare midi` those that are played, which may have gaps"
        raise ConfigError(f"data.transpose: the columns of {path} are not notes a semitone apart", hint)
    window = data.window if not data.carry else 0
    train = SequenceDataset(path, "train", window or None, data.hop or None, dither=data.dither)
    valid = SequenceDataset(path, "valid", dither=data.dither)
    if len(valid) == 0:
        raise DataError(
            f"{path}: no validation sequences", "the best model is chosen on them; prepare with a split", path
        )
    with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay the caller's
        torch.default_generator.manual_seed(settings.training.seed)
        net = build_net(settings)
        _check_model(settings, net)
        random = torch.get_rng_state()
    if origin is not None and source is not None:
        _check_same_model(origin, settings)
        checkpoint.expect(net.state_dict(), first_weights(net, source), source, "the file of weights")
    return Plan(settings, info, content_of(path), train, valid, net, random, source)


def build_net(settings: RunConfig) -> SequenceModel:
    """The network of a complete configuration, with fresh weights."""
    assert settings.format is not None
    net = build(settings.model, settings.format.x_dim, missing=settings.format.missing)
    settings.objective.equip(net)
    return net


def first_weights(net: SequenceModel, source: Path) -> dict[str, Tensor]:
    """The weights of another run's checkpoint for a new run, whose objective may have a twist where that one's had not.

    A twist that is new stays as it is, and one that nothing asks for is left out.
    """
    theirs, ours = checkpoint.load(source).model, net.state_dict()
    if not any(is_twist(key) for key in theirs):
        return theirs | {key: value for key, value in ours.items() if is_twist(key)}
    return theirs if any(is_twist(key) for key in ours) else {k: v for k, v in theirs.items() if not is_twist(k)}


def check_start(found: Plan, *, started: bool) -> None:
    """ConfigError where an objective trains a part of the network alone, and nobody has trained the rest.

    Args:
        found: of the run.
        started: whether it has weights to start from, another run's or its own.
    """
    objective = found.settings.objective
    if not started and objective.learner(found.net) is not found.net:
        raise ConfigError(
            f"objective {objective.name!r} by these settings leaves model and guide as they are, and without "
            "--init-from they are random",
            "add --init-from RUN, whose model and guide are trained",
        )


def _check_missing(settings: RunConfig, info: DataInfo) -> None:
    """ConfigError where values are missing within a step that the likelihood can only score as a whole."""
    likelihood = settings.model.likelihood
    partial = info.extra.get("partial_steps")
    if info.missing and partial and not LIKELIHOODS[likelihood].factorised:
        fitting = sorted(k for k, v in LIKELIHOODS.items() if v.support == info.support and v.factorised)
        raise ConfigError(
            f"likelihood {likelihood!r} is joint over a step, and {info.path} has {partial} steps of which a part is "
            "missing",
            f"choose a likelihood of independent columns: {', '.join(fitting)}",
        )


def _all_keys(info: DataInfo) -> bool:
    """Whether columns are notes a semitone apart."""
    pitches = format_of(info).pitches
    return KINDS[info.kind].pitched and all(b - a == 1 for a, b in pairwise(pitches))


def _check_support(settings: RunConfig, info: DataInfo) -> None:
    """ConfigError unless the likelihood can score such data."""
    likelihood = settings.model.likelihood
    if LIKELIHOODS[likelihood].support != info.support:
        fitting = sorted(k for k, v in LIKELIHOODS.items() if v.support == info.support)
        raise ConfigError(
            f"likelihood {likelihood!r} is for {LIKELIHOODS[likelihood].support} data; {info.path} is {info.support}",
            f"choose from {', '.join(fitting)}" if fitting else "no likelihood for such data yet",
        )


def _check_ranks(settings: RunConfig, ranks: Ranks) -> None:
    """ConfigError where what one update leaves for the next would lie with one of several processes."""
    if ranks.world == 1:
        return
    if settings.data.carry:
        raise ConfigError("data.carry with several processes: a piece's state would lie with another process")
    if settings.training.replay != "none":
        raise ConfigError("training.replay with several processes: each would replay other sequences")


def _check_model(settings: RunConfig, net: SequenceModel) -> None:
    """ConfigError where the model has nothing that a setting is about."""
    name, training = settings.model.name, settings.training
    if settings.data.carry and not net.per_step:
        raise ConfigError(
            f"data.carry: {name!r} has one z per sequence, so nothing can be carried from one piece to the next",
            "leave data.carry out: each window is then a sequence of its own",
        )
    if settings.data.carry and training.replay != "none":
        raise ConfigError(
            "training.replay with data.carry: a replayed piece would need the state before it",
            "leave one of the two out",
        )
    if settings.data.carry and not settings.objective.carries_state:
        raise ConfigError(
            f"data.carry with objective {settings.objective.name!r}: a filter's particles are not carried from one "
            "piece to the next",
            "leave data.carry out: each window is then a sequence of its own",
        )
    for key in ("scheduled_sampling", "input_noise"):
        if getattr(training, key) and not feeds_back(net):
            raise ConfigError(
                f"training.{key}: what {name!r} draws at t does not depend on the x before t, so nothing is fed back",
                "choose a model that reads x_{t-1}, such as vrnn, srnn or rnn",
            )
    if training.input_noise > 1 and net.likelihood.support != "real":
        raise ConfigError(
            f"training.input_noise={training.input_noise}: for {net.likelihood.support} data a probability"
        )
    if settings.data.dither and net.likelihood.quantised:
        raise ConfigError(
            f"data.dither with likelihood {settings.model.likelihood!r}: it gives 16-bit steps a probability already",
            "leave data.dither out, or choose a density such as gaussian or gmm",
        )
    for bound in (settings.objective, settings.validated):
        bound.check(net)
    if settings.objective.learner(net) is not net and settings.validated.name != settings.objective.name:
        raise ConfigError(
            f"training.valid_objective={training.valid_objective!r}: model and guide stay as they are, so this bound "
            "would be the same at every validation",
            "leave it out, or add --set training.valid_objective=own",
        )
    if settings.objective.needs_steps and not (net.per_step and net.latent_dim):
        raise ConfigError(
            f"{settings.objective.needs_steps}: {name!r} has no z for every step, so it would only add a constant",
            "leave it out, or choose another model",
        )


def _check_same_model(origin: Path, settings: RunConfig) -> None:
    """CheckpointError naming the settings of the model that the other run has otherwise; dropout may differ."""
    theirs, ours = read_config(origin).to_dict()["model"], settings.to_dict()["model"]
    keys = sorted({*theirs, *ours} - {"dropout"})
    other = [f"model.{k}: {theirs.get(k)!r} there, {ours.get(k)!r} here" for k in keys if theirs.get(k) != ours.get(k)]
    if other:
        message = f"--init-from {origin}: its weights do not fit: {'; '.join(other)}"
        raise CheckpointError(message, "give this run the same model.* settings", origin)
