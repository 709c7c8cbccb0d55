"""One torch optimiser behind SVI: one step, one clip over all parameters, one state; fused AdamW is AdamW."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pyro_vrnn.system.errors import NumericsError
from pyro_vrnn.training.optimizer import TorchOptim, flatten, unflatten


def made(clip_norm: float = 5.0, **options: Any) -> TorchOptim:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(7, 11), nn.Tanh(), nn.Linear(11, 3))
    return TorchOptim(net, lambda params: torch.optim.AdamW(params, lr=1e-2, weight_decay=0.1, **options), clip_norm)


def give(optim: TorchOptim, scale: float, seed: int) -> list[Tensor]:
    """Gradients from a seed, as a loss would leave them."""
    generator = torch.Generator().manual_seed(seed)
    for p in optim.params:
        p.grad = scale * torch.randn(p.shape, generator=generator)
    return [p.grad.clone() for p in optim.params if p.grad is not None]


def test_fused_updates_are_updates() -> None:
    """The training's optimiser is fused; rounding aside it is torch's AdamW."""
    fused, plain = made(fused=True), made(fused=False)
    for step in range(5):
        for optim in (fused, plain):
            give(optim, 0.1, step)
            optim(optim.params)
        for a, b in zip(fused.params, plain.params, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_the_gradient_is_divided_and_then_clipped() -> None:
    optim = made(clip_norm=2.0, fused=True)
    grads = give(optim, 100.0, 0)
    norm = torch.cat([g.flatten() for g in grads]).norm() / 10
    optim.divide_by = 10
    optim(optim.params)
    assert optim.grad_norm == pytest.approx(float(norm), rel=1e-6)
    left = torch.cat([p.grad.flatten() for p in optim.params if p.grad is not None]).norm()
    assert float(left) == pytest.approx(2.0, rel=1e-4)


def test_a_gradient_that_is_not_finite_changes_nothing() -> None:
    optim = made(fused=True)
    give(optim, 0.1, 0)
    grad = optim.params[1].grad
    assert grad is not None
    grad[0] = torch.nan
    before = [p.clone() for p in optim.params]
    with pytest.raises(NumericsError, match="norm is nan"):
        optim(optim.params)
    assert all(torch.equal(a, b) for a, b in zip(before, optim.params, strict=True))
    assert optim.get_state()["state"] == {}


def test_parameters_of_another_network_are_refused() -> None:
    optim, other = made(), made()
    with pytest.raises(RuntimeError, match="in SVI or in the network but not in both"):
        optim(other.params)


def test_the_state_comes_back() -> None:
    one, two = made(fused=True), made(fused=True)
    give(one, 0.1, 0)
    one(one.params)
    saved = {key: value.clone() for key, value in flatten(one.get_state()).items()}
    two.set_state(unflatten(saved, two.get_state()))
    for p, q in zip(one.params, two.params, strict=True):
        q.data.copy_(p.data)
    for optim in (one, two):
        give(optim, 0.1, 1)
        optim.set_learning_rate(3e-3)
        optim(optim.params)
    assert all(torch.equal(p, q) for p, q in zip(one.params, two.params, strict=True))
