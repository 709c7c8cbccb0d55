"""What `prepare` and `data` print of a data file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pyro_vrnn import cli
from pyro_vrnn.data.writer import write_sequences


def shown(path: Path, capsys: pytest.CaptureFixture[str], **more: Any) -> list[str]:
    """The lines of `data` on a small file, with so many sequences a split."""
    counts = more.pop("counts", (3, 2, 2))
    splits = dict(zip(("train", "valid", "test"), counts, strict=True))
    values: dict[str, Any] = {
        "kind": "vectors",
        "support": "real",
        "steps_per_second": None,
        "source": "",
        "licence": "",
        "overwrite": True,
    }
    write_sequences(
        path,
        {split: [np.arange(4.0)[:, None] + i for i in range(n)] for split, n in splits.items()},
        ids={split: [str(i) for i in range(n)] for split, n in splits.items()},
        **values | more,
    )
    assert cli._run(["data", str(path)]) == 0
    return capsys.readouterr().out.splitlines()


def test_a_split_of_one_sequence_is_warned_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warnings = [line for line in shown(tmp_path / "x.h5", capsys, counts=(3, 1, 2)) if "warning:" in line]
    assert warnings == ["  warning: valid has only one sequence: a bound on it has no error bar"]
    assert not any("warning:" in line for line in shown(tmp_path / "x.h5", capsys, counts=(1, 2, 0)))
    (warning,) = [line for line in shown(tmp_path / "x.h5", capsys, counts=(3, 0, 2)) if "warning:" in line]
    assert "valid is empty: `train`" in warning


def test_the_first_few_skips_a_line_each(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    skips = [{"file": f"{i}\n.wav", "reason": "empty"} for i in range(7)]
    lines = shown(tmp_path / "x.h5", capsys, extra={"skipped": skips, "skipped_count": 120})
    at = lines.index("  skipped:")
    assert lines[at + 1 : at + 7] == [
        *(f"    {i}\\n.wav: empty" for i in range(5)),
        "    and 115 more, in the file's `skipped`",
    ]
    assert not any(" more," in line for line in shown(tmp_path / "x.h5", capsys, extra={"skipped": skips[:5]}))


def test_options_that_were_not_used_are_not_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = {"source": "a.csv", "seed": 0, "binary": False, "window": None}
    (line,) = (s for s in shown(tmp_path / "x.h5", capsys, options=options) if "options:" in s)
    assert line == "  options: seed=0, source=a.csv"


def test_the_duration_of_sound(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in "abc":
        wave = (9000 * np.sin(np.arange(64000) / 20)).astype(np.int16)
        soundfile.write(tmp_path / f"{name}.wav", wave, 1000, subtype="PCM_16")
    out = tmp_path / "x.h5"
    argv = ["prepare", "audio", tmp_path, "--sample-rate", 1000, "--seconds", 0.4, "--splits", "80,10,10", "--out", out]
    assert cli._run([str(a) for a in argv]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[1:5]] == ["duration", *["0:01:04"] * 3]
    assert any(line == "  recordings: 1 train, 1 valid, 1 test" for line in lines)


@pytest.mark.parametrize(
    ("rate", "says"),
    [
        (20, "20 steps per second"),
        (1, "1 step per second"),
        (44.1, "44.1 steps per second"),
        (1 / 3600, "one step per hour"),
        (1 / 600, "one step per 10 minutes"),
        (1 / 86400, "one step per day"),
        (1 / (7 * 86400), "one step per 7 days"),
        (1 / 5400, "one step per 1.5 hours"),
        (1 / 4, "one step per 4 seconds"),
    ],
)
def test_the_pace_is_in_a_unit_that_can_be_read(
    rate: float, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(tmp_path / "x.h5", capsys, steps_per_second=float(rate))[0].endswith(f"1 columns, {says}")
