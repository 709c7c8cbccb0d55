from __future__ import annotations

import pytest
import torch
from torch import nn

from pyro_vrnn.networks import MLP, Cell, DiagonalNormal, cat, reverse_padded


def test_reverse_padded_reverses_within_each_length_and_undoes_itself() -> None:
    x = torch.arange(1.0, 13.0).reshape(4, 3, 1)
    lengths = torch.tensor([4, 2, 1])
    x = x * (torch.arange(4)[:, None] < lengths)[..., None]
    y = reverse_padded(x, lengths)
    for b, n in enumerate(lengths.tolist()):
        assert y[:n, b, 0].tolist() == x[:n, b, 0].flip(0).tolist()
        assert y[n:, b, 0].tolist() == [0.0] * (4 - n)
    assert torch.equal(reverse_padded(y, lengths), x)


def test_cat_broadcasts_a_particle_dim() -> None:
    a, b = torch.randn(5, 2), torch.randn(3, 5, 7)
    joined = cat(a, b)
    assert joined.shape == (3, 5, 9)
    assert torch.equal(joined[1, :, :2], a)


@pytest.mark.parametrize(("kind", "whole"), [("gru", nn.GRU), ("lstm", nn.LSTM), ("tanh", nn.RNN)])
def test_a_cell_stepped_is_torchs_whole_sequence(kind: str, whole: type[nn.RNNBase]) -> None:
    cell = Cell(kind, 3, 5).double()
    rnn = whole(3, 5).double()
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    rnn.load_state_dict({f"{n}_l0": getattr(cell.cell, n) for n in names})
    u = torch.randn(6, 2, 3, dtype=torch.float64)
    state, outputs = cell.start(2), []
    for u_t in u:
        state = cell(u_t, state)
        outputs.append(state[0])
    torch.testing.assert_close(torch.stack(outputs), rnn(u)[0], rtol=1e-12, atol=1e-12)


def test_a_cell_takes_any_leading_dims() -> None:
    cell = Cell("lstm", 3, 5)
    u, h = torch.randn(2, 3), torch.randn(4, 2, 5)
    out = cell(u, (h, h))
    assert [v.shape for v in out] == [(4, 2, 5)] * 2
    torch.testing.assert_close(cell(u, (h[1], h[1]))[1], out[1][1])


def test_mlp_shapes_and_no_layers() -> None:
    assert MLP(3, (5, 7))(torch.randn(2, 4, 3)).shape == (2, 4, 7)
    x = torch.randn(2, 3)
    assert MLP(3, ())(x) is x


@torch.no_grad()
def test_gaussian_scale_can_reach_a_hundredth_and_not_below_its_floor() -> None:
    head = DiagonalNormal(2, (), 3)
    head.linear.weight.zero_()
    head.linear.bias.fill_(-4.6)
    assert float(head(torch.zeros(1, 2)).base_dist.scale[0, 0]) == pytest.approx(0.01, rel=0.02)
    head.linear.bias.fill_(-1000.0)
    scale = head(torch.zeros(1, 2)).base_dist.scale
    assert float(scale.min()) == pytest.approx(1e-4)
