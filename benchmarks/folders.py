"""Every kind of data the project reads, end to end: prepare, train for two minutes, evaluate, draw; one table.

    OMP_NUM_THREADS=1 python benchmarks/folders.py SHARED_DATA [--only vowels,omniglot] [--time 2m] [--out runs/folders]

SHARED_DATA is the folder that holds speech_one_voice, pianoroll, text and the others (its README says where each is
from). The reference is the simple score of that README on the same test split; where the split is ours, of bits each
given its own last value (`pyro-vrnn data`), and else none.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Folder:
    """How one folder is read, and what it is compared with."""

    source: str
    kind: str
    options: tuple[str, ...] = ()
    reference: float | None = None
    """Of the README, in the unit of the row; lower is better but for audio."""
    reference_name: str = ""
    unit: str = "nats per step"
    bound: tuple[str, ...] = ("--objective", "iwae", "--particles", "16")


SECONDS = ("--seconds", "0.5")
GAUSS = "independent Gaussian"
SAMPLE = "log-likelihood, nats per sample"
ROLLS = {"nottingham": 5.16, "muse_data": 8.56, "piano_midi": 8.26}
FOLDERS = {
    "speech-one-voice": Folder("speech_one_voice", "audio", SECONDS, -1.435, GAUSS, SAMPLE),
    "speech-wakewords": Folder("speech_wakewords", "audio", SECONDS, -1.395, GAUSS, SAMPLE),
    "speech-digits": Folder("speech_digits", "audio", ("--sample-rate", "8000"), -1.407, GAUSS, SAMPLE),
    "vocal-shouts": Folder("vocal_shouts", "audio", SECONDS, -1.490, GAUSS, SAMPLE),
    "pendigits": Folder("strokes_pendigits/pendigits_orig.npz", "strokes", (), 1.71, "linear Gaussian, given the last"),
    "omniglot": Folder("strokes_omniglot/omniglot_small1.npz", "strokes", (), 2.61, "given the last step"),
    "shakespeare": Folder(
        "text/tinyshakespeare.txt", "text", (), 2.55, "5-gram", "bits a character", ("--objective", "elbo")
    ),
    "openings": Folder("chess_openings/openings.tsv", "symbols"),
    "vowels": Folder("japanese_vowels/japanese_vowels.npz", "vectors", (), 13.99, "full-covariance Gaussian"),
    "mnist-rows": Folder("mnist_rows/mnist_t10k.npz", "vectors", ("--binary",)),
    "openmsx": Folder("openmsx_midi", "midi"),
    "openmsx-vrae": Folder("openmsx_midi", "midi", ("--window", "50", "--hop", "50")),
} | {
    name.replace("_", "-"): Folder(f"pianoroll/{name}.npz", "pianoroll", (), score, "markov1")
    for name, score in ROLLS.items()
}


def call(*argv: object) -> dict[str, Any]:
    """One command of the CLI, its JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "pyro_vrnn", *(str(a) for a in argv), "--json", "-q"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(str(a) for a in argv)}: {done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(recipe: str, folder: Folder, shared: Path, out: Path, time: str) -> dict[str, Any]:
    """The row of one folder."""
    data, where = out / f"{recipe}.h5", out / recipe
    prepared = call("prepare", folder.kind, shared / folder.source, "--out", data, *folder.options, "--overwrite")
    made = call("train", recipe, "--data", data, "--max-time", time, "--threads", 1, "--out", where, "--overwrite")
    score = call("evaluate", where, *folder.bound)
    reference, reference_name = folder.reference, folder.reference_name
    floors = call("data", data).get("floors")
    if reference is None and floors:
        reference, reference_name = floors["last"], "each from its own last value"
    drawn = call("sample", where, "--num", 4)
    value = score["nll_per_step"]
    if folder.kind == "audio":
        value = -score["nll_per_sample"]
    elif folder.unit.startswith("bits"):
        value /= math.log(2)
    return {
        "recipe": recipe,
        "unit": folder.unit,
        "test": value,
        "stderr": score["stderr"],
        "bound": f"{score['bound']} K={score['particles']}",
        "reference": reference,
        "reference_name": reference_name,
        "updates": made["steps"],
        "seconds": made["seconds"],
        "sequences": {name: split["sequences"] for name, split in prepared["splits"].items()},
        "files": drawn["files"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--only", default=",".join(FOLDERS))
    parser.add_argument("--time", default="2m")
    parser.add_argument("--out", type=Path, default=Path("runs/folders"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    print("| recipe | test | reference | unit | updates |\n|---|---|---|---|---|", flush=True)
    for name in options.only.split(","):
        row = run(name, FOLDERS[name], options.shared, options.out, options.time)
        (options.out / f"{name}.json").write_text(json.dumps(row, indent=2) + "\n")
        reference = "" if row["reference"] is None else f"{row['reference']:.3f} ({row['reference_name']})"
        print(f"| `{name}` | {row['test']:.3f} | {reference} | {row['unit']} | {row['updates']} |", flush=True)


if __name__ == "__main__":
    main()
