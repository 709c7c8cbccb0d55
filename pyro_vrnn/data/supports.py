"""What values data may have: bits, finite numbers, or numbers of symbols."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_vrnn.system.errors import DataError

Array = NDArray[Any]

SUPPORTS: dict[str, tuple[str, Callable[[Array], Array]]] = {
    "binary": ("0 or 1", lambda x: (x == 0) | (x == 1)),
    "real": ("a finite number", np.isfinite),
    "categorical": ("a whole number from 0 up", lambda x: np.isfinite(x) & (x >= 0) & (x == np.floor(x))),
}


def check_support(values: Array, support: str, name: str, path: Path | None = None) -> None:
    """DataError naming the first step of [T, X] with a value that is not finite or not in the support."""
    words, allowed = SUPPORTS[support]
    ok = allowed(values)
    if not ok.all():
        step = int(np.argmin(ok.all(axis=1)))
        bad = values[step][~ok[step]][0]
        raise DataError(f"{name}, step {step}: {bad} is not {words}", f"{support} data has no other values", path)
