"""TF32 and bf16 for the networks' products; what has to be exact stays in float32.

Under bf16 autocast a Normal's log-probability, a KL or a sum over a sequence would run in bf16 too, which is off by
nats. So the heads that give a distribution its parameters, all distributions and the loop over time are computed
`full`; bf16 is for the dense networks over all steps at once. (cuDNN's recurrent networks would run in float16 under
autocast, whatever it is asked for: they stay in float32, their products in TF32.)
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def products(precision: str, device: torch.device) -> Iterator[None]:
    """How a GPU multiplies float32 matrices meanwhile: exactly, or (tf32, bf16) with 10 bits of mantissa."""
    if device.type != "cuda":
        yield
        return
    # Torch's newer setting alone: it refuses to be read after both were used.
    places: tuple[Any, Any] = (torch.backends.cuda.matmul, torch.backends.cudnn.rnn)
    before = [place.fp32_precision for place in places]
    for place in places:
        place.fp32_precision = "ieee" if precision == "float32" else "tf32"
    try:
        yield
    finally:
        for place, held in zip(places, before, strict=True):
            place.fp32_precision = held


def lowered(precision: str, device: torch.device) -> torch.autocast:
    """Networks in bf16, if that is asked for. (Without autocast's cache, which a CUDA graph must not read.)"""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


@contextmanager
def exact(like: Tensor) -> Iterator[None]:
    """No bf16 in here; bring tensors in by `full`."""
    with torch.autocast(like.device.type, enabled=False):
        yield


def full(x: Tensor) -> Tensor:
    """bf16 to float32; others as they are."""
    return x.float() if x.dtype == torch.bfloat16 else x
