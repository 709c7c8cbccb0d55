"""One torch optimiser behind SVI: one step, one global-norm clip, one state_dict.

Answers two limits of `PyroOptim`: it makes an optimiser a parameter (no global norm, as many states), and its
`load` unpickles files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer

from pyro_vrnn.system.errors import NumericsError


class TorchOptim(PyroOptim):
    """Drives a torch optimiser over all parameters of a network.

    Args:
        net: its parameters, in the module's own order.
        make: parameters -> optimiser.
        clip_norm: largest global norm of the gradient, after the division by `divide_by`.
    """

    def __init__(self, net: nn.Module, make: Callable[[list[Tensor]], Optimizer], clip_norm: float) -> None:
        super().__init__(make, {})
        self.params: list[Tensor] = list(net.parameters())
        self.inner, self.clip_norm = make(self.params), clip_norm
        self.divide_by = 1.0
        """The loss is a sum over the batch; set to its number of steps before each SVI step, the gradient is per step.

        (An outer poutine.scale would do that to the log-weights, and turn IWAE into the ELBO.)"""
        self.reduce: Callable[[list[Tensor]], None] = lambda params: None
        """What is done to the gradients before the division: several processes add theirs up."""
        self.grad_norm = 0.0
        """Global norm before clipping, of the last step."""

    def __call__(self, params: Iterable[Tensor], *args: Any, **kwargs: Any) -> None:
        """Divide, clip, step.

        Raises:
            RuntimeError: SVI's parameters are not the network's: a stale param store would train nothing.
            NumericsError: the gradient is not finite; nothing was updated.
        """
        if strays := {id(p) for p in params} ^ {id(p) for p in self.params}:
            raise RuntimeError(f"{len(strays)} parameters are in SVI or in the network but not in both")
        for p in self.params:
            if (
                p.grad is None
            ):  # not read by this batch; after a step it would be zero, and a resumed run must not differ
                p.grad = torch.zeros_like(p)
        self.reduce(self.params)
        torch._foreach_div_([p.grad for p in self.params if p.grad is not None], self.divide_by)
        norm = float(clip_grad_norm_(self.params, self.clip_norm, foreach=True))
        if not norm < float("inf"):
            raise NumericsError(f"the gradient's norm is {norm}")
        self.grad_norm = norm
        self.inner.step()

    def set_learning_rate(self, learning_rate: float) -> None:
        """For the next step."""
        for group in self.inner.param_groups:
            if isinstance(group["lr"], Tensor):  # a graph reads it where it is
                group["lr"].fill_(learning_rate)
            else:
                group["lr"] = learning_rate

    def get_state(self) -> dict[str, Any]:
        """The torch optimiser's state_dict."""
        return self.inner.state_dict()

    def set_state(self, state_dict: dict[str, Any]) -> None:
        """Back from `get_state`."""
        self.inner.load_state_dict(state_dict)


def flatten(state: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of an optimiser's state_dict as {"0.exp_avg": …}; the groups follow from the settings."""
    return {f"{i}.{k}": torch.as_tensor(v) for i, part in state["state"].items() for k, v in part.items()}


def unflatten(tensors: dict[str, Tensor], like: dict[str, Any]) -> dict[str, Any]:
    """Back from `flatten`, with the param_groups of `like`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = value
    return {"state": state, "param_groups": like["param_groups"]}
