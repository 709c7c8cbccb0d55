from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyro_vrnn.system import files
from pyro_vrnn.system.errors import ConfigError, ResourceError
from pyro_vrnn.system.files import safe_name, write_bytes, write_json

same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


class TestWriting:
    def test_replaces_whole(self, tmp_path: Path) -> None:
        write_bytes(tmp_path / "a", b"old")
        write_bytes(tmp_path / "a", b"new")
        assert (tmp_path / "a").read_bytes() == b"new"
        assert os.listdir(tmp_path) == ["a"]

    @pytest.mark.fault(12)
    def test_nothing_is_left_of_a_failed_write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write_bytes(tmp_path / "a", b"old")

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(ResourceError, match="no room for 3 bytes") as caught:
            write_bytes(tmp_path / "a", b"new")
        assert caught.value.path == str(tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["a"]

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be written: No such file"):
            write_bytes(tmp_path / "no" / "a", b"")
        (tmp_path / "folder").mkdir()
        with pytest.raises(ConfigError, match="cannot be written"):
            write_bytes(tmp_path / "folder", b"")
        assert os.listdir(tmp_path) == ["folder"]

    def test_json(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "é\udc80"})
        text = (tmp_path / "a.json").read_text()
        assert text.endswith("}\n")
        assert list(json.loads(text).items()) == [("b", [1, 2.5]), ("a", "é\udc80")]

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), np.float64("nan")])
    def test_json_has_no_nan(self, tmp_path: Path, value: float) -> None:
        with pytest.raises(ValueError, match="Out of range float"):
            write_json(tmp_path / "a.json", {"nll": value})
        assert not list(tmp_path.iterdir())


class TestSafeName:
    @pytest.mark.parametrize("name", ["bwv66.6", "test-003", "été_2", "日本語", "a..b", "A" * 100, "COM10", "nul_"])
    def test_good_names_stay(self, name: str) -> None:
        assert safe_name(name) == name

    @pytest.mark.fault(41)
    @pytest.mark.parametrize(
        "text",
        [
            "",
            ".",
            "..",
            "../../etc/passwd",
            "/abs",
            "a\\b",
            "a\0b",
            "-rf",
            ".hidden",
            "CON",
            "nul.txt",
            "com1",
            "COM¹",
            "lpt9.x",
            "a b",
            "a\nb",
            "x" * 101,
            "é" * 60,
            "[bold]x",
            "C:",
            "dot.",
            "e\u0301",
            "\ud800",
            "a\u202eb",
        ],
    )
    def test_bad_names_change(self, text: str) -> None:
        assert safe_name(text) != text

    @given(st.text(max_size=200) | st.text(alphabet="./\\-\0 aA", max_size=200))
    def test_any_text(self, text: str) -> None:
        name = safe_name(text)
        assert 0 < len(name.encode()) <= 100
        assert not set(name) & set('/\\:*?"<>|\0\n ')
        assert name[0] not in ".-"
        assert name[-1] != "."
        assert name.split(".")[0].upper() not in files.RESERVED
        assert (Path("/out") / name).resolve().parent == Path("/out")
        assert safe_name(name) == name

    @pytest.mark.fault(41)
    def test_names_are_told_apart(self) -> None:
        texts = ["a/b", "a\\b", "a_b", "a:b", "x" * 101, "x" * 102, "é", "e\u0301", "", "_"]
        assert len({safe_name(text) for text in texts}) == len(texts)
