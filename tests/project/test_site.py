"""The site builds without a warning, stands by itself, leads nowhere that is not there, and has every public name."""

from __future__ import annotations

import importlib
import inspect
import os
import pkgutil
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import pyro_vrnn

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.py"))
IN_A_KERNEL = ROOT / "docs" / "notebooks" / "series.py"
pytest.importorskip("sphinx", reason="the extra docs is not installed")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built with warnings as errors."""
    place = tmp_path_factory.mktemp("site")
    made = shutil.ignore_patterns("_build", "api", "*.ipynb", "runs", "__pycache__")
    shutil.copytree(ROOT / "docs", place / "docs", ignore=made)
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        shutil.copy(ROOT / name, place)
    for path in [*(ROOT / "pyro_vrnn" / "weights").glob("*/card.md"), *(ROOT / "examples").glob("*.py")]:
        copy = place / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", str(place / "trees")]
    command += ["-D", "toc_object_entries=0"]  # functions in the contents of a page cost a third of the time
    done = subprocess.run(
        [*command, str(place / "docs"), str(place / "html")],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return place / "html"


class Links(HTMLParser):
    """What a page fetches, where it leads, and the places in it that can be led to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.leads: list[str] = []
        self.places: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.leads.append(found["href"])
        if "src" in found or (tag == "link" and "href" in found):
            self.fetched.append(found.get("src") or found["href"])


@pytest.mark.slow
def test_pages_stand_by_themselves_and_links_lead_somewhere(site: Path) -> None:
    pages = {path: Links(path.read_text("utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > 30
    for path, page in pages.items():
        for address in (a for a in page.fetched if a != "#"):  # search.html is its own search
            assert "//" not in address, f"{path.name} fetches {address}"
            assert (path.parent / unquote(address.partition("?")[0])).exists() or address.startswith("data:"), address
        for address in page.leads:
            if address.startswith(("http://", "https://", "mailto:")):
                continue
            file, _, place = address.partition("#")
            target = (path.parent / unquote(file)).resolve() if file else path
            assert target.exists(), f"{path.name} leads to {address}"
            if place and target in pages:
                assert unquote(place) in pages[target].places, f"{path.name} leads to {address}"


def public_names() -> Iterator[str]:
    """Functions and classes by where they are defined, their public methods, and what `__all__` names."""
    for found in pkgutil.walk_packages(pyro_vrnn.__path__, "pyro_vrnn."):
        if found.name.endswith("__main__"):
            continue
        module = importlib.import_module(found.name)
        yield from (f"{found.name}.{name}" for name in getattr(module, "__all__", ()))
        for name, value in vars(module).items():
            own = getattr(value, "__module__", None) == found.name and not name.startswith("_")
            if own and (inspect.isclass(value) or inspect.isfunction(value)):
                yield f"{found.name}.{name}"
            if own and inspect.isclass(value):
                methods = [n for n, m in vars(value).items() if inspect.isfunction(m) and m.__module__ == found.name]
                yield from (f"{found.name}.{name}.{n}" for n in methods if not n.startswith("_"))
    yield from (f"pyro_vrnn.{name}" for name in pyro_vrnn.__all__ if not name.startswith("_"))


@pytest.mark.slow
def test_every_public_name_is_in_the_inventory(site: Path) -> None:
    head, packed = (site / "objects.inv").read_bytes().split(b"using zlib.\n", 1)
    assert b"pyro-vrnn" in head
    known = {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}
    names = set(public_names())
    assert len(names) > 1000
    assert not sorted(names - known)


def environment() -> dict[str, str]:
    return os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYRO_VRNN_SMALL": "1",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
    }


@pytest.mark.parametrize("script", [n for n in NOTEBOOKS if n != IN_A_KERNEL], ids=lambda script: script.stem)
def test_a_notebook_runs_from_a_fresh_install(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "nats per" in done.stdout
    assert len([*tmp_path.glob("runs/*/samples.png"), *tmp_path.glob("runs/*/posterior.png")]) == 2


def test_a_notebook_runs_in_a_kernel(tmp_path: Path) -> None:
    """One through jupytext and nbclient, as `make notebooks` does all four."""
    shutil.copy(IN_A_KERNEL, tmp_path)
    command = [sys.executable, str(ROOT / "docs" / "site" / "run_notebooks.py"), str(tmp_path / IN_A_KERNEL.name)]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment() | {"HOME": str(tmp_path)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "root mean squared error in the holes" in (tmp_path / "series.ipynb").read_text("utf-8")
