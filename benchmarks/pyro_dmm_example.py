"""A DMM as Pyro's own example has it (examples/dmm.py), and ours timed against it, interleaved in one process.

    OMP_NUM_THREADS=1 python benchmarks/pyro_dmm_example.py [--repeats N]

Pyro's checks are on in the example, and so they are here in `example_ms`; without them, as ours is timed, it is
`example_unchecked_ms`. benchmarks/gpu.py times the same on a GPU.

A site and a mask for every step, an annealed scale around each z_t, a packed nn.RNN. The networks are ours, so that
both ways compute the same.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from pyro_vrnn.cli.bench import CASES, time_case
from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import DMM
from pyro_vrnn.models.networks import reverse_padded


class Example:
    """Model and guide of one batch, of which x is packed beforehand."""

    def __init__(self, net: DMM, batch: Batch) -> None:
        assert batch.x is not None
        self.net, self.x, self.size, self.lengths = net, batch.x, batch.size, batch.lengths
        self.alive = batch.alive[..., None]  # [T, B, 1]
        backward = reverse_padded(batch.x, batch.lengths)
        self.packed = pack_padded_sequence(backward, batch.lengths.cpu(), enforce_sorted=False)

    def model(self, annealing: float = 1.0) -> None:
        """Sites z_t and x_t."""
        pyro.module("dmm", self.net)
        state = self.net.start(self.size)
        with pyro.plate("sequences", self.size):
            for t in pyro.markov(range(len(self.x))):
                with poutine.scale(scale=annealing):
                    p_z = self.net.p_z(state).base_dist.mask(self.alive[t])
                    state = (pyro.sample(f"z_{t}", p_z.to_event(1)),)
                p_x = self.net.p_x(state, state[0]).base_dist.mask(self.alive[t])
                pyro.sample(f"x_{t}", p_x.to_event(1), obs=self.x[t])

    def guide(self, annealing: float = 1.0) -> None:
        """Sites z_t, from a recurrent network that runs backward over x."""
        pyro.module("dmm", self.net)
        start = self.net.rnn.start(self.size)[0].contiguous()
        h, _ = pad_packed_sequence(self.net.rnn.rnn(self.packed, start[None])[0])
        h = reverse_padded(h, self.lengths)
        state = self.net.start(self.size)
        with pyro.plate("sequences", self.size):
            for t in pyro.markov(range(len(self.x))):
                with poutine.scale(scale=annealing):
                    q_z = self.net.q_z(state, h[t]).base_dist.mask(self.alive[t])
                    state = (pyro.sample(f"z_{t}", q_z.to_event(1)),)


def examples(net: Any, batch: Batch) -> dict[str, Callable[[], Any]]:
    """Loss and gradients of the example's way, with Pyro's checks and without."""
    pyros = Example(net, batch)
    example = partial(Trace_ELBO().loss_and_grads, pyros.model, pyros.guide)
    return {"example_ms": pyro.validation_enabled(True)(example), "example_unchecked_ms": example}


def main() -> None:
    """Time the case dmm-jsb and print it with the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds, of which medians are taken")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = time_case("dmm-jsb", CASES["dmm-jsb"], device="cpu", repeats=options.repeats, others=examples)
    ratios = {f"stacked_of_{key}": found["stacked_ms"] / found[key] for key in ("example_ms", "example_unchecked_ms")}
    print(json.dumps(found | ratios, indent=1))


if __name__ == "__main__":
    main()
