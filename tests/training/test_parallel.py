"""Several processes on one run: torchrun with two on the CPU."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from small import write_small
from torch.distributed import TCPStore

import pyro_vrnn as pv
from pyro_vrnn.runs.folder import read_metrics
from pyro_vrnn.system.errors import ResourceError
from pyro_vrnn.training import parallel
from pyro_vrnn.training.parallel import Ranks

ROOT = Path(__file__).resolve().parents[2]
# Exact likelihood, so that random numbers, of which each rank has its own, play no part.
SETTINGS = [
    "--model",
    "rnn",
    "--set",
    "model.hidden_dim=7",
    "--set",
    "model.network_dims=5",
    "--set",
    "model.dropout=0",
]
SETTINGS += ["--epochs", "3", "--set", "training.log_every=1", "--set", "training.decay=constant"]


def torchrun(*argv: str, ranks: int = 2) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *argv], capture_output=True, text=True, timeout=300, cwd=ROOT, env=environment, check=False
    )


def started(script: Path, *argv: object, ranks: int) -> list[subprocess.Popen[str]]:
    """What torchrun starts, without its own process; they meet at a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, script, *map(str, argv)],
            env=os.environ | world | {"RANK": str(r), "LOCAL_RANK": str(r)},
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for r in range(ranks)
    ]


def processes(script: Path, out: Path, ranks: int) -> None:
    """Start them and wait until all have ended well."""
    running = started(script, out, ranks=ranks)
    ended = [(process.communicate(timeout=120)[1], process.returncode) for process in running]
    assert [code for _, code in ended] == [0] * ranks, ended


def losses(run: Path) -> list[float]:
    return [row["loss"] for row in read_metrics(run) if "loss" in row]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parallel") / "d.h5"
    write_small(path)
    return path


@pytest.mark.fault(48)
def test_two_processes_make_the_run_of_one(data: Path, tmp_path: Path) -> None:
    size = 23  # of 24 sequences: one is left over, and rank 1 has no share of it
    run = ["--data", str(data), "--out", str(tmp_path / "two"), "--batch-size", str(size)]
    done = torchrun("-m", "pyro_vrnn", "train", "jsb-rnn", *run, *SETTINGS, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] > 3  # one object: rank 0 alone talks
    settings: dict[str, Any] = {"model.hidden_dim": 7, "model.network_dims": [5], "training.log_every": 1}
    settings |= {"training.decay": "constant", "model.dropout": 0.0}
    pv.train("jsb-rnn", data=data, model="rnn", batch_size=size, epochs=3, out=tmp_path / "one", settings=settings)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-5)
    one, two = (
        [row["valid_nll_per_step"] for row in read_metrics(tmp_path / run) if "valid_nll_per_step" in row]
        for run in ("one", "two")
    )
    assert two == pytest.approx(one, rel=1e-5)
    a, b = (pv.load(tmp_path / d).net.state_dict() for d in ("one", "two"))
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-5)


SAME = """
import sys, torch
from pathlib import Path
import pyro_vrnn as pv
from pyro_vrnn.runs import train as training
from pyro_vrnn.training import fit as fit_module
data, out, where = sys.argv[1:]
fit = fit_module.fit
def watched(trainer, *args, **more):
    result = fit(trainer, *args, **more)
    torch.save([p.detach() for p in trainer.state.net.parameters()], Path(where) / f"{trainer.state.ranks.rank}.pt")
    return result
training.fit = watched
small = {"model.hidden_dim": 5, "model.network_dims": [4], "model.latent_dim": 3}
pv.train("jsb-vrnn", data=data, out=out, epochs=2, batch_size=3, settings=small)
"""


RESUMED = SAME.replace(
    SAME.splitlines()[-1],
    """
small |= {"training.log_every": 1, "training.input_noise": 0.3}
small |= {"training.scheduled_sampling": 0.3, "training.scheduled_steps": 1}
for run, steps in (("whole", 9), ("stopped", 4), ("stopped", 9)):
    pv.train("jsb-vrnn", data=data, out=f"{out}/{run}", batch_size=3, settings=small, max_steps=steps, resume="auto")
""",
)


