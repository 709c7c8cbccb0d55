"""The six estimators: which model each is of. What they can do is in base.py and latent.py.

vrae = VRAE(latent_dim=2).fit(list_of_arrays)
z = vrae.transform(list_of_arrays)  # [N, 2]
"""

from __future__ import annotations

from typing import Any, ClassVar

from pyro_vrnn.estimators.base import SequenceEstimator
from pyro_vrnn.estimators.latent import SequencewiseEstimator, StepwiseEstimator


class VRNN(StepwiseEstimator):
    """A variational recurrent network (Chung et al. 2015): a z_t for every step, whose prior reads the past."""

    model: ClassVar[str] = "vrnn"


class SRNN(StepwiseEstimator):
    """A stochastic recurrent network (Fraccaro et al. 2016): a z_t for every step, inferred from past and future."""

    model: ClassVar[str] = "srnn"


class DMM(StepwiseEstimator):
    """A deep Markov model (Krishnan et al. 2017): a z_t for every step, and nothing else remembers the past."""

    model: ClassVar[str] = "dmm"


class STORN(StepwiseEstimator):
    """A stochastic recurrent network (Bayer & Osendorfer 2014): z_t for every step, independent under the prior."""

    model: ClassVar[str] = "storn"


class VRAE(SequencewiseEstimator):
    """A variational recurrent auto-encoder (Fabius & van Amersfoort 2014): one z for a whole sequence."""

    model: ClassVar[str] = "vrae"


class RNN(SequenceEstimator):
    """A recurrent network without latent variables, the baseline: its score is exact, and it transforms nothing."""

    model: ClassVar[str] = "rnn"

    def __init__(
        self,
        *,
        hidden_dim: int | None = None,
        likelihood: str | None = None,
        epochs: int | None = None,
        max_steps: int | None = None,
        max_time: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        validation_fraction: float = 0.1,
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
            hidden_dim: width of the recurrent state.
            likelihood: the distribution of a step, such as gaussian, gmm or bernoulli; by default what the values
                suggest: bernoulli for bool, and for uint8 of 0 and 1.
            epochs: passes over the training sequences, at most.
            max_steps: updates, at most.
            max_time: seconds of training, at most.
            batch_size: sequences in an update; there may be fewer.
            learning_rate: at the start.
            validation_fraction: share of the sequences that is held out to choose the best weights.
            sequence: a data frame's column that says whose row it is; `sequence` by default, if there is one.
            time: a data frame's column by which rows are put in order.
            settings: any other settings by their dotted names (docs/settings.md), such as {"training.patience": 5}.
            out: the run folder; by default a temporary one, which goes with the run. With it, the data file is written
                where `pyro_vrnn.dataset` writes, below data/.
            random_state: decides the weights, the order of the data and all draws; a number is what `--seed` takes.
            device: auto, cpu, cuda or cuda:N.
            verbose: whether `fit` shows its progress.
        """
        self.hidden_dim = hidden_dim
        self.likelihood = likelihood
        self.epochs = epochs
        self.max_steps = max_steps
        self.max_time = max_time
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.sequence = sequence
        self.time = time
        self.settings = settings
        self.out = out
        self.random_state = random_state
        self.device = device
        self.verbose = verbose
