"""Pages looked at in a browser: reports of small runs of several kinds and of an experiment, and a comparison.

    python benchmarks/report_check.py [--out FOLDER] [--run RUN ...]

It trains a few tiny models (music, speech, strokes, a table, one with hostile names) and a tiny experiment, writes
`report` of each and `compare --html`, and opens every page in headless Chromium as on a phone (390 x 844) and on a
desktop (1280 x 900), in light and in dark. It fails on any message of the browser's console, on a page wider than the
phone, on a table of up to three columns that does not fit, on a wider one that does not scroll in a box of its own, on
any request to elsewhere, and if a sound does not move its cursor; screenshots are left in FOLDER for eyes. With --run
the pages are those of runs and experiments that are there already.

Chromium and its chromedriver are taken from the PATH, or from CHROMIUM and CHROMEDRIVER; without them it says so and
ends with exit code 0 (make report-check is no part of make check).
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w

import pyro_vrnn as pv
from pyro_vrnn.data.writer import write_sequences
from pyro_vrnn.experiments import page as experiment_page
from pyro_vrnn.experiments.parsing import read
from pyro_vrnn.experiments.runner import Runner
from pyro_vrnn.runs.pages import comparison_page

EVIL = "<script>alert(1)</script>\"'&"
SCREENS = {"phone": (390, 844, True), "desktop": (1280, 900, False)}
SMALL: dict[str, Any] = {
    "model.hidden_dim": 16,
    "model.network_dims": [16],
    "model.latent_dim": 4,
    "data.batch_size": 8,
    "training.log_every": 1,
    "training.validate_every": 1,
}
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip


def main() -> int:
    """Make the pages, look at them, and say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/report-check"), help="folder of pages and screenshots")
    parser.add_argument("--run", type=Path, action="append", default=[], help="a run that is there; repeat for more")
    given = parser.parse_args()
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    driver = os.environ.get("CHROMEDRIVER") or shutil.which("chromedriver")
    if chromium is None or driver is None:
        missing = "chromium" if chromium is None else "chromedriver"
        print(f"report-check: skipped, no {missing} (set {missing.upper()}, or put it on the PATH)")
        return 0
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        pages = write_pages(given.out, Path(scratch), given.run)
        wrong = [*look_at(pages, given.out, chromium, driver, Path(scratch))]
    for line in wrong:
        print(f"wrong: {line}")
    print(f"report-check: {len(pages)} pages, {4 * len(pages)} screenshots in {given.out}; {len(wrong)} faults")
    return 1 if wrong else 0


def write_pages(out: Path, scratch: Path, there: list[Path]) -> dict[str, Path]:
    """The reports and the comparison, by name."""
    grids = [folder for folder in there if experiment_page.is_experiment(folder)]
    found = [pv.load(run) for run in there if run not in grids] if there else [*train(scratch)]
    grids = grids if there else [experiment(scratch)]
    pages = {run.folder.name: run.report(out / f"{run.folder.name}.html", num=2) for run in found}
    pages |= {f"{grid.name}-experiment": experiment_page.write(grid, out / f"{grid.name}.html") for grid in grids}
    if len(found) > 1:
        pages["comparison"] = comparison_page.write(found[: comparison_page.MOST_RUNS], out / "comparison.html", num=1)
    return pages


