"""The table of sources."""

from __future__ import annotations

import pytest

from pyro_vrnn.data.sources import SOURCES, source
from pyro_vrnn.system.errors import ConfigError


def test_sources_by_name() -> None:
    assert {"chorales", "pianoroll"} <= set(SOURCES)
    assert source("chorales") is SOURCES["chorales"]
    with pytest.raises(ConfigError, match="kind of source 'choral': choose from"):
        source("choral")
