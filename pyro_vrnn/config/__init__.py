"""Settings: frozen dataclasses; recipe (TOML) + flags + `--set` -> RunConfig; to and from TOML.

Which settings there are depends on the model and the objective: each has a config of its own in its own file, and
a setting that the chosen one does not have is an error that lists those it has.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tomli_w

from pyro_vrnn.config import recipes
from pyro_vrnn.config.casting import dataclass_from, no_such
from pyro_vrnn.models import MODELS
from pyro_vrnn.models.base import LatentConfig
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.objectives import OBJECTIVES, FivoObjective, Objective, make_objective
from pyro_vrnn.objectives.annealing import Decay
from pyro_vrnn.system.errors import ConfigError, at_least, choose

MAX_RECIPE_BYTES = 1 << 20
DEFAULT_RECIPE = "chorales-vrnn"


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
    """Draw some sequences anew beside each batch: of those trained on last, or of the highest loss a step."""
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
        for name in ("learning_rate", "clip_norm", "decay_to"):
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
class DataFormat:
    """What a trained model knows of its data; written into config.toml so that a run rebuilds alone."""

    kind: str
    support: str
    x_dim: int
    steps_per_second: float | None = None
    lowest_pitch: int = 21
    """MIDI note of column 0, for piano-rolls."""
    steps_per_quarter: int = 1
    """Steps in a quarter note, for piano-rolls."""
    pitches: tuple[int, ...] = ()
    """The MIDI note of each column, where they are not consecutive."""
    frame_length: int = 1
    """Samples a step, for audio."""
    center: tuple[float, ...] = ()
    """Subtracted from stored values; one for each column, or one for all."""
    scale: tuple[float, ...] = ()
    """What they are then divided by."""
    symbols: tuple[str, ...] = ()
    """The symbols by number, for text and the like."""
    level: str = ""
    """What a symbol is: char, word or token."""
    columns: tuple[str, ...] = ()
    """Names of the columns, of vectors that have some."""
    image: bool = False
    """Whether a sequence of vectors is an image, a row of pixels a step."""
    sequence_steps: int = 0
    """Steps of a training sequence, if all have as many; what is drawn has as many then."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything a run is made from."""

    model: Any
    """One of the models' own Config classes."""
    objective: Objective
    data: DataConfig = field(default_factory=DataConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    format: DataFormat | None = None

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values; absent parts are left out."""
        raw = dataclasses.asdict(self)
        return {key: _plain(value) for key, value in raw.items() if value is not None}

    def to_toml(self) -> str:
        """The text of config.toml."""
        return tomli_w.dumps(self.to_dict())


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A configuration and where each setting came from ("default", "recipe …", "--flag", "--set")."""

    config: RunConfig
    origins: dict[str, str]
    notes: tuple[str, ...] = ()
    recipe: str


def recipe_text(recipe: str) -> str:
    """The TOML text of a shipped recipe or of a file."""
    if recipe in recipes.names():
        return recipes.text(recipe)
    path = Path(recipe)
    if (path / "config.toml").is_file():  # a run's folder
        path /= "config.toml"
    if not path.exists():
        error = choose("recipe", recipe, recipes.names())
        or_path = "the path of a TOML file or of a run"
        raise ConfigError(error.message, f"{error.hint} (or {or_path})" if error.hint else f"or give {or_path}")
    return _read_text(path)


def _read_text(path: Path) -> str:
    if not path.is_file():
        raise ConfigError(f"{path}: not a regular file", "give a TOML file, or the folder of a run", path)
    if path.stat().st_size > MAX_RECIPE_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_RECIPE_BYTES} bytes", "recipes are small TOML files", path)
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path}: not UTF-8 text ({error.reason} at byte {error.start})", "give a TOML file"
        ) from None


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """ConfigError with the line on bad TOML."""
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: {error}", "recipes are TOML: [section] and key = value") from None


def resolve(
    recipe: str | None = None, *, flags: dict[str, Any] | None = None, sets: tuple[str, ...] | list[str] = ()
) -> Resolved:
    """Recipe, then flags, then `--set`: the later wins.

    Args:
        recipe: a shipped name or a TOML file; None is the default recipe.
        flags: dotted setting -> value, from command-line flags; None values are left out.
        sets: "key=value" texts.

    Raises:
        ConfigError: unknown names, bad values, contradictions.
    """
    name = recipe or DEFAULT_RECIPE
    text = recipe_text(name)
    raw = parse_toml(text, name)
    origins = dict.fromkeys(_flat(raw), f"recipe {name}")
    above: dict[str, tuple[Any, str]] = {}
    for key, value in (flags or {}).items():
        if value is not None:
            above[key] = (value, "--flag")
    for item in sets:
        key, eq, given = item.partition("=")
        if not eq or not key.strip():
            raise ConfigError(f"--set {item!r}: expected KEY=VALUE", "for example --set model.latent_dim=16")
        above[key.strip()] = (given.strip(), "--set")
    notes = []
    for section, known in (("model", MODELS), ("objective", OBJECTIVES)):
        part = raw.get(section, {})
        chosen = above.get(f"{section}.name")
        if chosen is None or not isinstance(part, dict) or chosen[0] == part.get("name"):
            continue
        if chosen[0] not in known:
            raise choose(section, str(chosen[0]), known)
        cls: Any = known[chosen[0]]
        keep = {f.name for f in dataclasses.fields(getattr(cls, "Config", cls))}
        for key in [k for k in part if k not in keep]:
            notes.append(f"{section}.{key} of recipe {name} left out: {chosen[0]!r} has no such setting")
            del part[key], origins[f"{section}.{key}"]
    for key, (value, origin) in above.items():
        section, dot, leaf = key.partition(".")
        if not dot or "." in leaf:
            raise no_such(key, [f"{s}.*" for s in ("model", "objective", "data", "training")])
        node = raw.setdefault(section, {})
        if not isinstance(node, dict):
            raise ConfigError(f"{section}: must be a table in {name}")
        node[leaf] = value
        origins[key] = origin
    if any(key.startswith("format.") for key in above):
        raise ConfigError("format.*: comes from the data file, not from settings", "choose other data instead")
    if raw.pop("format", None) is not None:  # a run's config.toml is a recipe too
        origins = {key: origin for key, origin in origins.items() if not key.startswith("format.")}
    try:
        config = build(raw)
    except ConfigError as error:
        setting = re.match(r"[\w.-]+", error.message)
        line = _line_of(text, setting[0]) if setting and setting[0] not in above else 0
        if not line or name in recipes.names():
            raise
        raise ConfigError(f"{name}, line {line}: {error.message}", error.hint, name) from None
    for key in _flat(config.to_dict()):
        origins.setdefault(key, "default")
    return Resolved(config=config, origins=origins, notes=tuple(notes), recipe=name)


