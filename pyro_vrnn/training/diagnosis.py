"""Updates whose numbers are not finite: where they went wrong, in RUN/diagnostics/, and an error that says it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyro
import torch

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models import SequenceModel
from pyro_vrnn.programs import Markov
from pyro_vrnn.system.errors import NumericsError
from pyro_vrnn.system.files import write_json
from pyro_vrnn.training.eager_step import fed
from pyro_vrnn.training.trainer import Trainer


def guarded(
    trainer: Trainer, batch: Batch | None, run: Path, *, log: bool, indices: Sequence[int] = ()
) -> dict[str, Any] | None:
    """One step; if its numbers are not finite, say in diagnostics/ which site's are not, and raise."""
    with _diagnosed(trainer, batch, run):
        return trainer.step(batch, log=log, indices=indices)


def settled(trainer: Trainer, run: Path) -> None:
    """Wait until all updates are done; the same for them."""
    with _diagnosed(trainer, None, run):
        trainer.settle()


@contextmanager
def _diagnosed(trainer: Trainer, batch: Batch | None, run: Path) -> Iterator[None]:
    state = trainer.state
    random, before = torch.get_rng_state(), trainer.state.at.step
    try:
        yield
    except NumericsError as error:
        batch = trainer.fault() or batch  # it may be some updates before
        if batch is None:
            raise  # the others' gradients; they say where
        for p in state.net.parameters():
            p.grad = None
        torch.set_rng_state(random)
        state.ranks.reseed(state.config.training.seed, state.at.step)  # the noise of the update
        mine = f"-rank-{state.ranks.rank}" if state.ranks.rank else ""
        path = run / "diagnostics" / f"step-{state.at.step + 1}{mine}.json"
        path.parent.mkdir(exist_ok=True)
        found = diagnose(state.net, fed(state, batch))
        torch.set_rng_state(random)
        found |= {"step": state.at.step + 1, "what": error.message}
        write_json(path, found)
        raise NumericsError(
            f"{error.message} at step {state.at.step + 1}; first at {found['first_site'] or 'the gradient'}",
            f"see {path}; try a smaller training.learning_rate or training.clip_norm",
            path,
        ) from error
    except Exception:
        # Was the update not made, what is saved now continues with the numbers that it was to draw. (On a CPU: a GPU's
        # errors may be of an update before, and its generator is not read at every update for that.)
        if state.at.step == before:
            torch.set_rng_state(random)
        raise


@torch.no_grad()
def diagnose(net: SequenceModel, batch: Batch) -> dict[str, Any]:
    """The first site, in time, with a log-probability that is not finite; parameters that are not."""
    program = Markov(net)
    guide = pyro.poutine.trace(program.guide).get_trace(batch)
    model = pyro.poutine.trace(pyro.poutine.replay(program.model, trace=guide)).get_trace(batch)
    bad = []
    with pyro.validation_enabled(False):
        for side, trace in (("guide", guide), ("model", model)):
            for name, site in trace.nodes.items():
                if site["type"] == "sample" and not pyro.poutine.util.site_is_subsample(site):
                    log_prob = site["fn"].log_prob(site["value"])
                    if not bool(torch.isfinite(log_prob).all()):
                        bad.append(f"{side}:{name}")
    return {
        "first_site": bad[0] if bad else None,
        "sites": bad[:100],
        "parameters": [k for k, v in net.named_parameters() if not bool(torch.isfinite(v).all())],
        "lengths": batch.lengths.tolist(),
    }
