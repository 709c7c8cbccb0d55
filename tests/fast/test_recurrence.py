"""The loop with a backward pass of its own against the readable one: draws, states, gradients."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from small import LENGTHS, B, X, make_net, variants
from torch import Tensor

from pyro_vrnn.data.batch import Batch
from pyro_vrnn.fast import loop_of, recurrence
from pyro_vrnn.models.base import SequenceModel
from pyro_vrnn.models.loop import Inference, Loop

MODELS = ("vrnn", "vrnn-i", "srnn", "dmm", "storn", "vrae")
SETS = [v for v in variants() if v[0].split("=")[1] in MODELS and not any("flows" in s for s in v)]
SETS += [(f"model.name={name}", f"model.network_dims={dims}") for name in MODELS for dims in ("[7,5]", "[]")]
FAST = {" ".join(s.removeprefix("model.") for s in v): v for v in SETS}
SHAPES = {"one draw": (B,), "two particles": (2, B), "two of two": (2, 2, B)}


def data(lengths: list[int] = LENGTHS) -> Batch:
    x = torch.rand(max(lengths), len(lengths), X, dtype=torch.float64) < 0.3
    return Batch(torch.tensor(lengths), x.double())


def run(net: SequenceModel, batch: Batch, shape: tuple[int, ...], readable: bool) -> Inference:
    torch.manual_seed(1)
    features = net.features(batch.read)
    infer = (Loop(net) if readable else loop_of(net)).infer
    found: Inference = infer(features, net.encode(batch, features), net.begin(batch), torch.Size(shape))
    return found


def parts(found: Inference) -> list[Tensor]:
    return [found.z, found.q_z.base_dist.loc, found.q_z.base_dist.scale, *found.states]


@pytest.mark.parametrize("variant", FAST.values(), ids=FAST)
def test_which_models_have_the_fast_loop(variant: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    real = recurrence._Loop.run
    monkeypatch.setattr(
        recurrence._Loop, "run", lambda loop, start, *, keep: runs.append(1) or real(loop, start, keep=keep)
    )
    run(make_net(*variant), data(), (B,), readable=False)
    words = " ".join(variant)
    readable = any(word in words for word in ("norm=layer", "stochastic_layers", "storn", "vrae"))
    assert len(runs) == (0 if readable else 1)


@pytest.mark.parametrize("variant", FAST.values(), ids=FAST)
def test_the_loop_goes_with_its_last_result(variant: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, without Python's search for cycles: it holds the buffers of every step."""
    made: list[weakref.ref[recurrence._Loop]] = []
    real = recurrence._Loop.run

    def run_and_note(loop: recurrence._Loop, start: Any, *, keep: bool) -> Any:
        made.append(weakref.ref(loop))
        return real(loop, start, keep=keep)

    monkeypatch.setattr(recurrence._Loop, "run", run_and_note)
    gc.collect()
    gc.disable()
    try:
        found = run(make_net(*variant), data(), (B,), readable=False)
        sum(v.sum() for v in parts(found)).backward()
        del found
        assert not any(loop() for loop in made)
    finally:
        gc.enable()


@pytest.mark.parametrize("lengths", [LENGTHS, [1] * B], ids=["ragged", "one step"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("variant", FAST.values(), ids=FAST)
def test_the_same_draw_and_gradients(variant: tuple[str, ...], shape: tuple[int, ...], lengths: list[int]) -> None:
    net, batch = make_net(*variant), data(lengths)
    grads = []
    found_fast, found_slow = (run(net, batch, shape, readable) for readable in (False, True))
    fast, slow = parts(found_fast), parts(found_slow)
    if found_fast.p_z is not None:  # which the readable loop leaves to its caller
        for p_z, into in ((found_fast.p_z, fast), (net.p_z(found_slow.states), slow)):
            into += [p_z.base_dist.loc, p_z.base_dist.scale]
    for a, b in zip(fast, slow, strict=True):
        torch.testing.assert_close(a, b.expand_as(a), atol=1e-12, rtol=0)
    for found in (fast, slow):
        torch.manual_seed(2)
        weights = [torch.randn_like(a) for a in fast]
        total = sum((w * v).sum() + (w * v * v).sum() for w, v in zip(weights, found, strict=True))
        assert isinstance(total, Tensor)
        grads.append(torch.autograd.grad(total, list(net.parameters()), allow_unused=True))
    used = 0
    for name, a, b in zip(dict(net.named_parameters()), *grads, strict=True):
        if b is None:
            assert a is None or not a.any(), name
        elif a is None:
            assert not b.any(), name
        else:
            used += 1
            torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-9, msg=lambda text, name=name: f"{name}: {text}")
    assert used >= 3


@pytest.mark.parametrize("variant", FAST.values(), ids=FAST)
def test_without_gradients_nothing_else_changes(variant: tuple[str, ...]) -> None:
    net, batch = make_net(*variant), data()
    with torch.no_grad():
        bare = parts(run(net, batch, (2, B), readable=False))
    for a, b in zip(bare, parts(run(net, batch, (2, B), readable=False)), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    "variant",
    [("vrnn",), ("vrnn", "model.cell=lstm"), ("vrnn-i", "model.cell=tanh"), ("srnn",), ("dmm",)],
    ids=" ".join,
)
def test_gradcheck(variant: tuple[str, ...]) -> None:
    """Against finite differences, not against another formula."""
    net, batch = make_net(f"model.name={variant[0]}", *variant[1:]), data([4, 2, 1])
    names = [f"net.{name}" for name, _ in net.named_parameters()]

    class Outputs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self) -> Tensor:
            return torch.cat([v.flatten() for v in parts(run(self.net, batch, (2, 3), readable=False))])

    def outputs(*values: Tensor) -> Tensor:
        found: Tensor = torch.func.functional_call(Outputs(), dict(zip(names, values, strict=True)), ())
        return found

    values = [p.detach().clone().requires_grad_() for p in net.parameters()]
    assert torch.autograd.gradcheck(outputs, values, fast_mode=True)


def test_a_weight_that_is_changed_before_the_way_back_is_an_error() -> None:
    net = make_net("model.name=dmm")
    total = run(net, data(), (B,), readable=False).z.sum()
    with torch.no_grad():
        net.posterior.linear.bias.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()
