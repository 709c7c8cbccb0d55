"""Damaged files for every reader, and every file of a run: each is read, or refused with one error of ours.

    python tests/fuzz --count 1000 --seed 0 [--only midi] [--record]       (make fuzz N=1000 SEED=0)

Each reader has a process of its own, with 2 GiB of memory more than it starts with. A traceback that is no UserError, a
file that is opened outside, a process that dies or needs more than 20 s of a core is a finding; its file is kept in
build/fuzz. The same seed makes the same files.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import mutate
import seeds
from seeds import Reader

from pyro_vrnn.system.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
ROOM = 2 * 2**30
LONGEST = 20.0
HARM = ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "socket.connect", "socket.bind",
        "pickle.find_class", "ctypes.dlopen")  # fmt: skip
WRITES = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "os.symlink", "os.link", "os.chmod")


class Hang(BaseException):
    """A file takes too long."""


class Watch:
    """What Python opens, removes and runs that it should not, by audit events."""

    def __init__(self, inside: Path) -> None:
        places = [inside, ROOT / "pyro_vrnn", sys.prefix, sys.base_prefix, tempfile.gettempdir()]
        self.read = (*tuple(os.path.realpath(place) for place in places), "/proc/", "/dev/null", "/sys/")
        self.write = tuple(os.path.realpath(place) for place in (inside, tempfile.gettempdir()))
        self.seen: list[str] = []
        self.on = False
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event in HARM:
            self.seen.append(f"{event} {arguments[0]!r}")
        elif event == "open" or event in WRITES:
            path = arguments[0]
            if isinstance(path, int):
                return
            name = os.path.join(os.getcwd(), os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else ""
            changes = event in WRITES or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
            relative = event in WRITES and isinstance(path, str) and "/" not in path  # within a folder that is open
            if not relative and not os.path.normpath(name).startswith(self.write if changes else self.read):
                self.seen.append(f"{event} {os.path.normpath(name)}")


def memory(name: str) -> int:
    """VmRSS, VmHWM or VmSize of this process, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024


def place(reader: Reader, scratch: Path) -> None:
    """A clean folder with what else the reader wants there."""
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "in").mkdir(parents=True)
    for name, content in reader.folder.items():
        (scratch / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (scratch / "in" / name).write_bytes(content)


def damaged(reader: Reader, seed: int, index: int) -> tuple[str, bytes]:
    """The name and content of one damaged file; the same for the same numbers. The first few are whole."""
    chance = Random(f"{seed} {reader.name} {index}")
    name, content, kind = reader.seeds[index % len(reader.seeds)]
    return name, content if index < len(reader.seeds) else mutate.mutant(chance, content, kind)


def trial(reader: Reader, seed: int, numbers: range, scratch: Path) -> dict[str, Any]:
    """Read so many damaged files, in a process of its own."""
    warnings.simplefilter("ignore")
    watch = Watch(scratch.parent)
    counts: Counter[str] = Counter()
    findings: dict[str, str] = {}
    slowest, before = 0.0, memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak of memory is from now on
    size = memory("VmSize") + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))

    def late(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, late)
    place(reader, scratch)
    for index in numbers:
        name, content = damaged(reader, seed, index)
        path, whole = scratch / "in" / name, reader.folder.get(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        (scratch.parent / "at").write_text(str(index))
        word, started = "", time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LONGEST)
        watch.on = True
        try:
            reader.read(path, scratch)
            counts["read"] += 1
        except UserError as error:
            watch.on = False
            counts["refused"] += 1
            if index < len(reader.seeds):
                word = f"a whole file is refused: {error.message}"
            elif not error.message or "\n" in error.message or len(error.message) > 3000:
                word = f"its message is no line: {error.message[:200]!r}"
        except (Exception, Hang) as error:
            watch.on = False
            frames = traceback.extract_tb(error.__traceback__)
            ours = [frame for frame in frames if "/pyro_vrnn/" in frame.filename] or frames
            where = f"{os.path.relpath(ours[-1].filename, ROOT)}:{ours[-1].lineno}"
            word = f"{type(error).__name__} at {where}: {str(error)[:150]}"
            counts["findings"] += 1
        watch.on = False
        signal.setitimer(signal.ITIMER_PROF, 0)
        slowest = max(slowest, time.process_time() - started)
        for seen in watch.seen:
            word = word or f"outside: {seen}"
        watch.seen.clear()
        if word:
            key = word.partition(": ")[0] if " at " in word else word[:60]
            if key not in findings:
                findings[key] = f"{reader.name}, {name}, {index}: {word}"
                keep(reader, seed, index, name, content)
        if whole is not None:
            path.write_bytes(whole)
        elif name not in reader.folder and path.exists():
            path.unlink()
        for left in scratch.iterdir():
            if left.name != "in":
                shutil.rmtree(left) if left.is_dir() else left.unlink()
    return {"counts": dict(counts), "slowest": slowest, "memory": memory("VmHWM") - before, "findings": findings}


