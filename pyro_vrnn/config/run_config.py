"""The settings of a run as frozen dataclasses: `model.*`, `objective.*`, `data.*`, `training.*` and `format.*`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

import tomli_w

from pyro_vrnn.data.format import DataFormat
from pyro_vrnn.objectives import OBJECTIVES, Objective, make_objective
from pyro_vrnn.objectives.annealing import Decay
from pyro_vrnn.system.errors import ConfigError, at_least, choose


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """`data.*`: which file, and how it is cut into batches."""

    path: str = "chorales"
    """A prepared .h5 file, the name of one below data/, or chorales, jsb, nottingham, muse or piano."""
    batch_size: int = 16
    """Sequences, or pieces of them, in an update."""
    window: int = 0
    """Cut training sequences into pieces of at most this many steps; 0 trains on whole sequences."""
    hop: int = 0
    """Steps from one piece's start to the next one's; 0 is the window, 1 starts a piece at every step."""
    carry: bool = False
    """Truncated BPTT: a sequence's pieces follow each other, and the state is carried from each to the next."""
    dither: bool = False
    """Add uniform noise of one 16-bit step to audio wherever it is read, so that digital silence has a density."""
    transpose: bool = False
    """In training, move each song to a key that is drawn anew each epoch, from 5 semitones down to 6 up. With window
    and without carry each window is a sequence of its own, and moves by itself."""

    def __post_init__(self) -> None:
        at_least("data.batch_size", self.batch_size, 1)
        at_least("data.window", self.window, 0)
        at_least("data.hop", self.hop, 0)
        if (self.hop or self.carry) and not self.window:
            raise ConfigError(
                "data.hop and data.carry are about pieces, and data.window=0 cuts none",
                "set data.window to the steps of a piece",
            )
        if self.hop > self.window:
            raise ConfigError(f"data.hop={self.hop}: the steps between two windows of {self.window} would be left out")
        if self.carry and self.hop not in (0, self.window):
            raise ConfigError(f"data.hop={self.hop} with data.carry: pieces that follow each other do not overlap")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """`training.*`: AdamW with one global-norm clip, schedules in updates, early stopping in epochs."""

    program: Literal["stacked", "markov"] = "stacked"
    """The Pyro pair that is trained: one site for all steps, or one a step; the same losses, the first much faster."""
    epochs: int = 200
    """Passes over the training split, at most."""
    max_steps: int = 0
    """Updates at most; 0 is no limit."""
    learning_rate: float = 1e-3
    """Of AdamW, at the start."""
    decay: Decay = "constant"
    """How the learning rate falls; exponential is straight in log space."""
    decay_to: float = 0.01
    """The share of the learning rate that is left at the end of its fall."""
    decay_begin: int = 0
    """Updates before the learning rate falls."""
    decay_steps: int = 0
    """Updates that the fall takes."""
    adam_betas: tuple[float, float] = (0.9, 0.999)
    """How much of the running mean of the gradient, and of its square, an update keeps."""
    adam_eps: float = 1e-8
    """Added to the root of the squares' running mean before the division; a larger one damps small gradients."""
    weight_decay: float = 0.0
    """Decoupled (AdamW): each update shrinks the weights by learning_rate x this."""
    average: float = 0.0
    """Decay of the running average of the weights that is validated and saved as BEST; 0 is none."""
    clip_norm: float = 5.0
    """Of the gradient of the loss per sequence step, over all parameters."""
    input_noise: float = 0.0
    """Noise on what the transition reads, in training: the deviation of Gaussian noise (real data), or the probability
    that a bit is flipped or a symbol drawn anew."""
    scheduled_sampling: float = 0.0
    """The share of steps at which the transition reads the model's own draw in the place of x_t, in training."""
    scheduled_steps: int = 0
    """Updates over which the share of scheduled sampling rises from 0."""
    replay: Literal["none", "recent", "hard"] = "none"
    """Draw some sequences anew beside each batch: of those trained on last, or of the highest loss per step."""
    replay_share: float = 0.25
    """How many sequences are drawn anew, as a share of the batch."""
    replay_size: int = 64
    """How many sequences they are drawn from."""
    validate_every: int = 1
    """Epochs between validations."""
    valid_objective: str = "own"
    """The bound that is validated and chooses BEST: the objective's own, or another one to compare runs by."""
    valid_particles: int = 0
    """The validated bound's particles; 0 is its default."""
    patience: int = 0
    """Validations without a better bound before stopping; 0 never stops early."""
    log_every: int = 20
    """Updates between training rows of metrics.jsonl."""
    seed: int = 0
    """Of the weights, the order of the data and all draws."""
    graph: Literal["auto", "off"] = "auto"
    """On a GPU: make each shape's update one CUDA graph, where the other settings allow it."""
    precision: Literal["float32", "tf32", "bf16"] = "float32"
    """Of the networks' products: tf32 is for GPUs; bf16 leaves heads, distributions and the time loop in float32."""

    def __post_init__(self) -> None:
        for name in ("epochs", "validate_every", "log_every"):
            at_least(f"training.{name}", getattr(self, name), 1)
        for name in ("max_steps", "decay_begin", "decay_steps", "weight_decay", "patience", "seed"):
            at_least(f"training.{name}", getattr(self, name), 0)
        for name in ("input_noise", "scheduled_sampling", "scheduled_steps"):
            at_least(f"training.{name}", getattr(self, name), 0)
        at_least("training.valid_particles", self.valid_particles, 0)
        if self.valid_objective != "own" and self.valid_objective not in OBJECTIVES:
            raise choose("training.valid_objective", self.valid_objective, ["own", *OBJECTIVES])
        if self.valid_objective == "own" and self.valid_particles:
            raise ConfigError(
                f"training.valid_particles={self.valid_particles}: the objective's own bound has its own particles",
                "set training.valid_objective too, such as iwae",
            )
        at_least("training.replay_size", self.replay_size, 1)
        if not 0 < self.replay_share <= 1:
            raise ConfigError(f"training.replay_share={self.replay_share}: must be in (0, 1]")
        if self.scheduled_sampling > 1:
            raise ConfigError(f"training.scheduled_sampling={self.scheduled_sampling}: must be in [0, 1]")
        if self.scheduled_steps and not self.scheduled_sampling:
            raise ConfigError(
                "training.scheduled_steps without training.scheduled_sampling: there is no share to rise to",
                "set training.scheduled_sampling to the share at the end, such as 0.25",
            )
        for name in ("learning_rate", "clip_norm", "decay_to", "adam_eps"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"training.{name}={getattr(self, name)}: must be above 0")
        if not all(0 <= b < 1 for b in self.adam_betas):
            raise ConfigError(f"training.adam_betas={self.adam_betas}: each must be in [0, 1)")
        if self.decay != "constant" and self.decay_steps == 0:
            raise ConfigError(
                f"training.decay={self.decay!r} with training.decay_steps=0 would end after one update",
                "set training.decay_steps to the number of updates it should take",
            )
        if self.decay_to > 1:
            raise ConfigError(f"training.decay_to={self.decay_to}: must be in (0, 1]", "it is a share of the rate")
        if not 0 <= self.average < 1:
            raise ConfigError(f"training.average={self.average}: must be in [0, 1)", "try 0.999")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run is made from."""

    model: Any
    """One of the models' own Config classes."""
    objective: Objective
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    format: DataFormat | None = None

    @property
    def validated(self) -> Objective:
        """The bound that is measured on validation data: the objective's own, or `training.valid_objective`."""
        name, particles = self.training.valid_objective, self.training.valid_particles
        return self.objective if name == "own" else make_objective(name, particles or None, self.objective)

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values; absent parts are left out."""
        raw = dataclasses.asdict(self)
        return {key: _plain(value) for key, value in raw.items() if value is not None}

    def to_toml(self) -> str:
        """The text of config.toml."""
        return tomli_w.dumps(self.to_dict())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
