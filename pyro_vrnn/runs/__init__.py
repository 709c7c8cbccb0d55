"""Run folders: what makes one (train), what opens one (load), and what can be asked of it."""

from __future__ import annotations

from pyro_vrnn.runs.folder import read_config, read_environment, read_metrics
from pyro_vrnn.runs.plan import build_net
from pyro_vrnn.runs.run import Run, load

__all__ = ["Run", "build_net", "load", "read_config", "read_environment", "read_metrics"]
