"""The check of pages in a browser: it finds each fault that it is for, and says when there is no browser."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
BAD = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>t</title></head><body bgcolor="white">
<div id="wide"></div>
<style>div.box { width: 90px; overflow-x: auto } .box table { width: 200px }</style>
<div class="box" aria-label="three"><table><thead><tr><th>a<th>b<th>c</tr></thead></table></div>
<div class="box" aria-label="four"><table><thead><tr><th>a<th>b<th>c<th>d</tr></thead></table></div>
<img alt="x" src="http://127.0.0.1:9/x.png">
<article><svg viewBox="0 0 9 9"><path class="cursor" d="M0 0"/></svg><audio controls></audio></article>
<script>document.getElementById("wide").style.width = "2000px"; console.error("so it says");</script></body></html>"""


@pytest.fixture(scope="module")
def check() -> ModuleType:
    spec = importlib.util.spec_from_file_location("report_check", ROOT / "benchmarks" / "report_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_browser_it_says_so(
    check: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setattr(sys, "argv", ["report_check.py", "--out", str(tmp_path / "out")])
    assert check.main() == 0
    assert "skipped, no chromium (set CHROMIUM" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium")
@pytest.mark.skipif(shutil.which("chromedriver") is None, reason="no chromedriver")
def test_it_finds_each_fault(check: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text(BAD, "utf-8")
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    with check.session(driver, chromium, tmp_path / "profile") as browser:
        found = "\n".join(check.one_look(browser, page, "bad", "phone", "dark", tmp_path))
    assert "the table 'four'" not in found  # it scrolls in its box
    for fault in (
        "the table 'three' is cut",
        "its ground is",
        "pixels wide",
        "so it says",
        "it asks for http://127.0.0.1:9/x.png",
        "the cursor",
    ):
        assert fault in found, found
    assert (tmp_path / "bad.png").read_bytes()[:4] == b"\x89PNG"
