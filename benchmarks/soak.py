"""kill -9 at random moments, again and again, until the command ends: the result is that of one that was not killed.

    python benchmarks/soak.py --kills 30 --seed 0        (make soak: so many kills for each command)

Each command runs in a fork of this process, in which everything is imported. It is killed after a random time, or
before a random file is opened, renamed, made or removed; then the same command is given again. What must be equal:
weights, optimiser and random state to the last bit, all rows of metrics but for their times, BEST and LATEST, data
files and pages byte for byte, and what an experiment has found. One training is two processes, of which the first is
killed. Some are done on a disk that fills (a small tmpfs, where this process may mount one): each must end with exit
code 6, and go on with the same command when there is room.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pretty_midi
import reliability
import soundfile
import torch

sys.path.insert(0, str(reliability.ROOT / "tests"))
sys.path.insert(0, str(reliability.ROOT / "tests" / "experiments"))
import grids
from small import write_small

import pyro_vrnn as pv
from pyro_vrnn.data.sources import SOURCES
from pyro_vrnn.experiments import parsing
from pyro_vrnn.experiments.runner import Runner
from pyro_vrnn.runs.folder import read_metrics
from pyro_vrnn.system.errors import ResourceError, UserError
from pyro_vrnn.training import checkpoint

EVENTS = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
SMALL = {"model.hidden_dim": 8, "model.latent_dim": 3, "model.network_dims": [8], "data.batch_size": 5}
SMALL |= {"training.log_every": 1, "training.validate_every": 1}
TRAININGS: dict[str, dict[str, Any]] = {
    "train, elbo": {},
    "train, iwae": {"objective.name": "iwae", "objective.particles": 3},
    "train, fivo": {"objective.name": "fivo", "objective.particles": 3},
    "train, carried state": {"data.window": 4, "data.carry": True},
    "train, replay": {"training.replay": "hard", "training.replay_share": 0.4},
    "train, averaged weights": {"training.average": 0.9},
}


@dataclass(frozen=True)
class Command:
    """Something that is killed: what it does in a folder, and what must be there when it has ended."""

    name: str
    do: Callable[[Path], object]
    made: Callable[[Path], object]
    fills: bool = False
    """Whether the disk fills instead of a kill."""


def trainings(data: Path, updates: int = 40) -> list[Command]:
    """A training by each bound, with carried state and with replay."""

    def command(name: str, settings: dict[str, Any]) -> Command:
        def do(folder: Path) -> None:
            pv.train("chorales-vrnn", data=data, out=folder / "run", max_steps=updates, device="cpu",
                     settings=SMALL | settings)  # fmt: skip

        return Command(name, do, lambda folder: run_of(folder / "run"))

    found = [command(name, settings) for name, settings in TRAININGS.items()]
    first = found[0]
    two = Command("train, two processes", lambda folder: beside(first.do, folder), first.made)
    return [*found, two, Command("train, a disk that fills", first.do, first.made, fills=True)]


def beside(do: Callable[[Path], object], folder: Path) -> None:
    """Do it as torchrun's two processes would: a fork as rank 1, this one as rank 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    rank = os.fork()
    number = str(int(rank == 0))
    os.environ |= {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": number}
    os.environ["LOCAL_RANK"] = number
    if rank == 0:
        try:
            do(folder)
        finally:
            os._exit(0)
    do(folder)


def run_of(run: Path) -> object:
    """All of a run that lasts: tensors as bytes, its place, its rows, the names of its checkpoints."""
    saved = checkpoint.load(checkpoint.find(run, "LATEST")[1])
    tensors = {**saved.model, **{f"optimizer {k}": v for k, v in saved.optimizer.items()}}
    found = {k: (v.dtype, tuple(v.shape), v.contiguous().view(torch.uint8).numpy().tobytes() if v.dim() else float(v))
             for k, v in tensors.items()}  # fmt: skip
    times = ("seconds", "steps_per_second")
    rows = [{k: v for k, v in row.items() if k not in times} for row in read_metrics(run)]
    state = {k: v for k, v in saved.state.items() if k not in ("seconds", "metrics_bytes")}
    names = sorted(path.name for path in (run / "checkpoints").iterdir())
    return found, rows, state, names, [checkpoint.read_pointer(run / "checkpoints", n) for n in ("BEST", "LATEST")]


def others(here: Path, data: Path) -> list[Command]:
    """`prepare` of sound and of songs, an experiment, and a report."""
    songs = here / "songs"
    songs.mkdir()
    for i in range(6):
        song, piano = pretty_midi.PrettyMIDI(), pretty_midi.Instrument(0)
        piano.notes = [pretty_midi.Note(90, 60 + (i * k) % 12, k / 4, k / 4 + 0.2) for k in range(20)]
        song.instruments.append(piano)
        song.write(str(songs / f"{i}.mid"))
    sounds, generator = here / "sounds", np.random.default_rng(0)
    sounds.mkdir()
    for i in range(12):
        soundfile.write(sounds / f"{i}.wav", generator.normal(size=12_000) / 10, 16_000)
    pv.train("chorales-vrnn", data=data, out=here / "shown", max_steps=3, device="cpu", settings=SMALL)
    (here / "grid").mkdir()
    file = grids.write(here / "grid", grids.TEXT.replace("seeds = [0, 1]", "seeds = [0]"))

    def prepare(folder: Path) -> None:
        SOURCES["audio"](folder / "x.h5", source=sounds, seconds=0.1, frame=100, overwrite=True)

    def melodies(folder: Path) -> None:
        SOURCES["midi"](folder / "x.h5", source=songs, overwrite=True)

    def experiment(folder: Path) -> None:
        Runner(parsing.read(str(file), out=folder / "out"), device="cpu").run()

    def report(folder: Path) -> None:
        pv.load(here / "shown").report(folder / "page.html")

    def files(folder: Path) -> object:
        return {p.name: p.read_bytes() for p in folder.iterdir()}

    return [
        Command("prepare audio", prepare, files),
        Command("prepare midi", melodies, files),
        Command("prepare audio, a disk that fills", prepare, files, fills=True),
        Command("experiment", experiment, lambda folder: grids.lasting(folder / "out")),
        Command("report", report, lambda folder: (folder / "page.html").read_bytes()),
    ]


def forked(do: Callable[[Path], object], folder: Path, at: int | None, seconds: float, full: int = 0) -> bool:
    """Do it in a fork, killed before its file event number `at` or after so many seconds; whether it ended.

    Ending with the exit code `full` is no failure, and counts as not ended.
    """
    child = os.fork()
    if child == 0:
        count, own = 0, os.getpid()

        def killing(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if os.getpid() == own and event in EVENTS and str(folder) in str(arguments[0]):
                count += 1
                if count == at:
                    os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            os.fsync = lambda descriptor: None  # a kill loses nothing that was written; power cuts are another trial
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, 1)
            if at is not None:
                sys.addaudithook(killing)
            do(folder)
            code = 0
        except BaseException as error:
            code = error.exit_code if isinstance(error, UserError) else 1
            if code != full:
                os.write(2, traceback.format_exc().encode())
        os._exit(code)
    deadline = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.001)
    if os.WIFEXITED(status):
        if full and os.WEXITSTATUS(status) == full:
            return False
        if os.WEXITSTATUS(status):
            raise RuntimeError(f"the command failed after a kill; {folder}")
        return True
    return False


