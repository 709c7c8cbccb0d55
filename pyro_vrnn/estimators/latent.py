"""Estimators of models with latent variables: their z as features, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from pyro_vrnn.estimators import files
from pyro_vrnn.estimators.base import Array, SequenceEstimator
from pyro_vrnn.estimators.decoding import decoded
from pyro_vrnn.estimators.given import Given
from pyro_vrnn.runs import sampling
from pyro_vrnn.runs.posteriors.latent_space import Latents, latents
from pyro_vrnn.system.errors import ConfigError, DataError


class LatentEstimator(ClassNamePrefixFeaturesOutMixin, TransformerMixin, SequenceEstimator):
    """An estimator whose model has latent variables; the two subclasses say what z is about."""

    def __init__(
        self,
        latent_dim: int | None = None,
        *,
        hidden_dim: int | None = None,
        likelihood: str | None = None,
        objective: str = "elbo",
        particles: int | None = None,
        epochs: int | None = None,
        max_steps: int | None = None,
        max_time: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
        score_objective: str = "elbo",
        score_particles: int | None = None,
        sequence: str | None = None,
        time: str | None = None,
        settings: dict[str, Any] | None = None,
        out: str | None = None,
        random_state: Any = 0,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        """Every parameter that is None is chosen by what the data is, as `pyro-vrnn train --data FILE` chooses it.

        Args:
            latent_dim: units of z.
            hidden_dim: width of the recurrent state.
            likelihood: the distribution of a step, such as gaussian, gmm or bernoulli; by default what the values
                suggest: bernoulli for bool, and for uint8 of 0 and 1.
            objective: the bound that is trained: elbo, elbo-mc, iwae, renyi, ciwae, dreg, stl, fivo, sixo, …
            particles: samples of z for each sequence, K.
            epochs: passes over the training sequences, at most.
            max_steps: updates, at most.
            max_time: seconds of training, at most.
            batch_size: sequences in an update; there may be fewer.
            learning_rate: at the start.
            validation_fraction: share of the sequences that is held out to choose the best weights.
            score_objective: the bound of `score` and `score_samples`.
            score_particles: its K.
            sequence: a data frame's column that says whose row it is; `sequence` by default, if there is one.
            time: a data frame's column by which rows are put in order.
            settings: any other settings by their dotted names (docs/settings.md), such as {"training.patience": 5}.
            out: the run folder; by default a temporary one, which goes with the run. With it, the data file is written
                where `pyro_vrnn.dataset` writes, below data/.
            random_state: decides the weights, the order of the data and all draws; a number is what `--seed` takes.
            device: auto, cpu, cuda or cuda:N.
            verbose: whether `fit` shows its progress.
        """
        self.latent_dim = latent_dim
        self.hidden_dim = hidden_dim
        self.likelihood = likelihood
        self.objective = objective
        self.particles = particles
        self.epochs = epochs
        self.max_steps = max_steps
        self.max_time = max_time
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.score_objective = score_objective
        self.score_particles = score_particles
        self.sequence = sequence
        self.time = time
        self.settings = settings
        self.out = out
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    def _flags(self) -> dict[str, Any]:
        """Those of all estimators, and what there is to say of z."""
        return super()._flags() | {
            "model.latent_dim": self.latent_dim,
            "objective.name": self.objective,
            "objective.particles": self.particles,
        }

    def fit_transform(self, X: Any, y: Any = None, *, lengths: Sequence[int] | None = None) -> Array:
        """`fit` and then `transform` of the same X."""
        return self.fit(X, y, lengths=lengths).transform(X, lengths=lengths)

    def transform(self, X: Any, *, lengths: Sequence[int] | None = None) -> Array:
        """The latent features of X, float64: the means of the approximate posterior q(z | x). It is not random.

        Args:
            X, lengths: as in `fit`.

        Returns:
            A row [Z] for each sequence: the mean of its z over its steps, or the one z that it has. Where X is
            two-dimensional its rows are steps, and of a model with a z for every step there is a row for each of them.

        Raises:
            NotFittedError: before `fit`.
            DataError, ValueError: X is not as the data that the estimator was fitted on.
        """
        by_step = self._fitted().net.per_step
        given = self._given(X, lengths)
        found = self._latents(given)
        return np.asarray(found.z if given.rows and by_step else found.by_sequence(), np.float64)

    @property
    def _n_features_out(self) -> int:
        """Z, for scikit-learn's `get_feature_names_out`."""
        return self._fitted().net.latent_dim

    def _latents(self, given: Given) -> Latents:
        """z of each step, or of each sequence."""
        with files.stored(self.run_, given) as data:
            return latents(self.run_, data)


class StepwiseEstimator(LatentEstimator):
    """An estimator whose model has a z_t for every step."""

    def transform_steps(self, X: Any, *, lengths: Sequence[int] | None = None) -> list[Array]:
        """The latent features of each step: a list of arrays [T_i, Z], float64.

        Args:
            X, lengths: as in `fit`.

        Raises:
            NotFittedError, DataError, ValueError: as `transform`.
        """
        self._fitted()
        found = self._latents(self._given(X, lengths))
        return np.split(np.asarray(found.z, np.float64), np.cumsum(found.lengths)[:-1])

    def inverse_transform(self, Z: Any) -> Any:
        """What the model makes of z at every step: E[x_t | z, x before t], x before t at its own means.

        Args:
            Z: what `transform_steps` gives, a list of arrays [T_i, Z]; or an array [N, T, Z].

        Returns:
            A list of arrays [T_i, X], or an array [N, T, X], in the units of the data; of bits their probabilities.

        Raises:
            NotFittedError: before `fit`.
            DataError: a two-dimensional Z, such as the mean over the steps that `transform` gives: it does not say
                what the steps were; or another width.
        """
        width = self._fitted().net.latent_dim
        listed = isinstance(Z, list | tuple) or np.ndim(Z) == 3
        paths = [np.asarray(path, np.float64) for path in Z] if listed else []
        if not paths or any(path.ndim != 2 or path.shape[1] != width or not len(path) for path in paths):
            message = f"Z is to be a list of [steps, {width}], or an array [N, steps, {width}]"
            raise DataError(
                message, "inverse_transform(transform_steps(X)); of one sequence of z, inverse_transform([z])"
            )
        found = decoded(self.run_, paths)
        return found if isinstance(Z, list | tuple) else np.stack(found)


class SequencewiseEstimator(LatentEstimator):
    """An estimator whose model has one z for a whole sequence."""

    def inverse_transform(self, Z: Any, steps: int | None = None) -> Array:
        """The sequences that z stand for: E[x_t | z, x before t], x before t at its own means.

        Args:
            Z: what `transform` gives, [N, Z].
            steps: of each sequence; by default as many as all training sequences have, or 64 where they differ.

        Returns:
            [N, steps, X] float64 in the units of the data; of bits their probabilities.

        Raises:
            NotFittedError: before `fit`.
            DataError: another shape.
            ConfigError: no steps.
        """
        run = self._fitted()
        z, width = np.asarray(Z, np.float64), run.net.latent_dim
        if z.ndim != 2 or z.shape[1] != width or not len(z):
            raise DataError(f"Z has shape {list(z.shape)}: expected [sequences, {width}]", "what transform(X) gives")
        length = sampling.usual_steps(run.format.sequence_steps, 0) if steps is None else steps
        if length < 1:
            raise ConfigError(f"steps={length}: must be at least 1")
        held = np.zeros((len(z), length, width))
        held[:, 0] = z
        return np.stack(decoded(run, list(held)))