def keep(reader: Reader, seed: int, index: int, name: str, content: bytes) -> None:
    """A file that shows a fault, to look at."""
    folder = ROOT / "build" / "fuzz"
    folder.mkdir(parents=True, exist_ok=True)
    stem = "".join(c if c.isalnum() else "-" for c in reader.name)
    (folder / f"{stem}-{seed}-{index}-{Path(name).name}").write_bytes(content)


def in_a_process(reader: Reader, seed: int, count: int, scratch: Path) -> dict[str, Any]:
    """`trial` in a fork of this process; what killed it is a finding, and the others are read without it."""
    total: dict[str, Any] = {"counts": Counter(), "slowest": 0.0, "memory": 0, "findings": {}}
    waiting = [range(count)]
    while waiting:
        numbers = waiting.pop()
        answer = scratch / "answer.json"
        answer.unlink(missing_ok=True)
        (scratch / "at").write_text(str(numbers.start))
        child = os.fork()
        if child == 0:
            code = 1
            try:
                null = os.open(os.devnull, os.O_WRONLY)
                kept = os.dup(2)
                os.dup2(null, 2)  # decoders of sound talk there
                os.dup2(null, 1)
                found = trial(reader, seed, numbers, scratch / "here")
                answer.write_text(json.dumps(found))
                code = 0
            except BaseException:
                os.write(kept, traceback.format_exc().encode())
            os._exit(code)
        _, status = os.waitpid(child, 0)
        if answer.exists():
            found = json.loads(answer.read_text())
            total["counts"].update(found["counts"])
            total["slowest"] = max(total["slowest"], found["slowest"])
            total["memory"] = max(total["memory"], found["memory"])
            total["findings"] |= found["findings"]
            continue
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"the harness failed at {reader.name}")
        at = int((scratch / "at").read_text())
        name, content = damaged(reader, seed, at)
        keep(reader, seed, at, name, content)
        total["findings"][f"killed {at}"] = f"{reader.name}, {name}, {at}: killed by signal {os.WTERMSIG(status)}"
        total["counts"].update({"findings": 1})
        waiting += [part for part in (range(at + 1, numbers.stop), range(numbers.start, at)) if part]
    return total


def main() -> int:
    """Run it, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="damaged files for each reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="readers whose names begin so")
    parser.add_argument("--record", action="store_true", help="put the numbers on docs/reliability.md")
    options = parser.parse_args()
    started, rows, findings, total = time.monotonic(), [], [], Counter[str]()
    memory_disk = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory_disk if memory_disk.is_dir() else None) as folder:
        scratch = Path(folder).resolve()
        readers = everything(scratch)
        for reader in readers:
            if options.only and not reader.name.startswith(options.only):
                continue
            found = in_a_process(reader, options.seed, options.count, scratch)
            counts = found["counts"]
            total.update(counts)
            findings += found["findings"].values()
            row = [reader.name, sum(counts.values()), counts["read"], counts["refused"], len(found["findings"])]
            rows.append([*row, f"{found['slowest'] * 1000:.0f} ms", f"{found['memory'] / 2**20:.0f} MB"])
            print("  ".join(map(str, rows[-1])), flush=True)
            for line in found["findings"].values():
                print("   ", line, flush=True)
    minutes = (time.monotonic() - started) / 60
    said = (
        f"{sum(total.values()):,} files, {total['refused']:,} refused, {len(findings)} findings, {minutes:.0f} minutes"
    )
    print(said)
    if options.record:
        sys.path.insert(0, str(ROOT / "benchmarks"))
        import reliability

        head = ["reader", "files", "read", "refused", "findings", "slowest", "memory above the start"]
        reliability.record("make fuzz", {"said": f"{said} (seed {options.seed}).", "tables": [[head, *rows]]})
    return bool(findings)


def everything(scratch: Path) -> list[Reader]:
    """All readers; what they need is made below the folder."""
    import runs

    return [*seeds.sources(), *seeds.data_files(scratch), *runs.run_files(scratch), *runs.estimator_files(scratch)]


if __name__ == "__main__":
    sys.exit(main())