def events(command: Command, folder: Path) -> int:
    """How many file events the command has, run once; the folder is what must be made again."""
    counted, written = os.pipe()

    def do(place: Path) -> None:
        count = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            count += event in EVENTS and str(place) in str(arguments[0])

        sys.addaudithook(hook)
        command.do(place)
        os.write(written, str(count).encode())

    folder.mkdir()
    assert forked(do, folder, None, 600)
    os.close(written)
    with os.fdopen(counted, "rb") as pipe:
        return int(pipe.read())


def soak(command: Command, here: Path, kills: int, chance: random.Random) -> tuple[int, int, list[str]]:
    """Kill a command so many times: how many kills, how many times it came to its end, and what was different."""
    started = time.monotonic()
    many = events(command, here / "whole")
    lasted, wanted = time.monotonic() - started, command.made(here / "whole")
    killed, ended, wrong, folder = 0, 0, [], here / "killed"
    since: list[str] = []
    while killed < kills:
        folder.mkdir(exist_ok=True)
        if chance.random() < 0.6:
            at = chance.randrange(1, many + 1)
            alive, word = forked(command.do, folder, at, 600), f"before file {at} of {many}"
        else:
            seconds = chance.random() * lasted
            alive, word = forked(command.do, folder, None, seconds), f"after {seconds:.3f} s"
        if not alive:
            killed += 1
            since.append(word)
            if killed < kills and chance.random() < 0.7:  # not every time to its end: kills come in rows
                continue
            assert forked(command.do, folder, None, 600)
        ended += 1
        if command.made(folder) != wanted:
            wrong.append(f"{command.name}: another result after {', '.join(since)}")
            shutil.copytree(folder, reliability.ROOT / "build" / "soak" / f"{command.name} {ended}", dirs_exist_ok=True)
        since = []
        shutil.rmtree(folder)
    shutil.rmtree(here / "whole")
    return killed, ended, wrong


