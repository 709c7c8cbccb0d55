"""From z back to x: the means of p(x_t | z, x before t), each step reading the means of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.runs import Run


@torch.no_grad()
def means(net: SequenceModel, z: Tensor) -> Tensor:
    """E[x_t | z_{<=t}, x_{<t}] with x_{<t} at its own means. Not random.

    Args:
        net: in evaluation mode.
        z: [T, B, Z]; of a model with one z per sequence, which is the first, T says how long x is.

    Returns:
        [T, B, X].
    """
    steps, size = z.shape[:2]
    state = net.begin(Batch(torch.full((size,), steps, device=z.device)))
    path = []
    with pyro.get_param_store().scope(), pyro.validation_enabled(False):
        for z_t in z:
            x_t = net.p_x(state, z_t).mean  # [B, X]
            state = net.next(state, z_t, net.features(x_t))
            path.append(x_t)
    return torch.stack(path)


def decoded(run: Run, z: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """What `means` gives for sequences of z [T_i, Z], in the units of the data. [T_i, columns] each."""
    longest = max(map(len, z))
    held = torch.zeros(longest, len(z), run.net.latent_dim, device=run.device)
    for i, path in enumerate(z):
        held[: len(path), i] = torch.as_tensor(np.asarray(path, np.float32), device=run.device)
    x = means(run.net, held).double().cpu().numpy()
    return [run.encoding.decode(x[: len(path), i]) for i, path in enumerate(z)]
