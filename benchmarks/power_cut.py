"""A power cut at every moment of a training, replayed: what may be lost is lost, and a whole checkpoint must be left.

    python benchmarks/power_cut.py --subsets 40      (make power-cut)

All that a training does to its folder is recorded: files that are made, renamed and removed, what they hold, and each
fsync. Then it is cut after each of these, and the folder is built as a disk may have it then:

- fsync of a file makes what it holds last; without it there may be what it held at the last fsync, the first half of
  what was written since, zeros, or all of it;
- fsync of a folder makes its entries last; without it any of the changes since may be lost: the last so many of them,
  or any others.

A whole checkpoint must be found then, not older than the last that was said to be saved, with rows of metrics for it.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import reliability

from pyro_vrnn.runs.folder import read_metrics
from pyro_vrnn.system.errors import CheckpointError
from pyro_vrnn.training import checkpoint

REAL = os.fsync


@dataclass(eq=False)
class Node:
    """A file or folder, under whatever name."""

    is_folder: bool
    now: dict[str, Node] = field(default_factory=dict)
    """Of a folder: its entries as a process sees them."""
    lasting: bytes = b""
    """Of a file: what it held at the last fsync."""


@dataclass(eq=False)
class Change:
    """Entries of a folder that change together: name -> what it is now, or None where it is gone."""

    folder: Node
    entries: dict[str, Node | None]
    lasts: bool = False


@dataclass(frozen=True)
class Moment:
    """Where the power may be cut."""

    changes: int
    """How many changes had been made."""
    lasting: frozenset[int]
    """Which of them were synced."""
    held: dict[Node, tuple[bytes, bytes]]
    """What each file held for good, and for a process."""
    saved: int
    """The update of the last checkpoint that was said to be saved."""


class Recorder:
    """Watches what this process does below a folder, by Python's audit events and by os.fsync."""

    def __init__(self, root: Path) -> None:
        self.root, self.top = root, Node(True)
        self.changes: list[Change] = []
        self.moments: list[Moment] = []
        self.saved, self.on = 0, False
        self._waiting: Callable[[], None] | None = None
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on or event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"):
            return
        self.on = False  # what is done here is not to be recorded
        try:
            self._settle()
            self._before(event, arguments)
        finally:
            self.on = True

    def _before(self, event: str, arguments: tuple[Any, ...]) -> None:
        """An event comes before the deed; the change is noted at the next event, when it is done."""
        at = {"os.mkdir": 2, "os.rename": 2, "os.remove": 1, "os.rmdir": 1}.get(event)
        place = self._place(arguments[0], arguments[at] if at is not None else -1)
        if place is None:
            return
        folder, name = place
        if event == "open":
            if arguments[2] & os.O_CREAT and name not in folder.now:
                self._waiting = lambda: self._note(folder, {name: Node(False)}, name)
        elif (event == "os.mkdir") is (name in folder.now):
            return  # it is there already, or not there: the deed will fail
        elif event == "os.mkdir":
            self._waiting = lambda: self._note(folder, {name: Node(True)}, name)
        elif event == "os.rename":
            target = self._place(arguments[1], arguments[3])
            assert target is not None
            assert target[0] is folder, "a rename between folders"
            self._waiting = lambda: self._note(folder, {name: None, target[1]: folder.now[name]}, target[1])
        else:
            self._waiting = lambda: self._note(folder, {name: None}, None)

    def _note(self, folder: Node, entries: dict[str, Node | None], there: str | None) -> None:
        """One change, if the deed did not fail."""
        path = self._path(folder)
        gone = [name for name, node in entries.items() if node is None]
        if (there is not None and not (path / there).exists()) or any((path / name).exists() for name in gone):
            return
        self.changes.append(Change(folder, entries))
        for name, node in entries.items():
            if node is None:
                folder.now.pop(name, None)
            else:
                folder.now[name] = node
        self._cut()

    def _settle(self) -> None:
        if self._waiting is not None:
            done, self._waiting = self._waiting, None
            done()

    def synced(self, descriptor: int) -> None:
        """os.fsync, in its place."""
        REAL(descriptor)
        on, self.on = self.on, False
        try:
            self._settle()
            self._cut()  # all that had been written, just before the disk was asked to keep it
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            node = self._node(path)
            if node is not None and node.is_folder:
                for change in self.changes:
                    change.lasts |= change.folder is node
            elif node is not None:
                node.lasting = path.read_bytes()
            self._cut()
        finally:
            self.on = on

    def _cut(self) -> None:
        """The power may be cut here."""
        held = {node: (node.lasting, path.read_bytes()) for node, path in self._files(self.top, self.root)}
        lasting = frozenset(i for i, change in enumerate(self.changes) if change.lasts)
        moment = Moment(len(self.changes), lasting, held, self.saved)
        if not self.moments or moment != self.moments[-1]:
            self.moments.append(moment)

    def _files(self, folder: Node, path: Path) -> Iterator[tuple[Node, Path]]:
        for name, node in folder.now.items():
            if node.is_folder:
                yield from self._files(node, path / name)
            elif (path / name).is_file():
                yield node, path / name

    def _place(self, path: Any, descriptor: Any) -> tuple[Node, str] | None:
        """The folder and name of a path, if it is below the one that is watched."""
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        base = os.readlink(f"/proc/self/fd/{descriptor}") if isinstance(descriptor, int) and descriptor >= 0 else "."
        whole = Path(os.path.abspath(os.path.join(base, os.fsdecode(path))))
        folder = self._node(whole.parent) if self.root in whole.parents else None
        return None if folder is None else (folder, whole.name)

    def _node(self, path: Path) -> Node | None:
        if path != self.root and self.root not in path.parents:
            return None
        node: Node | None = self.top
        for part in path.relative_to(self.root).parts:
            node = None if node is None else node.now.get(part)
        return node

    def _path(self, folder: Node, at: Node | None = None, path: Path | None = None) -> Path:
        at, path = at or self.top, path or self.root
        if at is folder:
            return path
        for name, node in at.now.items():
            if node.is_folder:
                found = self._path(folder, node, path / name)
                if found != Path():
                    return found
        return Path() if at is not self.top else self.root / ".gone"


