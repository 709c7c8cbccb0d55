"""Known faults of pinned packages, by pip-audit; where it cannot look, that is said and is no failure.

    python benchmarks/audit.py constraints.txt        (make audit)

Exit code 0: no known fault, or skipped, with the reason. 1: a package has one, and its line says which version has not.
pip-audit is none of our dependencies: `pip install pip-audit`, here or anywhere on PATH.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path


def audit(constraints: Path) -> int:
    """Print what is known, and return the exit code."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    program = shutil.which("pip-audit", path=path)
    if program is None:
        print("skipped: pip-audit is not installed (pip install pip-audit)")
        return 0
    command = [program, "--requirement", str(constraints), "--no-deps", "--disable-pip"]
    command += ["--format", "json", "--progress-spinner", "off", "--timeout", "20"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    except subprocess.TimeoutExpired:
        print("skipped: the source of advisories did not answer in 10 minutes")
        return 0
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):  # it found nothing to say: no network, or no such source
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        print(f"skipped: pip-audit has no answer: {lines[-1][:300] if lines else f'exit code {done.returncode}'}")
        return 0
    unknown = [package for package in packages if "skip_reason" in package]
    if len(unknown) == len(packages):  # as from a mirror that has packages but no advisories
        first = str(unknown[0]["skip_reason"])[:300] if unknown else "no packages"
        print(f"skipped: none of {len(packages)} packages could be looked up: {first}")
        return 0
    for package in packages:
        for fault in package.get("vulns", ()):
            mended = ", ".join(fault.get("fix_versions", ())) or "no version yet"
            print(f"{package['name']} {package['version']}: {fault['id']}, mended in {mended}")
    faulty = sum(bool(package.get("vulns")) for package in packages)
    print(f"{len(packages) - len(unknown)} packages looked up, {faulty} with known faults")
    if unknown:
        print(f"not looked up: {', '.join(package['name'] for package in unknown)}")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(audit(Path(sys.argv[1])))
