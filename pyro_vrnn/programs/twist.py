"""A twist of a model's particle filter: how well a state goes with what is still to come (Lawson et al. 2022).

    log r(state_t, x_{t+1:T}) = MLP([state_t, b_t]),   b_t = RNN(b_{t+1}, features(x_{t+1})) backward in time

It stands for p(x_{t+1:T} | state_t), up to a factor that is of x alone. The state after a step is all that the model
keeps of the past, so it is all that r has to read of it; the features are the model's own, and learn nothing from r.
The last layer starts at zero, and r at 1: the plain filter.

A network that has a twist keeps it among its own modules, so that it is saved, resumed and averaged with the rest.
Shapes: B sequences, T steps, widths F, H; `...` as in models/base.py. Source: arXiv:2206.05952.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pyro_vrnn.data.batch import Batch, marked
from pyro_vrnn.models.base import SequenceModel, expand, stack
from pyro_vrnn.models.networks import MLP, Cell, Layers, State, reverse_padded
from pyro_vrnn.programs.particle_filter import Lookahead

NAME = "twist"
"""Of the module that a network keeps it as."""


class Twist(nn.Module):
    """See the module's docstring.

    Args:
        state_dim: width of all parts of a state together.
        features_dim: F.
        hidden_dim: H, of the recurrent network and of the two hidden layers.
    """

    def __init__(self, state_dim: int, features_dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.rnn = Cell("gru", features_dim, hidden_dim)
        self.mlp = MLP(state_dim + hidden_dim, Layers((hidden_dim, hidden_dim)))
        self.log_r = nn.Linear(hidden_dim, 1)
        nn.init.zeros_(self.log_r.weight)
        nn.init.zeros_(self.log_r.bias)

    def ahead(self, features: Tensor, lengths: Tensor) -> Tensor:
        """b_t, which has read x_T, …, x_{t+1}, from features [T, B, F]; after the last step the start. [T, B, H]."""
        return reverse_padded(self.rnn.path_before(reverse_padded(features, lengths)), lengths)

    def forward(self, state: State, b_t: Tensor) -> Tensor:
        """Log r of states whose parts are [..., B, ·], from b_t [..., B, H]. [..., B]."""
        found: Tensor = self.log_r(self.mlp(*state, b_t)).squeeze(-1)
        return found


def twist_of(net: SequenceModel) -> Twist | None:
    """The twist of a network, if it has one."""
    found = dict(net.named_children()).get(NAME)
    return found if isinstance(found, Twist) else None


def is_twist(key: str) -> bool:
    """Whether a network's weight of this name is its twist's."""
    return key.startswith(f"{NAME}.")


def sizes(net: nn.Module) -> tuple[int, int]:
    """How many numbers model and guide learn, and how many a twist, which neither of them uses."""
    found = [0, 0]
    for key, parameter in net.named_parameters():
        found[is_twist(key)] += parameter.numel()
    return found[0], found[1]


def size(net: nn.Module) -> str:
    """`sizes` in words."""
    own, twist = sizes(net)
    return f"{own:,} parameters" + (f", and {twist:,} of the twist" if twist else "")


def add_twist(net: SequenceModel, hidden_dim: int) -> None:
    """Give a network a twist of this width H, r = 1 at first. The random numbers outside are left as they were."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        parameter = next(net.parameters())
        features = net.features(parameter.new_zeros(1, net.likelihood.x_dim))
        state_dim = sum(part.shape[-1] for part in net.start(1))
        net.add_module(NAME, Twist(state_dim, features.shape[-1], hidden_dim).to(parameter))


def lookahead(net: SequenceModel, twist: Twist, batch: Batch, *, fixed: bool = False) -> Lookahead:
    """The twist on one batch, as its particle filter asks for it.

    Args:
        net: the model whose states are weighed.
        twist: its own.
        batch: whole sequences.
        fixed: gradients go through the states alone, and not to the twist's parameters.
    """
    b = future(net, twist, batch)
    parameters = {name: p.detach() for name, p in twist.named_parameters()} if fixed else {}
    b = b.detach() if fixed else b
    return lambda t, state: functional_call(twist, parameters, (state, b[t]))


def future(net: SequenceModel, twist: Twist, batch: Batch) -> Tensor:
    """b_t of each step of a batch. [T, B, H]."""
    with torch.no_grad():
        features = net.features(batch.shown)  # [T, B, F]
    return twist.ahead(features, batch.lengths)


@torch.no_grad()
def dream(net: SequenceModel, batch: Batch) -> tuple[Batch, State]:
    """Sequences drawn from the model, as many as the batch's (two at least), all as long as its longest.

    Args:
        net: in evaluation mode.
        batch: of what it holds only the pattern of missing entries is looked at, which the drawn ones have too.

    Returns:
        The sequences, and the states after each step, each part [T, B, ·].
    """
    size, device = max(2, batch.size), batch.lengths.device
    lengths = torch.full((size,), batch.steps, device=device)
    observed = None
    if batch.observed is not None:
        observed = (batch.observed | ~batch.alive[..., None])[:, torch.arange(size, device=device) % batch.size]
    state, lead = net.start(size), torch.Size([size])
    xs: list[Tensor] = []
    states: list[State] = []
    for t in range(batch.steps):
        z = net.p_z(state).sample()  # [B, Z]
        x = net.p_x(state, z).sample()  # [B, X]
        there = None if observed is None else observed[t]
        if there is not None:
            x = torch.where(there, x, 0.0)
        state = expand(net.next(state, z, net.features(marked(x, there))), lead)
        xs.append(x)
        states.append(state)
    drawn = Batch(lengths, torch.stack(xs), observed=observed, steps=batch.steps, scored_steps=size * batch.steps)
    return drawn, stack(states)