@pytest.mark.fault(1, 48)
def test_a_resumed_run_of_two_is_the_one_that_was_not_stopped(data: Path, tmp_path: Path) -> None:
    """Every rank's random numbers too, to the last bit; and both ranks end with the same weights."""
    (tmp_path / "resumed.py").write_text(RESUMED)
    done = torchrun(str(tmp_path / "resumed.py"), str(data), str(tmp_path), str(tmp_path))
    assert done.returncode == 0, done.stderr
    a, b = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    assert len(a) > 5
    for x, y in zip(a, b, strict=True):
        assert torch.equal(x, y)
    assert len(losses(tmp_path / "whole")) == 9
    assert losses(tmp_path / "stopped") == losses(tmp_path / "whole")
    last = Path("checkpoints", "step-00000009")
    whole, stopped = (pv.load(tmp_path / run / last).net.state_dict() for run in ("whole", "stopped"))
    for name, value in whole.items():
        assert torch.equal(value, stopped[name]), name


@pytest.mark.fault(19)
def test_a_rank_that_fails_ends_all(data: Path, tmp_path: Path) -> None:
    """FAULTS.md 19."""
    (tmp_path / "fail.py").write_text(
        SAME.replace("training.fit = watched", "training.fit = watched\nimport os\n"
            "from pyro_vrnn.training import trainer\n"
        "step = trainer.Trainer.step\n"
        "def fails(self, *args, **more):\n"
        "    if self.state.ranks.rank == 1 and self.state.at.step == 2: raise RuntimeError('rank 1 is broken')\n"
        "    return step(self, *args, **more)\n"
        "trainer.Trainer.step = fails\n")
    )  # fmt: skip
    start = time.monotonic()
    done = torchrun(str(tmp_path / "fail.py"), str(data), str(tmp_path / "run"), str(tmp_path))
    assert done.returncode != 0
    assert "RuntimeError: rank 1 is broken" in done.stderr
    assert time.monotonic() < start + 120


def test_an_error_of_this_process_is_no_other_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: Any, **more: Any) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(parallel.distributed, "all_reduce", fails)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        Ranks(0, 2).add(1.0)


HANGS = """
import os, signal, sys, time
from datetime import timedelta
import pyro_vrnn as pv
from pyro_vrnn.training import parallel
from pyro_vrnn.cli import main
how, *argv = sys.argv[1:]
parallel.IN_AN_UPDATE, parallel.SLACK = timedelta(seconds=4), 1
add, calls = parallel.Ranks.add_gradients, []
def hangs(self, parameters):
    calls.append(1)
    if self.rank == 1 and len(calls) == 3:
        if how == "killed": os.kill(os.getpid(), signal.SIGKILL)
        while True: time.sleep(1)
    add(self, parameters)
parallel.Ranks.add_gradients = hangs
sys.argv = ["pyro-vrnn", *argv]
main()
"""


@pytest.mark.fault(19, 65)
@pytest.mark.parametrize("how", ["killed", "hangs"])
def test_a_rank_that_is_gone_or_hangs_ends_all(data: Path, tmp_path: Path, how: str) -> None:
    """The others say so soon, with the exit code of what is missing, and what was done is saved."""
    (tmp_path / "hangs.py").write_text(HANGS)
    small = ["--set", "model.hidden_dim=5", "--set", "model.network_dims=4", "--set", "model.latent_dim=3"]
    start = time.monotonic()
    first, second = started(tmp_path / "hangs.py", how, "train", "jsb-vrnn", "--data", data, "--out", tmp_path / "run",
                            "--batch-size", "3", "--device", "cpu", *small, ranks=2)  # fmt: skip
    try:
        _, said = first.communicate(timeout=120)
        assert second.poll() == (-signal.SIGKILL if how == "killed" else None)
    finally:
        second.kill()  # torchrun's last word, 30 s after its first
        second.communicate()
    assert first.returncode == 6, said
    assert "error: another process has ended or does not answer" in said
    assert "the state before it is saved" in said
    assert time.monotonic() < start + 90
    assert parallel.IN_AN_UPDATE.total_seconds() + 30 <= 60
    assert pv.load(tmp_path / "run").state["step"] == 2
    more = pv.train(resume=tmp_path / "run", max_steps=3)
    assert more.result is not None
    assert more.result.steps == 3


