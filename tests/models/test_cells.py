"""A recurrent network over a whole sequence against torch's own: values, gradients, and what autograd promises."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from torch import Tensor, nn

from pyro_vrnn.models.cells import CELLS, unroll

T, N, D, H = 5, 3, 4, 6
NETWORKS = {"GRU": nn.GRU, "LSTM": nn.LSTM, "RNN_TANH": nn.RNN}
assert NETWORKS.keys() == CELLS.keys()


def make(mode: str) -> tuple[nn.RNNBase, Tensor, list[Tensor]]:
    torch.manual_seed(0)
    rnn = NETWORKS[mode](D, H).double()
    u = torch.randn(N, T, D, dtype=torch.float64, requires_grad=True)
    start = [torch.randn(N, H, dtype=torch.float64, requires_grad=True) for _ in range(2 if mode == "LSTM" else 1)]
    return rnn, u, start


@pytest.mark.parametrize("mode", CELLS)
def test_values_and_gradients_are_torchs(mode: str) -> None:
    rnn, u, start = make(mode)
    wanted = [u, *start, *rnn.parameters()]
    path = u.transpose(0, 1)  # not contiguous
    ours = unroll(rnn, path, start)
    hx = tuple(part[None] for part in start)
    h, last = rnn(path, hx if mode == "LSTM" else hx[0])
    torch.testing.assert_close(ours[0], h, atol=1e-12, rtol=0)
    weights = torch.randn_like(h)
    mine = (ours[0], [part[-1] for part in ours])
    torchs = (h, [part[0] for part in (last if mode == "LSTM" else (last,))])
    totals = [(weights * out).sum() + sum(end.square().sum() for end in ends) for out, ends in (mine, torchs)]
    for a, b in zip(*(torch.autograd.grad(total, wanted) for total in totals), strict=True):
        torch.testing.assert_close(a, b, atol=1e-11, rtol=0)


@pytest.mark.parametrize("what", ["u", "weight_ih_l0", "weight_hh_l0"])
@pytest.mark.parametrize("mode", CELLS)
def test_what_is_changed_before_the_way_back_is_an_error(mode: str, what: str) -> None:
    """As with torch's own: silently wrong gradients otherwise."""
    rnn, u, start = make(mode)
    given = u.detach().transpose(0, 1).clone()
    total = unroll(rnn, given, start)[0].sum()
    with torch.no_grad():
        (given if what == "u" else getattr(rnn, what)).mul_(2)
    if mode == "GRU" and what == "weight_hh_l0":
        total.backward()  # it was put in the cell's own order: a copy
        return
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        total.backward()


@pytest.mark.parametrize("mode", CELLS)
def test_the_input_goes_with_the_way_back(mode: str) -> None:
    rnn, u, start = make(mode)
    given = u.detach().transpose(0, 1).clone()
    gone = weakref.ref(given)
    total = unroll(rnn, given, start)[0].sum()
    total.backward(retain_graph=True)
    total.backward()
    with pytest.raises(RuntimeError, match="second time"):
        total.backward()
    del given
    gc.collect()
    assert gone() is None