def fill(command: Command, here: Path, times: int, chance: random.Random) -> tuple[int, int, list[str]]:
    """Let its disk be full so many times, of random size, and give it room again: as `soak`."""
    events(command, here / "whole")
    wanted, folder = command.made(here / "whole"), here / "filled"
    needed = sum(path.stat().st_size for path in (here / "whole").rglob("*") if path.is_file())
    full, ended, wrong = 0, 0, []
    folder.mkdir()
    while full < times:
        size = chance.randrange(4096, max(8192, needed))
        mounted("-o", f"size={size}", "none", str(folder))
        try:
            done = False
            while not done:
                done = forked(command.do, folder, None, 600, full=ResourceError.exit_code)
                full += not done
                size += chance.randrange(4096, max(8192, needed))
                mounted("-o", f"remount,size={size}", str(folder))
            ended += 1
            if command.made(folder) != wanted:
                wrong.append(f"{command.name}: another result on a disk that had room for {size} bytes at last")
        finally:
            subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()
    shutil.rmtree(here / "whole")
    return full, ended, wrong


def mounted(*arguments: str) -> None:
    """A tmpfs, mounted or changed."""
    subprocess.run(["mount", "-t", "tmpfs", *arguments], check=True, capture_output=True)


def mountable(here: Path) -> bool:
    """Whether this process may mount a tmpfs."""
    here.mkdir()
    try:
        mounted("-o", "size=4096", "none", str(here))
    except (OSError, subprocess.CalledProcessError):
        return False
    else:
        subprocess.run(["umount", str(here)], check=True)
        return True
    finally:
        here.rmdir()


def commands(here: Path) -> list[Command]:
    """All that are killed; what they need is made here, in this process's forks alone where it is trained."""
    data = write_small(here / "d.h5")
    return [*trainings(data), *others(here, data)]


def main() -> int:
    """Run it, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30, help="for each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="commands whose names begin so")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, wrong, chance = [], [], random.Random(options.seed)
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        may = mountable(Path(folder) / "disk")
        for command in commands(Path(folder)):
            if command.name.startswith(options.only) and (may or not command.fills):
                trial = fill if command.fills else soak
                killed, ended, found = trial(command, Path(folder), options.kills, chance)
                rows.append([command.name, killed, ended, len(found)])
                wrong += found
                print(json.dumps(rows[-1]), *found, sep="\n", flush=True)
    full = sum(row[1] for row in rows if "fills" in row[0])
    killed = sum(row[1] for row in rows) - full
    disks = f"{full} full disks" if may else "no full disks, for no tmpfs can be mounted here"
    said = f"{killed} kills, {disks}, {sum(row[2] for row in rows)} results, {len(wrong)} that differ"
    print(said)
    if not options.only:
        head = ["command", "kills, or full disks", "results compared", "different"]
        reliability.record("make soak", {"said": f"{said}.", "tables": [[head, *rows]]})
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
