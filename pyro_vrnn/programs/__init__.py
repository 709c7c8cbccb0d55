"""Two Pyro programs from one set of arrows: `markov` to read, trace and draw with; `stacked` to train with."""

from __future__ import annotations

from pyro_vrnn.programs.markov import Markov, traces
from pyro_vrnn.programs.stacked import Stacked

Program = Markov | Stacked
PROGRAMS: dict[str, type[Markov] | type[Stacked]] = {"markov": Markov, "stacked": Stacked}

__all__ = ["PROGRAMS", "Markov", "Program", "Stacked", "traces"]
