"""What all estimators share: how a run is trained on X, scored and sampled from; parameters, saving, and pickling."""

from __future__ import annotations

import os
import shutil
import signal
from abc import ABC
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, estimator_html_repr
from sklearn.utils.validation import check_is_fitted

from pyro_vrnn.data.dataset import SequenceDataset
from pyro_vrnn.data.sources.datasets import dataset
from pyro_vrnn.estimators import files, summary
from pyro_vrnn.estimators.given import Given, check_targets, read
from pyro_vrnn.estimators.progress import FitProgress
from pyro_vrnn.models.likelihoods import LIKELIHOODS
from pyro_vrnn.objectives import make_objective
from pyro_vrnn.objectives.evaluation import bounds_of, evaluate
from pyro_vrnn.programs import Stacked
from pyro_vrnn.runs import Run, load, sampling
from pyro_vrnn.runs.api import train
from pyro_vrnn.system.errors import CheckpointError, ConfigError, check_seed, choose
from pyro_vrnn.system.files import write_bytes

Array = NDArray[Any]
RESERVED = ("model.name", "data.path")
"""Settings that the class and X decide."""
SCORE_BATCH = 32
"""Sequences that are scored at once, as `Run.evaluate` does."""


class SequenceEstimator(BaseEstimator, ABC):
    """A model of sequences in scikit-learn's manners; the subclasses' docstrings are for users.

    Attributes:
        run_: the trained run, a `pyro_vrnn.Run`: whatever else there is to ask of a run can be asked of it.
        n_features_in_: X, the columns of a step.
        feature_names_in_: their names, if it was fitted on a data frame.
    """

    model: ClassVar[str]
    """The name of the model (`model.name`)."""
    run_: Run
    score_objective: str = "elbo"
    score_particles: int | None = None

    def fit(self, X: Any, y: Any = None, *, lengths: Sequence[int] | None = None) -> Self:
        """Train the model on sequences; a fit that was there before is forgotten.

        A share of the sequences (`validation_fraction`, rounded down) is held out, and the weights that are best on
        them are kept. Where that share is no whole sequence, validation is on the sequences that are trained on.

        Args:
            X: a list of arrays [T_i, X] (or [T_i], of one column), an array [N, T, X], a data frame in long form, or a
                two-dimensional array [T, X]: one sequence, whose rows are its steps. NaN marks a missing value.
            y: not used.
            lengths: of the sequences that lie end to end in a two-dimensional X.

        Raises:
            ConfigError: parameters that are unknown, out of range, or do not fit each other or the data.
            DataError, ValueError: X is no such thing, has infinite values, or nothing in it.
            NumericsError: the training diverged.
            KeyboardInterrupt, SystemExit: a signal; the estimator is fitted with what was learned until then.
        """
        given = read(self, X, lengths, sequence=self.sequence, time=self.time, fitting=True)
        check_targets(y, given)
        settings, seed = self._settings(), _seed(self.random_state)
        about = b"" if self.out is None else files.about(self)  # what cannot be saved is told before the training
        private = files.private_folder()
        try:
            out = self._out(private / "run")
            data = self._dataset(given, seed, private / "data.h5" if self.out is None else None)
            run = train(
                data=data,
                model=self.model,
                out=out,
                resume="never",
                overwrite=out.exists(),
                device=self.device,
                max_seconds=self.max_time,
                observer=FitProgress(type(self).__name__) if self.verbose else None,
                settings=settings | {"training.seed": seed},
            )
        except BaseException:
            files.remove(private)
            raise
        files.keep_with(run, private)
        self.run_ = run
        if self.out is not None:
            write_bytes(out / files.ABOUT, about)
        stopped = None if run.result is None else run.result.signal
        if stopped is not None:
            raise KeyboardInterrupt if stopped == signal.SIGINT else SystemExit(128 + stopped)
        return self

    def score(self, X: Any, y: Any = None, *, lengths: Sequence[int] | None = None) -> float:
        """The bound on log p(X) for each step, in nats; higher is better.

        It is the `nll_per_step` of `Run.evaluate` (and of `pyro-vrnn evaluate`) with its sign turned, the ELBO unless
        `score_objective` says otherwise: Σ bound / Σ steps. The same X gives the same number.

        Args:
            X, lengths: as in `fit`.
            y: not used.

        Raises:
            NotFittedError: before `fit`.
            DataError, ValueError: X is not as the data that the estimator was fitted on.
            NumericsError: the bound is not finite.
        """
        with self._measured(X, lengths) as (data, how):
            return -evaluate(dataset=data, split="test", **how).nll_per_step

    def score_samples(self, X: Any, y: Any = None, *, lengths: Sequence[int] | None = None) -> Array:
        """The bound on log p(x) of each sequence, in nats: not divided by its steps. [N] float64.

        Args:
            X, lengths: as in `fit`; a two-dimensional X without lengths is one sequence.
            y: not used.

        Raises:
            NotFittedError, DataError, ValueError: as `score`.
        """
        with self._measured(X, lengths) as (data, how):
            return np.asarray(bounds_of(dataset=data, **how)[0][0].numpy())

    def sample(
        self,
        n_samples: int = 1,
        steps: int | None = None,
        *,
        temperature: float | None = None,
        random_state: Any = None,
    ) -> Array:
        """Sequences that the model draws, in the units of the data. [n_samples, steps, X] float64.

        Args:
            n_samples: how many.
            steps: of each; by default as many as all training sequences have, or 64 where they differ.
            temperature: below 1 surer, above 1 wilder; by default 1, and next to 0 for `gaussian-fixed`, whose noise
                was never fitted: its means.
            random_state: by default the estimator's own, so that the same call draws the same.

        Raises:
            NotFittedError: before `fit`.
            ConfigError: none, no steps, or a temperature that is not above 0.
        """
        run = self._fitted()
        length = sampling.usual_steps(run.format.sequence_steps, 0) if steps is None else steps
        heat = sampling.temperature_of(run.net, temperature)
        if n_samples < 1 or length < 1 or not 0 < heat < np.inf:
            raise ConfigError(f"{n_samples} samples of {length} steps at {heat}: all must be above 0")
        seed = _seed(self.random_state if random_state is None else random_state)
        return np.stack(sampling.decoded(run, sampling.seeded(run, n_samples, length, seed, temperature=heat)))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the fitted estimator as a folder: a run without its data, and estimator.json. No pickle is in it.

        `load` reads it, and so does all that takes a run: `pyro_vrnn.load`, `pyro-vrnn sample PATH`.

        Args:
            path: the folder.
            overwrite: replace a saved estimator that is there.

        Raises:
            NotFittedError: before `fit`.
            ConfigError: the path is taken, or a parameter cannot be written as JSON.
        """
        contents = files.contents(self._fitted()) | {files.ABOUT: files.about(self)}
        files.write_folder(Path(path), contents, overwrite=overwrite)
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The fitted estimator that `save` wrote, or that was fitted with `out=` there, with its parameters.

        Raises:
            CheckpointError: no estimator is there, it is damaged, or it is of another class.
        """
        folder = Path(path)
        about = files.read_about(folder, cls.__name__)
        try:
            estimator = cls(**about["params"])
        except TypeError as error:
            message = f"{folder / files.ABOUT}: parameters of another version ({error})"
            raise CheckpointError(message, "save the estimator again", folder) from None
        estimator.run_ = load(folder, device=str(estimator.device))
        estimator.n_features_in_ = about["count"]
        if about["names"] is not None:
            estimator.feature_names_in_ = np.asarray(about["names"], dtype=object)
        return estimator

    def _fitted(self) -> Run:
        """The run, or scikit-learn's NotFittedError."""
        check_is_fitted(self)
        return self.run_

    def _given(self, X: Any, lengths: Sequence[int] | None) -> Given:
        """X of a fitted estimator."""
        return read(self, X, lengths, sequence=self.sequence, time=self.time)

    @contextmanager
    def _measured(self, X: Any, lengths: Sequence[int] | None) -> Iterator[tuple[SequenceDataset, dict[str, Any]]]:
        """X as a dataset, and how its bound is estimated: as `Run.evaluate` does unless it is told otherwise."""
        run = self._fitted()
        objective = make_objective(self.score_objective, self.score_particles, run.config.objective)
        how = {"program": Stacked(run.net), "objective": objective, "batch_size": SCORE_BATCH, "seed": 0}
        with files.stored(run, self._given(X, lengths)) as data:
            yield data, how | {"device": run.device}

    def _settings(self) -> dict[str, Any]:
        """Parameters as settings by their dotted names; `settings` stand above them.

        Raises:
            ConfigError: settings that the class and X decide; a parameter out of range.
        """
        more = dict(self.settings or {})
        if taken := [name for name in RESERVED if name in more]:
            raise ConfigError(f"settings: {taken[0]!r} follows from the estimator's class and from X", "leave it out")
        if not 0 <= self.validation_fraction < 1:
            raise ConfigError(f"validation_fraction={self.validation_fraction}: must be in [0, 1)")
        if self.max_time is not None and not (isinstance(self.max_time, int | float) and self.max_time > 0):
            raise ConfigError(f"max_time={self.max_time!r}: must be seconds, above 0")
        if self.likelihood is not None and self.likelihood not in LIKELIHOODS:
            raise choose("likelihood", str(self.likelihood), LIKELIHOODS)
        given = {name: value for name, value in self._flags().items() if value is not None} | more
        return {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}

    def _flags(self) -> dict[str, Any]:
        """The parameters that are settings, by their dotted names; None is what suits the data."""
        return {
            "model.hidden_dim": self.hidden_dim,
            "model.likelihood": self.likelihood,
            "training.epochs": self.epochs,
            "training.max_steps": self.max_steps,
            "training.learning_rate": self.learning_rate,
            "data.batch_size": self.batch_size,
        }

    def _out(self, private: Path) -> Path:
        """The run folder; ConfigError if a run is there that no estimator made."""
        if self.out is None:
            return private
        out = Path(self.out)
        if out.is_dir() and any(out.iterdir()) and not (out / files.ABOUT).is_file():
            raise ConfigError(f"{out}: holds files that no estimator wrote", "choose another out=", out)
        return out

    def _dataset(self, given: Given, seed: int, path: Path | None) -> Any:
        """The data file that is trained on."""
        values, count = given.values, len(given.values)
        held_out = int(self.validation_fraction * count)
        order = np.random.default_rng(seed).permutation(count)
        train_on = [values[i] for i in sorted(order[held_out:])]
        support = None if self.likelihood is None else LIKELIHOODS[self.likelihood].support
        return dataset(
            {"train": train_on, "valid": [values[i] for i in sorted(order[:held_out])] if held_out else train_on},
            columns=given.names,
            support=support,
            steps_per_second=given.rate,
            path=path,
        )

    def __sklearn_tags__(self) -> Any:
        """scikit-learn's tags: missing values and three-dimensional X are allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.three_d_array = True
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled and copied: a fitted estimator takes its run's files along, as bytes."""
        state = dict(super().__getstate__())
        if "run_" in state:
            state["run_"] = files.contents(state["run_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Back, with the run in a temporary folder."""
        state = dict(state)
        contents = state.pop("run_", None)
        super().__setstate__(state)
        if contents is not None:
            private = files.private_folder()
            try:
                files.unpack(contents, private)
                self.run_ = load(private, device=str(self.device))
            except BaseException:
                shutil.rmtree(private, ignore_errors=True)
                raise
            files.keep_with(self.run_, private)

    def _repr_html_(self) -> str:
        """scikit-learn's picture of an estimator, and below it a few numbers of what was fitted."""
        fitted = "run_" in vars(self)
        return str(estimator_html_repr(self)) + (summary.table(self.run_) if fitted else "")

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        """What notebooks ask for."""
        return {"text/plain": repr(self), "text/html": self._repr_html_()}


def _seed(random_state: Any) -> int:
    """A seed from what scikit-learn takes for one: a whole number is the seed itself, as in `--seed`."""
    if isinstance(random_state, Integral):
        return check_seed(int(random_state))
    return int(check_random_state(random_state).randint(2**31 - 1))
