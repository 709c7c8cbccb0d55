"""report EXPERIMENT: one page of an experiment's folder, wherever it lies, finished or not."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import grids
import pytest
from pages import check_page

from pyro_vrnn import cli
from pyro_vrnn.experiments import costs, figures, page
from pyro_vrnn.experiments.costs import Cost
from pyro_vrnn.experiments.parsing import read
from pyro_vrnn.experiments.runner import Runner
from pyro_vrnn.media.pages.spreads import Row, spreads

EVIL = "<script>alert(1)</script>&"
TEXT = grids.TEXT.replace("= 12", "= 10").replace('"Small"', f'"{EVIL}"')
WILD = '\n[[arm]]\nname = "wild"\nsettings.training.learning_rate = 1e38\n'


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw", lambda *given: [])
        patch.setattr(costs, "measure", lambda arms, *given: [Cost(0.01, 1e-6) for _ in arms])
        Runner(read(str(grids.write(folder, TEXT + WILD)), out=folder / "out"), device="cpu").run()
    (folder / "small.h5").unlink()  # its data is not needed
    return folder / "out"


def changed(made: Path, out: Path, change: Any) -> Path:
    """The same experiment with other results."""
    shutil.copytree(made, out)
    found = json.loads((made / "results.json").read_text())
    change(found)
    (out / "results.json").write_text(json.dumps(found))
    return out


def test_the_page(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shutil.copytree(made, tmp_path / "moved")
    assert cli._run(["report", str(folder), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["file"] == str(folder / "report.html")
    text = (folder / "report.html").read_text()
    assert said["bytes"] == len(text.encode())
    tags = check_page(text)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in text
    # The scores and the differences are those of the table, digit by digit.
    results = json.loads((made / "results.json").read_text())
    for section in results["sections"]:
        for arm in section["arms"]:
            for quantity in section["quantities"]:
                if arm["spread"][quantity] is not None:
                    assert f"{arm['spread'][quantity]['mean']:.3f} ± {arm['spread'][quantity]['deviation']:.3f}" in text
    pair = results["sections"][0]["arms"][1]["difference"]["test iwae K=4"]
    assert f"{pair['mean']:+.3f} [{pair['low']:+.3f}, {pair['high']:+.3f}], {pair['wins']}/2" in text
    assert "<h2>small</h2>" in text
    assert "<h2>small, continued from elbo</h2>" in text
    kind = "no difference shown, as their intervals hold 0" if pair["low"] < 0 < pair["high"] else "95% interval"
    assert kind in text
    assert "of twenty arms that are no different, one is told apart by chance" in text
    assert "not measured yet: wild" in text
    # What failed, what differs, which runs, and how to make it again.
    wild = next(run for run in results["runs"] if run["arm"] == "wild")
    assert f"<strong>wild, seed 0, after update {wild['steps']}:</strong> {wild['message']}" in text
    assert re.search(r'<th scope="row">objective.particles</th><td>1</td><td>3</td><td>1</td><td>1</td>', text)
    assert '<th scope="row">init_from</th><td>-</td><td>-</td>' in text
    assert "training.seed</th>" not in text
    for arm in ("elbo", "iwae", "then", "wild"):
        assert f'<th scope="row">runs/{arm}/seed-1</th>' in text
    assert f"pyro-vrnn experiment {folder}/experiment.toml --out {folder}-again" in text
    labels = [svg["aria-label"] for svg in tags["svg"] if "role" in svg]
    assert sum("difference from elbo, paired by seed" in label for label in labels) == 2
    for axis in ("updates", "sequences seen", "seconds of training"):
        assert sum(label.endswith(f"mean over seeds, by {axis}") for label in labels) == 2
    assert page.write(made, tmp_path / "again.html").read_text() == text.replace(str(folder), str(made))


def test_one_seed_and_unfinished(made: Path, tmp_path: Path) -> None:
    def one(found: dict[str, Any]) -> None:
        found["seeds"], found["runs"][2]["status"] = [0], "waiting"
        found["runs"][0]["unscored"] = {"test elbo": "the bound is nan"}
        for section in found["sections"]:
            for arm in section["arms"]:
                for pair in (arm["difference"] or {}).values():
                    if pair is not None:
                        pair.update(low=None, high=None, seeds=1)

    text = page.write(changed(made, tmp_path / "one", one)).read_text()
    check_page(text)
    assert "nothing can be concluded, as one seed has no spread: iwae" in text
    assert "One seed (0): there is no spread, and a difference may be chance." in text
    assert "of twenty arms" not in text
    assert "5 of 8 done, 2 failed" in text
    assert "<strong>elbo, seed 0, test elbo:</strong> the bound is nan. The run stands." in text


def test_nothing_there_yet(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "begun"
    folder.mkdir()
    shutil.copy(made / "experiment.toml", folder)
    assert cli._run(["report", str(folder)]) == 2
    said = capsys.readouterr().err
    assert f"{folder}: no results yet" in said
    assert f"hint: `pyro-vrnn experiment {folder}` trains its runs" in said
    for damaged in ("{", "[]"):
        (folder / "results.json").write_text(damaged)
        assert cli._run(["report", str(folder)]) == 2
        assert "writes it again" in capsys.readouterr().err
    assert cli._run(["report", str(made), "--out", str(tmp_path)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert not (folder / "report.html").exists()


def test_spreads() -> None:
    """Values stand where they are, left of one another as they are less; an arm without a value has an empty row."""
    rows = [
        Row(name="a", order=0, points=[1.0, 3.0], mean=2.0),
        Row(name="b" * 40, order=6, mean=-1.0, ends=(-2.0, 0.5)),
        Row(name=EVIL, order=2),
    ]
    drawn = spreads("words", rows, zero=True, x_label="nats")
    points = [float(x) for x in re.findall(r'<circle class="fill c0" cx="([\d.]+)"', drawn)]
    assert points == sorted(points)
    (rule,) = (float(x) for x in re.findall(r'<path class="rule" d="M([\d.]+) ', drawn))
    a, b = (float(x) for x in re.search(r'<path class="line c1" d="M([\d.]+) [\d.]+H([\d.]+)', drawn).groups())
    assert a < rule < b < points[0]
    assert (rule - a) / (points[1] - points[0]) == pytest.approx(1, abs=0.01)
    assert f">{'b' * 23}…<title>{'b' * 40}</title>" in drawn
    assert "<script" not in drawn
    assert spreads("words", [Row(name="a", order=0)], x_label="nats") == ""