@pytest.mark.fault(19)
@pytest.mark.parametrize("by", ["hand, 0", "hand, 1", "torchrun"])
def test_a_rank_that_never_starts_is_not_waited_for_long(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when another one is killed before they have met: torch would wait half an hour."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    rank = by[-1] if by.startswith("hand") else "1"
    world, held = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}, []
    if by == "torchrun":  # its own process holds the store
        held.append(TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False))
        world["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    for name, value in (world | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(parallel, "MEETING", timedelta(seconds=1))
    began = time.monotonic()
    with pytest.raises(ResourceError, match=f"rank {rank}: not all processes have met"), parallel.joined("cpu"):
        pass
    assert 0.9 < time.monotonic() - began < 20


def test_who_is_waited_for_and_how_long() -> None:
    """Slow updates are no hang; the first, which has much to prepare, is waited for and says nothing of the others."""
    clock = parallel.Clock(short=object())  # type: ignore[arg-type]
    assert clock.unhurried
    for seconds, unhurried in ((9.0, False), (0.1, False), (0.8, False), (2.0, True), (0.1, True)):
        clock.begin(clock.unhurried)
        clock.began -= seconds
        clock.end()
        assert clock.unhurried is unhurried
    clock.begin(unhurried=0)
    assert clock.group is clock.short
    clock.begin(unhurried=1)  # another rank has seen a slow one
    assert clock.group is None
    assert parallel.Clock().unhurried  # on a GPU


EXACT = """
import json, sys, torch
from pathlib import Path
from small import make_batch, make_net
from pyro_vrnn.config import resolve
from pyro_vrnn.training.parallel import joined
from pyro_vrnn.training.trainer import Trainer
draw = torch.Tensor.normal_
torch.Tensor.normal_ = lambda self, *given, **more: draw(self, *given, **more).zero_()  # each rank has its own noise
lengths = [9, 1, 4, 7, 2, 12, 3]
with joined("cpu") as ranks:
    net = make_net("model.name=vrnn", dtype=torch.float64)
    config = resolve(recipe="jsb-vrnn", sets=["training.learning_rate=0.01", "objective.kl_steps=4"]).config
    trainer, rows = Trainer(config, net, ranks.device, ranks), []
    for update in range(6):
        batch = make_batch(lengths[:7 - update], seed=update)  # at last fewer sequences than ranks
        mine = ranks.share(list(range(batch.size)))
        rows.append(trainer.step(batch.rows(torch.tensor(mine)) if mine else None, log=True))
    rows[-1]["weights"] = float(sum(p.detach().abs().sum() for p in net.parameters()))
    if ranks.rank == 0:
        Path(sys.argv[1]).write_text(json.dumps(rows))
"""


@pytest.mark.fault(48)
def test_two_and_four_processes_agree_with_one_to_nine_digits(tmp_path: Path) -> None:
    (tmp_path / "exact.py").write_text(f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r})\n{EXACT}")
    found = {}
    for ranks in (1, 2, 4):
        processes(tmp_path / "exact.py", tmp_path / f"{ranks}.json", ranks)
        found[ranks] = json.loads((tmp_path / f"{ranks}.json").read_text())
    first = [row["loss"] for row in found[1]]
    assert len({round(loss, 3) for loss in first}) == 6
    for ranks in (2, 4):
        for one, several in zip(found[1], found[ranks], strict=True):
            assert several == pytest.approx(one, rel=1e-9)


def test_shares_leave_nothing_out() -> None:
    for world in (1, 2, 3, 5):
        parts = [Ranks(rank, world).share(list(range(4))) for rank in range(world)]
        assert sorted(i for part in parts for i in part) == [0, 1, 2, 3]


WATCHED = """
import sys
from pathlib import Path
import pyro_vrnn as pv
from pyro_vrnn import loggers
from pyro_vrnn.training import parallel
data, out, where = sys.argv[1:]
class Stops(pv.Observer):
    def stepped(self, step):
        if step == 3: raise pv.StopTraining("three are enough")
class Logs(pv.Observer):
    def __init__(self, say): Path(where, f"logger-{len([*Path(where).glob('logger-*')])}").touch()
loggers.LOGGERS["wandb"] = Logs
small = {"model.hidden_dim": 5, "model.network_dims": [4], "model.latent_dim": 3, "training.log_every": 1}
run = pv.train("jsb-vrnn", data=data, out=out, epochs=2, batch_size=3, settings=small, observer=Stops(), log="wandb")
Path(where, f"{run.result.stopped}-{run.result.steps}-{parallel.leads()}").touch()
"""


@pytest.mark.fault(48)
def test_an_observer_stops_both_ranks_and_one_logs(data: Path, tmp_path: Path) -> None:
    (tmp_path / "watched.py").write_text(WATCHED)
    done = torchrun(str(tmp_path / "watched.py"), str(data), str(tmp_path / "run"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert sorted(f.name for f in tmp_path.glob("observer-*")) == ["observer-3-False", "observer-3-True"]
    assert len([*tmp_path.glob("logger-*")]) == 1
