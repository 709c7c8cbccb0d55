"""benchmarks/gpu.py runs, all of it but the capture: a GPU is lent rarely, and for minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
KEYS = {
    "device": {"matmul_float32_tflops", "matmul_tf32_tflops", "matmul_bf16_tflops", "copy_gb_per_s"},
    "jsb_vrnn": {"markov_ms", "stacked_ms", "graph_ms", "speedup"},
    "correctness": {"loss_apart", "graph_mb", "float32_loss_off", "bf16_gradient_off"},
    "dmm_example": {"example_updates_per_s", "graph_updates_per_s", "speedup"},
    "srnn_timit": {"flops", "tf32_speedup", "float32_share_of_matmul"},
    "blizzard": {"vrnn_tf32_epoch_hours", "srnn_bf16_epoch_hours"},
    "against_gru": {"vrnn_ratio", "srnn_ratio"},
    "iwae": {"jsb_ratio", "speech_ratio"},
    "fivo": {"updates_per_s"},
    "data": {"fit_ms", "one_batch_ms", "waiting_share"},
    "training": {"graph_nll", "stacked_nll", "graph_s", "stacked_s", "updates", "shapes"},
}


@pytest.mark.slow
def test_every_section_says_its_numbers(tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--quick", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found == json.loads(done.stdout)
    assert found["complete"]
    assert found["sections"].keys() == KEYS.keys()
    for name, keys in KEYS.items():
        section = found["sections"][name]
        assert "error" not in section, section
        assert section.keys() >= keys
        assert all(isinstance(section[key], int | float) and section[key] >= 0 for key in keys)
    assert all(goal["met"] is not None for goal in found["goals"])
    assert found["sections"]["correctness"]["loss_apart"] < 1e-4
    assert found["sections"]["training"]["graph_nll"] == pytest.approx(found["sections"]["training"]["stacked_nll"])


def test_what_does_not_fit_in_the_time_is_said(tmp_path: Path) -> None:
    """And the file has what there was."""
    command = [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--only", "fivo", "--seconds", "0.001"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "a")], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "a").read_text())
    assert "left" in found["sections"]["fivo"]["error"]
    assert all(goal["met"] is None for goal in found["goals"])
    done = subprocess.run(command[:2], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode != 0
    assert "no CUDA device" in done.stderr