def train(scratch: Path) -> Iterator[pv.Run]:
    """Tiny runs of several kinds of data, two of them alike but for the objective."""
    random = np.random.default_rng(0)
    splits = {"train": 24, "valid": 6, "test": 12}
    rolls = {s: [np.repeat(random.random((30, 12)) < 0.15, 4, 0).astype(np.uint8) for _ in range(n)]
             for s, n in splits.items()}  # fmt: skip
    tones = {s: [(9000 * np.sin(np.arange(800) * random.uniform(0.1, 0.5))).astype(np.int16).reshape(40, 20)
                 for _ in range(n)] for s, n in splits.items()}  # fmt: skip
    pens = {s: [np.c_[random.normal(size=(30, 2)), random.random(30) < 0.1].astype(np.float32) for _ in range(n)]
            for s, n in splits.items()}  # fmt: skip
    tables = {s: [random.normal(size=(25, 3)).cumsum(0).astype(np.float32) for _ in range(n)]
              for s, n in splits.items()}  # fmt: skip
    common = {"source": EVIL, "licence": EVIL}

    def data(name: str, values: dict[str, Any], kind: str, support: str, ids: str = "", **about: Any) -> Path:
        named = {s: [f"{'ab'[i % 2]}/{ids}{s}-{i}" for i in range(len(x))] for s, x in values.items()}
        path = scratch / f"{name}.h5"
        write_sequences(path, values, ids=named, kind=kind, support=support, **common, **about)
        return path

    music = data("music", rolls, "pianoroll", "binary", steps_per_second=8.0, extra={"lowest_pitch": 60})
    speech = data("speech", tones, "audio", "real", steps_per_second=400.0, frame_length=20)
    strokes = data("strokes", pens, "strokes", "real", steps_per_second=None)
    table = data("table", tables, "vectors", "real", steps_per_second=None,
                 extra={"columns": ["temperature", "pressure", "a column with quite a long name"]})  # fmt: skip
    hostile = data("hostile", tables, "vectors", "real", ids=EVIL * 9, steps_per_second=None,
                   extra={"columns": [f"{EVIL}{'x' * 70}{i}" for i in range(3)]})  # fmt: skip
    for name, path, model, objective in [
        ("music", music, "vrnn", "elbo"), ("music-iwae", music, "vrnn", "iwae"), ("speech", speech, "srnn", "elbo"),
        ("strokes", strokes, "vrae", "elbo"), ("table", table, "dmm", "elbo"),
        (f"hostile {EVIL.replace('/', '-')}", hostile, "vrnn", "elbo"),
    ]:  # fmt: skip
        print(f"report-check: {name}", file=sys.stderr)
        yield pv.train(data=path, model=model, objective=objective, out=scratch / name, epochs=12, device="cpu",
                       settings=SMALL)  # fmt: skip


def experiment(scratch: Path) -> Path:
    """The folder of a tiny experiment on the music that `train` has made: long names, and an arm that fails."""
    text = tomli_w.dumps(
        {
            "experiment": {"title": f"A grid {EVIL}", "recipe": "jsb-vrnn", "updates": 12, "seeds": [0, 1, 2]},
            "settings": SMALL | {"data.path": str(scratch / "music.h5")},
            "arm": [
                {"name": "elbo"},
                {
                    "name": "importance-weighted-of-three",
                    "settings": {"objective.name": "iwae", "objective.particles": 3},
                },
                {"name": "too-fast", "settings": {"training.learning_rate": 1e38}},
            ],
        }
    )
    (scratch / "grid.toml").write_text(text, "utf-8")
    print("report-check: an experiment", file=sys.stderr)
    Runner(read(str(scratch / "grid.toml"), out=scratch / "grid"), device="cpu").run()
    return scratch / "grid"


def look_at(pages: dict[str, Path], out: Path, chromium: str, driver: str, scratch: Path) -> Iterator[str]:
    """Open each page four ways; yields what is wrong."""
    with session(driver, chromium, scratch / "profile") as browser:
        for name, page in pages.items():
            for scheme in ("light", "dark"):
                for screen in SCREENS:
                    yield from one_look(browser, page, f"{name}, {screen}, {scheme}", screen, scheme, out)