@contextmanager
def recording(root: Path) -> Iterator[Recorder]:
    """Record what is done below a folder, and which checkpoints are said to be saved."""
    recorder, save = Recorder(root), checkpoint.save

    def saving(*arguments: Any, **more: Any) -> Path:
        found = save(*arguments, **more)
        recorder.saved = int(found.name.removeprefix("step-"))
        return found

    os.fsync, checkpoint.save, recorder.on = recorder.synced, saving, True
    try:
        yield recorder
    finally:
        recorder.on = False
        os.fsync, checkpoint.save = REAL, save


def losses(moment: Moment, subsets: int, chance: random.Random) -> Iterator[frozenset[int]]:
    """Which changes are lost: none, the last so many, and any others."""
    unsure = [i for i in range(moment.changes) if i not in moment.lasting]
    for left in range(len(unsure) + 1):
        yield frozenset(unsure[left:])
    for _ in range(subsets if len(unsure) > 1 else 0):
        yield frozenset(i for i in unsure if chance.random() < 0.5)


def build(recorder: Recorder, moment: Moment, lost: frozenset[int], what: str, folder: Path) -> None:
    """The folder as a disk may have it."""
    entries: dict[Node, dict[str, Node]] = {}
    for i, change in enumerate(recorder.changes[: moment.changes]):
        if i not in lost:
            there = entries.setdefault(change.folder, {})
            for name, node in change.entries.items():
                if node is None:
                    there.pop(name, None)
                else:
                    there[name] = node

    def write(node: Node, path: Path) -> None:
        if node.is_folder:
            path.mkdir()
            for name, child in entries.get(node, {}).items():
                write(child, path / name)
            return
        lasting, seen = moment.held.get(node, (node.lasting, node.lasting))  # of a removed one its last is known
        new = seen[len(lasting) :] if seen.startswith(lasting) else seen
        old = lasting if seen.startswith(lasting) else b""
        held = {"old": lasting, "all": seen, "half": old + new[: len(new) // 2], "zeros": old + bytes(len(new))}
        path.write_bytes(held[what])

    write(recorder.top, folder)


def fault(run: Path, saved: int) -> str:
    """What is wrong with a run after the power cut, or nothing."""
    if not run.exists():
        return "" if not saved else "the run is gone"
    try:
        checkpoint.clean(run)
        _, found, _ = checkpoint.newest(run)
    except CheckpointError as error:
        return "" if not saved else error.message
    if found.state["step"] < saved:
        return f"the checkpoint of update {saved} is gone; the newest is of {found.state['step']}"
    if not (run / "config.toml").exists():
        return "no config.toml"
    checkpoint.load(checkpoint.find(run)[1])
    metrics = run / "metrics.jsonl"
    size = metrics.stat().st_size if metrics.exists() else 0
    if size < found.state["metrics_bytes"]:
        return f"{size} bytes of metrics, the checkpoint counts on {found.state['metrics_bytes']}"
    if found.state["metrics_bytes"]:
        os.truncate(metrics, found.state["metrics_bytes"])
        rows = read_metrics(run)
        if not rows or rows[-1]["step"] > found.state["step"]:
            return "other rows of metrics"
    return ""


def replay(recorder: Recorder, run: Path, subsets: int, seed: int = 0, every: int = 1) -> tuple[int, list[str]]:
    """Cut the power everywhere, or at one of `every` moments; how many folders were looked at, what was wrong."""
    chance, count, wrong = random.Random(seed), 0, []
    moments = [*enumerate(recorder.moments)]
    chosen = moments if every == 1 else chance.sample(moments, len(moments) // every)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        folder = Path(scratch) / "disk"
        for number, moment in chosen:
            differ = any(lasting != seen for lasting, seen in moment.held.values())
            for lost in {*losses(moment, subsets, chance)}:
                for what in ("old", "half", "zeros", "all") if differ else ("all",):
                    build(recorder, moment, lost, what, folder)
                    count += 1
                    if word := fault(folder / run.relative_to(recorder.root), moment.saved):
                        wrong.append(f"cut {number}, without changes {sorted(lost)}, files {what}: {word}")
                    shutil.rmtree(folder)
    return count, wrong


def trial(root: Path, data: Path, subsets: int, updates: int = 20, every: int = 1) -> tuple[int, int, list[str]]:
    """Train, stop within an epoch, resume, and save one step twice; the moments, the folders and what was wrong."""
    import pyro_vrnn as pv

    settings = {"model.hidden_dim": 4, "model.latent_dim": 2, "model.network_dims": [4], "data.batch_size": 6}
    settings |= {"training.log_every": 1, "training.validate_every": 1}
    run = root / "runs" / "a"
    with recording(root) as recorder:
        for steps in (updates // 3, 2 * updates // 3, updates):
            pv.train("chorales-vrnn", data=data, out=run, max_steps=steps, settings=settings, device="cpu")
    return len(recorder.moments), *replay(recorder, run, subsets, every=every)


def main() -> int:
    """Run the trial, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subsets", type=int, default=40, help="random losses at each moment")
    options = parser.parse_args()
    sys.path.insert(0, str(reliability.ROOT / "tests"))
    from small import write_small

    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "root").mkdir()
        data = write_small(Path(scratch) / "d.h5")
        moments, folders, wrong = trial(Path(scratch) / "root", data, options.subsets)
    for word in wrong[:20]:
        print(word)
    said = f"{moments} moments of a training with two stops, {folders:,} folders as a disk may have them; "
    reliability.record("make power-cut", {"said": f"{said}{len(wrong)} without a whole checkpoint."})
    print(f"{said}{len(wrong)} without a whole checkpoint")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
