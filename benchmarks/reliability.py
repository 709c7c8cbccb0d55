"""docs/reliability.md: each fault of docs/faults.toml with its tests and their last results, and the long trials.

    python benchmarks/reliability.py            the page, from what is known       (make reliability)
    python benchmarks/reliability.py --run      runs the tests of all faults first (make faults)

A test says which faults it shows: `@pytest.mark.fault(12)`. docs/reliability.json keeps the last results of these
tests and of `make fuzz`, `make soak`, `make endurance` and `make regress`, each with its date and commit.
"""

from __future__ import annotations

import argparse
import ast
import datetime
import json
import os
import subprocess
import sys
import tempfile
import tomllib
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FAULTS, RESULTS, PAGE = (ROOT / "docs" / f"{name}" for name in ("faults.toml", "reliability.json", "reliability.md"))
BEGIN, END = "<!-- made by benchmarks/reliability.py: -->", "<!-- until here -->"


def faults() -> list[dict[str, Any]]:
    """The rows of docs/faults.toml: number, group, case, expected."""
    found: list[dict[str, Any]] = tomllib.loads(FAULTS.read_text("utf-8"))["fault"]
    return found


def _marks(node: ast.FunctionDef | ast.ClassDef) -> Iterator[int]:
    """The numbers in `@pytest.mark.fault(...)` above a test or a class of tests."""
    for decorator in node.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.fault":
            yield from (ast.literal_eval(argument) for argument in decorator.args)


def _tests(nodes: list[ast.stmt], where: str, marks: tuple[int, ...] = ()) -> Iterator[tuple[int, str]]:
    for node in nodes:
        if isinstance(node, ast.ClassDef):
            yield from _tests(node.body, f"{where}::{node.name}", (*marks, *_marks(node)))
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield from ((number, f"{where}::{node.name}") for number in (*marks, *_marks(node)))


def marked() -> dict[int, list[str]]:
    """{fault: names of the tests that show it, as pytest takes them}, read from the tests' syntax trees."""
    found = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for number, name in _tests(ast.parse(path.read_text("utf-8")).body, str(path.relative_to(ROOT))):
            found[number].append(name)
    return dict(found)


def faulty() -> list[str]:
    """What is wrong with the rows and marks: rows without a test, tests of rows that are not there."""
    numbers, tests = [fault["number"] for fault in faults()], marked()
    wrong = [f"fault {n} of docs/faults.toml has no test: mark one with @pytest.mark.fault({n})" for n in numbers
             if n not in tests]  # fmt: skip
    wrong += [f"{tests[n][0]}: docs/faults.toml has no fault {n}" for n in sorted(tests.keys() - {*numbers})]
    return wrong + [f"fault {n} is there twice" for n, count in Counter(numbers).items() if count > 1]


def results() -> dict[str, Any]:
    """What the last trials found, by their names."""
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    return found


def record(name: str, values: dict[str, Any]) -> None:
    """Keep what a trial found, with the day and the commit, and make the page anew."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+", "--exclude=*"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "no git"
    about = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "commit": commit}
    RESULTS.write_text(json.dumps(results() | {name: about | values}, indent=1, sort_keys=True) + "\n", "utf-8")
    PAGE.write_text(page(), "utf-8")


def run() -> int:
    """Run the tests of all faults, keep how they ended, and return pytest's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-n", "2", "-m", "fault", f"--junitxml={report}"]
        code = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False).returncode
        ended = defaultdict(Counter)
        for case in ElementTree.parse(report).getroot().iter("testcase"):
            kinds = {part.tag for part in case}
            name = f"{case.get('classname')}.{(case.get('name') or '').partition('[')[0]}"
            ended[name][
                "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
            ] += 1
    rows = {}
    for number, names in sorted(marked().items()):
        total = Counter[str]()
        for name in names:
            total += ended[name.replace("/", ".").replace(".py::", ".").replace("::", ".")]
        rows[str(number)] = dict(sorted(total.items()))
    record("faults", {"rows": rows})
    return code


def told(counts: dict[str, int]) -> str:
    """How the tests of one fault ended: `12 passed, 1 skipped`."""
    return ", ".join(f"{n} {word}" for word, n in counts.items() if n) or "not run yet"


def page() -> str:
    """The page, in Markdown: what is written by hand stays."""
    before, _, rest = PAGE.read_text("utf-8").partition(BEGIN)
    known, tests = results(), marked()
    last = known.get("faults", {"rows": {}})
    parts = [before + BEGIN, "## Faults, and their tests\n"]
    ran = f"They last ran on {last['date']} at commit {last['commit']}. " if "date" in last else ""
    parts.append(
        f"{len(faults())} rows; each names all tests that show it, and CI runs every one. {ran}"
        "The numbers count cases of these tests. What is skipped needs what that machine did not have, such as a GPU, "
        "and says so.\n"
    )
    group = ""
    for fault in faults():
        if fault["group"] != group:
            group = fault["group"]
            parts.append(f"\n### {group}\n\n| | what goes wrong | what must happen | shown by | last result |\n"
                         "|---|---|---|---|---|")  # fmt: skip
        names = "<br>".join(f"`{name.removeprefix('tests/')}`" for name in tests.get(fault["number"], []))
        cells = [fault["number"], fault["case"], fault["expected"], names]
        cells.append(told(last["rows"].get(str(fault["number"]), {})))
        parts.append("| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |")
    parts.append("\n## Long trials\n")
    parts.append("Their short forms are among the tests; these are the last results of the long ones.\n")
    for name, words in TRIALS.items():
        found = known.get(name)
        ending = f"On {found['date']} at commit {found['commit']}: {found['said']}" if found else "Not run yet."
        parts.append(f"**`{name}`**: {words} {ending}\n")
        for table in (found or {}).get("tables", []):
            head, *rows = table
            lines = [head, ["---"] * len(head), *rows]
            parts.append("\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n")
    return "\n".join(parts).rstrip() + f"\n\n{END}{rest.partition(END)[2]}"


TRIALS = {
    "make fuzz": "files with changed, cut, moved and repeated parts, for every reader and every file of a run folder; "
    "each must be read or refused with one error of ours.",
    "make soak": "trainings, `prepare` and `experiment` that are killed by `kill -9` at random moments until they end; "
    "the result must equal that of one that was not killed, to the last bit.",
    "make power-cut": "the recorded writes of a training, cut at every point; the last changes that were not "
    "synced are lost, as many as may be, and random others.",
    "make endurance": "very many updates of a small model: memory, open files, and the time of an update.",
    "make regress": "the first updates of known recipes: their bounds and relative speeds lie in the stored bands.",
}
"""What each long trial is."""


def main() -> int:
    """Make the page, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", action="store_true", help="run the tests of all faults first")
    code = run() if parser.parse_args().run else 0
    PAGE.write_text(page(), "utf-8")
    for line in faulty():
        print(line)
    return code or bool(faulty())


if __name__ == "__main__":
    sys.exit(main())
