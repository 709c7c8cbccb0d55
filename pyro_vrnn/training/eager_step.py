"""An update by SVI, whose numbers are looked at before the next one begins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from pyro.infer import SVI

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.models.networks import State
from pyro_vrnn.models.precision import lowered
from pyro_vrnn.objectives.annealing import linear
from pyro_vrnn.objectives.estimators import own_terms
from pyro_vrnn.objectives.evaluation import Recorder
from pyro_vrnn.system.errors import NumericsError
from pyro_vrnn.training.state import TrainingState
from pyro_vrnn.training.step import Step
from pyro_vrnn.training.transition_inputs import feed


class EagerStep(Step):
    """Makes every kind of update: one process or several, either program, with replay and transition inputs."""

    def __init__(self, state: TrainingState) -> None:
        super().__init__(state)
        self.loss = state.config.objective.loss(state.net)
        self.svi = SVI(
            state.program.model,
            state.program.guide,
            state.optim,
            self.loss.loss,
            loss_and_grads=self._loss_and_grads,
        )
        self._carried: tuple[State, State] | None = None  # the next `memory`, until the update is done

    def prepares(self, batch: Batch | None) -> bool:
        """Every update."""
        return True

    def step(self, batch: Batch | None, *, log: bool, indices: Sequence[int] = ()) -> dict[str, Any] | None:
        """Make one update; see Step."""
        state = self.state
        training, at, optim = state.config.training, state.at, state.optim
        beta, learning_rate, keep = state.schedule()
        state.config.objective.move(self.loss, at.step)
        state.ranks.reseed(training.seed, at.step)  # before noise is drawn, which is an update's own too
        if batch is not None:
            batch = fed(state, batch)
        steps = state.ranks.begin(0 if batch is None else batch.scored_steps)
        optim.divide_by = steps
        optim.set_learning_rate(learning_rate)
        recorder = Recorder() if log or training.replay != "none" else None
        if batch is None:  # as much as a rank without a share has to do
            loss = 0.0
            for p in optim.params:
                p.grad = None
            optim(optim.params)
            for p in optim.params:
                p.grad = None
        elif recorder is None:
            loss = self.svi.step(batch, beta)
        else:
            with recorder:
                loss = self.svi.step(batch, beta)
        at.step += 1
        state.memory = self._carried
        state.program.forget()
        if state.average:
            with torch.no_grad():
                weights = dict(state.net.named_parameters())
                torch._foreach_lerp_([*state.average.values()], [weights[name] for name in state.average], keep)
        if recorder is None:
            return None
        nll, kl = recorder.nll, recorder.kl
        if batch is not None and (kept := own_terms(self.loss)) is not None:
            nll, kl = kept
        if training.replay != "none":
            assert batch is not None
            state.replay.saw(indices, (nll + kl) / batch.scored.sum(0).clamp(min=1))
        if not log:
            return None
        sums = state.ranks.add(loss, float(nll.sum()), float(kl.sum()))
        return self.row([v / steps for v in sums], optim.grad_norm, beta=beta, learning_rate=learning_rate)

    def _loss_and_grads(self, model: Any, guide: Any, *args: Any) -> float:
        state = self.state
        with lowered(state.config.training.precision, state.device):
            loss = float(self.loss.loss_and_grads(model, guide, *args))
        if not math.isfinite(loss) and state.ranks.world == 1:
            raise NumericsError(f"the loss is {loss}")
        if not math.isfinite(loss):  # so that all ranks see it in the gradient, and stop together
            first = state.optim.params[0]
            first.grad = torch.full_like(first, math.nan)
        if state.config.data.carry:
            self._carried = state.program.carry(args[0])
        return loss


def fed(state: TrainingState, batch: Batch) -> Batch:
    """The batch with what the transition reads in this update: noise, or a share of the model's own samples."""
    training = state.config.training
    share = linear(state.at.step, 0.0, training.scheduled_sampling, training.scheduled_steps)
    return feed(state.net, batch, state.net.likelihood.support, training.input_noise, share)
