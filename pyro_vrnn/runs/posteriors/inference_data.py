"""A posterior in memory as ArviZ has it, and the trace that can be turned into one."""

from __future__ import annotations

import warnings
from typing import Any

from pyro.poutine import Trace

from pyro_vrnn.runs.posteriors.contents import ABOUT, attributes, groups
from pyro_vrnn.runs.posteriors.draws import Posterior
from pyro_vrnn.runs.trained import Trained
from pyro_vrnn.system.errors import ConfigError


def to_inference_data(run: Trained, found: Posterior) -> Any:
    """An `arviz.InferenceData` of one sequence: the groups and numbers of `inspect --export`.

    Raises:
        ConfigError: ArviZ is not installed.
        NumericsError: the model's probabilities are not finite.
    """
    try:
        import xarray

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of ArviZ 0.23, about its next version
            import arviz
    except ImportError:
        raise ConfigError("to_inference_data needs ArviZ", "pip install 'pyro-vrnn[arviz]'") from None
    datasets = {
        name: xarray.Dataset(
            {key: (v.dims, v.values, v.attrs) for key, v in group.variables.items()},
            coords={key: (v.dims, v.values, v.attrs) for key, v in group.coords.items()},
            attrs={"description": ABOUT[name]},
        )
        for name, group in groups(run, found).items()
    }
    return arviz.InferenceData(attrs=attributes(run), **datasets)


class PosteriorTrace(Trace):
    """A Pyro trace of the guide on one sequence, replayed through the model: the sites of both sides.

    Its sites have `fn` of the model and `value` of what the guide drew; log-probabilities are computed.

    Args:
        run: the trained model.
        found: the draws.
    """

    def __init__(self, run: Trained, found: Posterior) -> None:
        super().__init__(graph_type=found.model.graph_type)
        for name, site in found.model.nodes.items():
            self.add_node(name, **site)
        for edge in found.model.edges:
            self.add_edge(*edge)
        self._run, self._found = run, found

    def to_inference_data(self) -> Any:
        """An `arviz.InferenceData` of these draws; docs/posteriors.md says what its groups hold.

        Raises:
            ConfigError: ArviZ is not installed.
            NumericsError: the model's probabilities are not finite.
        """
        return to_inference_data(self._run, self._found)
