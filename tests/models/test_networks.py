from __future__ import annotations

import pytest
import torch
from small import make_batch, make_net

from pyro_vrnn.models import MODELS
from pyro_vrnn.models.networks import MLP, Cell, DiagonalNormal, Layers, cat, reverse_padded
from pyro_vrnn.programs import Markov, Stacked, terms


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


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("kind", ["gru", "lstm", "tanh"])
def test_a_cell_stepped_is_torchs_whole_sequence(kind: str, layers: int) -> None:
    cell = Cell(kind, 3, 5, layers=layers).double()
    with torch.no_grad():
        for part in cell.start_state:
            part.normal_()
    u = torch.randn(6, 2, 3, dtype=torch.float64)
    state, outputs = cell.start(2), []
    for u_t in u:
        state = cell(u_t, state)
        outputs.append(state[0])
    stepped = torch.stack(outputs)
    assert len(state) == layers * (2 if kind == "lstm" else 1)
    for part, expected in zip(cell.after(u), state, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-12, atol=1e-12)
    rest = cell.path(u[2:], cell.after(u[:2]))
    torch.testing.assert_close(rest, stepped[2:], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(cell.path(u), stepped, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(cell.path_before(u)[1:], stepped[:-1], rtol=1e-12, atol=1e-12)
    assert torch.equal(cell.path_before(u)[0], cell.start(2)[0])
    assert torch.equal(cell.path_before(u[:1]), cell.start(2)[0][None])
    particles = cell.path(u[:, None].expand(-1, 4, -1, -1))
    torch.testing.assert_close(particles[:, 3], stepped, rtol=1e-12, atol=1e-12)


def test_a_cell_takes_any_leading_dims() -> None:
    cell = Cell("lstm", 3, 5)
    u, h = torch.randn(2, 3), torch.randn(4, 2, 5)
    out = cell(u, (h, h))
    assert [v.shape for v in out] == [(4, 2, 5)] * 2
    torch.testing.assert_close(cell(u, (h[1], h[1]))[1], out[1][1])


def test_mlp_shapes_and_no_layers() -> None:
    assert MLP(3, Layers((5, 7)))(torch.randn(2, 4, 3)).shape == (2, 4, 7)
    x = torch.randn(2, 3)
    assert MLP(3, Layers(()))(x) is x


@torch.no_grad()
def test_gaussian_scale_can_reach_a_hundredth_and_not_below_its_floor() -> None:
    head = DiagonalNormal(2, Layers(()), 3)
    head.linear.weight.zero_()
    head.linear.bias.fill_(-4.6)
    assert float(head(torch.zeros(1, 2)).base_dist.scale[0, 0]) == pytest.approx(0.01, rel=0.02)
    head.linear.bias.fill_(-1000.0)
    scale = head(torch.zeros(1, 2)).base_dist.scale
    assert float(scale.min()) == pytest.approx(1e-4)


def test_layer_norm_sees_one_vector_at_a_time() -> None:
    mlp = MLP(3, Layers((5, 7), norm=True)).double()
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    assert sum(isinstance(m, torch.nn.LayerNorm) for m in mlp) == 2
    torch.testing.assert_close(mlp(x)[1, 1], mlp(x[1, 1]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_a_start_that_is_not_learned_is_zero(name: str) -> None:
    """It is no parameter and in no checkpoint; both programs start from it, and everything else is still learned."""
    net = make_net(f"model.name={name}", "model.learned_start=false")
    learned = make_net(f"model.name={name}")
    fewer = set(learned.state_dict()) - set(net.state_dict())
    assert fewer
    assert all(part.split(".")[-2:-1] == ["start_state"] or part in ("z_0", "u_1") for part in fewer)
    assert set(net.state_dict()) == {key for key, _ in net.named_parameters()}
    own = [part for part in net.start(4) if part.shape[-1] > 1]  # VRAE's first part is a mark
    assert own
    assert not any(part.any() for part in own)
    batch = make_batch()
    log_weights = []
    for program in (Markov(net), Stacked(net)):
        torch.manual_seed(0)
        run = terms(program.model, program.guide, batch, 1)
        log_weights.append(run.log_weights)
    torch.testing.assert_close(*log_weights, rtol=1e-9, atol=1e-9)
    log_weights[1].sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("kind", ["gru", "lstm", "tanh"])
def test_a_cell_that_starts_at_zero(kind: str) -> None:
    cell = Cell(kind, 3, 5, learned_start=False)
    u = torch.randn(6, 2, 3)
    zeros = tuple(torch.zeros(2, 5) for _ in range(cell.parts))
    assert all(torch.equal(a, b) for a, b in zip(cell.start(2), zeros, strict=True))
    assert torch.equal(cell.path(u), cell.path(u, zeros))
    assert torch.equal(cell.path_before(u), cell.path_before(u, zeros))