def one_look(browser: Browser, page: Path, where: str, screen: str, scheme: str, out: Path) -> Iterator[str]:
    """Open one page one way; yields what is wrong."""
    width, height, mobile = SCREENS[screen]
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
    browser.tools("Emulation.setDeviceMetricsOverride", **size)
    browser.tools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.post("url", url=page.resolve().as_uri())
    ground = browser.run("return getComputedStyle(document.body).backgroundColor")
    if (ground == "rgb(255, 255, 255)") != (scheme == "light"):
        yield f"{where}: its ground is {ground}"
    wide = browser.run("return document.documentElement.scrollWidth")
    if wide > width:
        yield f"{where}: {wide} pixels wide"
    for label in browser.run(CUT):
        yield f"{where}: the table {label!r} is cut"
    moved = browser.run(PLAY)
    if moved is False:
        yield f"{where}: the cursor does not follow the sound"
    tall = min(browser.run("return document.documentElement.scrollHeight"), 12_000)
    browser.tools("Emulation.setDeviceMetricsOverride", **{**size, "height": tall})
    stem = "".join(c if c.isalnum() or c == "-" else "_" for c in where.replace(", ", "-"))[-80:]
    shot = base64.b64decode(browser.tools("Page.captureScreenshot", captureBeyondViewport=True)["data"])
    (out / f"{stem}.png").write_bytes(shot)
    for said in browser.post("se/log", type="browser"):
        yield f"{where}: the console says {said['message']}"
    for said in browser.post("se/log", type="performance"):
        message = json.loads(said["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            url, asker = message["params"]["request"]["url"], message["params"].get("documentURL", "")
            if asker.startswith("file:") and not url.startswith(("file:", "data:")):  # not the empty first tab
                yield f"{where}: it asks for {url}"


CUT = """
const few = box => box.querySelectorAll("thead th").length <= 3;
const cut = box => box.scrollWidth > box.clientWidth + 1
  && (few(box) || !["auto", "scroll"].includes(getComputedStyle(box).overflowX));
return [...document.querySelectorAll("table")].map(table => table.parentElement).filter(cut)
  .map(box => box.getAttribute("aria-label") || "without a name");
"""
"""Tables that are wider than their place: of few columns, or in no box that scrolls."""

PLAY = """
const sound = document.querySelector("article .cursor") && document.querySelector("audio");
if (!sound) return null;
sound.currentTime = 0.05;
return new Promise(done => {
  const until = performance.now() + 5000, moved = () => document.querySelector(".cursor.on[transform]") !== null;
  const look = setInterval(() => {
    if (moved() || performance.now() > until) { clearInterval(look); done(moved()); }
  }, 50);
});
"""
"""A sound is wound forward, as a reader would: whether its cursor came along; null where there is no sound."""


class Browser:
    """One session of chromedriver, by its HTTP protocol (W3C WebDriver, and Chrome's own DevTools commands)."""

    def __init__(self, address: str) -> None:
        self.address = address

    def post(self, path: str, **values: Any) -> Any:
        """A command of the session."""
        return ask(f"{self.address}/{path}", values)

    def tools(self, command: str, **values: Any) -> Any:
        """A command of the DevTools protocol."""
        return self.post("goog/cdp/execute", cmd=command, params=values)

    def run(self, script: str) -> Any:
        """Run a script in the page; what it returns."""
        return self.post("execute/sync", script=script, args=[])


def ask(url: str, values: dict[str, Any] | None, method: str = "POST") -> Any:
    """A request to chromedriver on this machine; never by a proxy."""
    body = None if values is None else json.dumps(values).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=120) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"chromedriver: {json.load(error)['value']['message'][:500]}") from None


@contextmanager
def session(driver: str, chromium: str, profile: Path) -> Iterator[Browser]:
    """A new Chromium with an empty profile, driven by a chromedriver of its own; both end with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([driver, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    root = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            try:
                if ask(f"{root}/status", None, "GET")["ready"]:
                    break
            except OSError:
                time.sleep(0.05)
        options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        logs = {"browser": "ALL", "performance": "ALL"}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs}
        made = ask(f"{root}/session", {"capabilities": {"alwaysMatch": wanted}})
        address = f"{root}/session/{made['sessionId']}"
        try:
            yield Browser(address)
        finally:
            ask(address, None, "DELETE")
    finally:
        process.terminate()
        process.wait(10)


if __name__ == "__main__":
    sys.exit(main())
