"""A run folder: made by `train`, opened by `load`; what it was trained on, and what can be asked of it.

RUN/  config.toml  environment.json  metrics.jsonl  log.txt  checkpoints/  samples/  reconstructions/  interpolations/
     latents/  figures/  diagnostics/
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyro_vrnn.config import RunConfig
from pyro_vrnn.data import catalogue
from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.encoding import Encoding
from pyro_vrnn.data.format import DataFormat, format_of
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.objectives import make_objective
from pyro_vrnn.objectives.evaluation import Evaluation, evaluate
from pyro_vrnn.programs import Stacked
from pyro_vrnn.runs.folder import read_config
from pyro_vrnn.runs.plan import build_net
from pyro_vrnn.system.devices import device as pick_device
from pyro_vrnn.system.errors import DataError, check_seed
from pyro_vrnn.training import checkpoint
from pyro_vrnn.training.observer import FitResult


class Run:
    """A trained run: its settings, its network at one checkpoint, and what can be asked of them.

    Attributes:
        folder: the run folder.
        step_folder: the checkpoint that was loaded.
        config: its complete settings.
        net: the network, in evaluation mode.
        state: where the training stood.
    """

    def __init__(
        self, folder: Path, step_folder: Path, settings: RunConfig, net: SequenceModel, state: dict[str, Any]
    ) -> None:
        self.folder, self.step_folder, self.config, self.net, self.state = (
            folder,
            step_folder,
            settings,
            net,
            state,
        )
        self.format: DataFormat = settings.format  # type: ignore[assignment]  # load() has checked it
        self.device = next(net.parameters()).device
        self.result: FitResult | None = None
        """How the training ended, for a run that `train` just made."""

    def __repr__(self) -> str:
        return f"<Run {self.folder} ({self.config.model.name}, {self.step_folder.name})>"

    @property
    def encoding(self) -> Encoding:
        """How the model reads stored values."""
        return Encoding(self.format.center, self.format.scale, len(self.format.symbols))

    def data(self, data: str | Path | None = None, split: str = "test") -> SequenceDataset:
        """A split of the run's own data file, or of another of the same format.

        Raises:
            DataError: another kind, support or width than the model was trained on, or an empty split.
        """
        named = str(data or self.config.data.path)
        moved = catalogue.FOLDER / Path(named).name  # a checkout that was moved, or a run that was copied
        path = moved if data is None and not Path(named).exists() and moved.exists() else catalogue.find(named)
        dataset = SequenceDataset(path, split, encoding=self.encoding, dither=self.config.data.dither)
        theirs = format_of(dataset.info)
        for name in ("kind", "support", "x_dim", "steps_per_second", "frame_length", "symbols", "pitches"):
            given, known = getattr(theirs, name), getattr(self.format, name)
            if given != known:
                raise DataError(
                    f"{path}: {name} is {given!r}, the model was trained on {known!r}",
                    "give data of the kind in the run's config.toml, [format]",
                    path,
                )
        if len(dataset) == 0:
            raise DataError(f"{path}: the {split} split is empty", "choose another --split", path)
        return dataset

    def evaluate(
        self,
        split: str = "test",
        objective: str = "elbo",
        particles: int | None = None,
        *,
        data: str | Path | None = None,
        batch_size: int = 32,
        seed: int = 0,
        repeats: int = 1,
        progress: Callable[[int, int], None] | None = None,
    ) -> Evaluation:
        """A bound on log p(x) of a split, at beta = 1; see `evaluation.Evaluation`.

        With `repeats` it is estimated so many times with seeds that follow each other; the mean is reported.

        Raises:
            ConfigError: an unknown objective or split, or particles it cannot take.
            DataError: see `data`.
        """
        return evaluate(
            Stacked(self.net),
            self.data(data, split),
            make_objective(objective, particles, self.config.objective),
            split=split,
            batch_size=batch_size,
            seed=check_seed(seed),
            repeats=repeats,
            device=self.device,
            progress=progress,
        )

    def sample(self, num: int = 4, steps: int | None = None, **options: Any) -> list[Path]:
        """Draw sequences and write them; the options and the files are `sampling.write`'s."""
        from pyro_vrnn.runs import sampling

        return sampling.write(self, num=num, steps=steps, **options)

    def posterior(self, x: Any, particles: int = 1, *, seed: int = 0) -> Any:
        """A Pyro trace of the guide on one sequence x [T, X], replayed through the model: both sides' sites.

        The trace's sites have `fn` of the model and `value` of the guide's draw; log-probabilities are computed.
        """
        from pyro_vrnn.runs import inspection

        return inspection.posterior(self, x, particles, seed=seed).model


def load(path: str | Path, *, device: str = "cpu") -> Run:
    """Open a run folder (its BEST checkpoint) or one checkpoint folder.

    Raises:
        CheckpointError: no run there, or it is damaged.
        DeviceError: no such device.
    """
    folder, step_folder = checkpoint.find(Path(path))
    settings = read_config(folder)
    where = pick_device(device)
    net = build_net(settings).to(where)
    saved = checkpoint.load(step_folder)
    checkpoint.load_weights(net, saved.model, step_folder)
    net.eval()
    return Run(folder, step_folder, settings, net, saved.state)