def _line_of(text: str, name: str) -> int:
    """The line of a TOML text where a setting (`model.cell`) or a section stands, written as usual; 0 if none does."""
    section = ""
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[\s*([\w.-]+)\s*\]", line)
        key = re.match(r"\s*([\w.-]+)\s*=", line)
        section = header[1] if header else section
        found = f"{section}.{key[1]}".lstrip(".") if key else section if header else ""
        if found == name:
            return number
    return 0


def build(raw: dict[str, Any]) -> RunConfig:
    """Nested plain values (a parsed config.toml) to a checked RunConfig."""
    sections = [f.name for f in dataclasses.fields(RunConfig)]
    for key, value in raw.items():
        if key not in sections:
            raise no_such(key, sections)
        if not isinstance(value, dict):
            raise ConfigError(f"{key}: must be a table, [{key}]", "settings stand under [model], [objective], …")
    model, objective = raw.get("model", {}), raw.get("objective", {})
    model_name, objective_name = model.get("name", "vrnn"), objective.get("name", "elbo")
    if not isinstance(model_name, str) or model_name not in MODELS:
        raise choose("model", str(model_name), MODELS)
    if not isinstance(objective_name, str) or objective_name not in OBJECTIVES:
        raise choose("objective", str(objective_name), OBJECTIVES)
    cls = OBJECTIVES[objective_name]
    own = {f.name for f in dataclasses.fields(cls)}
    for key in objective:
        others = [n for n, o in OBJECTIVES.items() if key in {f.name for f in dataclasses.fields(o)}]
        if key not in own and others and not (cls.weighted and key.startswith("kl_")):
            raise ConfigError(
                f"objective.{key}: {objective_name!r} has no such setting; it has {', '.join(sorted(own))}",
                f"it is a setting of {', '.join(others)}: --objective {others[0]}",
            )
    if cls.weighted and (bad := sorted(k for k in objective if k.startswith("kl_"))):
        raise ConfigError(
            f"objective.{bad[0]}: {objective_name!r} has no KL weight: beta < 1 in an importance weight is no bound",
            "anneal with --objective elbo; settings of this one: "
            + ", ".join(f"objective.{f.name}" for f in dataclasses.fields(cls)),
        )
    config = RunConfig(
        model=dataclass_from(MODELS[model_name].Config, model, "model."),
        objective=dataclass_from(cls, objective, "objective."),
        data=dataclass_from(DataConfig, raw.get("data", {}), "data."),
        training=dataclass_from(TrainingConfig, raw.get("training", {}), "training."),
        format=dataclass_from(DataFormat, raw["format"], "format.") if "format" in raw else None,
    )
    if not isinstance(config.model, LatentConfig) and (cls.weighted or config.objective.particles > 1):
        raise ConfigError(
            f"objective {objective_name!r} with {config.objective.particles} particles: {model_name!r} has no latent "
            "variables, so all particles are one and every bound is its exact likelihood",
            "use --objective elbo --particles 1",
        )
    if cls.scores_twice and config.model.dropout > 0:
        raise ConfigError(
            f"objective {objective_name!r} with model.dropout={config.model.dropout}: it runs the guide again to score "
            "its draw, and the dropout would be another",
            "set model.dropout=0, or use another objective",
        )
    training = config.training
    if training.precision == "bf16" and (
        cls.scores_twice or isinstance(config.objective, FivoObjective) or training.program == "markov"
    ):
        what = "training.program=markov" if training.program == "markov" else f"objective {objective_name!r}"
        raise ConfigError(
            f"training.precision=bf16 with {what}: networks run step by step there, in another precision than the draw",
            "use training.precision=tf32 or float32",
        )
    if training.valid_objective != "own":
        make_objective(training.valid_objective, training.valid_particles or None, config.objective)
    if config.model.likelihood not in LIKELIHOODS:
        raise choose("likelihood", config.model.likelihood, LIKELIHOODS)
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if v is not None}
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _flat(raw: dict[str, Any]) -> list[str]:
    return [f"{a}.{b}" for a, part in raw.items() if isinstance(part, dict) for b in part]
