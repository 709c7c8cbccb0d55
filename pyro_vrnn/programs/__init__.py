"""Two Pyro programs from one set of arrows: `markov` to read, trace and draw with; `stacked` to train with."""

from __future__ import annotations

from pyro_vrnn.programs.markov import Markov
from pyro_vrnn.programs.particle_filter import Filtered, particle_filter
from pyro_vrnn.programs.stacked import Stacked
from pyro_vrnn.programs.weights import Terms, terms, traces

Program = Markov | Stacked
PROGRAMS: dict[str, type[Markov] | type[Stacked]] = {"markov": Markov, "stacked": Stacked}

__all__ = ["PROGRAMS", "Filtered", "Markov", "Program", "Stacked", "Terms", "particle_filter", "terms", "traces"]
