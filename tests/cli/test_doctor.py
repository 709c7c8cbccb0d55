from __future__ import annotations

import json
import shutil
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pyro_vrnn.cli import doctor
from pyro_vrnn.cli.doctor import report
from pyro_vrnn.system.devices import device
from pyro_vrnn.system.errors import ConfigError, DeviceError


def told(found: dict[str, Any]) -> str:
    return "\n".join(f"{entry['problem']} -> {entry['hint']}" for entry in found["problems"])


def test_report_is_json(tmp_path: Path) -> None:
    found = json.loads(json.dumps(report(tmp_path / "not" / "yet"), allow_nan=False))
    assert found["packages"]["torch"] == torch.__version__
    assert set(doctor.PACKAGES) < set(found["packages"])
    assert {"WAV", "FLAC"} <= set(found["codecs"]["formats"])
    assert found["devices"]["cpu"]["torch_threads"] == 1
    assert found["devices"]["cpu"]["name"]
    assert found["memory"]["total"] >= found["memory"]["available"] > 0
    data = found["storage"]["data"]
    assert (data["exists"], data["writable"]) == (False, True)
    assert data["free"] > 0
    assert not list(tmp_path.iterdir())


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Versions as they might be; change them in the test."""
    versions = {"pyro-vrnn": "0.1.0", **dict.fromkeys(doctor.PACKAGES, "99.0")}
    wanted = ["torch>=2.10", "pyro-ppl>=1.9.2", "numpy", "music21>=9.1; extra == 'chorales'"]
    wanted += ["scipy>=100 ; extra == 'dev'", "rich>=100"]
    monkeypatch.setattr(doctor, "_version", versions.get)
    monkeypatch.setattr(metadata, "requires", lambda name: wanted)
    return versions


def test_nothing_to_tell(installed: dict[str, str], tmp_path: Path) -> None:
    assert report(tmp_path)["problems"] == []


def test_old_and_missing_packages(installed: dict[str, str]) -> None:
    installed["torch"] = "2.9.1+cu128"
    del installed["music21"], installed["pyro-ppl"]
    found = report()
    assert found["packages"]["music21"] is None
    assert "torch 2.9.1+cu128 is too old: 2.10 is needed -> pip install 'torch>=2.10'" in told(found)
    assert "`prepare chorales` is not available -> pip install 'pyro-vrnn[chorales]'" in told(found)
    assert "pyro-ppl is not installed" in told(found)
    assert len(found["problems"]) == 3


def test_a_broken_package(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise OSError(f"lib{name}.so: cannot open shared object file")

    monkeypatch.setattr("importlib.import_module", broken)
    found = report()
    assert "soundfile does not import: libsoundfile.so" in told(found)
    assert found["codecs"] is None
    assert found["devices"]["cuda"] == []
    json.dumps(found)


def test_disk_and_rights(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5 << 20))
    assert "5 MiB free for the data folder" in told(report())
    assert "the data folder /proc/1 cannot be written" in told(report("/proc/1"))


def test_threads_and_cuda(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 999)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    text = told(report())
    assert "torch uses 999 threads" in text
    assert "built for CUDA 13.0 and finds no device" in text


def test_cuda_devices(installed: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    about = SimpleNamespace(name="GPU", total_memory=80 << 30, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: about)
    assert report()["devices"]["cuda"] == [{"index": 0, "name": "GPU", "memory": 80 << 30, "capability": "9.0"}]


@pytest.mark.parametrize(
    ("text", "numbers"), [("2.13.0+cpu", (2, 13, 0)), ("0.2.11.post0", (0, 2, 11)), ("2.10rc1", (2, 10))]
)
def test_version_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert doctor._numbers(text) == numbers


class TestDevice:
    @pytest.fixture
    def devices(self, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: request.param)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)

    @pytest.mark.parametrize("devices", [0], indirect=True)
    def test_without_cuda(self, devices: None) -> None:
        assert device("auto") == device("cpu") == torch.device("cpu")
        for name in ("cuda", "cuda:0", "cuda:9"):
            with pytest.raises(DeviceError, match=r"(?m)no CUDA device here .*available: cpu$") as caught:
                device(name)
            assert caught.value.exit_code == 7

    @pytest.mark.parametrize("devices", [2], indirect=True)
    def test_with_cuda(self, devices: None) -> None:
        assert device("cpu") == torch.device("cpu")
        assert device("cuda:0") == torch.device("cuda", 0)
        assert device("auto") == device("cuda") == torch.device("cuda", 1)
        with pytest.raises(DeviceError, match="'cuda:9' is not here; available: cpu, cuda:0, cuda:1"):
            device("cuda:9")

    @pytest.mark.parametrize(
        "name", ["", "gpu", "mps", "CPU", "cuda:", "cuda:-1", "cuda:0 ", "cuda:٣", "cuda:99999", "cpu:0"]
    )
    def test_unknown_names(self, name: str) -> None:
        with pytest.raises(ConfigError, match="choose from auto, cpu, cuda, cuda:N"):
            device(name)
